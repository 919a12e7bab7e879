//! Inner loops of polar codes: decoding on signed bytes and packed bits. In: values of a node, its
//! two halves one after the other, and bits, one per value. Out: values and bits of its children.
//! Always: work is done in blocks of [`BLOCK`] values, so a node of fewer values computes some that
//! nobody reads, and its buffers must have room for them.

use super::Level;

/// Values worked on at once, and bits of a word.
pub const BLOCK: usize = 64;
/// Largest magnitude of a value: two of them add up within a byte.
pub const LIMIT: i8 = 31;
/// Magnitudes that differ by less than this have their check value lowered by one.
pub const CLOSE: u8 = 2;

/// The value of a check node: the smaller magnitude with the product of the signs, less one where
/// the magnitudes are close and so the plain minimum is too sure.
#[inline(always)]
pub fn check_value(a: i8, b: i8) -> i8 {
    let (x, y) = (a.unsigned_abs(), b.unsigned_abs());
    let low = x.min(y);
    let low = low.saturating_sub(u8::from(x.max(y) - low < CLOSE)) as i8;
    if (a ^ b) < 0 { -low } else { low }
}

/// The value of a variable node, whose other half had this bit.
#[inline(always)]
pub fn sum_value(a: i8, b: i8, bit: bool) -> i8 {
    (b + if bit { -a } else { a }).clamp(-LIMIT, LIMIT)
}

