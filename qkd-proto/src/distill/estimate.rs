//! Estimation: what the disclosed test basis says of the channel. In: counts and errors. Out: the
//! error rate and the design step of the code. Always: the key basis is never sampled, its errors
//! are counted after reconciliation.

use super::abort::AbortReason;
use super::message::EstimateMessage;
use crate::quantity::Qber;

/// Error rate per design step.
pub(super) const STEP: f64 = 0.0025;
/// Design steps that a session may use: 0.5 % to 11 %.
const STEPS: std::ops::RangeInclusive<u8> = 2..=44;
/// Added to the test-basis error rate before it is rounded up to a step: the key's own fluctuation.
const MARGIN: f64 = 0.0005;

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

/// The design error rate for reconciliation, in quarters of a per cent.
pub fn rate_step(qber: Qber) -> u8 {
    let step = ((qber.ratio() + MARGIN) / STEP).ceil();
    (step as u8).clamp(*STEPS.start(), *STEPS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lie_above_the_error_rate() {
        assert_eq!(rate_step(Qber::of(0, 1)), 2);
        assert_eq!(rate_step(Qber::of(20, 1_000)), 9);
        assert_eq!(rate_step(Qber::of(1, 1)), 44);
    }

    #[test]
    fn more_errors_than_bits_are_refused() {
        let limit = Qber::of(11, 100);
        let estimate = EstimateMessage { counts: [10, 10], errors: [0, 11] };
        assert_eq!(test_qber(&estimate, limit), Err(AbortReason::Malformed("estimate")));
    }
}
