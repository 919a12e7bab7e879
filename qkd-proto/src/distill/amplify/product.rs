//! The Toeplitz hash as a product of polynomials over GF(2), cut into blocks. In: the key's words, the
//! diagonals, a block length. Out: the bits of the product that the hash keeps. Always: only those
//! are transformed back, and what depends on the key is wiped.
//!
//! With `x` in `left` blocks of `b` bits and the diagonals reversed, `out_j` is bit `left * b + j` of
//! the product. Blocks are transformed once each (`2 b` bits, so that products do not wrap); the
//! sums over pairs of blocks are formed on the spectra. Memory: `4 bytes * (2 n + length)` / 8 bits
//! for the spectra, 84 MB at `n = 2^26`, `length = n / 2`.

use zeroize::Zeroizing;

use super::diagonals::Diagonals;
use crate::kernel::Level;
use crate::kernel::field::{self, ROW, basis};

/// Bits of key in a coefficient of the transform: half of its field's.
const COEFFICIENT: usize = 32;

/// The shortest block in bits: half of the shortest transform.
pub(super) const SHORTEST: usize = field::SHORTEST / 2 * COEFFICIENT;

type Spectra = Zeroizing<Vec<[u64; ROW]>>;

/// A product's shape.
pub(super) struct Product {
    /// What the processor can do.
    pub(super) level: Level,
    /// Bits of a block: a power of two from [`SHORTEST`].
    pub(super) block: usize,
}

impl Product {
    /// The first `length` bits of the hash of `bits` bits, as words; the last word may hold more.
    pub(super) fn toeplitz(&self, words: &[u64], bits: usize, seed: [u8; 32], length: usize) -> Vec<u64> {
        let (left, kept) = (bits.div_ceil(self.block), length.div_ceil(self.block));
        let key = self.key_spectra(words, left);
        let mut sums = self.diagonal_spectra(seed, left, kept, kept * self.block - length);
        self.sum_products(&key, &mut sums, kept + 1);
        drop(key);
        self.bits_of(&mut sums, kept)
    }

    /// Rows of a spectrum.
    fn rows(&self) -> usize {
        2 * self.block / COEFFICIENT / ROW
    }

    fn key_spectra(&self, words: &[u64], left: usize) -> Spectra {
        let mut spectra = Zeroizing::new(vec![[0; ROW]; left * self.rows()]);
        let mut scratch = Zeroizing::new(vec![0; self.block / COEFFICIENT]);
        let blocks = words.chunks(self.block / 64);
        for (spectrum, block) in spectra.chunks_exact_mut(self.rows()).zip(blocks) {
            self.transform(block, &mut scratch, spectrum.as_flattened_mut());
        }
        spectra
    }

    /// The diagonals in the order of the product: the stream's first block is the last.
    fn diagonal_spectra(&self, seed: [u8; 32], left: usize, kept: usize, zeros: usize) -> Spectra {
        let mut spectra = Zeroizing::new(vec![[0; ROW]; (left + kept) * self.rows()]);
        let mut scratch = vec![0; self.block / COEFFICIENT];
        let mut diagonals = Diagonals::new(seed, zeros);
        let mut block = vec![0; self.block / 64];
        for spectrum in spectra.chunks_exact_mut(self.rows()).rev() {
            diagonals.next_reversed(&mut block);
            self.transform(&block, &mut scratch, spectrum.as_flattened_mut());
        }
        spectra
    }

    /// The spectrum of a block, which may be short. The transform's first step sees zeros in the upper
    /// half and the twiddle 0: it is a copy.
    fn transform(&self, block: &[u64], scratch: &mut [u32], spectrum: &mut [u64]) {
        scratch.fill(0);
        for (places, word) in scratch.as_chunks_mut::<2>().0.iter_mut().zip(block) {
            *places = [*word as u32, (*word >> 32) as u32];
        }
        basis::to_novel(scratch);
        spectrum.iter_mut().zip(scratch.iter()).for_each(|(place, word)| *place = u64::from(*word));
        field::forward(self.level, spectrum);
    }

    /// Replaces the first `count` of `right` by the sums that the hash needs, row by row: a row of all
    /// spectra stays in the nearest cache.
    fn sum_products(&self, left: &[[u64; ROW]], right: &mut [[u64; ROW]], count: usize) {
        let rows = self.rows();
        let mut near_left = Zeroizing::new(vec![[0; ROW]; left.len() / rows]);
        let mut near_right = vec![[0; ROW]; right.len() / rows];
        let mut sums = Zeroizing::new(vec![[0; ROW]; count]);
        for row in 0..rows {
            near_left.iter_mut().zip(left[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
            near_right.iter_mut().zip(right[row..].iter().step_by(rows)).for_each(|(to, from)| *to = *from);
            field::convolve(self.level, &near_left, &near_right, &mut sums);
            right[row..].iter_mut().step_by(rows).zip(sums.iter()).for_each(|(to, from)| *to = *from);
        }
    }

    /// Turns `kept + 1` sums back; each gives its low half and the upper half of the one before.
    fn bits_of(&self, sums: &mut [[u64; ROW]], kept: usize) -> Vec<u64> {
        let half = self.block / COEFFICIENT;
        // Room in advance: a vector that grows would leave copies of the key behind.
        let mut out = Vec::with_capacity(kept * self.block / 64);
        let mut upper = Zeroizing::new(vec![0; half]);
        let mut over = 0;
        for (i, sum) in sums.chunks_exact_mut(self.rows()).take(kept + 1).enumerate() {
            let sum = sum.as_flattened_mut();
            field::inverse(self.level, sum);
            basis::to_powers(sum);
            if i > 0 {
                let coefficients = sum.iter().zip(upper.iter()).map(|(low, upper)| low ^ upper);
                over = fold(coefficients, over, &mut out);
            } else {
                over = sum[half - 1] >> COEFFICIENT;
            }
            upper.copy_from_slice(&sum[half..]);
        }
        out
    }
}

/// Coefficients overlap by half: appends their sum's bits, gives what hangs over.
fn fold(mut coefficients: impl Iterator<Item = u64>, mut over: u64, out: &mut Vec<u64>) -> u64 {
    while let (Some(a), Some(b)) = (coefficients.next(), coefficients.next()) {
        out.push(a ^ over ^ b << COEFFICIENT);
        over = b >> COEFFICIENT;
    }
    over
}
