//! The rate-table device: both ends derive a block's bits from the secret of their link session and
//! send nothing. In: that secret, the link, the block. Out: the same bits at both ends. Always: as
//! secret as the session, no more; no physics is involved.

use crate::bits::BitString;
use crate::entropy::{Entropy, SeededEntropy};
use crate::id::{BlockId, LinkId};
use crate::quantity::BitCount;
use crate::secret::{SecretBits, SecretBytes};
use crate::{crypto, labels};

/// Most bits of one call: 2^30, so that a wrong configuration cannot exhaust memory.
pub const TABLE_BITS_MAX: u64 = 1 << 30;

/// The first `bits` secret bits (at most [`TABLE_BITS_MAX`]) of `block` on `link`.
pub fn block_bits(secret: &SecretBytes, link: &LinkId, block: BlockId, bits: BitCount) -> SecretBits {
    let name = link.as_str().as_bytes();
    let context = [&(name.len() as u64).to_be_bytes(), name, &block.0.to_be_bytes()[..]];
    let seed = crypto::derive(&[], secret, labels::derive::TABLE_BLOCK, &context, 32);
    let mut key = zeroize::Zeroizing::new([0; 32]);
    key.copy_from_slice(seed.expose());
    let len = bits.0.min(TABLE_BITS_MAX) as usize;
    let mut bytes = zeroize::Zeroizing::new(vec![0; len.div_ceil(8)]);
    SeededEntropy::new(*key).fill(&mut bytes);
    SecretBits::new(BitString::from_bytes(&bytes, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_get_the_same_bits_and_blocks_differ() {
        let link: LinkId = "a-b".parse().unwrap();
        let bits = |block| block_bits(&SecretBytes::new(vec![3; 32]), &link, BlockId(block), BitCount(1_001));
        assert_eq!(bits(1).expose(), bits(1).expose());
        assert_ne!(bits(1).expose(), bits(2).expose());
        assert_eq!(bits(1).len(), 1_001);
    }
}
