//! The orders in which the passes read a frame, and the random subsets of the checks. In: a public
//! seed. Out: places and words. Always: public, drawn after the photons are gone, and shared by all
//! frames of one size: errors do not depend on them.
//!
//! An order has two stages, each of which moves whole words: words go to random slots, each turned
//! by a random number of places; every 64 slots are transposed as a square of bits; the rows go to
//! random places. One stage alone leaves two blocks that share a word of the next pass sharing many:
//! four differences in such a rectangle hide from both passes. Putting a frame in order costs some
//! ten thousand instructions.

use crate::entropy::SeededEntropy;
use zeroize::Zeroizing;

/// One pass' order of a frame of `2^log` bits, at least 2^12.
pub(super) struct Order([Stage; 2]);

impl Order {
    /// Draws an order.
    pub(super) fn draw(log: u32, entropy: &mut SeededEntropy) -> Self {
        Self(std::array::from_fn(|_| Stage::draw(log, entropy)))
    }

    /// Where bit `x` of the frame is in the pass.
    pub(super) fn place_of(&self, x: u32) -> u32 {
        self.0[1].place_of(self.0[0].place_of(x))
    }

    /// Which bit of the frame is at place `i` of the pass.
    pub(super) fn bit_at(&self, i: u32) -> u32 {
        self.0[0].bit_at(self.0[1].bit_at(i))
    }

    /// The frame in the pass' order.
    pub(super) fn arrange(&self, frame: &[u64]) -> Zeroizing<Vec<u64>> {
        self.0[1].arrange(&self.0[0].arrange(frame))
    }
}

/// A stage of an order.
struct Stage {
    /// Of a word: its slot in the squares.
    slot: Vec<u16>,
    /// Of a word: how far it is turned left.
    turn: Vec<u8>,
    /// Of a square's row: its word in the pass.
    place: Vec<u16>,
    /// The way back of `slot` and `place`.
    from_slot: Vec<u16>,
    from_place: Vec<u16>,
}

impl Stage {
    fn draw(log: u32, entropy: &mut SeededEntropy) -> Self {
        let words = 1 << (log - 6);
        let (slot, place) = (shuffled(words, entropy), shuffled(words, entropy));
        let turn = (0..words).map(|_| (entropy.next_u64() & 63) as u8).collect();
        Self { from_slot: inverse(&slot), from_place: inverse(&place), slot, turn, place }
    }

    fn place_of(&self, x: u32) -> u32 {
        let word = (x >> 6) as usize;
        let slot = u32::from(self.slot[word]);
        let row = (slot & !63) | ((x + u32::from(self.turn[word])) & 63);
        u32::from(self.place[row as usize]) << 6 | (slot & 63)
    }

    fn bit_at(&self, i: u32) -> u32 {
        let row = u32::from(self.from_place[(i >> 6) as usize]);
        let word = u32::from(self.from_slot[((row & !63) | (i & 63)) as usize]);
        word << 6 | (row.wrapping_sub(u32::from(self.turn[word as usize])) & 63)
    }

    fn arrange(&self, frame: &[u64]) -> Zeroizing<Vec<u64>> {
        let mut arranged = Zeroizing::new(vec![0; frame.len()]);
        let mut square = Zeroizing::new([0; 64]);
        for first in (0..frame.len()).step_by(64) {
            for (row, word) in square.iter_mut().zip(&self.from_slot[first..]) {
                let word = usize::from(*word);
                *row = frame[word].rotate_left(u32::from(self.turn[word]));
            }
            transpose(&mut square);
            for (row, place) in square.iter().zip(&self.place[first..]) {
                arranged[usize::from(*place)] = *row;
            }
        }
        arranged
    }
}

/// Transposes a square of 64 by 64 bits: halves are swapped, then quarters, and so on.
fn transpose(square: &mut [u64; 64]) {
    let mut mask = u64::MAX >> 32;
    let mut width = 32;
    while width > 0 {
        for pair in square.chunks_exact_mut(2 * width) {
            let (low, high) = pair.split_at_mut(width);
            for (a, b) in low.iter_mut().zip(high) {
                let swap = ((*a >> width) ^ *b) & mask;
                *a ^= swap << width;
                *b ^= swap;
            }
        }
        width /= 2;
        mask ^= mask << width;
    }
}

