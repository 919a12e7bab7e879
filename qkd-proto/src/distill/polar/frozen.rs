//! The frozen set of a frame size and a rung. In: a ladder. Out: which inputs are told in public, and
//! the walk of the decoder through the tree above them. Always: public, the same at both ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::ladder;

/// Sets kept at most: of each size the first rung and the two that failed frames climb to, for one
/// block and the next.
const SETS_MAX: usize = 66;

/// What a subtree is, for the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subtree {
    /// All inputs are frozen (to zero, once the syndrome is taken off).
    Frozen,
    /// No input is frozen.
    Free,
    /// Both halves follow.
    Split,
}

/// Which inputs of the transform are told in public.
pub(super) struct FrozenSet {
    /// Bits of a frame, as a power of two.
    pub(super) log: u32,
    rung: u8,
    /// One = frozen.
    mask: Vec<u64>,
    /// Frozen inputs.
    count: usize,
    /// The tree from its root, each node before its halves, the first half before the second.
    pub(super) walk: Vec<Subtree>,
}

impl FrozenSet {
    /// The set of a frame size at a rung; the last [`SETS_MAX`] that were made are kept.
    pub(super) fn of(log: u32, rung: u8) -> Arc<Self> {
        static SETS: OnceLock<Mutex<VecDeque<Arc<FrozenSet>>>> = OnceLock::new();
        let mut sets = SETS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = sets.iter().find(|set| (set.log, set.rung) == (log, rung)) {
            return Arc::clone(set);
        }
        if sets.len() >= SETS_MAX {
            sets.pop_front();
        }
        let set = Arc::new(Self::make(log, rung));
        sets.push_back(Arc::clone(&set));
        set
    }

    fn make(log: u32, rung: u8) -> Self {
        let ladder = ladder::of(log);
        let word = |firsts: &[u8]| firsts.iter().rev().fold(0, |word, &first| word << 1 | u64::from(first <= rung));
        let mask: Vec<u64> = ladder.chunks(64).map(word).collect();
        let count = mask.iter().map(|word| word.count_ones() as usize).sum();
        let mut walk = Vec::new();
        plan(&ladder, rung, &mut walk);
        walk.shrink_to_fit();
        Self { log, rung, mask, count, walk }
    }

    /// Frozen inputs.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The frozen inputs, one = frozen.
    pub(super) fn mask(&self) -> &[u64] {
        &self.mask
    }

    /// Words of a frame.
    pub(super) fn words(&self) -> usize {
        self.mask.len()
    }
}

/// The walk through a subtree. Rungs grow from its first input to its last, as far as they bound it.
fn plan(ladder: &[u8], rung: u8, walk: &mut Vec<Subtree>) {
    if ladder[0] > rung {
        walk.push(Subtree::Free);
    } else if ladder[ladder.len() - 1] <= rung {
        walk.push(Subtree::Frozen);
    } else {
        walk.push(Subtree::Split);
        let (low, high) = ladder.split_at(ladder.len() / 2);
        plan(low, rung, walk);
        plan(high, rung, walk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_nested_and_the_walk_covers_them() {
        let mut lower = FrozenSet::of(12, 20);
        for rung in [24, 60, 61, 120] {
            let set = FrozenSet::of(12, rung);
            assert!(set.mask.iter().zip(&lower.mask).all(|(set, lower)| lower & !set == 0) && set.count > lower.count);
            let mut covered = Vec::new();
            cover(&mut set.walk.iter().copied(), 12, &mut covered);
            assert!(covered.iter().enumerate().all(|(i, &frozen)| (set.mask[i / 64] >> (i % 64) & 1 == 1) == frozen));
            assert_eq!(covered.len(), 1 << 12);
            lower = set;
        }
    }

    fn cover(walk: &mut impl Iterator<Item = Subtree>, depth: u32, covered: &mut Vec<bool>) {
        match walk.next().expect("a node") {
            Subtree::Split => (0..2).for_each(|_| cover(walk, depth - 1, covered)),
            whole => covered.extend(std::iter::repeat_n(whole == Subtree::Frozen, 1 << depth)),
        }
    }
}
