//! A key is cut into frames. In: a number of bits. Out: where each frame lies, and the kept frames
//! joined again. Always: frames are powers of two, the largest first; what is left over, below 2^12
//! bits, is dropped.

use std::ops::Range;

use super::super::abort::AbortReason;
use super::super::key::ReconciledKey;
use crate::bits::BitString;
use crate::secret::SecretBits;

/// Largest and smallest frame, as powers of two.
const LOGS: std::ops::RangeInclusive<u32> = 12..=16;

/// Where a frame lies in the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    first_word: usize,
    /// The frame has `2^log` bits.
    pub(super) log: u32,
}

impl Place {
    /// Its words in the key.
    pub(super) fn range(&self) -> Range<usize> {
        self.first_word..self.first_word + self.words()
    }

    /// Number of its words.
    pub(super) fn words(&self) -> usize {
        1 << (self.log - 6)
    }
}

/// The frames of a key of `bits` bits.
pub(super) fn cut(bits: usize) -> Vec<Place> {
    let whole = std::iter::repeat_n(*LOGS.end(), bits >> LOGS.end());
    let logs = whole.chain(LOGS.rev().skip(1).filter(|log| bits >> log & 1 == 1));
    let mut first_word = 0;
    logs.map(|log| {
        let place = Place { first_word, log };
        first_word += place.words();
        place
    })
    .collect()
}

/// The kept frames of `words`.
///
/// # Errors
/// If `kept` has another number of frames, or none is kept.
pub(super) fn join(
    places: &[Place],
    words: &[u64],
    decoy: &BitString,
    kept: &BitString,
) -> Result<ReconciledKey, AbortReason> {
    if kept.len() != places.len() {
        return Err(AbortReason::Malformed("report"));
    }
    let mut counts = [0; 2];
    let mut joined = Vec::with_capacity(words.len());
    for (place, _) in places.iter().zip(kept.iter()).filter(|(_, keep)| *keep) {
        let decoys: u64 = decoy.words()[place.range()].iter().map(|word| u64::from(word.count_ones())).sum();
        counts[0] += (1 << place.log) - decoys;
        counts[1] += decoys;
        joined.extend_from_slice(&words[place.range()]);
    }
    if joined.is_empty() {
        return Err(AbortReason::ReconciliationFailed);
    }
    let len = 64 * joined.len();
    Ok(ReconciledKey { bits: SecretBits::new(BitString::from_words(joined, len)), counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_a_key_from_the_largest_down() {
        let logs = |bits| cut(bits).iter().map(|place| place.log).collect::<Vec<_>>();
        assert_eq!(logs((2 << 16) + (1 << 15) + (1 << 12) + 5), [16, 16, 15, 12]);
        assert_eq!(logs(4_095), Vec::<u32>::new());
        assert_eq!(cut(3 << 15)[1], Place { first_word: 1 << 10, log: 15 });
    }
}
