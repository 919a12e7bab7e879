//! The one-way engine: polar codes (Arıkan, arXiv:0807.3917) with successive cancellation. In: a
//! sifted key at each end and a design error rate. Out: equal frames. Always: the transmitter tells
//! frozen inputs only; decoding is integer arithmetic, and the frozen sets are frozen in a table, so
//! both ends find the same everywhere.
//!
//! The first message is aimed at one failed frame in four or fewer: a frame that fails asks for the
//! inputs that the next rungs of its [`ladder`] freeze, so only failed frames pay for certainty. From
//! the bottom: [`ladder`] (by `density` evolution, packed by a `range_coder`), `frozen` (one
//! set), `decode` (frames side by side in vector lanes), `syndrome`, `plan`, and the two ends
//! with their `message`s: `teller` and `corrector`.

mod corrector;
mod decode;
mod density;
mod frozen;
pub mod ladder;
mod message;
mod plan;
mod range_coder;
mod syndrome;
mod teller;

use zeroize::Zeroizing;

use super::abort::AbortReason;
use super::engine::{Corrector, Design, Teller};
use super::key::SiftedKey;
use crate::bits::BitString;
use crate::kernel::{self, Level};
use crate::quantity::Qber;

/// The transmitter's end of a reconciliation.
///
/// # Errors
/// If the key is shorter than the smallest frame, 2^12 bits.
pub fn teller(key: SiftedKey, design: &Design) -> Result<Box<dyn Teller>, AbortReason> {
    Ok(Box::new(teller::PolarTeller::new(key, design)?))
}

/// The receiver's end of a reconciliation.
///
/// # Errors
/// If the key is shorter than the smallest frame, 2^12 bits.
pub fn corrector(key: SiftedKey, design: &Design) -> Result<Box<dyn Corrector>, AbortReason> {
    Ok(Box::new(corrector::PolarCorrector::new(key, design)?))
}

/// The first syndromes of frames of `2^log` bits, one after the other, without filters: for measuring.
///
/// # Panics
/// If there is no ladder for the size, or the frames are not whole: the caller's bug.
pub fn encode_frames(frames: &[u64], log: u32, qber: Qber) -> BitString {
    let set = frozen::FrozenSet::of(log, ladder::rung(qber.ratio()));
    assert!(frames.len().is_multiple_of(set.words()), "whole frames");
    let count = frames.len() / set.words();
    let mut writer = syndrome::Writer::with_capacity(count * set.count());
    for frame in frames.chunks_exact(set.words()) {
        let mut inputs = Zeroizing::new(frame.to_vec());
        kernel::polar::transform(Level::best(), &mut inputs);
        writer.gather(&inputs, set.mask().iter().copied());
    }
    writer.finish()
}

/// Corrects frames by the syndromes that [`encode_frames`] made of the other end's: for measuring. A
/// frame may come out wrong.
///
/// # Panics
/// As [`encode_frames`].
pub fn decode_frames(noisy: &[u64], log: u32, qber: Qber, syndromes: &BitString) -> Zeroizing<Vec<u64>> {
    let set = frozen::FrozenSet::of(log, ladder::rung(qber.ratio()));
    assert!(noisy.len().is_multiple_of(set.words()), "whole frames");
    let mut reader = syndrome::Reader::new(syndromes);
    let mut frames = Zeroizing::new(noisy.to_vec());
    let (mut rest, mut room) = (frames.as_mut_slice(), decode::Room::default());
    while !rest.is_empty() {
        let lanes_log = plan::lanes_log(rest.len() / set.words(), log);
        let (batch, next) = rest.split_at_mut(set.words() << lanes_log);
        let mut frozen = vec![0; batch.len()];
        for frame in frozen.chunks_exact_mut(set.words()) {
            reader.scatter(set.mask().iter().copied(), frame);
        }
        corrector::correct(&set, lanes_log, std::iter::once(frozen.as_slice()), batch, &mut room);
        rest = next;
    }
    frames
}

#[cfg(test)]
mod tests;
