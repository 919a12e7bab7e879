//! Privacy amplification: an exact Toeplitz hash. In: a verified key, a seed, a length. Out: the
//! secret key. Always: the whole block is hashed at once (the finite-key terms are per block), and
//! the fast form gives the bits of the plain one.
//!
//! The Toeplitz matrix is expanded from 256 fresh bits by ChaCha20: this one step rests on a
//! computational assumption; the information-theoretic claim needs as many random bits as the
//! matrix has diagonals.

use realfft::RealFftPlanner;
use zeroize::{Zeroize, Zeroizing};

use super::key::{SecretKey, VerifiedKey};
use crate::bits::BitString;
use crate::entropy::{Entropy, SeededEntropy};
use crate::secret::SecretBits;

/// Hashes `key` to `length` bits with the Toeplitz matrix of `seed`.
///
/// # Panics
/// If `length` is above the key's: the finite-key length never is.
pub fn amplify(key: VerifiedKey, seed: [u8; 32], length: usize) -> SecretKey {
    let input = key.bits.expose();
    assert!(length <= input.len(), "amplification never lengthens a key");
    let diagonals = expand(seed, (input.len() + length).saturating_sub(1));
    SecretKey::amplified(SecretBits::new(toeplitz(input, &diagonals, length)))
}

fn expand(seed: [u8; 32], bits: usize) -> BitString {
    let mut bytes = vec![0; bits.div_ceil(8)];
    SeededEntropy::new(seed).fill(&mut bytes);
    BitString::from_bytes(&bytes, bits)
}

/// `out_j = sum_i t_(i-j+length-1) x_i` over GF(2), as one product of polynomials.
fn toeplitz(input: &BitString, diagonals: &BitString, length: usize) -> BitString {
    if length == 0 {
        return BitString::default();
    }
    let n = input.len();
    // Products beyond the cycle fall on places below `n - 1`, which are not read.
    let size = fft_size(n + length - 1);
    let reversed = (0..n).rev().map(|i| f64::from(u8::from(input.get(i))));
    let product = cyclic_product(reversed, diagonals.iter().map(|bit| f64::from(u8::from(bit))), size);
    // Room in advance: a string that grows would leave copies of the key behind.
    let mut out = BitString::with_capacity(length);
    (0..length).for_each(|j| out.push(parity(product[n + length - 2 - j])));
    out
}

/// Parity of a sum that the transforms gave back.
///
/// # Panics
/// If it is not near a whole number: sums up to 2^26 are exact to 1e-6, so this is our own fault.
fn parity(sum: f64) -> bool {
    let whole = sum.round();
    assert!((sum - whole).abs() < 0.25, "the transform is exact to a quarter");
    whole as u64 & 1 == 1
}

/// The smallest even one of 2^k and 3 * 2^k that holds `n`.
fn fft_size(n: usize) -> usize {
    let power = n.next_power_of_two().max(8);
    if power / 4 * 3 >= n { power / 4 * 3 } else { power }
}

fn cyclic_product(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>, size: usize) -> Zeroizing<Vec<f64>> {
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
    let spectrum = |values: &mut dyn Iterator<Item = f64>| {
        let mut input = Zeroizing::new(vec![0.0; size]);
        input.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        let mut output = forward.make_output_vec();
        forward.process(&mut input, &mut output).expect("the buffers have the plan's lengths");
        output
    };
    let (mut a, mut b) = (a, b);
    let mut product = spectrum(&mut a);
    let other = spectrum(&mut b);
    let scale = 1.0 / size as f64;
    product.iter_mut().zip(&other).for_each(|(a, b)| *a = *a * b * scale);
    // Rounding leaves traces in two places that are real by nature.
    product[0].im = 0.0;
    product[size / 2].im = 0.0;
    let mut out = Zeroizing::new(vec![0.0; size]);
    inverse.process(&mut product, &mut out).expect("the buffers have the plan's lengths");
    for value in &mut product {
        value.re.zeroize();
        value.im.zeroize();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, bit by bit.
    fn schoolbook(input: &BitString, diagonals: &BitString, length: usize) -> BitString {
        let term = |i: usize, j: usize| input.get(i) && diagonals.get(i + length - 1 - j);
        (0..length).map(|j| (0..input.len()).filter(|&i| term(i, j)).count() & 1 == 1).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_fast_form_is_the_plain_one(n in 1..900usize, part in 0.0..1.0f64, seed in any::<u64>()) {
            let length = 1 + ((n - 1) as f64 * part) as usize;
            let mut coins = SeededEntropy::from_number(seed);
            let input: BitString = (0..n).map(|_| coins.next_u64() & 1 == 1).collect();
            let diagonals: BitString = (0..n + length - 1).map(|_| coins.next_u64() & 1 == 1).collect();
            prop_assert_eq!(toeplitz(&input, &diagonals, length), schoolbook(&input, &diagonals, length));
        }
    }
}
