//! Uniform words for the emulated physics: ChaCha with 8 rounds, 16 blocks side by side. In: a key
//! and block numbers. Out: words. Always: the same words on every processor. Not for secrets of the
//! protocol: 8 rounds are beyond any statistical test and known attack (Aumasson 2019, "Too much
//! crypto"), which is all that emulated photons need; they are as secret as the wire they travel.

use super::Level;

/// Words of one call of [`words`]: 16 blocks of 8.
pub const WORDS: usize = 128;
/// Blocks side by side.
pub const LANES: usize = 16;

/// The words of blocks `first` to `first + 15`: half `b` of the words from `8 r` on is number `r` of
/// block `b`.
pub fn words(level: Level, key: &[u8; 32], first: u64, out: &mut [u64; WORDS]) {
    let mut numbers = [0; LANES];
    for (number, lane) in numbers.iter_mut().zip(0..) {
        *number = first.wrapping_add(lane);
    }
    blocks(level, key, &numbers, out);
}

/// One word of block `lane`, from what [`blocks`] gave.
pub fn word_of(out: &[u64; WORDS], lane: usize) -> u64 {
    let half = |row: usize| out[8 * row + lane / 2] >> (32 * (lane % 2)) & 0xffff_ffff;
    half(1) << 32 | half(0)
}

/// The words of any 16 blocks, in the same order.
pub fn blocks(level: Level, key: &[u8; 32], numbers: &[u64; LANES], out: &mut [u64; WORDS]) {
    match level {
        // SAFETY: a level is only chosen where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { blocks_avx512(key, numbers, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { blocks_avx2(key, numbers, out) },
        _ => plain(key, numbers, out),
    }
}

/// One register a row: the compiler, left alone, takes two and spills them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn blocks_avx512(key: &[u8; 32], numbers: &[u64; LANES], out: &mut [u64; WORDS]) {
    use std::arch::x86_64::{__m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_xor_si512};
    macro_rules! quarter {
        ($rows:ident, $a:expr, $b:expr, $c:expr, $d:expr) => {
            quarter!(@step $rows, $a, $b, $d, 16);
            quarter!(@step $rows, $c, $d, $b, 12);
            quarter!(@step $rows, $a, $b, $d, 8);
            quarter!(@step $rows, $c, $d, $b, 7);
        };
        (@step $rows:ident, $to:expr, $from:expr, $turned:expr, $by:literal) => {
            $rows[$to] = _mm512_add_epi32($rows[$to], $rows[$from]);
            $rows[$turned] = _mm512_rol_epi32::<$by>(_mm512_xor_si512($rows[$turned], $rows[$to]));
        };
    }
    // SAFETY: both are 1024 plain bytes; any bit pattern is valid.
    let start: [__m512i; 16] = unsafe { std::mem::transmute(start(key, numbers)) };
    let mut rows = start;
    for _ in 0..4 {
        quarter!(rows, 0, 4, 8, 12);
        quarter!(rows, 1, 5, 9, 13);
        quarter!(rows, 2, 6, 10, 14);
        quarter!(rows, 3, 7, 11, 15);
        quarter!(rows, 0, 5, 10, 15);
        quarter!(rows, 1, 6, 11, 12);
        quarter!(rows, 2, 7, 8, 13);
        quarter!(rows, 3, 4, 9, 14);
    }
    for (row, start) in rows.iter_mut().zip(start) {
        *row = _mm512_add_epi32(*row, start);
    }
    // SAFETY: as above.
    *out = unsafe { std::mem::transmute::<[__m512i; 16], [u64; WORDS]>(rows) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn blocks_avx2(key: &[u8; 32], numbers: &[u64; LANES], out: &mut [u64; WORDS]) {
    plain(key, numbers, out);
}

type Row = [u32; LANES];

#[inline(always)]
fn plain(key: &[u8; 32], numbers: &[u64; LANES], out: &mut [u64; WORDS]) {
    let start = start(key, numbers);
    let mut rows = start;
    for _ in 0..4 {
        for column in 0..4 {
            quarter(&mut rows, [column, 4 + column, 8 + column, 12 + column]);
        }
        for column in 0..4 {
            quarter(&mut rows, [column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4]);
        }
    }
    for ((row, start), out) in rows.iter().zip(&start).zip(out.as_chunks_mut::<8>().0) {
        let sum = |lane: usize| u64::from(row[lane].wrapping_add(start[lane]));
        for (half, out) in out.iter_mut().enumerate() {
            *out = sum(2 * half + 1) << 32 | sum(2 * half);
        }
    }
}

#[inline(always)]
fn start(key: &[u8; 32], numbers: &[u64; LANES]) -> [Row; 16] {
    let mut rows = [[0; LANES]; 16];
    for (row, word) in rows.iter_mut().zip(b"expand 32-byte k".as_chunks::<4>().0) {
        *row = [u32::from_le_bytes(*word); LANES];
    }
    for (row, word) in rows[4..].iter_mut().zip(key.as_chunks::<4>().0) {
        *row = [u32::from_le_bytes(*word); LANES];
    }
    for lane in 0..LANES {
        rows[12][lane] = numbers[lane] as u32;
        rows[13][lane] = (numbers[lane] >> 32) as u32;
    }
    rows
}

#[inline(always)]
fn quarter(rows: &mut [Row; 16], [a, b, c, d]: [usize; 4]) {
    for (to, from, turned, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        let added = rows[from];
        rows[to].iter_mut().zip(added).for_each(|(to, from)| *to = to.wrapping_add(from));
        let mixed = rows[to];
        rows[turned].iter_mut().zip(mixed).for_each(|(turned, to)| *turned = (*turned ^ to).rotate_left(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha8Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    #[test]
    fn every_level_gives_chacha8() {
        let key = std::array::from_fn(|i| i as u8 * 7);
        let mut stream = ChaCha8Rng::from_seed(key);
        let expected: Vec<u64> = (0..WORDS).map(|_| stream.next_u64()).collect();
        for level in Level::available() {
            let mut out = [0; WORDS];
            words(level, &key, 0, &mut out);
            let half = |row: usize, lane: usize| out[8 * row + lane / 2] >> (32 * (lane % 2)) & 0xffff_ffff;
            let word = |i: usize| half(2 * (i % 8) + 1, i / 8) << 32 | half(2 * (i % 8), i / 8);
            assert_eq!((0..WORDS).map(word).collect::<Vec<_>>(), expected, "{level:?}");
            assert!((0..LANES).all(|lane| word_of(&out, lane) == word(8 * lane)));
        }
    }
}
