//! Why a block gives no key. In: what went wrong. Out: words. Always: an outcome, not a fault; no
//! reason carries key bits.

use super::message::AbortCode;
use crate::quantity::Qber;

/// Why a block was given up.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum AbortReason {
    /// Too many errors in the test basis.
    #[error("qber {qber} is over the limit of {limit}")]
    QberOverLimit {
        /// Measured in the test basis.
        qber: Qber,
        /// The plan's limit.
        limit: Qber,
    },
    /// The finite-key length is not above ten times what authentication costs, or not above chance.
    #[error("no key: the finite-key length is too short")]
    NoKey,
    /// More key than the repeaterless bound lets a fibre of this length carry.
    #[error("no key: {secret_bps:.0} bit/s is over the repeaterless bound of {plob_bps:.0} bit/s")]
    OverPlob {
        /// The block's rate.
        secret_bps: f64,
        /// The fibre's bound.
        plob_bps: f64,
    },
    /// No frame could be corrected.
    #[error("reconciliation failed")]
    ReconciliationFailed,
    /// The corrected keys differ.
    #[error("verification failed")]
    VerificationFailed,
    /// The peer's tag is wrong.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// A message that is not what the protocol allows here.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The other end was silent too long.
    #[error("timeout")]
    Timeout,
    /// The other end gave up.
    #[error("peer aborted: {0}")]
    PeerAborted(AbortCode),
    /// Fewer sifted bits than one frame.
    #[error("too few detections: {0} sifted bits")]
    TooFewDetections(u64),
}

impl AbortReason {
    /// What the other end is told.
    pub fn code(self) -> AbortCode {
        match self {
            Self::QberOverLimit { .. } => AbortCode::QberOverLimit,
            Self::NoKey | Self::OverPlob { .. } => AbortCode::NoKey,
            Self::ReconciliationFailed => AbortCode::ReconciliationFailed,
            Self::VerificationFailed => AbortCode::VerificationFailed,
            Self::AuthenticationFailed => AbortCode::AuthenticationFailed,
            Self::Malformed(_) => AbortCode::Malformed,
            Self::Timeout => AbortCode::Timeout,
            Self::PeerAborted(code) => code,
            Self::TooFewDetections(_) => AbortCode::TooFewDetections,
        }
    }
}
