//! The randomness of the emulated physics, many words at a time. In: a seed. Out: uniform words.
//! Always: the same seed gives the same words on every processor; the key is wiped when dropped.
//!
//! ChaCha with 8 rounds (see `kernel::stream`): an emulated link's photons are as secret as the
//! connection that carries them, and need no more than to be beyond statistics. What the protocol
//! itself draws (seeds of hashes, session keys) comes from `entropy`, never from here.

use zeroize::Zeroize;

use crate::kernel::stream::{self, LANES, WORDS};
use crate::kernel::{Level, arrivals};

/// A stream of uniform words.
pub(super) struct Coins {
    key: [u8; 32],
    level: Level,
    next_block: u64,
    buffer: [u64; WORDS],
    used: usize,
}

impl Coins {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, level: Level::best(), next_block: 0, buffer: [0; WORDS], used: WORDS }
    }

    /// What the processor can do, for kernels beside this one.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// One uniform word.
    pub(super) fn word(&mut self) -> u64 {
        if self.used == WORDS {
            self.used = 0;
            let mut buffer = self.buffer;
            self.next(&mut buffer);
            self.buffer = buffer;
        }
        self.used += 1;
        self.buffer[self.used - 1]
    }

    fn next(&mut self, out: &mut [u64; WORDS]) {
        stream::words(self.level, &self.key, self.next_block, out);
        self.next_block += LANES as u64;
    }

    /// At least `count` uniform words.
    pub(super) fn fill(&mut self, words: &mut Vec<u64>, count: usize) {
        words.resize(count.next_multiple_of(WORDS), 0);
        for chunk in words.as_chunks_mut::<WORDS>().0 {
            self.next(chunk);
        }
    }

    /// A gap of a process whose exponential law has this mean.
    pub(super) fn gap(&mut self, mean: f64) -> u64 {
        arrivals::gap(self.word(), mean)
    }

    pub(super) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed.as_chunks_mut::<8>().0.iter_mut().for_each(|bytes| *bytes = self.word().to_le_bytes());
        seed
    }
}

impl Drop for Coins {
    fn drop(&mut self) {
        self.key.zeroize();
        self.buffer.zeroize();
    }
}

/// A probability as the limit below which 31 uniform bits lie with it.
pub(super) fn limit(probability: f64) -> u64 {
    (probability.clamp(0.0, 1.0) * (1u64 << 31) as f64).round() as u64
}

/// The upper 31 bits of a word; the next 31, and two single bits below, are independent of them.
#[inline(always)]
pub(super) fn upper(word: u64) -> u64 {
    word >> 33
}

/// The middle 31 bits of a word.
#[inline(always)]
pub(super) fn middle(word: u64) -> u64 {
    word >> 2 & ((1 << 31) - 1)
}
