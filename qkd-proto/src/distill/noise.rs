//! Sifted keys that differ by chance, without optics: for benches and tests of the engines (feature
//! `sim`). In: a length, an error rate, a seed. Out: both ends' keys. Always: the same seed gives the
//! same keys.

use super::key::{SiftedKey, VerifiedKey};
use crate::bits::BitString;
use crate::entropy::{Entropy, SeededEntropy};
use crate::quantity::Qber;
use crate::secret::SecretBits;

/// Share of decoy pulses among the bits, in 1/8: one in eight.
const DECOY_EIGHTHS: u32 = 3;

/// The transmitter's key of `bits` bits and the receiver's, which errs in each bit with `qber`.
pub fn keys(bits: usize, qber: Qber, seed: u64) -> (SiftedKey, SiftedKey) {
    let mut coins = SeededEntropy::from_number(seed);
    let sent = random(&mut coins, bits);
    let decoy = (0..DECOY_EIGHTHS).map(|_| random(&mut coins, bits)).reduce(|a, b| both(&a, &b)).unwrap_or_default();
    let mut seen = sent.clone();
    let gap = |coins: &mut SeededEntropy| ((1.0 - coins.unit()).ln() / (-qber.ratio()).ln_1p()) as usize;
    let mut at = if qber.ratio() > 0.0 { gap(&mut coins) } else { bits };
    while at < bits {
        let bit = seen.get(at);
        seen.set(at, !bit);
        at = at.saturating_add(1 + gap(&mut coins));
    }
    let key = |bits| SiftedKey { bits: SecretBits::new(bits), decoy: decoy.clone() };
    (key(sent), key(seen))
}

/// Words of frames of `bits` bits, sent and seen with errors.
pub fn frames(bits: usize, qber: Qber, seed: u64) -> (Vec<u64>, Vec<u64>) {
    let (sent, seen) = keys(bits, qber, seed);
    (sent.bits.expose().words().to_vec(), seen.bits.expose().words().to_vec())
}

/// A verified key of `bits` random bits.
pub fn verified(bits: usize, seed: u64) -> VerifiedKey {
    VerifiedKey { bits: SecretBits::new(random(&mut SeededEntropy::from_number(seed), bits)) }
}

fn random(coins: &mut SeededEntropy, bits: usize) -> BitString {
    let mut bytes = vec![0; bits.div_ceil(8)];
    coins.fill(&mut bytes);
    BitString::from_bytes(&bytes, bits)
}

fn both(a: &BitString, b: &BitString) -> BitString {
    let words = a.words().iter().zip(b.words()).map(|(a, b)| a & b).collect();
    BitString::from_words(words, a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_at_the_rate() {
        let (sent, seen) = keys(400_000, Qber::of(3, 100), 1);
        let (counts, errors) = sent.compare(&seen);
        let rate = (errors[0] + errors[1]) as f64 / 400_000.0;
        assert!((rate - 0.03).abs() < 0.0015, "{rate}");
        assert!((counts[1] as f64 / 400_000.0 - 0.125).abs() < 0.01);
        assert_eq!(keys(1_000, Qber::of(0, 1), 2).0.compare(&keys(1_000, Qber::of(0, 1), 2).1).1, [0, 0]);
    }
}
