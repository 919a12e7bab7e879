//! Bounds of one basis with one decoy (Rusca et al., APL 112, 171104 (2018), arXiv:1801.03443,
//! App. A). In: counts and errors of signal and decoy. Out: vacuum and single-photon events. Always:
//! each is within the number of bits.

use super::counts::{BasisCounts, BlockCounts};
use super::entropy::{hoeffding, photon_numbers};

/// One-decoy bounds of one basis.
pub(super) struct OneDecoy {
    total: f64,
    tau: [f64; 2],
    mus: [f64; 2],
    signal_upper: f64,
    decoy_lower: f64,
    /// Least number of vacuum events.
    pub(super) vacuum_lower: f64,
    /// Largest number of vacuum events: by the signal's errors, by the decoy's.
    pub(super) vacuum_upper: [f64; 2],
    /// Largest number of errors among single photons.
    pub(super) single_errors: f64,
}

impl OneDecoy {
    /// The bounds at `eps` a term; `None` with other intensities, or without errors.
    pub(super) fn of(block: &BlockCounts, basis: &BasisCounts, eps: f64) -> Option<Self> {
        let (mus, ps) = (block.mus.two()?, block.ps.two()?);
        let (counts, errors) = (basis.counts.two()?, basis.errors?.two()?);
        let [m1, m2] = mus;
        let [tau0, tau1] = photon_numbers(&mus, &ps);
        let total = counts[0] + counts[1];
        let (dn, dm) = (hoeffding(total, eps), hoeffding(errors[0] + errors[1], eps));
        // Both ends of n±_k = (e^k / p_k)(n_k ± delta), with the basis' total under the root.
        let weight = [m1.exp() / ps[0], m2.exp() / ps[1]];
        let signal_upper = weight[0] * (counts[0] + dn);
        let decoy_lower = weight[1] * (counts[1] - dn);
        let errors_upper = [0, 1].map(|k| weight[k] * (errors[k] + dm));
        let decoy_errors_lower = weight[1] * (errors[1] - dm);
        Some(Self {
            total,
            tau: [tau0, tau1],
            mus,
            signal_upper,
            decoy_lower,
            vacuum_lower: (tau0 / (m1 - m2) * (m1 * decoy_lower - m2 * signal_upper)).clamp(0.0, total),
            // Printed (A18) lacks the factor e^k / p_k.
            vacuum_upper: errors_upper.map(|errors| 2.0 * (tau0 * errors + dn)),
            single_errors: (tau1 / (m1 - m2) * (errors_upper[0] - decoy_errors_lower)).clamp(0.0, total),
        })
    }

    /// Least number of single-photon events, given the largest number of vacuum events.
    pub(super) fn single(&self, vacuum_upper: f64) -> f64 {
        let ([tau0, tau1], [m1, m2]) = (self.tau, self.mus);
        let bracket = self.decoy_lower
            - (m2 / m1).powi(2) * self.signal_upper
            - (m1.powi(2) - m2.powi(2)) / m1.powi(2) * vacuum_upper / tau0;
        (tau1 * m1 / (m2 * (m1 - m2)) * bracket).clamp(0.0, self.total)
    }
}