/// The numbers below `count`, in random order (Fisher and Yates).
fn shuffled(count: usize, entropy: &mut SeededEntropy) -> Vec<u16> {
    let mut numbers: Vec<u16> = (0..count).map(|number| number as u16).collect();
    for last in (1..count).rev() {
        numbers.swap(last, entropy.below(last as u64 + 1) as usize);
    }
    numbers
}

fn inverse(numbers: &[u16]) -> Vec<u16> {
    let mut inverse = vec![0; numbers.len()];
    for (at, number) in numbers.iter().enumerate() {
        inverse[usize::from(*number)] = at as u16;
    }
    inverse
}

/// What all frames of one size share: the orders of the later passes and the subsets of the checks.
pub(super) struct Plan {
    /// The frame's size, as a power of two.
    pub(super) log: u32,
    /// Sizes of the passes' top blocks, as powers of two.
    pub(super) blocks: [u32; PASSES],
    orders: [Order; PASSES - 1],
    subsets: Vec<Vec<u64>>,
    entropy: SeededEntropy,
}

/// Passes over a frame before the checks.
pub(super) const PASSES: usize = 3;

impl Plan {
    /// The plan of frames of `2^log` bits, of this seed.
    pub(super) fn new(log: u32, first_block: u32, seed: [u8; 32]) -> Self {
        let mut seed = seed;
        seed[31] ^= log as u8;
        let mut entropy = SeededEntropy::new(seed);
        let orders = std::array::from_fn(|_| Order::draw(log, &mut entropy));
        let blocks = std::array::from_fn(|pass| (first_block + 3 * pass as u32).min(log - 1));
        Self { log, blocks, orders, subsets: Vec::new(), entropy }
    }

    /// Where bit `x` of the frame is in a pass.
    pub(super) fn place_of(&self, pass: usize, x: u32) -> u32 {
        pass.checked_sub(1).map_or(x, |later| self.orders[later].place_of(x))
    }

    /// Which bit of the frame is at place `i` of a pass.
    pub(super) fn bit_at(&self, pass: usize, i: u32) -> u32 {
        pass.checked_sub(1).map_or(i, |later| self.orders[later].bit_at(i))
    }

    /// The frame in a pass' order.
    pub(super) fn arrange(&self, pass: usize, frame: Zeroizing<Vec<u64>>) -> Zeroizing<Vec<u64>> {
        match pass.checked_sub(1) {
            None => frame,
            Some(later) => self.orders[later].arrange(&frame),
        }
    }

    /// Draws the subsets of the first `count` checks, if they are not there yet.
    pub(super) fn draw_subsets(&mut self, count: usize) {
        while self.subsets.len() < count {
            let words = 0..1 << (self.log - 6);
            self.subsets.push(words.map(|_| self.entropy.next_u64()).collect());
        }
    }

    /// The subset of a check that was drawn.
    pub(super) fn subset(&self, check: usize) -> &[u64] {
        &self.subsets[check]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::BitString;

    #[test]
    fn an_order_is_a_permutation_and_arranges_as_it_says() {
        for log in [12, 14, 16] {
            let mut entropy = SeededEntropy::from_number(u64::from(log));
            let order = Order::draw(log, &mut entropy);
            let frame: Vec<u64> = (0..1 << (log - 6)).map(|_| entropy.next_u64()).collect();
            let arranged = BitString::from_words(order.arrange(&frame).to_vec(), 1 << log);
            let frame = BitString::from_words(frame, 1 << log);
            for x in 0..1 << log {
                let i = order.place_of(x);
                assert_eq!(order.bit_at(i), x);
                assert_eq!(arranged.get(i as usize), frame.get(x as usize));
            }
        }
    }
}
