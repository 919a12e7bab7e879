//! One check: the parity of a random subset of a frame, and the search when it differs. In: parities
//! of parts of the subset and of its complement. Out: which parts are odd. Always: both sides are
//! searched at once, since a frame whose passes are settled has an even number of differences; the
//! few parts known are kept, so that later corrections show here too.

/// A part: its node in the binary tree over the frame (root 1), and if it holds an odd number of
/// differences.
type Part = (u32, bool);

/// The known parts of one check.
pub(super) struct Check {
    log: u32,
    /// Of the subset, then of its complement.
    sides: [Vec<Part>; 2],
    asked: Vec<(usize, usize)>,
}

impl Check {
    /// A check whose subset has this parity of differences.
    pub(super) fn new(log: u32, odd: bool) -> Self {
        Self { log, sides: [vec![(1, odd)], vec![(1, odd)]], asked: Vec::new() }
    }

    /// True if a part is odd.
    pub(super) fn is_open(&self) -> bool {
        self.sides.iter().flatten().any(|(_, odd)| *odd)
    }

    /// True if no single bit is odd: once found it is corrected, unless the other end contradicts itself.
    pub(super) fn is_sound(&self) -> bool {
        self.sides.iter().flatten().all(|(node, odd)| !odd || node >> self.log == 0)
    }

    /// Asks for the left half of every odd part: `each` gets if it is of the subset itself, its
    /// first bit and its length.
    pub(super) fn ask(&mut self, mut each: impl FnMut(bool, u32, u32)) {
        for (side, parts) in self.sides.iter().enumerate() {
            for (at, (node, _)) in parts.iter().enumerate().filter(|(_, (node, odd))| *odd && node >> self.log == 0) {
                self.asked.push((side, at));
                each(
                    side == 0,
                    (node << (self.log - node.ilog2())) - (1 << self.log),
                    1 << (self.log - node.ilog2() - 1),
                );
            }
        }
    }

    /// Takes the parities of what was asked; `found` gets single differences.
    pub(super) fn learn(&mut self, mut odd: impl FnMut() -> bool, mut found: impl FnMut(u32)) {
        for (side, at) in std::mem::take(&mut self.asked) {
            let left = odd();
            let (node, _) = self.sides[side][at];
            self.sides[side][at] = (2 * node, left);
            self.sides[side].push((2 * node + 1, !left));
            if (2 * node) >> self.log != 0 {
                found(2 * node + u32::from(!left) - (1 << self.log));
            }
        }
    }

    /// Bit `x`, of the subset or not, was corrected: its part changes its parity.
    pub(super) fn flip(&mut self, inside: bool, x: u32) {
        let leaf = x + (1 << self.log);
        let holds = |node: u32| leaf >> (self.log - node.ilog2()) == node;
        if let Some((_, odd)) = self.sides[usize::from(!inside)].iter_mut().find(|(node, _)| holds(*node)) {
            *odd = !*odd;
        }
    }
}
