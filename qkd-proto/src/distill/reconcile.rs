//! Reconciliation: the receiver corrects its key to the transmitter's. In: both sifted keys and a
//! design step. Out: one message's worth of syndromes, then equal frames. Always: one way, so the
//! leak is what the transmitter sent; a frame that fails is dropped by both and its leak is charged.

use zeroize::Zeroize;

use super::abort::AbortReason;
use super::key::{ReconciledKey, SiftedKey};
use super::message::FrameSyndrome;
use super::polar::FrozenSet;
use crate::bits::BitString;
use crate::labels;
use crate::mac;
use crate::secret::SecretBits;

/// Largest and smallest frame, as powers of two.
const FRAME_LOG: std::ops::RangeInclusive<u32> = 12..=16;
/// Bits of a frame's filter hash.
const FILTER_BITS: u64 = 32;

/// A one-way reconciliation engine: frames of a fixed size, a syndrome each.
pub trait Reconciler {
    /// Its name in reports.
    fn name(&self) -> &'static str;
    /// Bits of the syndrome of a frame of `2^log` bits at this design step.
    fn syndrome_bits(&self, log: u32, step: u8) -> usize;
    /// The syndrome of a frame.
    fn syndrome(&self, frame: &[u64], log: u32, step: u8) -> BitString;
    /// The frame that is nearest to `noisy` and has this syndrome, as far as the engine can tell.
    fn correct(&self, noisy: &[u64], log: u32, step: u8, syndrome: &BitString) -> SecretBits;
}

/// Polar codes with successive cancellation.
#[derive(Debug, Clone, Copy)]
pub struct Polar;

impl Reconciler for Polar {
    fn name(&self) -> &'static str {
        "polar"
    }

    fn syndrome_bits(&self, log: u32, step: u8) -> usize {
        FrozenSet::of(log, step).frozen()
    }

    fn syndrome(&self, frame: &[u64], log: u32, step: u8) -> BitString {
        FrozenSet::of(log, step).syndrome(frame).into_iter().collect()
    }

    fn correct(&self, noisy: &[u64], log: u32, step: u8, syndrome: &BitString) -> SecretBits {
        let words = FrozenSet::of(log, step).correct(noisy, syndrome.iter());
        SecretBits::new(BitString::from_words(words.to_vec(), 1 << log))
    }
}

/// Sizes of the frames of a key of `bits` bits; what is left over, below 2^12 bits, is dropped.
pub fn frames(bits: usize) -> Vec<u32> {
    let mut sizes = vec![*FRAME_LOG.end(); bits >> FRAME_LOG.end()];
    sizes.extend(FRAME_LOG.rev().skip(1).filter(|log| bits >> log & 1 == 1));
    sizes
}

/// Bits told in public by these syndromes.
pub fn leak(frames: &[FrameSyndrome]) -> u64 {
    frames.iter().map(|frame| frame.frozen.len() as u64 + FILTER_BITS).sum()
}

/// The transmitter's share.
pub fn encode(engine: &dyn Reconciler, key: &SiftedKey, step: u8, filter_key: [u8; 16]) -> Vec<FrameSyndrome> {
    let cut = Frames::of(key.bits.expose());
    let syndrome =
        |(words, log)| FrameSyndrome { frozen: engine.syndrome(words, log, step), filter: filter(filter_key, words) };
    cut.map(syndrome).collect()
}

/// The receiver's share: corrects frame by frame, and says which passed their filter and how many
/// bits of each intensity were wrong.
///
/// # Errors
/// If the syndromes do not fit the key, or no frame could be corrected.
pub fn decode(
    engine: &dyn Reconciler,
    key: &SiftedKey,
    step: u8,
    filter_key: [u8; 16],
    syndromes: &[FrameSyndrome],
) -> Result<(ReconciledKey, BitString, [u64; 2]), AbortReason> {
    let sizes = frames(key.len());
    let fits = |(&log, frame): (&u32, &FrameSyndrome)| frame.frozen.len() == engine.syndrome_bits(log, step);
    if sizes.len() != syndromes.len() || !sizes.iter().zip(syndromes).all(fits) {
        return Err(AbortReason::Malformed("syndromes"));
    }
    let mut kept = BitString::default();
    let mut errors = [0; 2];
    let mut corrected = Vec::new();
    let frames = Frames::of(key.bits.expose()).zip(Frames::of(&key.decoy)).zip(syndromes);
    for (((noisy, log), (decoy, _)), syndrome) in frames {
        let frame = engine.correct(noisy, log, step, &syndrome.frozen);
        let words = frame.expose().words();
        kept.push(filter(filter_key, words) == syndrome.filter);
        if filter(filter_key, words) == syndrome.filter {
            for ((a, b), decoy) in words.iter().zip(noisy).zip(decoy) {
                errors[0] += u64::from(((a ^ b) & !decoy).count_ones());
                errors[1] += u64::from(((a ^ b) & decoy).count_ones());
            }
        }
        corrected.push(frame);
    }
    let frames = corrected.iter().map(|frame| frame.expose().words());
    Ok((join(frames, &key.decoy, &kept)?, kept, errors))
}

/// The transmitter's key without the frames that the receiver could not correct.
///
/// # Errors
/// If `kept` has another number of frames, or none is kept.
pub fn keep(key: &SiftedKey, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
    if kept.len() != frames(key.len()).len() {
        return Err(AbortReason::Malformed("report"));
    }
    join(Frames::of(key.bits.expose()).map(|(words, _)| words), &key.decoy, kept)
}

fn join<'a>(
    frames: impl Iterator<Item = &'a [u64]>,
    decoy: &BitString,
    kept: &BitString,
) -> Result<ReconciledKey, AbortReason> {
    let mut counts = [0; 2];
    let mut words = Vec::with_capacity(decoy.words().len());
    for ((frame, (decoy, _)), _) in frames.zip(Frames::of(decoy)).zip(kept.iter()).filter(|(_, keep)| *keep) {
        let decoys: u64 = decoy.iter().map(|word| u64::from(word.count_ones())).sum();
        counts[0] += 64 * decoy.len() as u64 - decoys;
        counts[1] += decoys;
        words.extend_from_slice(frame);
    }
    if words.is_empty() {
        return Err(AbortReason::ReconciliationFailed);
    }
    let len = 64 * words.len();
    Ok(ReconciledKey { bits: SecretBits::new(BitString::from_words(words, len)), counts })
}

/// The frames of a bit string, with their sizes.
struct Frames<'a> {
    rest: &'a [u64],
    sizes: std::vec::IntoIter<u32>,
}

impl<'a> Frames<'a> {
    fn of(bits: &'a BitString) -> Self {
        Self { rest: bits.words(), sizes: frames(bits.len()).into_iter() }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (&'a [u64], u32);

    fn next(&mut self) -> Option<Self::Item> {
        let log = self.sizes.next()?;
        let (frame, rest) = self.rest.split_at((1 << log) / 64);
        self.rest = rest;
        Some((frame, log))
    }
}

/// A short hash of a frame; its 32 bits are charged as leak.
fn filter(key: [u8; 16], words: &[u64]) -> u32 {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let tag = mac::tag(&key, &[0; 16], labels::hash::FRAME_FILTER, &bytes).0;
    bytes.zeroize();
    u32::from_le_bytes([tag[0], tag[1], tag[2], tag[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_a_key_from_the_largest_down() {
        assert_eq!(frames((2 << 16) + (1 << 15) + (1 << 12) + 5), [16, 16, 15, 12]);
        assert_eq!(frames(4_095), Vec::<u32>::new());
    }
}
