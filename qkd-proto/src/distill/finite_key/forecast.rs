//! What a link's model lets one expect, from pulses to key rate. In: a model, a number of pulses, a
//! reconciliation efficiency. Out: the closed form of counts, leak, bounds and rates. Always: two
//! calls give the same numbers; no random draw is made.

use super::counts::{BasisCounts, BlockCounts};
use super::{Bounds, Epsilons, KeyLength, Rusca, Wiesemann, binary_entropy};
use crate::optics::model::{BasisExpectation, Expectation, LinkModel};

/// The closed form of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Counts and what they follow from.
    pub expected: Expectation,
    /// Bits told in public: the efficiency times what Shannon asks for.
    pub leak: f64,
    /// By the default formula.
    pub wiesemann: Option<Bounds>,
    /// By the formula of 2018.
    pub rusca: Option<Bounds>,
    /// Sifted key-basis bits per second of link time.
    pub sifted_bps: f64,
    /// The repeaterless bound, in bits per second.
    pub plob_bps: Option<f64>,
    /// Link time of the block, in seconds.
    seconds: f64,
}

impl Forecast {
    /// The closed form for `pulses` pulses of a checked model; `f_ec` is the leak over Shannon's.
    pub fn of(model: &LinkModel, pulses: f64, f_ec: f64, eps: Epsilons) -> Self {
        let expected = model.expected(pulses);
        let leak = f_ec * expected.key.total() * binary_entropy(expected.key.qber());
        let basis = |counts: &BasisExpectation| BasisCounts {
            counts: counts.counts.into(),
            errors: Some(counts.errors.into()),
        };
        let block = BlockCounts {
            mus: model.mus.into(),
            ps: model.ps.into(),
            key: basis(&expected.key),
            test: basis(&expected.test),
            leak,
        };
        let seconds = pulses / model.rate_hz;
        Self {
            expected,
            leak,
            wiesemann: Wiesemann.length(&block, eps),
            rusca: Rusca.length(&block, eps),
            sifted_bps: expected.key.total() / seconds,
            plob_bps: model.plob_bps(),
            seconds,
        }
    }

    /// Secret bits per second of link time at this length; none below zero.
    pub fn secret_bps(&self, bounds: &Bounds) -> f64 {
        bounds.length.max(0.0) / self.seconds
    }

    /// True if no formula gives more than the repeaterless bound.
    pub fn below_plob(&self) -> bool {
        let bounds = self.wiesemann.iter().chain(&self.rusca);
        self.plob_bps.is_none_or(|plob| bounds.into_iter().all(|bounds| self.secret_bps(bounds) <= plob))
    }
}
