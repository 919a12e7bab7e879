//! GF(2^64) and its Cantor basis, in plain numbers. In: elements. Out: products, and the twiddles of
//! the transform. Always: products take no secret index and no secret branch.

use super::lanes::{carry_less, reduce};

/// `b_0 = 1`, `b_i^2 + b_i = b_(i-1)`: the first `2^k` of them span GF(2^(2^k)).
pub(super) const BASIS: [u64; 64] = basis();

/// `TWIDDLES[i][byte]` is the sum of `b_(8i + j + 1)` over the bits `j` of `byte`.
static TWIDDLES: [[u64; 256]; 3] = [twiddles(1), twiddles(9), twiddles(17)];

/// The product in the field.
pub(super) const fn multiply(a: u64, b: u64) -> u64 {
    reduce(carry_less(a, b))
}

/// The value that the transform's block `index` multiplies by: the same for all block lengths, since
/// over a Cantor basis `s_i(b_(i+j)) = b_j`.
#[inline(always)]
pub(super) fn twiddle(index: usize) -> u64 {
    TWIDDLES[0][index & 255] ^ TWIDDLES[1][index >> 8 & 255] ^ TWIDDLES[2][index >> 16 & 255]
}

/// From an element of trace 1 downwards: its trace comes out last.
const fn basis() -> [u64; 64] {
    let mut basis = [0; 64];
    basis[63] = 1 << 61;
    let mut i = 63;
    while i > 0 {
        basis[i - 1] = multiply(basis[i], basis[i]) ^ basis[i];
        i -= 1;
    }
    assert!(basis[0] == 1, "x^61 has trace 1");
    basis
}

const fn twiddles(first: usize) -> [u64; 256] {
    let mut sums = [0; 256];
    let mut byte = 1;
    while byte < 256_usize {
        let low = byte.trailing_zeros() as usize;
        sums[byte] = sums[byte & (byte - 1)] ^ BASIS[first + low];
        byte += 1;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shift and add.
    fn schoolbook(a: u64, b: u64) -> u64 {
        let times_x = |a: u64| (a << 1) ^ ((a >> 63) * 0x1b);
        (0..64).rev().fold(0, |sum, bit| times_x(sum) ^ ((b >> bit & 1) * a))
    }

    #[test]
    fn the_basis_is_cantors() {
        assert_eq!(BASIS[0], 1);
        assert!((1..64).all(|i| multiply(BASIS[i], BASIS[i]) ^ BASIS[i] == BASIS[i - 1]));
    }

    #[test]
    fn full_words_carry_nothing() {
        assert_eq!(carry_less(u64::MAX, u64::MAX), 0x5555_5555_5555_5555_5555_5555_5555_5555);
        assert_eq!(multiply(u64::MAX, u64::MAX), schoolbook(u64::MAX, u64::MAX));
    }

    proptest! {
        #[test]
        fn it_is_a_field(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            prop_assert_eq!(multiply(a, b), schoolbook(a, b));
            prop_assert_eq!(multiply(a, b), multiply(b, a));
            prop_assert_eq!(multiply(multiply(a, b), c), multiply(a, multiply(b, c)));
            prop_assert_eq!(multiply(a, b ^ c), multiply(a, b) ^ multiply(a, c));
            prop_assert_eq!(multiply(a, 1), a);
            // a^(2^64 - 1) = 1: squares of a^(2^i - 1), times a.
            let power = (0..63).fold(a, |power, _| multiply(multiply(power, power), a));
            prop_assert_eq!(power, u64::from(a != 0));
        }

        #[test]
        fn twiddles_are_sums_of_the_basis(index in 0..1_usize << 24) {
            let sum = (0..24).filter(|bit| index >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit + 1]);
            prop_assert_eq!(twiddle(index), sum);
        }
    }
}
