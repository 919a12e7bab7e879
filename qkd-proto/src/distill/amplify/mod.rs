//! Privacy amplification: an exact Toeplitz hash. In: a verified key, a seed, a length. Out: the
//! secret key. Always: the whole block is hashed at once (the finite-key terms are per block), and
//! the fast form gives the bits of the plain one.
//!
//! The Toeplitz matrix is expanded from 256 fresh bits by ChaCha20: this one step rests on a
//! computational assumption; the information-theoretic claim needs as many random bits as the
//! matrix has diagonals.

mod diagonals;
mod product;

use super::key::{SecretKey, VerifiedKey};
use crate::bits::BitString;
use crate::kernel::Level;
use crate::secret::SecretBits;
use product::Product;

/// Hashes `key` to `length` bits with the Toeplitz matrix of `seed`:
/// `out_j = sum_i t_(i-j+length-1) x_i` over GF(2), `t` the expansion of `seed`.
///
/// # Panics
/// If `length` is above the key's: the finite-key length never is.
pub fn amplify(key: VerifiedKey, seed: [u8; 32], length: usize) -> SecretKey {
    let input = key.bits.expose();
    assert!(length <= input.len(), "amplification never lengthens a key");
    let product = Product { level: Level::best(), block: block_for(input.len()) };
    SecretKey::amplified(SecretBits::new(toeplitz(&product, input, seed, length)))
}

fn toeplitz(product: &Product, input: &BitString, seed: [u8; 32], length: usize) -> BitString {
    if length == 0 {
        return BitString::default();
    }
    BitString::from_words(product.toeplitz(input.words(), input.len(), seed, length), length)
}

/// Bits of a block for a key of `bits`: a thirty-second, at which the transforms and the sums of
/// products cost about the same (measured from 2^16 to 2^26 bits; half or twice that differ by 17 % at most).
/// One method serves all sizes: for short keys it is 500 Mbit/s too.
fn block_for(bits: usize) -> usize {
    (bits.next_power_of_two() / 32).clamp(product::SHORTEST, 1 << 21)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto;
    use crate::entropy::{Entropy as _, SeededEntropy};
    use proptest::prelude::*;

    fn expand(seed: [u8; 32], bits: usize) -> BitString {
        let mut bytes = vec![0; bits.div_ceil(8)];
        SeededEntropy::new(seed).fill(&mut bytes);
        BitString::from_bytes(&bytes, bits)
    }

    /// The definition, bit by bit.
    fn schoolbook(input: &BitString, seed: [u8; 32], length: usize) -> BitString {
        let diagonals = expand(seed, (input.len() + length).saturating_sub(1));
        let term = |i: usize, j: usize| input.get(i) && diagonals.get(i + length - 1 - j);
        (0..length).map(|j| (0..input.len()).filter(|&i| term(i, j)).count() & 1 == 1).collect()
    }

    fn agrees(bits: usize, length: usize, block: usize, seed: u8) {
        let input = expand([seed; 32], bits);
        let expected = schoolbook(&input, [!seed; 32], length);
        for level in Level::available() {
            let found = toeplitz(&Product { level, block }, &input, [!seed; 32], length);
            assert!(found == expected, "{level:?}: {bits} bits to {length} in blocks of {block}");
        }
    }

    #[test]
    fn the_fast_form_is_the_plain_one_at_the_edges() {
        for bits in [1, 2, 63, 64, 65, 1023, 1024, 1025, 2048, 3071, 4096, 4097] {
            for length in [0, 1, bits / 2, bits - 1, bits] {
                agrees(bits, length, product::SHORTEST, 3);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn the_fast_form_is_the_plain_one(bits in 1..9000usize, part in 0.0..1.0f64, seed in any::<u8>(), log in 0..3) {
            agrees(bits, (bits as f64 * part) as usize, product::SHORTEST << log, seed);
        }
    }

    /// Digests of the definition, from whole numbers and the ChaCha20 of other software.
    #[test]
    fn known_answers() {
        for (bits, length, expected) in [(1 << 18, 1 << 17, "b4b2c2177b5ae5f2"), (200_003, 70_001, "e59bcb70799aa3c5")]
        {
            let input = expand([5; 32], bits);
            for level in Level::available() {
                let out = toeplitz(&Product { level, block: block_for(bits) }, &input, [9; 32], length);
                let digest = crypto::sha256(&[&out.to_bytes()]);
                let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(hex, expected, "{level:?} {bits} bits");
            }
        }
    }
}
