//! What a block came to. In: the session's counts. Out: numbers for status, metrics and records.
//! Always: counts and rates only, no bits.

use std::time::Duration;

use super::abort::AbortReason;
use super::key::SecretKey;
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
    /// Bits told in public about the key.
    pub leak: BitCount,
    /// Leak over what Shannon asks for at the measured key-basis error rate.
    pub f_ec: Option<f64>,
    /// Secret bits.
    pub secret: BitCount,
    /// Key-length formula.
    pub formula: &'static str,
    /// Acceptance rule.
    pub acceptance: &'static str,
}
