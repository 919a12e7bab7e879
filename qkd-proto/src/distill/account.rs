//! What both ends of a block session count alike: sifted bits, error rates, the secret's length. In:
//! the two ends' counts. Out: the report's numbers, or a reason to give up. Always: both ends get
//! the same numbers from the same messages.

use super::abort::AbortReason;
use super::engine::Told;
use super::estimate;
use super::finite_key::{self, BasisCounts, BlockCounts, Epsilons, Formula};
use super::key::SiftedKey;
use super::message::EstimateMessage;
use super::plan::AUTHENTICATION_BITS;
use super::reconcile;
use super::session::BlockSession;
use super::verify;
use crate::quantity::{BitCount, Qber};

/// Least secret bits of a block, in units of its authentication.
const GAIN_MIN: u64 = 10;

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
        let float = |pair: [u64; 2]| pair.map(|count| count as f64);
        let block = BlockCounts {
            mus: self.plan.model.mus,
            ps: self.plan.model.ps,
            key: BasisCounts { counts: float(counts), errors: float(errors) },
            test: BasisCounts { counts: float(self.test.counts), errors: float(self.test.errors) },
            leak: self.report.leak.0 as f64,
        };
        let eps = Epsilons { secrecy: self.plan.eps_sec, correctness: self.plan.eps_cor };
        let length = Formula::default().bounds(&block, eps).whole_bits();
        if length > GAIN_MIN * AUTHENTICATION_BITS && length <= total { Ok(length) } else { Err(AbortReason::NoKey) }
    }
}
