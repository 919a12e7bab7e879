//! What is known of one pass: its blocks are cut in halves, and every part's parity of differences
//! is known. In: the parity of a part's left half, bits that were corrected. Out: the parts that
//! still hold an odd number of differences. Always: a part is a node of the binary tree over the
//! frame (root 1, children 2v and 2v + 1, bit i is node 2^log + i); a parity that follows from known
//! ones is never asked again.

/// The known parts of one pass.
pub(super) struct Tree {
    log: u32,
    block: u32,
    /// Of a node: cut in halves.
    cut: Vec<u64>,
    /// Of a part's first bit: an odd number of differences.
    odd: Vec<u64>,
    /// Parts that became odd and were not asked for since; some may be even again.
    queue: Vec<u32>,
    /// Parts whose left half's parity is asked for.
    asked: Vec<u32>,
}

impl Tree {
    /// Blocks of `2^block` bits over a frame of `2^log`, none odd.
    pub(super) fn new(log: u32, block: u32) -> Self {
        let words = 1 << (log - 6);
        Self { log, block, cut: vec![0; words], odd: vec![0; words], queue: Vec::new(), asked: Vec::new() }
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> u32 {
        1 << (self.log - self.block)
    }

    /// Takes the parity of differences of a whole block.
    pub(super) fn learn_block(&mut self, block: u32, odd: bool) {
        if odd {
            let first = block << self.block;
            self.odd[(first >> 6) as usize] |= 1 << (first & 63);
            self.queue.push(self.blocks() + block);
        }
    }

    /// True if a part is odd.
    pub(super) fn is_open(&mut self) -> bool {
        while let Some(node) = self.queue.last() {
            if self.is_odd_part(*node) {
                return true;
            }
            self.queue.pop();
        }
        false
    }

    /// False if it turned even since it was queued, or was queued twice and cut.
    fn is_odd_part(&self, node: u32) -> bool {
        let (first, _) = self.span(node);
        self.cut[(node >> 6) as usize] >> (node & 63) & 1 == 0 && self.differs(first)
    }

    /// Asks for the left half of every odd part: `each` gets its first bit and its length.
    pub(super) fn ask(&mut self, mut each: impl FnMut(u32, u32)) {
        let mut queue = std::mem::take(&mut self.queue);
        for node in queue.drain(..) {
            if self.is_odd_part(node) {
                let (first, size) = self.span(node);
                self.cut[(node >> 6) as usize] |= 1 << (node & 63);
                self.asked.push(node);
                each(first, 1 << (size - 1));
            }
        }
        self.queue = queue;
    }

    /// Takes the parities of what was asked; `found` gets the places of single differences.
    pub(super) fn learn(&mut self, mut odd: impl FnMut() -> bool, mut found: impl FnMut(u32)) {
        let mut asked = std::mem::take(&mut self.asked);
        for node in asked.drain(..) {
            let left = odd();
            let (first, size) = self.span(node);
            let middle = first + (1 << (size - 1));
            self.odd[(first >> 6) as usize] ^= u64::from(!left) << (first & 63);
            self.odd[(middle >> 6) as usize] |= u64::from(!left) << (middle & 63);
            let child = 2 * node + u32::from(!left);
            if size == 1 { found(child - (1 << self.log)) } else { self.queue.push(child) }
        }
        self.asked = asked;
    }

    /// True if the part that begins at bit `i` is odd.
    pub(super) fn differs(&self, i: u32) -> bool {
        self.odd[(i >> 6) as usize] >> (i & 63) & 1 == 1
    }

    /// Bit `i` was corrected: its part changes its parity.
    pub(super) fn flip(&mut self, i: u32) {
        let node = self.part_of(i);
        let (first, size) = self.span(node);
        let (word, bit) = ((first >> 6) as usize, 1 << (first & 63));
        self.odd[word] ^= bit;
        // A single bit turns odd only if the other end contradicts itself.
        if size > 0 && self.odd[word] & bit != 0 {
            self.queue.push(node);
        }
    }

    fn part_of(&self, i: u32) -> u32 {
        let mut size = self.block;
        let mut node = (1 << (self.log - size)) + (i >> size);
        while size > 0 && self.cut[(node >> 6) as usize] >> (node & 63) & 1 == 1 {
            size -= 1;
            node = 2 * node + (i >> size & 1);
        }
        node
    }

    /// A node's first bit and the logarithm of its length.
    fn span(&self, node: u32) -> (u32, u32) {
        let depth = node.ilog2();
        let size = self.log - depth;
        ((node - (1 << depth)) << size, size)
    }
}
