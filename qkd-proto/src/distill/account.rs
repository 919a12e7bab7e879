//! What both ends of a block session count alike: sifted bits, error rates, the secret's length. In:
//! the two ends' counts. Out: the report's numbers, or a reason to give up. Always: both ends get
//! the same numbers from the same messages.

use super::abort::AbortReason;
use super::engine::Told;
use super::estimate;
use super::finite_key::forecast::Forecast;
use super::finite_key::{self, BasisCounts, BlockCounts, Epsilons, KeyLength as _};
use super::key::SiftedKey;
use super::message::EstimateMessage;
use super::plan::AUTHENTICATION_BITS;
use super::reconcile;
use super::report::Account;
use super::session::BlockSession;
use super::verify;
use crate::quantity::{BitCount, Qber};

/// Least secret bits of a block, in units of its authentication.
const GAIN_MIN: u64 = 10;
/// Least secret bits of a block, in standard deviations that its counts give its length.
///
/// Where the closed form says 0, every other block is above it by chance. Its bits would be as secret as any,
/// but the link is worth nothing, and key that comes and goes by chance misleads whoever counts on it. The
/// leak fluctuates as well, so that a block's length spreads by about twice this deviation: of 1,000 `lab`
/// blocks at that point 545 were above 0 and the longest was at 5.1 deviations. An honest one is at 72.
const DEVIATIONS_MIN: f64 = 8.0;

impl BlockSession {
    pub(super) fn enough(&mut self, key: &SiftedKey) -> Result<(), AbortReason> {
        self.report.sifted = BitCount(key.len() as u64);
        let none = reconcile::frames(key.len()).is_empty();
        if none { Err(AbortReason::TooFewDetections(key.len() as u64)) } else { Ok(()) }
    }

    pub(super) fn accept_estimate(&mut self, estimate: EstimateMessage) -> Result<Qber, AbortReason> {
        let measured = Qber::of(
            estimate.errors[0].saturating_add(estimate.errors[1]),
            estimate.counts[0].saturating_add(estimate.counts[1]),
        );
        self.report.qber_test = Some(measured);
        self.test = estimate;
        estimate::test_qber(&estimate, self.plan.qber_limit)
    }

    /// Charges what the ends told in public.
    pub(super) fn charge(&mut self, told: Told) {
        self.report.told = told;
        self.report.leak = BitCount(self.plan.leak.charge(told).saturating_add(verify::HASH_BITS));
    }

    /// The length of the secret, from counts that both ends have.
    pub(super) fn length(&mut self, counts: [u64; 2]) -> Result<u64, AbortReason> {
        let (errors, total) = (self.reported, counts[0] + counts[1]);
        if errors[0] > counts[0] || errors[1] > counts[1] {
            return Err(AbortReason::Malformed("report"));
        }
        let qber = Qber::of(errors[0] + errors[1], total);
        let shannon = self.report.sifted.0 as f64 * finite_key::binary_entropy(qber.ratio());
        self.report.qber = Some(qber);
        self.report.f_ec = (shannon > 0.0).then(|| self.report.leak.0 as f64 / shannon);
        let basis =
            |counts: [u64; 2], errors: [u64; 2]| BasisCounts { counts: counts.into(), errors: Some(errors.into()) };
        let block = BlockCounts {
            mus: self.plan.model.mus.into(),
            ps: self.plan.model.ps.into(),
            key: basis(counts, errors),
            test: basis(self.test.counts, self.test.errors),
            leak: self.report.leak.0 as f64,
        };
        let eps = Epsilons { secrecy: self.plan.eps_sec, correctness: self.plan.eps_cor };
        let bounds = self.plan.formula.length(&block, eps);
        self.report.account = Some(Account {
            formula: self.plan.formula.name(),
            edition: self.plan.formula.version(),
            acceptance: self.plan.acceptance,
            eps,
            mus: self.plan.model.mus,
            ps: self.plan.model.ps,
            counts: (counts, errors),
            tested: (self.test.counts, self.test.errors),
            bounds,
            plob_bps: self.plan.model.plob_bps(),
        });
        let length = self.plan.acceptance.secret_bits(bounds.map_or(0, |bounds| bounds.whole_bits()));
        self.below_plob(length, eps)?;
        let spread = finite_key::deviation(&self.plan.formula, &block, eps).unwrap_or(f64::INFINITY);
        let by_chance = length as f64 <= DEVIATIONS_MIN * spread;
        let too_short = length <= GAIN_MIN * AUTHENTICATION_BITS;
        if by_chance || too_short || length > total { Err(AbortReason::NoKey) } else { Ok(length) }
    }

    /// Refuses a length that no protocol can reach: it tells of counts that are not of this fibre.
    fn below_plob(&self, length: u64, eps: Epsilons) -> Result<(), AbortReason> {
        let model = &self.plan.model;
        // With yields of an eavesdropper the model is not of its fibre. The block itself must not be
        // asserted, since the other end had a say in its counts.
        debug_assert!(
            model.eve_pns.is_some() || Forecast::of(model, self.plan.pulses as f64, 1.0, eps).below_plob(),
            "the model gives more key than its fibre can carry"
        );
        let secret_bps = length as f64 / self.plan.pulses as f64 * model.rate_hz;
        match model.plob_bps() {
            Some(plob_bps) if secret_bps > plob_bps => Err(AbortReason::OverPlob { secret_bps, plob_bps }),
            _ => Ok(()),
        }
    }
}
