//! Which engine a block takes. In: what was configured, what is charged, the link's round trip and
//! error rate, the time that a block lasts. Out: an engine. Always: polar codes, unless Cascade gives
//! more key in the same time.

use std::time::Duration;

use super::message::EngineKind;
use super::plan::LeakRule;
use crate::quantity::Qber;

/// Questions that Cascade asks about a block, shared by all its frames (measured: 180 to 560).
const CASCADE_QUESTIONS: u32 = 400;
/// Error rates below which Cascade's f of 1.05 is worth its questions: beyond, polar's is near 1.2.
const CASCADE_QBER_MAX: f64 = 0.08;

/// What the choice rests on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// The operator's choice, if any.
    pub configured: Option<EngineKind>,
    /// Whose words are charged.
    pub leak: LeakRule,
    /// The link's round trip, once measured.
    pub round_trip: Option<Duration>,
    /// The last block's error rate.
    pub qber: Option<Qber>,
    /// How long a block takes to measure: distillation has as long, since blocks overlap.
    pub block_time: Duration,
}

/// The engine for the next block.
///
/// Where both ends' words are charged, Cascade costs some 2.1 h(q) a bit, more than polar codes at any
/// error rate; it is taken only where the configuration says so.
pub fn choose(circumstances: &Circumstances) -> EngineKind {
    let Circumstances { configured, leak, round_trip, qber, block_time } = *circumstances;
    if let Some(engine) = configured {
        return engine;
    }
    let in_time = round_trip.is_some_and(|round_trip| round_trip.saturating_mul(CASCADE_QUESTIONS) <= block_time);
    let worth = qber.is_some_and(|qber| qber.ratio() <= CASCADE_QBER_MAX);
    if leak == LeakRule::Transmitter && in_time && worth { EngineKind::Cascade } else { EngineKind::Polar }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near() -> Circumstances {
        Circumstances {
            configured: None,
            leak: LeakRule::Transmitter,
            round_trip: Some(Duration::from_millis(1)),
            qber: Some(Qber::of(2, 100)),
            block_time: Duration::from_secs(2),
        }
    }

    #[test]
    fn cascade_needs_a_short_way_and_the_transmitters_leak() {
        assert_eq!(choose(&near()), EngineKind::Cascade);
        assert_eq!(choose(&Circumstances { leak: LeakRule::Both, ..near() }), EngineKind::Polar);
        assert_eq!(choose(&Circumstances { round_trip: None, ..near() }), EngineKind::Polar);
        assert_eq!(choose(&Circumstances { round_trip: Some(Duration::from_millis(50)), ..near() }), EngineKind::Polar);
        assert_eq!(choose(&Circumstances { qber: Some(Qber::of(10, 100)), ..near() }), EngineKind::Polar);
    }

    #[test]
    fn the_operator_decides() {
        let configured = Some(EngineKind::Cascade);
        assert_eq!(choose(&Circumstances { configured, leak: LeakRule::Both, ..near() }), EngineKind::Cascade);
        let configured = Some(EngineKind::Polar);
        assert_eq!(choose(&Circumstances { configured, ..near() }), EngineKind::Polar);
    }
}
