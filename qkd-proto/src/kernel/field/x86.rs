//! Registers of x86: two elements by PCLMULQDQ, eight by VPCLMULQDQ. In, out and always: as the
//! plain twin. The methods lack `target_feature` so that they can be a trait's; they are inlined
//! into the kernels of `mod.rs`, which have it and are entered behind the check of the processor.

use core::arch::x86_64::*;

use super::ROW;
use super::lanes::Lanes;

/// `nibble * 0x1b` for the four bits that a first reduction leaves over.
const OVER: [u8; 16] = {
    let mut table = [0; 16];
    let mut nibble = 0_u8;
    while nibble < 16 {
        // Bits 60 to 63 of the high half, times x^4 + x^3 + x + 1, beyond bit 63; times it again.
        let over = nibble ^ nibble >> 1 ^ nibble >> 3;
        table[nibble as usize] = over ^ over << 1 ^ over << 3 ^ over << 4;
        nibble += 1;
    }
    table
};

impl Lanes for __m128i {
    type Wide = [Self; 2];
    const COUNT: usize = 2;

    #[inline(always)]
    fn load(from: &[u64]) -> Self {
        let from = &from[..Self::COUNT];
        // SAFETY: the slice is as long as the register.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u64]) {
        let to = &mut to[..Self::COUNT];
        // SAFETY: the slice is as long as the register.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), self) }
    }

    #[inline(always)]
    fn splat(element: u64) -> Self {
        // SAFETY: any x86-64 has SSE2.
        unsafe { _mm_set1_epi64x(element.cast_signed()) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: any x86-64 has SSE2.
        unsafe { _mm_xor_si128(self, other) }
    }

    #[inline(always)]
    fn nothing() -> [Self; 2] {
        [Self::splat(0); 2]
    }

    #[inline(always)]
    fn multiply_add([even, odd]: [Self; 2], a: Self, b: Self) -> [Self; 2] {
        // SAFETY: only kernels with PCLMULQDQ use this register.
        unsafe { [even.add(_mm_clmulepi64_si128::<0x00>(a, b)), odd.add(_mm_clmulepi64_si128::<0x11>(a, b))] }
    }

    #[inline(always)]
    fn reduce([even, odd]: [Self; 2]) -> Self {
        // SAFETY: only kernels with AVX2 use this register; the table has its length.
        unsafe {
            let (low, high) = (_mm_unpacklo_epi64(even, odd), _mm_unpackhi_epi64(even, odd));
            let over = _mm_shuffle_epi8(_mm_loadu_si128(OVER.as_ptr().cast()), _mm_srli_epi64::<60>(high));
            // Times x + 1, then times x^3 + 1.
            let twice = high.add(_mm_slli_epi64::<1>(high));
            low.add(over).add(twice).add(_mm_slli_epi64::<3>(twice))
        }
    }
}

impl Lanes for __m512i {
    type Wide = [Self; 2];
    const COUNT: usize = 8;

    #[inline(always)]
    fn load(from: &[u64]) -> Self {
        let from = &from[..Self::COUNT];
        // SAFETY: the slice is as long as the register.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, to: &mut [u64]) {
        let to = &mut to[..Self::COUNT];
        // SAFETY: the slice is as long as the register.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self) }
    }

    #[inline(always)]
    fn splat(element: u64) -> Self {
        // SAFETY: only kernels with AVX-512 use this register.
        unsafe { _mm512_set1_epi64(element.cast_signed()) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: only kernels with AVX-512 use this register.
        unsafe { _mm512_xor_si512(self, other) }
    }

    #[inline(always)]
    fn nothing() -> [Self; 2] {
        [Self::splat(0); 2]
    }

    #[inline(always)]
    fn multiply_add([even, odd]: [Self; 2], a: Self, b: Self) -> [Self; 2] {
        // SAFETY: only kernels with VPCLMULQDQ use this register.
        unsafe { [even.add(_mm512_clmulepi64_epi128::<0x00>(a, b)), odd.add(_mm512_clmulepi64_epi128::<0x11>(a, b))] }
    }

    #[inline(always)]
    fn reduce([even, odd]: [Self; 2]) -> Self {
        // SAFETY: only kernels with AVX-512 use this register; the table has its length.
        unsafe {
            let (low, high) = (_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd));
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(OVER.as_ptr().cast()));
            let over = _mm512_shuffle_epi8(table, _mm512_srli_epi64::<60>(high));
            let twice = high.add(_mm512_slli_epi64::<1>(high));
            low.add(over).add(twice).add(_mm512_slli_epi64::<3>(twice))
        }
    }

    #[inline(always)]
    fn transpose(rows: &mut [[u64; ROW]; ROW]) {
        let mut r = rows.map(|row| Self::load(&row));
        // SAFETY: only kernels with AVX-512 use this register.
        unsafe {
            for i in [0, 2, 4, 6] {
                let (a, b) = (r[i], r[i + 1]);
                (r[i], r[i + 1]) = (_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
            }
            // Pairs of elements two rows apart, then four.
            let (front, back) =
                (_mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2));
            for i in [0, 1, 4, 5] {
                let (a, b) = (r[i], r[i + 2]);
                (r[i], r[i + 2]) = (_mm512_permutex2var_epi64(a, front, b), _mm512_permutex2var_epi64(a, back, b));
            }
            let (front, back) =
                (_mm512_set_epi64(11, 10, 9, 8, 3, 2, 1, 0), _mm512_set_epi64(15, 14, 13, 12, 7, 6, 5, 4));
            for i in 0..4 {
                let (a, b) = (r[i], r[i + 4]);
                (r[i], r[i + 4]) = (_mm512_permutex2var_epi64(a, front, b), _mm512_permutex2var_epi64(a, back, b));
            }
        }
        rows.iter_mut().zip(r).for_each(|(row, register)| register.store(row));
    }
}
