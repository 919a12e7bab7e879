//! What a block came to. In: the session's counts. Out: numbers for status, metrics and records.
//! Always: counts and rates only, no bits.

use std::time::Duration;

use super::abort::AbortReason;
use super::acceptance::Acceptance;
use super::engine::Told;
use super::finite_key::{Bounds, Epsilons};
use super::key::SecretKey;
use super::plan::BlockPlan;
use crate::quantity::{BitCount, Qber};

/// The end of a block.
#[derive(Debug)]
pub struct BlockOutcome {
    /// The key, or why there is none.
    pub result: Result<SecretKey, AbortReason>,
    /// The numbers.
    pub report: BlockReport,
}

/// The numbers of a block, as far as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockReport {
    /// Pulses sent.
    pub pulses: u64,
    /// Pulses over the pulse rate: undiluted time on the link.
    pub link_time: Duration,
    /// Sifted key-basis bits.
    pub sifted: BitCount,
    /// Error rate of the key basis, over the corrected frames.
    pub qber: Option<Qber>,
    /// Error rate of the test basis.
    pub qber_test: Option<Qber>,
    /// Reconciliation engine.
    pub engine: &'static str,
    /// Whose words are charged.
    pub leak_rule: &'static str,
    /// Bits about the key that each end told in public.
    pub told: Told,
    /// Bits charged for what was told, with the verification hash.
    pub leak: BitCount,
    /// Leak over what Shannon asks for at the measured key-basis error rate.
    pub f_ec: Option<f64>,
    /// Secret bits.
    pub secret: BitCount,
    /// How the length was found, as far as the block came.
    pub account: Option<Account>,
}

/// How the length of a block's secret was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Key-length formula.
    pub formula: &'static str,
    /// Its edition.
    pub edition: &'static str,
    /// Acceptance rule.
    pub acceptance: Acceptance,
    /// Failure probabilities.
    pub eps: Epsilons,
    /// Mean photon numbers, signal then decoy.
    pub mus: [f64; 2],
    /// Their probabilities.
    pub ps: [f64; 2],
    /// Key-basis bits and the errors among them, per intensity.
    pub counts: ([u64; 2], [u64; 2]),
    /// Test-basis bits and the errors among them, per intensity.
    pub tested: ([u64; 2], [u64; 2]),
    /// What the formula found; none if it does not apply to such counts.
    pub bounds: Option<Bounds>,
    /// The repeaterless bound of the fibre, bits per second.
    pub plob_bps: Option<f64>,
}

impl BlockReport {
    /// A block before its first photon.
    pub fn new(plan: &BlockPlan) -> Self {
        Self {
            pulses: plan.pulses,
            link_time: Duration::try_from_secs_f64(plan.pulses as f64 / plan.model.rate_hz).unwrap_or_default(),
            sifted: BitCount(0),
            qber: None,
            qber_test: None,
            engine: plan.engine.name(),
            leak_rule: plan.leak.name(),
            told: Told::default(),
            leak: BitCount(0),
            f_ec: None,
            secret: BitCount(0),
            account: None,
        }
    }
}
