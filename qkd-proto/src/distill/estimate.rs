//! Estimation: what the disclosed test basis says of the channel. In: counts and errors. Out: the
//! error rate. Always: the key basis is never sampled, its errors
//! are counted after reconciliation.

use super::abort::AbortReason;
use super::message::EstimateMessage;
use crate::quantity::Qber;

/// The test basis' error rate, if it is within `limit`.
///
/// # Errors
/// If there are more errors than bits, no bit at all, or more than the limit.
pub fn test_qber(estimate: &EstimateMessage, limit: Qber) -> Result<Qber, AbortReason> {
    let [counts, errors] = [estimate.counts, estimate.errors];
    if errors[0] > counts[0] || errors[1] > counts[1] {
        return Err(AbortReason::Malformed("estimate"));
    }
    let total = counts[0].saturating_add(counts[1]);
    if total == 0 {
        return Err(AbortReason::TooFewDetections(0));
    }
    let qber = Qber::of(errors[0] + errors[1], total);
    if qber.ratio() > limit.ratio() { Err(AbortReason::QberOverLimit { qber, limit }) } else { Ok(qber) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_errors_than_bits_are_refused() {
        let limit = Qber::of(11, 100);
        let estimate = EstimateMessage { counts: [10, 10], errors: [0, 11] };
        assert_eq!(test_qber(&estimate, limit), Err(AbortReason::Malformed("estimate")));
    }
}
