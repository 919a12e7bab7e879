//! What is known of one pass: its blocks are cut in halves, and every part's parity of differences
//! is known. In: the parity of a part's left half, bits that were corrected. Out: the parts that
//! still hold an odd number of differences. Always: a part has `2^size` bits and begins at a multiple
//! of that, so a part is cut exactly if a part begins at its middle; a parity that follows from known
//! ones is never asked again.

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

/// Of 64 bits of the frame: which are first of a part, and of which of these parts the parity is odd.
#[derive(Clone, Copy, Default)]
struct Firsts {
    of_parts: u64,
    of_odd: u64,
}

/// The known parts of one pass.
pub(super) struct Tree {
    log: u32,
    block: u32,
    firsts: Vec<Firsts>,
    /// Number of odd parts that can be cut.
    open: u32,
    /// The odd parts since the last question, and some that are even again or stand here twice.
    queue: Vec<Part>,
    /// Parts whose left half's parity is asked for.
    asked: Vec<Part>,
}

impl Tree {
    /// Blocks of `2^block` bits over a frame of `2^log`, none odd.
    pub(super) fn new(log: u32, block: u32) -> Self {
        let mut firsts = vec![Firsts::default(); 1 << (log - 6)];
        // Small blocks begin every few bits of each word, large ones every few words.
        let of_parts = (0..64).step_by(1 << block.min(6)).fold(0, |bits, first| bits | 1 << first);
        firsts.iter_mut().step_by(1 << block.saturating_sub(6)).for_each(|word| word.of_parts = of_parts);
        Self { log, block, firsts, open: 0, queue: Vec::new(), asked: Vec::new() }
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u32 {
        1 << (self.log - self.block)
    }

    /// Takes that a whole block's parity of differences is odd.
    pub(super) fn learn_odd_block(&mut self, block: u32) {
        let part = Part { first: block << self.block, size: self.block };
        self.firsts[(part.first >> 6) as usize].of_odd |= 1 << (part.first & 63);
        self.open += 1;
        self.queue.push(part);
    }

    /// True if a part is odd.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Asks for the left half of every odd part: `each` gets its first bit and its length.
    pub(super) fn ask(&mut self, mut each: impl FnMut(u32, u32)) {
        std::mem::swap(&mut self.queue, &mut self.asked);
        let mut count = 0;
        for at in 0..self.asked.len() {
            let part = self.asked[at];
            let word = &mut self.firsts[(part.first >> 6) as usize];
            let odd = word.of_odd >> (part.first & 63) & 1;
            // No longer known to be odd, so that it is not asked for twice.
            word.of_odd &= !(1 << (part.first & 63));
            // Without a branch: whether it is odd still cannot be predicted.
            self.asked[count] = part;
            count += odd as usize;
        }
        self.asked.truncate(count);
        for part in &self.asked {
            let middle = part.middle();
            self.firsts[(middle >> 6) as usize].of_parts |= 1 << (middle & 63);
            each(part.first, 1 << (part.size - 1));
        }
    }

    /// Takes the parities of what was asked; `found` gets the places of single differences.
    pub(super) fn learn(&mut self, mut odd: impl FnMut() -> bool, mut found: impl FnMut(u32)) {
        for part in self.asked.drain(..) {
            let right = u32::from(!odd()) << (part.size - 1);
            let half = Part { first: part.first + right, size: part.size - 1 };
            self.firsts[(half.first >> 6) as usize].of_odd |= 1 << (half.first & 63);
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
        self.firsts[(i >> 6) as usize].of_odd >> (i & 63) & 1 == 1
    }

    /// Bit `i` was corrected: its part changes its parity.
    pub(super) fn flip(&mut self, i: u32) {
        let part = self.part_of(i);
        let word = &mut self.firsts[(part.first >> 6) as usize];
        word.of_odd ^= 1 << (part.first & 63);
        // A single bit turns odd only if the other end contradicts itself.
        if part.size > 0 {
            let odd = (word.of_odd >> (part.first & 63) & 1) as u32;
            self.open = self.open + 2 * odd - 1;
            self.queue.push(part);
        }
    }

    fn part_of(&self, i: u32) -> Part {
        let mut size = self.block;
        while size > 6 {
            let part = Part { first: i >> size << size, size };
            let middle = part.middle();
            if self.firsts[(middle >> 6) as usize].of_parts & 1 == 0 {
                return part;
            }
            size -= 1;
        }
        // Within a word: the last that begins not after the bit, up to the next or to the word's end.
        let (firsts, bit) = (self.firsts[(i >> 6) as usize].of_parts, i & 63);
        let before = (firsts << (63 - bit)).leading_zeros();
        let after = (firsts >> bit >> 1 | 1 << (63 - bit)).trailing_zeros();
        Part { first: i - before, size: (before + after + 1).trailing_zeros() }
    }
}
