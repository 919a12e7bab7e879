//! A run of the emulated link up to sifting, to hold against the closed form. In: a model, a number
//! of pulses, a seed. Out: sifted counts and errors per intensity. Always: the same three give the
//! same counts; no key leaves, since both ends' bits are in one hand here.

use super::abort::AbortReason;
use super::sift::{DetectionSifter, EmissionSifter};
use crate::crypto;
use crate::id::BlockId;
use crate::optics::eavesdropper::Attack;
use crate::optics::frame::FrameError;
use crate::optics::model::LinkModel;
use crate::optics::receiver::Receiver;
use crate::optics::transmitter::Transmitter;

/// What one run gave; index 0 is the signal intensity, 1 the decoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Simulated {
    /// Sifted key-basis bits.
    pub key_counts: [u64; 2],
    /// Errors among them.
    pub key_errors: [u64; 2],
    /// Sifted test-basis bits.
    pub test_counts: [u64; 2],
    /// Errors among them.
    pub test_errors: [u64; 2],
    /// Detections, whatever the bases.
    pub clicks: u64,
}

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The receiver refused a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The two records do not fit.
    #[error("{0}")]
    Sift(#[from] AbortReason),
}

/// Runs `pulses` pulses of a checked model, under an attack, through the emulated devices and sifts them.
///
/// # Errors
/// If the two devices disagree, which is a fault of the emulation.
pub fn simulate(model: &LinkModel, attack: &Attack, pulses: u64, seed: u64) -> Result<Simulated, SimulateError> {
    let own = |end: &[u8]| crypto::sha256(&[b"simulate ", end, &seed.to_be_bytes()]);
    let mut emission = Transmitter::new(model.clone(), own(b"T")).under(attack).emit(BlockId(1), pulses);
    let mut reception = Receiver::new(model.clone(), own(b"R")).under(attack).receive(BlockId(1), pulses);
    let (mut ours, mut theirs) = (EmissionSifter::new(pulses), DetectionSifter::new());
    while let Some((frame, sent)) = emission.next_frame() {
        let seen = reception.accept(&frame)?;
        ours.clicks(sent, &theirs.detections(seen))?;
    }
    let clicks = theirs.clicks() as u64;
    let (key, kept, _) = ours.finish(&theirs.bases())?;
    let (other, test) = theirs.finish(&kept)?;
    let (key_counts, key_errors) = key.compare(&other);
    Ok(Simulated { key_counts, key_errors, test_counts: test.counts, test_errors: test.errors, clicks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optics::preset::Preset;

    #[test]
    fn a_run_is_near_the_closed_form_and_repeats() {
        let (model, pulses) = (Preset::Lab.model(), 2_000_000);
        let run = simulate(&model, &Attack::default(), pulses, 7).unwrap();
        assert_eq!(run, simulate(&model, &Attack::default(), pulses, 7).unwrap());
        assert_ne!(run, simulate(&model, &Attack::default(), pulses, 8).unwrap());
        let expected = model.expected(pulses as f64);
        for (ours, expected) in [(run.key_counts, expected.key.counts), (run.test_errors, expected.test.errors)] {
            for k in 0..2 {
                assert!((ours[k] as f64 - expected[k]).abs() < 6.0 * expected[k].sqrt(), "{ours:?}, {expected:?}");
            }
        }
        assert!(run.clicks > run.key_counts[0] + run.key_counts[1]);
    }
}