/// Check values of a node of `2 * half` values.
///
/// # Panics
/// If `node` has less than `half`, and `out` less than no, whole blocks behind its start: the
/// caller's bug.
pub fn checks(level: Level, node: &[i8], half: usize, out: &mut [i8]) {
    let (blocks, low, high) = halves(node, half);
    let out = &mut out[..blocks];
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::checks_avx512(low, high, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::checks_avx2(low, high, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_checks(low, high, out);
}

/// Sums of a node of `2 * half` values, whose first half had these bits.
///
/// # Panics
/// As [`checks`], and if there are fewer words than blocks.
pub fn sums(level: Level, node: &[i8], half: usize, bits: &[u64], out: &mut [i8]) {
    let (blocks, low, high) = halves(node, half);
    let (bits, out) = (&bits[..blocks / BLOCK], &mut out[..blocks]);
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::sums_avx512(low, high, bits, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::sums_avx2(low, high, bits, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_sums(low, high, bits, out);
}

/// The bits that the values say: one for a negative value.
///
/// # Panics
/// If there are fewer values than 64 a word: the caller's bug.
pub fn signs(level: Level, values: &[i8], out: &mut [u64]) {
    let values = &values[..out.len() * BLOCK];
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::signs_avx512(values, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::signs_avx2(values, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_signs(values, out);
}

/// Values of a channel: `magnitude`, negative for a one.
///
/// # Panics
/// If there are fewer values than 64 a word: the caller's bug.
pub fn spread(level: Level, bits: &[u64], magnitude: i8, out: &mut [i8]) {
    let out = &mut out[..bits.len() * BLOCK];
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::spread_avx512(bits, magnitude, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::spread_avx2(bits, magnitude, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_spread(bits, magnitude, out);
}

/// Sums of a channel's values: those of the first half, with their decided bits taken off, and those
/// of the second.
///
/// # Panics
/// If there are not as many words in both, or fewer values than 64 a word: the caller's bug.
pub fn spread_sums(level: Level, low: &[u64], high: &[u64], magnitude: i8, out: &mut [i8]) {
    assert_eq!(low.len(), high.len(), "two halves");
    let out = &mut out[..low.len() * BLOCK];
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::spread_sums_avx512(low, high, magnitude, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::spread_sums_avx2(low, high, magnitude, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_spread_sums(low, high, magnitude, out);
}

/// The polar transform in natural order, its own inverse, of 64 bits or a power of two more.
pub fn transform(level: Level, words: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::transform_avx512(words) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::transform_avx2(words) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_transform(words);
}

/// Interleaves the bits of two halves: bit `i` of the first goes to `2 i`, of the second to
/// `2 i + 1`.
///
/// # Panics
/// If `out` is not as long as `words`, or that is odd: the caller's bug.
pub fn interleave(level: Level, words: &[u64], out: &mut [u64]) {
    let (first, second) = words.split_at(words.len() / 2);
    assert!(first.len() == second.len() && out.len() == words.len(), "two halves");
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::interleave_avx512(first, second, out) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::interleave_avx2(first, second, out) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_interleave(first, second, out);
}

/// Undoes [`interleave`].
///
/// # Panics
/// As [`interleave`].
pub fn separate(level: Level, words: &[u64], out: &mut [u64]) {
    assert!(out.len() == words.len() && words.len().is_multiple_of(2), "two halves");
    let (first, second) = out.split_at_mut(words.len() / 2);
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is only made for a processor that has its features.
        Level::Avx512 => return unsafe { x86::separate_avx512(words, first, second) },
        // SAFETY: as above.
        Level::Avx2 => return unsafe { x86::separate_avx2(words, first, second) },
        Level::Scalar => {}
    }
    let _ = level;
    plain_separate(words, first, second);
}

/// Whole blocks of both halves of a node, and how many values they are.
fn halves(node: &[i8], half: usize) -> (usize, &[i8], &[i8]) {
    let blocks = half.next_multiple_of(BLOCK);
    (blocks, &node[..blocks], &node[half..half + blocks])
}

#[inline(always)]
fn plain_checks(low: &[i8], high: &[i8], out: &mut [i8]) {
    for ((out, &a), &b) in out.iter_mut().zip(low).zip(high) {
        *out = check_value(a, b);
    }
}

#[inline(always)]
fn plain_sums(low: &[i8], high: &[i8], bits: &[u64], out: &mut [i8]) {
    let pairs = low.chunks_exact(BLOCK).zip(high.chunks_exact(BLOCK));
    for ((out, (low, high)), &word) in out.chunks_exact_mut(BLOCK).zip(pairs).zip(bits) {
        for (i, ((out, &a), &b)) in out.iter_mut().zip(low).zip(high).enumerate() {
            *out = sum_value(a, b, word >> i & 1 == 1);
        }
    }
}

#[inline(always)]
fn plain_signs(values: &[i8], out: &mut [u64]) {
    for (out, block) in out.iter_mut().zip(values.chunks_exact(BLOCK)) {
        *out = block.iter().enumerate().fold(0, |word, (i, &value)| word | u64::from(value < 0) << i);
    }
}

#[inline(always)]
fn plain_spread(bits: &[u64], magnitude: i8, out: &mut [i8]) {
    for (block, &word) in out.chunks_exact_mut(BLOCK).zip(bits) {
        for (i, out) in block.iter_mut().enumerate() {
            *out = if word >> i & 1 == 1 { -magnitude } else { magnitude };
        }
    }
}

#[inline(always)]
fn plain_spread_sums(low: &[u64], high: &[u64], magnitude: i8, out: &mut [i8]) {
    for (block, (&low, &high)) in out.chunks_exact_mut(BLOCK).zip(low.iter().zip(high)) {
        for (i, out) in block.iter_mut().enumerate() {
            let value = |word: u64| if word >> i & 1 == 1 { -magnitude } else { magnitude };
            *out = value(low) + value(high);
        }
    }
}

/// Bits of a word whose index has a zero in this place.
const EVEN: [u64; 6] = [
    0x5555_5555_5555_5555,
    0x3333_3333_3333_3333,
    0x0f0f_0f0f_0f0f_0f0f,
    0x00ff_00ff_00ff_00ff,
    0x0000_ffff_0000_ffff,
    0x0000_0000_ffff_ffff,
];

#[inline(always)]
fn plain_transform(words: &mut [u64]) {
    for word in words.iter_mut() {
        for (i, mask) in EVEN.iter().enumerate() {
            *word ^= *word >> (1 << i) & mask;
        }
    }
    // Pieces that the first cache holds are finished before the next ones are touched.
    const PIECE: usize = 1 << 11;
    for piece in words.chunks_mut(PIECE) {
        butterflies(piece, 1);
    }
    butterflies(words, PIECE);
}

#[inline(always)]
fn butterflies(words: &mut [u64], first: usize) {
    let mut half = first;
    while half < words.len() {
        for pair in words.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(&*high).for_each(|(a, b)| *a ^= b);
        }
        half *= 2;
    }
}

/// Moves bit `i` of the low half to `2 i`.
#[inline(always)]
fn widen(word: u64) -> u64 {
    (0..5).rev().fold(word & EVEN[5], |word, i| (word | word << (1 << i)) & EVEN[i])
}

/// Undoes [`widen`], of the even bits.
#[inline(always)]
fn narrow(word: u64) -> u64 {
    (0..5).fold(word & EVEN[0], |word, i| (word | word >> (1 << i)) & EVEN[i + 1])
}

#[inline(always)]
fn plain_interleave(first: &[u64], second: &[u64], out: &mut [u64]) {
    for ((pair, &a), &b) in out.chunks_exact_mut(2).zip(first).zip(second) {
        pair[0] = widen(a) | widen(b) << 1;
        pair[1] = widen(a >> 32) | widen(b >> 32) << 1;
    }
}

#[inline(always)]
fn plain_separate(words: &[u64], first: &mut [u64], second: &mut [u64]) {
    for ((pair, a), b) in words.chunks_exact(2).zip(first).zip(second) {
        *a = narrow(pair[0]) | narrow(pair[1]) << 32;
        *b = narrow(pair[0] >> 1) | narrow(pair[1] >> 1) << 32;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512i, _mm512_abs_epi8, _mm512_add_epi8, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_mask_sub_epi8,
        _mm512_mask_subs_epu8, _mm512_max_epi8, _mm512_max_epu8, _mm512_min_epi8, _mm512_min_epu8, _mm512_movepi8_mask,
        _mm512_set1_epi8, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_sub_epi8, _mm512_xor_si512,
    };

    use super::{BLOCK, CLOSE, LIMIT};

    /// Compiles a plain loop for a level.
    macro_rules! compiled {
        ($name:ident, $features:literal, $plain:ident, $($argument:ident: $kind:ty),*) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name($($argument: $kind),*) {
                super::$plain($($argument),*);
            }
        };
    }

    compiled!(checks_avx2, "avx2", plain_checks, low: &[i8], high: &[i8], out: &mut [i8]);
    compiled!(sums_avx2, "avx2", plain_sums, low: &[i8], high: &[i8], bits: &[u64], out: &mut [i8]);
    compiled!(signs_avx2, "avx2", plain_signs, values: &[i8], out: &mut [u64]);
    compiled!(spread_avx2, "avx2", plain_spread, bits: &[u64], magnitude: i8, out: &mut [i8]);
    compiled!(spread_sums_avx2, "avx2", plain_spread_sums, low: &[u64], high: &[u64], magnitude: i8, out: &mut [i8]);
    compiled!(transform_avx2, "avx2", plain_transform, words: &mut [u64]);
    compiled!(interleave_avx2, "avx2", plain_interleave, first: &[u64], second: &[u64], out: &mut [u64]);
    compiled!(separate_avx2, "avx2", plain_separate, words: &[u64], first: &mut [u64], second: &mut [u64]);
    compiled!(transform_avx512, "avx512f,avx512bw", plain_transform, words: &mut [u64]);
    compiled!(interleave_avx512, "avx512f,avx512bw", plain_interleave, first: &[u64], second: &[u64], out: &mut [u64]);
    compiled!(separate_avx512, "avx512f,avx512bw", plain_separate, words: &[u64], first: &mut [u64], second: &mut [u64]);

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(block: &[i8; BLOCK]) -> __m512i {
        // SAFETY: the array has the 64 bytes that are read.
        unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn store(block: &mut [i8; BLOCK], value: __m512i) {
        // SAFETY: the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(block.as_mut_ptr().cast(), value) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn checks_avx512(low: &[i8], high: &[i8], out: &mut [i8]) {
        let (one, close) = (_mm512_set1_epi8(1), _mm512_set1_epi8(CLOSE as i8));
        let pairs = low.as_chunks::<BLOCK>().0.iter().zip(high.as_chunks::<BLOCK>().0);
        for (out, (a, b)) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(pairs) {
            let (a, b) = (load(a), load(b));
            let (x, y) = (_mm512_abs_epi8(a), _mm512_abs_epi8(b));
            let least = _mm512_min_epu8(x, y);
            let near = _mm512_cmplt_epu8_mask(_mm512_sub_epi8(_mm512_max_epu8(x, y), least), close);
            let value = _mm512_mask_subs_epu8(least, near, least, one);
            let negative = _mm512_movepi8_mask(_mm512_xor_si512(a, b));
            store(out, _mm512_mask_sub_epi8(value, negative, _mm512_setzero_si512(), value));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn sums_avx512(low: &[i8], high: &[i8], bits: &[u64], out: &mut [i8]) {
        let (most, least) = (_mm512_set1_epi8(LIMIT), _mm512_set1_epi8(-LIMIT));
        let pairs = low.as_chunks::<BLOCK>().0.iter().zip(high.as_chunks::<BLOCK>().0);
        for ((out, (a, b)), &word) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(pairs).zip(bits) {
            let (a, b) = (load(a), load(b));
            let sum = _mm512_mask_sub_epi8(_mm512_add_epi8(a, b), word, b, a);
            store(out, _mm512_max_epi8(_mm512_min_epi8(sum, most), least));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn signs_avx512(values: &[i8], out: &mut [u64]) {
        for (out, block) in out.iter_mut().zip(values.as_chunks::<BLOCK>().0) {
            *out = _mm512_movepi8_mask(load(block));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn spread_avx512(bits: &[u64], magnitude: i8, out: &mut [i8]) {
        let value = _mm512_set1_epi8(magnitude);
        for (out, &word) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(bits) {
            store(out, _mm512_mask_sub_epi8(value, word, _mm512_setzero_si512(), value));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn spread_sums_avx512(low: &[u64], high: &[u64], magnitude: i8, out: &mut [i8]) {
        let value = _mm512_set1_epi8(magnitude);
        let signed = |word: u64| _mm512_mask_sub_epi8(value, word, _mm512_setzero_si512(), value);
        for (out, (&low, &high)) in out.as_chunks_mut::<BLOCK>().0.iter_mut().zip(low.iter().zip(high)) {
            store(out, _mm512_add_epi8(signed(low), signed(high)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(seed: u64, count: usize) -> Vec<i8> {
        let mut coins = crate::entropy::SeededEntropy::from_number(seed);
        (0..count).map(|_| (coins.below(63) as i8) - LIMIT).collect()
    }

    fn words(seed: u64, count: usize) -> Vec<u64> {
        let mut coins = crate::entropy::SeededEntropy::from_number(seed);
        (0..count).map(|_| coins.next_u64()).collect()
    }

    proptest! {
        #[test]
        fn every_level_gives_the_bytes_of_the_scalar_twin(seed: u64, half in 1_usize..300, magnitude in 1_i8..20) {
            let room = half.next_multiple_of(BLOCK);
            let (node, bits) = (values(seed, half + room), words(seed, room / BLOCK));
            for level in Level::available() {
                let mut out = vec![0; room];
                checks(level, &node, half, &mut out);
                prop_assert!((0..half).all(|i| out[i] == check_value(node[i], node[half + i])));
                sums(level, &node, half, &bits, &mut out);
                let bit = |i: usize| bits[i / 64] >> (i % 64) & 1 == 1;
                prop_assert!((0..half).all(|i| out[i] == sum_value(node[i], node[half + i], bit(i))));
                spread(level, &bits, magnitude, &mut out);
                let channel = |i: usize| if bit(i) { -magnitude } else { magnitude };
                prop_assert!((0..half).all(|i| out[i] == channel(i)));
                let other = words(!seed, bits.len());
                let (mut first, mut second) = (out.clone(), out.clone());
                spread(level, &bits, magnitude, &mut first);
                spread_sums(level, &bits, &other, magnitude, &mut second);
                let value = |i: usize| if other[i / 64] >> (i % 64) & 1 == 1 { -magnitude } else { magnitude };
                prop_assert!((0..half).all(|i| second[i] == first[i] + value(i)));
                let mut back = vec![0; bits.len()];
                signs(level, &out, &mut back);
                prop_assert_eq!(&back, &bits);
            }
        }

        #[test]
        fn the_transform_is_its_own_inverse_and_the_kronecker_power(seed: u64, log in 0_u32..8) {
            let given = words(seed, 1 << log);
            let mut expected = given.clone();
            plain_transform(&mut expected);
            for level in Level::available() {
                let mut out = given.clone();
                transform(level, &mut out);
                prop_assert_eq!(&out, &expected);
                transform(level, &mut out);
                prop_assert_eq!(&out, &given);
            }
            // Output 0 is the sum of all inputs, the last output is the last input.
            prop_assert_eq!(expected[0] & 1, u64::from(given.iter().fold(0, |sum, word| sum ^ word).count_ones() % 2));
            prop_assert_eq!(expected[given.len() - 1] >> 63, given[given.len() - 1] >> 63);
        }

        #[test]
        fn interleaving_puts_each_bit_in_its_place_and_back(seed: u64, pairs in 1_usize..40) {
            let given = words(seed, 2 * pairs);
            let bit = |words: &[u64], i: usize| words[i / 64] >> (i % 64) & 1;
            for level in Level::available() {
                let (mut out, mut back) = (vec![0; 2 * pairs], vec![0; 2 * pairs]);
                interleave(level, &given, &mut out);
                for i in 0..64 * pairs {
                    prop_assert_eq!(bit(&out, 2 * i), bit(&given, i));
                    prop_assert_eq!(bit(&out, 2 * i + 1), bit(&given, 64 * pairs + i));
                }
                separate(level, &out, &mut back);
                prop_assert_eq!(&back, &given);
            }
        }
    }

    #[test]
    fn close_magnitudes_are_trusted_less() {
        assert_eq!(check_value(6, 6), 5);
        assert_eq!(check_value(-6, 7), -5);
        assert_eq!(check_value(-6, -8), 6);
        assert_eq!(check_value(0, -1), 0);
        assert_eq!(sum_value(30, 10, false), LIMIT);
        assert_eq!(sum_value(30, 10, true), -20);
    }
}
