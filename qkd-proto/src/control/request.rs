//! What an operator orders. Every form is plain data; the daemon checks it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::optics::eavesdropper::{Attack, Burst, Drift};
use crate::optics::model::{LinkModel, ModelError};

/// Link time of one stretch of an eavesdropper who comes and goes, in s.
const BURST_S: f64 = 1e-4;

/// Puts a fault on a link, or takes it off again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// The link.
    pub link: String,
    /// The fault; none takes it off.
    pub fault: Option<InjectedFault>,
    /// Seconds until it ends by itself; none: when it is taken off.
    pub seconds: Option<u32>,
}

/// Unlocks a node.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct UnlockRequest {
    /// The passphrase of the master key, or the 64 hex digits of its file; none where none is needed.
    #[serde(default)]
    pub secret: Option<String>,
}

/// Destroys the state of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroizeRequest {
    /// Says that this is meant.
    pub i_know: bool,
}

/// A fault of the emulated physics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InjectedFault {
    /// An eavesdropper intercepts and resends.
    InterceptResend {
        /// Share of the pulses, 0 to 1.
        fraction: f64,
        /// How often she measures in the key basis, 0 to 1.
        basis: f64,
        /// If given, she is there in the first of so many stretches of 0.1 ms of link time.
        #[serde(default)]
        burst: Option<u64>,
    },
    /// An eavesdropper splits photon numbers: single photons are blocked, others get through more often.
    PhotonNumberSplitting,
    /// More dark clicks.
    DarkClicks {
        /// Further probability per gate and detector.
        probability: f64,
    },
    /// More loss.
    Loss {
        /// Further loss, in dB.
        db: f64,
    },
    /// Optics out of line.
    Misalignment {
        /// Further error probability.
        probability: f64,
    },
    /// Optics that drift out of line and back, as a raised cosine; every block starts in line.
    Drift {
        /// Further error probability at the worst moment.
        peak: f64,
        /// Link time from one best moment to the next, in s.
        period_s: f64,
    },
    /// The quantum channel is cut: only dark clicks are left.
    Cut,
}

impl InjectedFault {
    /// True if it takes effect at the transmitter; false for the receiver; none: at either end.
    pub fn at_transmitter(&self) -> Option<bool> {
        match self {
            Self::PhotonNumberSplitting | Self::Loss { .. } => Some(true),
            Self::InterceptResend { .. } | Self::DarkClicks { .. } | Self::Misalignment { .. } | Self::Drift { .. } => {
                Some(false)
            }
            Self::Cut => None,
        }
    }

    /// What the emulated optics of `model` are put under.
    ///
    /// # Errors
    /// If a parameter of the attack, or of the model under it, leaves its range.
    pub fn attack(&self, model: &LinkModel) -> Result<Attack, ModelError> {
        let pulses = |seconds: f64| (seconds * model.rate_hz) as u64;
        let none = Attack::default();
        let attack = match *self {
            Self::InterceptResend { fraction, basis, burst } => {
                let burst = burst.map(|every| Burst { every, pulses: pulses(BURST_S).max(1) });
                Attack { intercept: fraction, key_basis: basis, burst, ..none }
            }
            Self::PhotonNumberSplitting => Attack { splitting: Some((0.0, splitting_yield(model))), ..none },
            Self::DarkClicks { probability } => Attack { dark: probability, ..none },
            Self::Loss { db } => Attack { loss_db: db, ..none },
            Self::Misalignment { probability } => Attack { misalignment: probability, ..none },
            Self::Drift { peak, period_s } => Attack { drift: Some(Drift { peak, period: pulses(period_s) }), ..none },
            Self::Cut => Attack { cut: true, ..none },
        };
        attack.check()?;
        attack.apply(model).check()?;
        Ok(attack)
    }
}

