//! How a key is reconciled: its frames, their rungs, and how many frames go through the decoder at
//! once. In: a key's length and its design. Out: numbers that both ends find alike. Always: the rung
//! of a frame only climbs, and only [`QUESTIONS_MAX`] times.

use std::ops::Range;
use std::sync::Arc;

use super::decode::LANES_LOG_MAX;
use super::frozen::FrozenSet;
use super::ladder;
use crate::distill::reconcile;
use crate::quantity::Qber;

/// Times that the receiver may ask for more frozen bits.
pub(super) const QUESTIONS_MAX: usize = 2;
/// Values of a batch, all lanes together, as a power of two: more fall out of the caches. A single
/// frame may have more.
const BATCH_LOG_MAX: u32 = 22;

/// The plan of one key.
pub(super) struct Plan {
    /// Sizes of the frames as powers of two, the largest first.
    pub(super) sizes: Vec<u32>,
    /// First rung.
    rung: u8,
}

impl Plan {
    /// The plan of a key of `bits` bits.
    pub(super) fn of(bits: usize, qber: Qber) -> Self {
        Self { sizes: reconcile::frames(bits), rung: ladder::rung(qber.ratio()) }
    }

    /// Words of frame `i` in the key.
    pub(super) fn words(&self, i: usize) -> Range<usize> {
        let words = |log: &u32| (1 << log) / 64;
        let start = self.sizes[..i].iter().map(words).sum();
        start..start + words(&self.sizes[i])
    }

    /// The frozen set of a frame size after so many questions.
    pub(super) fn set(&self, log: u32, questions: usize) -> Arc<FrozenSet> {
        let rung = self.rung + climb(log, questions);
        FrozenSet::of(log, rung.min(ladder::RUNGS - 1))
    }

    /// Bits that a frame has told after so many questions, without its filter.
    pub(super) fn frozen(&self, log: u32, questions: usize) -> usize {
        self.set(log, questions).count()
    }
}

/// Rungs that a frame climbs by this many questions. Large frames lie closer to the limit and fail in
/// a smaller span of error rates; the second question is for keys that err more than their design.
fn climb(log: u32, questions: usize) -> u8 {
    let first = match log {
        ..14 => 8,
        14..16 => 6,
        16..18 => 4,
        18..20 => 3,
        _ => 2,
    };
    match questions {
        0 => 0,
        1 => first,
        _ => 3 * first + 4,
    }
}

/// Lanes, as a power of two, of the next batch of `frames` frames of `2^log` bits.
pub(super) fn lanes_log(frames: usize, log: u32) -> u32 {
    frames.max(1).ilog2().min(LANES_LOG_MAX).min(BATCH_LOG_MAX.saturating_sub(log))
}
