//! A register of field elements. In: eight elements at most. Out: sums and products lane by lane.
//! Always: constant time. The plain twin is one `u64`; the wide forms are in `x86`.

use super::ROW;

/// What the kernels need of a register.
pub(super) trait Lanes: Copy {
    /// A register of products that are not reduced yet: they add up without carry.
    type Wide: Copy;
    /// Elements in a register; it divides [`ROW`].
    const COUNT: usize;

    /// The first elements of `from`.
    fn load(from: &[u64]) -> Self;
    /// Writes to the front of `to`.
    fn store(self, to: &mut [u64]);
    /// One element in all lanes.
    fn splat(element: u64) -> Self;
    /// The sum.
    fn add(self, other: Self) -> Self;
    /// No product yet.
    fn nothing() -> Self::Wide;
    /// `sum + a * b`.
    fn multiply_add(sum: Self::Wide, a: Self, b: Self) -> Self::Wide;
    /// The sum as elements.
    fn reduce(sum: Self::Wide) -> Self;

    /// The product.
    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        Self::reduce(Self::multiply_add(Self::nothing(), self, other))
    }

    /// Swaps rows and columns.
    #[inline(always)]
    fn transpose(rows: &mut [[u64; ROW]; ROW]) {
        let old = *rows;
        for (i, row) in rows.iter_mut().enumerate() {
            row.iter_mut().zip(&old).for_each(|(place, column)| *place = column[i]);
        }
    }
}

impl Lanes for u64 {
    type Wide = u128;
    const COUNT: usize = 1;

    #[inline(always)]
    fn load(from: &[u64]) -> Self {
        from[0]
    }

    #[inline(always)]
    fn store(self, to: &mut [u64]) {
        to[0] = self;
    }

    #[inline(always)]
    fn splat(element: u64) -> Self {
        element
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self ^ other
    }

    #[inline(always)]
    fn nothing() -> u128 {
        0
    }

    #[inline(always)]
    fn multiply_add(sum: u128, a: Self, b: Self) -> u128 {
        sum ^ carry_less(a, b)
    }

    #[inline(always)]
    fn reduce(sum: u128) -> Self {
        reduce(sum)
    }
}

/// Every fifth bit: at most 13 products meet in one place, and 13 needs four bits.
const FIFTH: u128 = 0x1084_2108_4210_8421_0842_1084_2108_4210_u128 >> 4 | 1 << 125;

/// The carry-less product, from whole-number products of bits with room for carries between them.
#[inline(never)]
pub(super) const fn carry_less(a: u64, b: u64) -> u128 {
    let mut product = 0;
    let mut residue = 0;
    while residue < 5 {
        let mut sum = 0;
        let mut i = 0;
        while i < 5 {
            let part = a as u128 & FIFTH << i;
            let other = b as u128 & FIFTH << ((residue + 5 - i) % 5);
            sum ^= part.wrapping_mul(other);
            i += 1;
        }
        product |= sum & FIFTH << residue;
        residue += 1;
    }
    product
}

/// The remainder by x^64 + x^4 + x^3 + x + 1.
#[inline]
pub(super) const fn reduce(product: u128) -> u64 {
    let (low, high) = (product as u64, (product >> 64) as u64);
    let over = high >> 63 ^ high >> 61 ^ high >> 60;
    let high = high ^ over;
    low ^ high ^ high << 1 ^ high << 3 ^ high << 4
}
