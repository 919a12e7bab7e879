//! Reconciliation: the receiver corrects its key to the transmitter's. Here is what its engines
//! share. In: a sifted key. Out: its frames; of corrected frames, those that both ends keep. Always: a
//! frame that fails is dropped by both and its leak is charged.

use zeroize::{Zeroize, Zeroizing};

use super::abort::AbortReason;
use super::engine::Design;
use super::key::{ReconciledKey, SiftedKey};
use super::polar::ladder::FRAME_LOGS;
use crate::bits::BitString;
use crate::labels;
use crate::mac;
use crate::secret::SecretBits;

/// Bits of a frame's filter hash.
pub(super) const FILTER_BITS: u64 = 32;

/// Sizes of the frames of a key of `bits` bits, as powers of two, the largest first; what is left
/// over, below 2^12 bits, is dropped.
pub fn frames(bits: usize) -> Vec<u32> {
    let (least, most) = (*FRAME_LOGS.start(), *FRAME_LOGS.end());
    let mut sizes = vec![most; bits >> most];
    sizes.extend((least..most).rev().filter(|log| bits >> log & 1 == 1));
    sizes
}

/// The key's bits, 64 to a word.
pub(super) fn words(key: &SiftedKey) -> &[u64] {
    key.bits.expose().words()
}

/// The transmitter's key without the frames that the receiver could not correct.
///
/// # Errors
/// If `kept` has another number of frames, or none is kept.
pub fn keep(key: &SiftedKey, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
    join(words(key), key, kept)
}

/// The kept frames of `corrected`, which is in place of the key's bits.
///
/// # Errors
/// If `kept` has another number of frames than the key, or none is kept.
pub(super) fn join(corrected: &[u64], key: &SiftedKey, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
    if kept.len() != frames(key.len()).len() {
        return Err(AbortReason::Malformed("report"));
    }
    let mut counts = [0; 2];
    let mut words = Zeroizing::new(Vec::with_capacity(corrected.len()));
    for (frame, decoy) in cut(corrected, key.len()).zip(cut(key.decoy.words(), key.len())).kept(kept) {
        let decoys: u64 = decoy.iter().map(|word| u64::from(word.count_ones())).sum();
        counts[0] += 64 * decoy.len() as u64 - decoys;
        counts[1] += decoys;
        words.extend_from_slice(frame);
    }
    if words.is_empty() {
        return Err(AbortReason::ReconciliationFailed);
    }
    let len = 64 * words.len();
    Ok(ReconciledKey { bits: SecretBits::new(BitString::from_words(std::mem::take(&mut words), len)), counts })
}

/// Bits that were wrong in the kept frames, signal then decoy.
pub(super) fn errors(key: &SiftedKey, corrected: &[u64], kept: &BitString) -> [u64; 2] {
    let mut errors = [0; 2];
    let pairs = cut(corrected, key.len()).zip(cut(words(key), key.len()));
    for ((frame, noisy), decoy) in pairs.zip(cut(key.decoy.words(), key.len())).kept(kept) {
        for ((a, b), decoy) in frame.iter().zip(noisy).zip(decoy) {
            errors[0] += u64::from(((a ^ b) & !decoy).count_ones());
            errors[1] += u64::from(((a ^ b) & decoy).count_ones());
        }
    }
    errors
}

/// Cuts the words of a key of `bits` bits into its frames.
pub(super) fn cut(words: &[u64], bits: usize) -> impl Iterator<Item = &[u64]> {
    frames(bits).into_iter().scan(words, |rest, log| {
        let (frame, tail) = rest.split_at((1 << log) / 64);
        *rest = tail;
        Some(frame)
    })
}

/// Picks the kept of one thing a frame.
trait Kept: Iterator + Sized {
    fn kept(self, kept: &BitString) -> impl Iterator<Item = Self::Item> {
        self.zip(kept.iter()).filter(|(_, kept)| *kept).map(|(item, _)| item)
    }
}

impl<I: Iterator> Kept for I {}

/// The public key of the filter hashes of a design.
pub(super) fn filter_key(design: &Design) -> [u8; 16] {
    let (key, _) = design.seed.split_at(16);
    let mut filter_key = [0; 16];
    filter_key.copy_from_slice(key);
    filter_key
}

/// A short hash of a frame; its 32 bits are charged as leak.
pub(super) fn filter(key: [u8; 16], words: &[u64]) -> u32 {
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
        assert_eq!(frames((2 << 22) + (1 << 15) + (1 << 12) + 5), [22, 22, 15, 12]);
        assert_eq!(frames(4_095), Vec::<u32>::new());
    }
}
