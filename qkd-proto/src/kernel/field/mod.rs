//! Products of many polynomials over GF(2), by an additive Fourier transform. In: blocks of bits, 32
//! to a coefficient. Out: spectra, sums of products of spectra, and the sums' bits. Always: every
//! level gives the same numbers, in time that does not depend on them.
//!
//! Coefficients lie in GF(2^64) = GF(2)\[x\] / (x^64 + x^4 + x^3 + x + 1): a product of two of 32
//! bits does not wrap. Lin, Chung and Han (FOCS 2014) evaluate a polynomial on a subspace with
//! `n log n / 2` products, given in the basis that [`basis`] makes; over a Cantor basis (Gao and
//! Mateer 2010) that change of basis takes exclusive ors only.

pub mod basis;
mod cantor;
mod lanes;
mod transform;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Level;

/// Points of one row of a spectrum: what one wide register holds.
pub const ROW: usize = 8;

/// The shortest transform: its last six steps are one.
pub const SHORTEST: usize = transform::GROUP;

/// A kernel of all levels from its form in `transform`.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*)) => {
        $(#[$doc])*
        pub fn $name(level: Level, $($argument: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                use core::arch::x86_64::{__m128i, __m512i};
                #[target_feature(enable = "avx2,pclmulqdq")]
                fn avx2($($argument: $kind),*) {
                    transform::$name::<__m128i>($($argument),*);
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vpclmulqdq")]
                fn avx512($($argument: $kind),*) {
                    transform::$name::<__m512i>($($argument),*);
                }
                match level.min(Level::best()) {
                    Level::Scalar => {}
                    // SAFETY: `best` found these features.
                    Level::Avx2 => return unsafe { avx2($($argument),*) },
                    // SAFETY: as above.
                    Level::Avx512 => return unsafe { avx512($($argument),*) },
                }
            }
            let _ = level;
            transform::$name::<u64>($($argument),*);
        }
    };
}

kernel! {
    /// Coefficients in the new basis become values at `data.len()` points, in an order of its own.
    ///
    /// # Panics
    /// If the length is not a power of two from [`SHORTEST`] to 2^24: the caller's bug.
    forward(data: &mut [u64])
}

kernel! {
    /// The inverse of [`forward`].
    ///
    /// # Panics
    /// As [`forward`].
    inverse(data: &mut [u64])
}

kernel! {
    /// `sums[k] = sum over i of left[i] * right[left.len() - 1 + k - i]`, lane by lane.
    ///
    /// # Panics
    /// If `right` is shorter than `left` and `sums` together, less one: the caller's bug.
    convolve(left: &[[u64; ROW]], right: &[[u64; ROW]], sums: &mut [[u64; ROW]])
}

#[cfg(test)]
mod tests {
    use super::cantor::{BASIS, multiply};
    use super::*;
    use crate::entropy::SeededEntropy;

    fn numbers(seed: u64, count: usize) -> Vec<u64> {
        let mut coins = SeededEntropy::from_number(seed);
        (0..count).map(|_| coins.next_u64()).collect()
    }

    /// The value at `point`, by Horner's rule.
    fn value(coefficients: &[u64], point: u64) -> u64 {
        coefficients.iter().rev().fold(0, |sum, coefficient| multiply(sum, point) ^ coefficient)
    }

    #[test]
    fn a_transform_gives_the_values_at_the_points_of_the_subspace() {
        for log in 6..=8 {
            let coefficients = numbers(log, 1 << log);
            let mut data = coefficients.clone();
            basis::to_novel(&mut data);
            forward(Level::Scalar, &mut data);
            for index in 0..1_usize << log {
                let point = (0..64).filter(|bit| index >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit]);
                // Each group of 64 lies transposed.
                let place = (index & !63) | (index % 8 * 8) | (index / 8 % 8);
                assert_eq!(data[place], value(&coefficients, point), "2^{log} point {index}");
            }
        }
    }

    #[test]
    fn every_level_transforms_alike_and_back() {
        for log in 6..=14 {
            let coefficients = numbers(100 + log, 1 << log);
            let mut expected = coefficients.clone();
            forward(Level::Scalar, &mut expected);
            for level in Level::available() {
                let mut data = coefficients.clone();
                forward(level, &mut data);
                assert!(data == expected, "{level:?} forward 2^{log}");
                inverse(level, &mut data);
                assert!(data == coefficients, "{level:?} back 2^{log}");
            }
        }
    }

    #[test]
    fn every_level_convolves_like_the_definition() {
        let rows = |seed, count| numbers(seed, count * ROW).as_chunks::<ROW>().0.to_vec();
        for (many, sums) in [(1, 1), (1, 4), (2, 1), (3, 5), (9, 2), (16, 17)] {
            let (left, right) = (rows(1, many), rows(2, many + sums - 1));
            let term = |k: usize, i: usize, lane: usize| multiply(left[i][lane], right[many - 1 + k - i][lane]);
            let sum = |k, lane| (0..many).fold(0, |sum, i| sum ^ term(k, i, lane));
            let expected: Vec<[u64; ROW]> = (0..sums).map(|k| std::array::from_fn(|lane| sum(k, lane))).collect();
            for level in Level::available() {
                let mut out = vec![[0; ROW]; sums];
                convolve(level, &left, &right, &mut out);
                assert!(out == expected, "{level:?} {many} by {sums}");
            }
        }
    }
}
