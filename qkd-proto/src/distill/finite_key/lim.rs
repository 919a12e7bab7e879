//! Lim, Curty, Walenta, Xu, Zbinden, PRA 89, 022307 (2014), arXiv:1311.7129, Eqs. (1)-(5): two
//! decoys. In: counts of three intensities. Out: bounds and a length. Always: `None` unless
//! `mu1 > mu2 + mu3` and `mu2 > mu3`.

use super::counts::{BlockCounts, PerIntensity};
use super::entropy::{fung, hoeffding, kept, photon_numbers};
use super::{Bounds, Epsilons, KeyLength, finite};

/// Terms that share `eps_sec`.
const TERMS: f64 = 21.0;

/// The two-decoy formula; Fung–Ma–Chau sampling.
#[derive(Debug, Clone, Copy)]
pub struct Lim {
    /// Adds what is trivially true and not printed: single photons have no more errors than the test
    /// basis has. It helps blocks below about 10^6 bits.
    pub cap_single_errors: bool,
}

impl KeyLength for Lim {
    fn name(&self) -> &'static str {
        "lim-2014"
    }

    fn version(&self) -> &'static str {
        if self.cap_single_errors { "arXiv:1311.7129, single-photon errors capped" } else { "arXiv:1311.7129" }
    }

    /// `ell = s0 + s1 (1 - h(phi)) - leak - 6 log2(21/eps_sec) - log2(2/eps_cor)` (Eq. 1).
    fn length(&self, block: &BlockCounts, eps: Epsilons) -> Option<Bounds> {
        block.check().and_then(|()| eps.check()).ok()?;
        let source = Source::of(block)?;
        let share = eps.secrecy / TERMS;
        let (vacuum, single) = source.events(block.key.counts, share)?;
        let (_, test_single) = source.events(block.test.counts, share)?;
        let errors = block.test.errors?;
        let most = if self.cap_single_errors { errors.total() } else { block.test.counts.total() };
        let single_errors = source.single_errors(errors, share)?.clamp(0.0, most);
        let phase_error = if single <= 0.0 || test_single <= 0.0 {
            0.5
        } else {
            let ratio = single_errors / test_single;
            (ratio + fung(eps.secrecy, ratio, test_single, single, TERMS)).clamp(0.0, 0.5)
        };
        let constant = 6.0 * (TERMS / eps.secrecy).log2() + (2.0 / eps.correctness).log2();
        let length = vacuum + single * kept(phase_error) - block.leak - constant;
        let key_bits = block.key.counts.total();
        finite(Bounds { vacuum, single_photon: single, phase_error, length, key_bits })
    }
}

/// The three intensities, with what follows from them alone.
struct Source {
    mus: [f64; 3],
    weight: [f64; 3],
    tau: [f64; 2],
}

impl Source {
    fn of(block: &BlockCounts) -> Option<Self> {
        let (mus, ps) = (block.mus.three()?, block.ps.three()?);
        let [m1, m2, m3] = mus;
        let weight = [0, 1, 2].map(|k| mus[k].exp() / ps[k]);
        (m1 > m2 + m3 && m2 > m3).then(|| Self { mus, weight, tau: photon_numbers(&mus, &ps) })
    }

    /// Both ends of `n±_k = (e^k / p_k)(n_k ± delta)`, the lower not below zero.
    fn ends(&self, counts: PerIntensity, eps: f64) -> Option<([f64; 3], [f64; 3])> {
        let (delta, counts) = (hoeffding(counts.total(), eps), counts.three()?);
        let lower = [0, 1, 2].map(|k| self.weight[k] * (counts[k] - delta).max(0.0));
        Some((lower, [0, 1, 2].map(|k| self.weight[k] * (counts[k] + delta))))
    }

    /// Least numbers of vacuum (Eq. 2) and single-photon (Eq. 3) events.
    fn events(&self, counts: PerIntensity, eps: f64) -> Option<(f64, f64)> {
        let ([m1, m2, m3], [tau0, tau1], total) = (self.mus, self.tau, counts.total());
        let (lower, upper) = self.ends(counts, eps)?;
        let vacuum = (tau0 * (m2 * lower[2] - m3 * upper[1]) / (m2 - m3)).clamp(0.0, total);
        let bright = (m2.powi(2) - m3.powi(2)) / m1.powi(2) * (upper[0] - vacuum / tau0);
        let scale = tau1 * m1 / (m1 * (m2 - m3) - m2.powi(2) + m3.powi(2));
        Some((vacuum, (scale * (lower[1] - upper[2] - bright)).clamp(0.0, total)))
    }

    /// Largest number of errors among single photons of the test basis (Eq. 4), not yet clamped.
    fn single_errors(&self, errors: PerIntensity, eps: f64) -> Option<f64> {
        let (lower, upper) = self.ends(errors, eps)?;
        Some(self.tau[1] * (upper[1] - lower[2]) / (self.mus[1] - self.mus[2]))
    }
}
