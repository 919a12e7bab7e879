//! Successive cancellation of several frames at once. In: a frozen set, and as many noisy words as
//! there are lanes, each of a code whose frozen inputs are zero. Out: the words of the code that the
//! decoder takes them for. Always: a frame's result does not depend on its lane or its neighbours.
//!
//! Value `i` of lane `l` stands at `i * lanes + l`, so that the two halves of a node are contiguous
//! down to the leaves and fill whole vectors; decided bits stand the same way, 64 to a word.

use zeroize::Zeroizing;

use super::density::MAGNITUDE;
use super::frozen::{FrozenSet, Subtree};
use crate::kernel::Level;
use crate::kernel::polar::{self, BLOCK};

/// Lanes of a batch at most, as a power of two.
pub(super) const LANES_LOG_MAX: u32 = 6;
/// Values of a node's buffer at least: half a block and a block behind it.
const NODE_MIN: usize = 2 * BLOCK;

/// The decoder's own memory, kept from batch to batch, wiped when dropped.
#[derive(Default)]
pub(super) struct Room {
    values: Vec<i8>,
    bits: Zeroizing<Vec<u64>>,
}

impl Drop for Room {
    fn drop(&mut self) {
        // `zeroize` writes byte by byte, which takes as long as decoding; `black_box` keeps the
        // plain fill from being left out as dead.
        self.values.fill(0);
        std::hint::black_box(&mut self.values);
    }
}

impl Room {
    /// Decodes `2^lanes_log` frames, one after the other in `words`, in place.
    pub(super) fn decode(&mut self, level: Level, set: &FrozenSet, lanes_log: u32, words: &mut [u64]) {
        let values = (0..set.log).map(|log| node_values(lanes_log + log)).sum();
        if self.values.len() < values || self.bits.len() < words.len() {
            // A new one, as growing would leave a copy behind.
            *self = Self { values: vec![0; values], bits: Zeroizing::new(vec![0; words.len()]) };
        }
        let spare = &mut self.bits[..words.len()];
        for _ in 0..lanes_log {
            polar::interleave(level, words, spare);
            words.copy_from_slice(spare);
        }
        let mut walk = Walk { level, rest: set.walk.iter() };
        walk.channel(words, &mut self.values, lanes_log + set.log, spare);
        words.copy_from_slice(spare);
        for _ in 0..lanes_log {
            polar::separate(level, words, spare);
            words.copy_from_slice(spare);
        }
    }
}

/// Values of the buffer of a node of `2^log` values, all lanes together.
fn node_values(log: u32) -> usize {
    NODE_MIN.max(1 << log)
}

/// The decoder on its way through the tree.
struct Walk<'a> {
    level: Level,
    rest: std::slice::Iter<'a, Subtree>,
}

impl Walk<'_> {
    fn next(&mut self) -> Subtree {
        self.rest.next().copied().unwrap_or(Subtree::Frozen)
    }

    /// Whether the next subtree is frozen; then it is passed.
    fn passes_frozen(&mut self) -> bool {
        let frozen = self.rest.as_slice().first() == Some(&Subtree::Frozen);
        if frozen {
            self.rest.next();
        }
        frozen
    }

    /// The root: its `2^log` values are the channel's, so bits are as good.
    fn channel(&mut self, words: &[u64], room: &mut [i8], log: u32, out: &mut [u64]) {
        let (low, high) = words.split_at(words.len() / 2);
        let (inner, room) = room.split_at_mut(node_values(log - 1));
        match self.next() {
            Subtree::Frozen => return out.fill(0),
            Subtree::Free => return out.copy_from_slice(words),
            Subtree::Split => {}
        }
        let (out_low, out_high) = out.split_at_mut(low.len());
        if self.passes_frozen() {
            out_low.fill(0);
        } else {
            out_high.iter_mut().zip(low).zip(high).for_each(|((sum, a), b)| *sum = a ^ b);
            polar::spread(self.level, out_high, polar::check_value(MAGNITUDE, MAGNITUDE), inner);
            self.half(inner, room, log - 1, out_low);
        }
        out_high.iter_mut().zip(low).zip(&*out_low).for_each(|((sum, a), bit)| *sum = a ^ bit);
        polar::spread_sums(self.level, out_high, high, MAGNITUDE, inner);
        self.half(inner, room, log - 1, out_high);
        out_low.iter_mut().zip(&*out_high).for_each(|(a, b)| *a ^= b);
    }

    /// A subtree of `2^log` values, more than a word of bits.
    fn large(&mut self, values: &[i8], room: &mut [i8], log: u32, out: &mut [u64]) {
        match self.next() {
            Subtree::Frozen => out.fill(0),
            Subtree::Free => polar::signs(self.level, values, out),
            Subtree::Split => {
                let half = 1 << (log - 1);
                let (inner, room) = room.split_at_mut(node_values(log - 1));
                let (low, high) = out.split_at_mut(half / BLOCK);
                if self.passes_frozen() {
                    low.fill(0);
                } else {
                    polar::checks(self.level, values, half, inner);
                    self.half(inner, room, log - 1, low);
                }
                polar::sums(self.level, values, half, low, inner);
                self.half(inner, room, log - 1, high);
                low.iter_mut().zip(&*high).for_each(|(a, b)| *a ^= b);
            }
        }
    }

    fn half(&mut self, values: &[i8], room: &mut [i8], log: u32, out: &mut [u64]) {
        if out.len() > 1 {
            self.large(values, room, log, out);
        } else {
            out[0] = self.small(values, room, log);
        }
    }

    /// A subtree of `2^log` values, a word of bits at most.
    fn small(&mut self, values: &[i8], room: &mut [i8], log: u32) -> u64 {
        let mut word = [0];
        match self.next() {
            Subtree::Frozen => 0,
            Subtree::Free => {
                polar::signs(self.level, values, &mut word);
                word[0] & u64::MAX >> (BLOCK - (1 << log))
            }
            Subtree::Split => {
                let half = 1 << (log - 1);
                let (inner, room) = room.split_at_mut(node_values(log - 1));
                if !self.passes_frozen() {
                    polar::checks(self.level, values, half, inner);
                    word[0] = self.small(inner, room, log - 1);
                }
                polar::sums(self.level, values, half, &word, inner);
                let high = self.small(inner, room, log - 1);
                word[0] ^ high | high << half
            }
        }
    }
}
