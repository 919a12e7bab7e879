//! One bit of each of many words, packed. In: words. Out: bits, first word lowest. Always: bits
//! beyond the last word are zero.

use super::Level;

/// Bit `bit` of every word.
pub fn plane(level: Level, words: &[u64], bit: u32) -> Vec<u64> {
    match level {
        // SAFETY: a level is only chosen where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { plane_avx512(words, bit) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { plane_avx2(words, bit) },
        _ => plain(words, bit),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn plane_avx512(words: &[u64], bit: u32) -> Vec<u64> {
    plain(words, bit)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn plane_avx2(words: &[u64], bit: u32) -> Vec<u64> {
    plain(words, bit)
}

#[inline(always)]
fn plain(words: &[u64], bit: u32) -> Vec<u64> {
    let mut out = vec![0; words.len().div_ceil(64)];
    let (whole, rest) = words.as_chunks::<64>();
    for (out, chunk) in out.iter_mut().zip(whole) {
        *out = pack(chunk, bit);
    }
    if !rest.is_empty() {
        out[whole.len()] = pack(rest, bit);
    }
    out
}

#[inline(always)]
fn pack(words: &[u64], bit: u32) -> u64 {
    let mut packed = 0;
    for (place, word) in words.iter().enumerate() {
        packed |= (word >> (bit & 63) & 1) << (place & 63);
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_level_gives_the_bits_one_by_one(words in proptest::collection::vec(any::<u64>(), 0..300), bit in 0..64u32) {
            for level in Level::available() {
                let packed = plane(level, &words, bit);
                prop_assert_eq!(packed.len(), words.len().div_ceil(64));
                for i in 0..packed.len() * 64 {
                    let expected = words.get(i).map_or(0, |word| word >> bit & 1);
                    prop_assert_eq!(packed[i / 64] >> (i % 64) & 1, expected);
                }
            }
        }
    }
}