/// The yield of multi-photon pulses that keeps the signal's gain without single photons.
fn splitting_yield(model: &LinkModel) -> f64 {
    let mu = model.mus[0];
    let multi = 1.0 - (-mu).exp() * (1.0 + mu);
    if multi > 0.0 { (model.arrival()[0] / multi).min(1.0) } else { 1.0 }
}

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterceptResend { fraction, basis, burst } => {
                let share = fraction * 100.0;
                write!(f, "an eavesdropper resends {share} % of the pulses, measured in the key basis with {basis}")?;
                burst.map_or(Ok(()), |every| write!(f, ", in one stretch of {every}"))
            }
            Self::PhotonNumberSplitting => f.write_str("an eavesdropper splits photon numbers"),
            Self::DarkClicks { probability } => write!(f, "{probability} more dark clicks per gate and detector"),
            Self::Loss { db } => write!(f, "{db} dB more loss"),
            Self::Misalignment { probability } => write!(f, "{probability} more misalignment"),
            Self::Drift { peak, period_s } => write!(f, "misalignment drifts by {peak} and back within {period_s} s"),
            Self::Cut => f.write_str("the quantum channel is cut"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optics::preset::Preset;

    const EVE: InjectedFault = InjectedFault::InterceptResend { fraction: 0.4, basis: 0.5, burst: None };

    #[test]
    fn a_fault_moves_what_its_name_says() {
        let model = Preset::Lab.model();
        let pulses = 1e9;
        let clean = model.expected(pulses);
        let with = |fault: InjectedFault| fault.attack(&model).unwrap().apply(&model).expected(pulses);
        let eve = with(EVE);
        assert!(eve.key.qber() > clean.key.qber() + 0.09 && eve.test.qber() > clean.test.qber() + 0.09);
        let at_times = with(InjectedFault::InterceptResend { fraction: 0.4, basis: 0.5, burst: Some(4) });
        assert!(at_times.key.qber() > clean.key.qber() + 0.02 && at_times.key.qber() < clean.key.qber() + 0.03);
        // Dead time eats a part of what the loss takes.
        assert!(with(InjectedFault::Loss { db: 3.0 }).key.total() < 0.75 * clean.key.total());
        assert!(with(InjectedFault::DarkClicks { probability: 9e-3 }).key.qber() > clean.key.qber());
        assert!(with(InjectedFault::Misalignment { probability: 0.05 }).key.qber() > clean.key.qber() + 0.04);
        let drift = with(InjectedFault::Drift { peak: 0.1, period_s: 1e-3 });
        assert!(drift.key.qber() > clean.key.qber() + 0.04);
        let cut = with(InjectedFault::Cut);
        assert!(cut.key.total() < 1e-2 * clean.key.total() && cut.key.qber() > 0.4, "dark clicks only: {cut:?}");
        // Where the loss is high enough to hide in, the signal's gain stays and the decoys' falls.
        let far = LinkModel { length_km: 50.0, ..model.clone() };
        let (clean, attack) = (far.expected(pulses), InjectedFault::PhotonNumberSplitting.attack(&far).unwrap());
        let split = attack.apply(&far).expected(pulses);
        assert!((split.gain[0] / clean.gain[0] - 1.0).abs() < 1e-2, "{split:?}");
        assert!(split.gain[1] < 0.6 * clean.gain[1], "decoys suffer: {split:?}");
    }

    #[test]
    fn a_fault_out_of_range_is_refused() {
        let model = Preset::Lab.model();
        for fault in [
            InjectedFault::InterceptResend { fraction: 1.5, basis: 0.5, burst: None },
            InjectedFault::InterceptResend { fraction: f64::NAN, basis: 0.5, burst: None },
            InjectedFault::InterceptResend { fraction: 0.5, basis: 0.5, burst: Some(0) },
            InjectedFault::Loss { db: f64::INFINITY },
            InjectedFault::Loss { db: 99.0 },
            InjectedFault::DarkClicks { probability: 0.2 },
            InjectedFault::Misalignment { probability: 0.9 },
            InjectedFault::Drift { peak: 0.1, period_s: 0.0 },
        ] {
            let far = LinkModel { length_km: 100.0, ..model.clone() };
            assert!(fault.attack(&far).is_err(), "{fault}");
        }
    }

    #[test]
    fn an_order_without_bursts_is_understood() {
        let order = r#"{"link":"a-b","fault":{"intercept_resend":{"fraction":0.4,"basis":0.5}},"seconds":null}"#;
        assert_eq!(serde_json::from_str::<FaultRequest>(order).unwrap().fault, Some(EVE));
    }
}
