//! Rusca, Boaron, Grünenfelder, Martin, Zbinden, APL 112, 171104 (2018), arXiv:1801.03443, App. A:
//! for comparison with the literature. In: counts of one decoy. Out: bounds and a length. Always:
//! what the paper says, which its authors have since corrected (see [`super::wiesemann`]).

use super::counts::BlockCounts;
use super::entropy::{fung, kept};
use super::one_decoy::OneDecoy;
use super::{Bounds, Epsilons, KeyLength, finite};

/// Terms that share `eps_sec`.
const TERMS: f64 = 19.0;

/// The one-decoy formula of 2018; Fung–Ma–Chau sampling.
#[derive(Debug, Clone, Copy)]
pub struct Rusca;

impl KeyLength for Rusca {
    fn name(&self) -> &'static str {
        "rusca-2018"
    }

    fn version(&self) -> &'static str {
        "arXiv:1801.03443, App. A"
    }

    /// `ell = s0 + s1 (1 - h(phi)) - leak - 6 log2(19/eps_sec) - log2(2/eps_cor)`.
    fn length(&self, block: &BlockCounts, eps: Epsilons) -> Option<Bounds> {
        block.check().and_then(|()| eps.check()).ok()?;
        let share = eps.secrecy / TERMS;
        let (key, test) = (OneDecoy::of(block, &block.key, share)?, OneDecoy::of(block, &block.test, share)?);
        let (single, test_single) = (key.single(key.vacuum_upper[1]), test.single(test.vacuum_upper[1]));
        let phase_error = if single <= 0.0 || test_single <= 0.0 {
            0.5
        } else {
            let ratio = test.single_errors / test_single;
            (ratio + fung(eps.secrecy, ratio, single, test_single, TERMS)).clamp(0.0, 0.5)
        };
        let constant = 6.0 * (TERMS / eps.secrecy).log2() + (2.0 / eps.correctness).log2();
        let length = key.vacuum_lower + single * kept(phase_error) - block.leak - constant;
        let key_bits = block.key.counts.total();
        finite(Bounds { vacuum: key.vacuum_lower, single_photon: single, phase_error, length, key_bits })
    }
}
