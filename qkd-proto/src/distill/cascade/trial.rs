//! Both machines in memory, for benches and tests. In: a number of bits, an error rate, a seed. Out:
//! what it cost. Always: the keys are made here and secret to nobody.

use super::super::abort::AbortReason;
use super::super::engine::{Design, Progress, Told};
use super::super::key::SiftedKey;
use super::{Tuning, corrector_tuned, teller_tuned};
use crate::bits::BitString;
use crate::entropy::SeededEntropy;
use crate::quantity::Qber;
use crate::secret::SecretBits;

/// What a trial found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Questions of the receiver.
    pub rounds: u64,
    /// Parities in the transmitter's messages, padding to whole bytes included.
    pub sent: u64,
    /// Parity bits told, by each end.
    pub told: Told,
    /// Frames that passed.
    pub kept: BitString,
    /// Bits that were wrong in them.
    pub errors: u64,
    /// True if both ends' keys are equal.
    pub equal: bool,
}

/// A sifted key of each end: random bits, and the same with each bit wrong with probability `qber`.
pub fn noisy_keys(bits: usize, qber: Qber, seed: u64) -> (SiftedKey, SiftedKey) {
    let mut entropy = SeededEntropy::from_number(seed);
    let words: Vec<u64> = (0..bits.div_ceil(64)).map(|_| entropy.next_u64()).collect();
    let mut noisy = BitString::from_words(words.clone(), bits);
    // Gaps between errors are geometric.
    let scale = (-qber.ratio()).ln_1p();
    let mut at = 0;
    while qber.ratio() > 0.0 {
        at += ((1.0 - entropy.unit()).ln() / scale).min(1e9) as usize;
        if at >= bits {
            break;
        }
        noisy.set(at, !noisy.get(at));
        at += 1;
    }
    let decoy = BitString::from_words((0..bits.div_ceil(64)).map(|_| entropy.next_u64()).collect(), bits);
    let key = |bits| SiftedKey { bits: SecretBits::new(bits), decoy: decoy.clone() };
    (key(BitString::from_words(words, bits)), key(noisy))
}

/// Runs both machines over both ends' keys until the receiver is done.
///
/// # Errors
/// If no frame could be corrected.
pub fn run((own, noisy): (SiftedKey, SiftedKey), design: &Design, tuning: Tuning) -> Result<Trial, AbortReason> {
    let (mut teller, mut corrector) = (teller_tuned(own, design, tuning), corrector_tuned(noisy, design, tuning));
    let mut message = teller.open();
    let (mut rounds, mut sent) = (0, message.len() as u64 * 8);
    while let Progress::Ask(question) = corrector.hear(&message)? {
        message = teller.answer(&question)?;
        rounds += 1;
        sent += message.len() as u64 * 8;
    }
    let told = corrector.told();
    let corrected = corrector.finish()?;
    let own = teller.finish(&corrected.kept)?;
    Ok(Trial {
        rounds,
        sent,
        told,
        equal: own.bits.expose() == corrected.key.bits.expose(),
        errors: corrected.errors.iter().sum(),
        kept: corrected.kept,
    })
}
