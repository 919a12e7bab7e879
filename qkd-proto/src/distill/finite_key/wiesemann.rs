//! Wiesemann, Krause, Tupkary, Lütkenhaus, Rusca, Walenta, Quantum 10, 2037 (2026),
//! arXiv:2405.16578v3: the corrected one-decoy proof. In: counts of one decoy, of a number of pulses
//! that was fixed in advance. Out: bounds and a length. Always: no credit for vacuum events.

use super::counts::BlockCounts;
use super::entropy::{kept, serfling};
use super::one_decoy::OneDecoy;
use super::{Bounds, Epsilons, KeyLength, finite};

/// Terms that share `eps_sec`.
const TERMS: f64 = 15.0;

/// The corrected one-decoy formula; Serfling sampling.
#[derive(Debug, Clone, Copy)]
pub struct Wiesemann;

impl KeyLength for Wiesemann {
    fn name(&self) -> &'static str {
        "wiesemann-2026"
    }

    fn version(&self) -> &'static str {
        "arXiv:2405.16578v3"
    }

    /// `ell = s1 (1 - h(phi)) - leak - log2(2/eps_cor) - 4 log2(15 / (eps_sec 2^(1/4)))`.
    fn length(&self, block: &BlockCounts, eps: Epsilons) -> Option<Bounds> {
        block.check().and_then(|()| eps.check()).ok()?;
        let share = eps.secrecy / TERMS;
        let (key, test) = (OneDecoy::of(block, &block.key, share)?, OneDecoy::of(block, &block.test, share)?);
        let single = key.single(key.vacuum_upper[0].min(key.vacuum_upper[1]));
        let test_single = test.single(test.vacuum_upper[0].min(test.vacuum_upper[1]));
        let phase_error = if single <= 0.0 || test_single <= 0.0 {
            0.5
        } else {
            let ratio = (test.single_errors / test_single).min(0.5);
            (ratio + serfling(share, single, test_single)).clamp(0.0, 0.5)
        };
        let constant = (2.0 / eps.correctness).log2() + 4.0 * (TERMS / (eps.secrecy * 2f64.powf(0.25))).log2();
        let length = single * kept(phase_error) - block.leak - constant;
        let key_bits = block.key.counts.total();
        finite(Bounds { vacuum: key.vacuum_lower, single_photon: single, phase_error, length, key_bits })
    }
}
