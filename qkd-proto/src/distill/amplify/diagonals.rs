//! The diagonals of the Toeplitz matrix, block by block. In: a seed. Out: blocks of the ChaCha20
//! stream, last bit first. Always: the blocks are of one length and follow each other; only one is
//! in memory.

use crate::entropy::{Entropy, SeededEntropy};

/// A bit stream: some zeros, then the expansion of a seed.
pub(super) struct Diagonals {
    stream: SeededEntropy,
    zero_words: usize,
    shift: usize,
    carry: u64,
    bytes: Vec<u8>,
}

impl Diagonals {
    /// The stream of `seed` after `zeros` zeros.
    pub(super) fn new(seed: [u8; 32], zeros: usize) -> Self {
        let stream = SeededEntropy::new(seed);
        Self { stream, zero_words: zeros / 64, shift: zeros % 64, carry: 0, bytes: Vec::new() }
    }

    /// Fills `block` with the next bits in reverse order: its first bit is the last of them.
    pub(super) fn next_reversed(&mut self, block: &mut [u64]) {
        let zeros = self.zero_words.min(block.len());
        self.zero_words -= zeros;
        let (fresh, zero) = block.split_at_mut(block.len() - zeros);
        zero.fill(0);
        self.bytes.resize(fresh.len() * 8, 0);
        self.stream.fill(&mut self.bytes);
        for (place, bytes) in fresh.iter_mut().rev().zip(self.bytes.as_chunks::<8>().0) {
            let word = u128::from(u64::from_le_bytes(*bytes)) << self.shift;
            *place = (word as u64 | self.carry).reverse_bits();
            self.carry = (word >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::BitString;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_follow_each_other_and_are_reversed(
            zeros in 0..700usize, words in 1..9usize, blocks in 1..6usize, seed in any::<u64>(),
        ) {
            let mut bytes = vec![0; blocks * words * 8];
            SeededEntropy::from_number(seed).fill(&mut bytes);
            let stream = BitString::from_bytes(&bytes, bytes.len() * 8);
            let mut key = [0; 32];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            let mut diagonals = Diagonals::new(key, zeros);
            for block in 0..blocks {
                let mut found = vec![0; words];
                diagonals.next_reversed(&mut found);
                let found = BitString::from_words(found, words * 64);
                for i in 0..words * 64 {
                    let place = block * words * 64 + i;
                    let expected = place >= zeros && stream.get(place - zeros);
                    prop_assert_eq!(found.get(words * 64 - 1 - i), expected);
                }
            }
        }
    }
}
