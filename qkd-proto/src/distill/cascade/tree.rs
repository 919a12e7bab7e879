//! One pass: own bits in its order, and what is known of their differences. Its blocks are cut in
//! halves, and every part's parity of differences is known. In: the parity of a part's left half, bits
//! that were corrected. Out: the parts that still hold an odd number of differences. Always: a part has
//! `2^size` bits and begins at a multiple of that, so a part is cut exactly if a part begins at its
//! middle; a parity that follows from known ones is never asked again.

use zeroize::Zeroize;

use super::parities;

/// A part: its first bit and the logarithm of its length.
#[derive(Clone, Copy, Default)]
struct Part {
    first: u32,
    size: u32,
}

impl Part {
    fn middle(self) -> u32 {
        self.first + (1 << (self.size - 1))
    }
}

/// All about 64 places, side by side: a visit to a frame waits for memory more than for anything else.
#[derive(Clone, Copy)]
struct Cell {
    bits: u64,
    /// Where parts begin.
    parts: u64,
    /// Of these, the odd ones.
    odd: u64,
}

/// The bits and the known parts of one pass.
pub(super) struct Tree {
    block: u32,
    cells: Vec<Cell>,
    /// Number of odd parts that can be cut.
    open: u32,
    /// The odd parts since the last question, and some that are even again or stand here twice.
    queue: Vec<Part>,
    /// Parts whose left half's parity is asked for.
    asked: Vec<Part>,
}

impl Tree {
    /// Blocks of `2^block` bits over a frame of `2^log`, none odd.
    pub(super) fn new(block: u32, bits: &[u64]) -> Self {
        // Small blocks begin every few bits of each word, large ones every few words.
        let parts = (0..64).step_by(1 << block.min(6)).fold(0, |parts, first| parts | 1 << first);
        let mut cells: Vec<Cell> = bits.iter().map(|bits| Cell { bits: *bits, parts: 0, odd: 0 }).collect();
        cells.iter_mut().step_by(1 << block.saturating_sub(6)).for_each(|cell| cell.parts = parts);
        Self { block, cells, open: 0, queue: Vec::new(), asked: Vec::new() }
    }

    /// Own bits, with all corrections.
    pub(super) fn bits(&self) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.cells.iter().map(|cell| cell.bits)
    }

    /// The parity of `len` own bits from the `first` on: a word's part, or whole words.
    fn parity(&self, first: u32, len: u32) -> bool {
        let word = (first >> 6) as usize;
        if len < 64 {
            return parities::of(self.cells[word].bits >> (first & 63) & ((1 << len) - 1));
        }
        parities::of(self.cells[word..word + (len >> 6) as usize].iter().fold(0, |sum, cell| sum ^ cell.bits))
    }

    /// The same over the bits that `subset` has, or has not.
    pub(super) fn parity_within(&self, subset: &[u64], inside: bool, first: u32, len: u32) -> bool {
        let turn = if inside { 0 } else { u64::MAX };
        let word = (first >> 6) as usize;
        if len < 64 {
            let picked = self.cells[word].bits & (subset[word] ^ turn);
            return parities::of(picked >> (first & 63) & ((1 << len) - 1));
        }
        let range = word..word + (len >> 6) as usize;
        let pairs = self.cells[range.clone()].iter().zip(&subset[range]);
        parities::of(pairs.fold(0, |sum, (cell, subset)| sum ^ (cell.bits & (subset ^ turn))))
    }

    /// Own parities of all blocks.
    pub(super) fn block_parities(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.blocks()).map(|block| self.parity(block << self.block, 1 << self.block))
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u32 {
        (self.cells.len() << 6 >> self.block) as u32
    }

    /// Takes that a whole block's parity of differences is odd.
    pub(super) fn learn_odd_block(&mut self, block: u32) {
        let part = Part { first: block << self.block, size: self.block };
        self.cells[(part.first >> 6) as usize].odd |= 1 << (part.first & 63);
        self.open += 1;
        self.queue.push(part);
    }

    /// True if a part is odd.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Asks for the left half of every odd part: `each` gets its first bit, its length and own parity.
    pub(super) fn ask(&mut self, mut each: impl FnMut(u32, u32, bool)) {
        std::mem::swap(&mut self.queue, &mut self.asked);
        let mut count = 0;
        for at in 0..self.asked.len() {
            let part = self.asked[at];
            let cell = &mut self.cells[(part.first >> 6) as usize];
            let odd = cell.odd >> (part.first & 63) & 1;
            // No longer known to be odd, so that it is not asked for twice.
            cell.odd &= !(1 << (part.first & 63));
            // Without a branch: whether it is odd still cannot be predicted.
            self.asked[count] = part;
            count += odd as usize;
        }
        self.asked.truncate(count);
        for part in &self.asked {
            let middle = part.middle();
            self.cells[(middle >> 6) as usize].parts |= 1 << (middle & 63);
            let len = 1 << (part.size - 1);
            each(part.first, len, self.parity(part.first, len));
        }
    }

    /// Takes the parities of what was asked; `found` gets the places of single differences.
    pub(super) fn learn(&mut self, mut odd: impl FnMut() -> bool, mut found: impl FnMut(u32)) {
        for part in self.asked.drain(..) {
            let right = u32::from(!odd()) << (part.size - 1);
            let half = Part { first: part.first + right, size: part.size - 1 };
            self.cells[(half.first >> 6) as usize].odd |= 1 << (half.first & 63);
            if half.size > 0 {
                self.queue.push(half);
            } else {
                self.open -= 1;
                found(half.first);
            }
        }
    }

    /// True if the part that begins at bit `i` is odd.
    pub(super) fn differs(&self, i: u32) -> bool {
        self.cells[(i >> 6) as usize].odd >> (i & 63) & 1 == 1
    }

    /// Bit `i` was corrected, at the other end or here (`own`): its part changes its parity.
    pub(super) fn flip(&mut self, i: u32, own: bool) {
        let part = self.part_of(i);
        self.cells[(i >> 6) as usize].bits ^= u64::from(own) << (i & 63);
        let cell = &mut self.cells[(part.first >> 6) as usize];
        cell.odd ^= 1 << (part.first & 63);
        // A single bit turns odd only if the other end contradicts itself.
        if part.size > 0 {
            let odd = (cell.odd >> (part.first & 63) & 1) as u32;
            self.open = self.open + 2 * odd - 1;
            self.queue.push(part);
        }
    }

    fn part_of(&self, i: u32) -> Part {
        let mut size = self.block;
        while size > 6 {
            let part = Part { first: i >> size << size, size };
            let middle = part.middle();
            if self.cells[(middle >> 6) as usize].parts & 1 == 0 {
                return part;
            }
            size -= 1;
        }
        // Within a word: the last that begins not after the bit, up to the next or to the word's end.
        let (parts, bit) = (self.cells[(i >> 6) as usize].parts, i & 63);
        let before = (parts << (63 - bit)).leading_zeros();
        let after = (parts >> bit >> 1 | 1 << (63 - bit)).trailing_zeros();
        Part { first: i - before, size: (before + after + 1).trailing_zeros() }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.cells.iter_mut().for_each(|cell| cell.bits.zeroize());
    }
}
