//! What an operator orders. Every form is plain data; the daemon checks it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::optics::model::{LinkModel, ModelError};

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
    /// The quantum channel is cut.
    Cut,
}

impl InjectedFault {
    /// True if it takes effect at the transmitter; false for the receiver; none: at either end.
    pub fn at_transmitter(&self) -> Option<bool> {
        match self {
            Self::PhotonNumberSplitting | Self::Loss { .. } => Some(true),
            Self::InterceptResend { .. } | Self::DarkClicks { .. } | Self::Misalignment { .. } => Some(false),
            Self::Cut => None,
        }
    }

    /// The model with this fault; a cut leaves it as it is.
    ///
    /// # Errors
    /// If a parameter leaves its range.
    pub fn applied_to(&self, model: &LinkModel) -> Result<LinkModel, ModelError> {
        let mut faulty = model.clone();
        match *self {
            Self::InterceptResend { fraction, basis } => {
                (faulty.eve_ir, faulty.eve_key_basis) = (fraction, basis);
            }
            Self::PhotonNumberSplitting => faulty.eve_pns = Some((0.0, splitting_yield(model))),
            Self::DarkClicks { probability } => faulty.p_dark += probability,
            Self::Loss { db } => faulty.extra_loss_db += db,
            Self::Misalignment { probability } => faulty.e_mis += probability,
            Self::Cut => {}
        }
        faulty.check()?;
        Ok(faulty)
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
            Self::InterceptResend { fraction, basis } => {
                let share = fraction * 100.0;
                write!(f, "an eavesdropper resends {share} % of the pulses, measured in the key basis with {basis}")
            }
            Self::PhotonNumberSplitting => f.write_str("an eavesdropper splits photon numbers"),
            Self::DarkClicks { probability } => write!(f, "{probability} more dark clicks per gate and detector"),
            Self::Loss { db } => write!(f, "{db} dB more loss"),
            Self::Misalignment { probability } => write!(f, "{probability} more misalignment"),
            Self::Cut => f.write_str("the quantum channel is cut"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optics::preset::Preset;

    #[test]
    fn a_fault_moves_what_its_name_says() {
        let model = Preset::Lab.model();
        let pulses = 1e9;
        let clean = model.expected(pulses);
        let with = |fault: InjectedFault| fault.applied_to(&model).unwrap().expected(pulses);
        let eve = with(InjectedFault::InterceptResend { fraction: 0.4, basis: 0.5 });
        assert!(eve.key.qber() > clean.key.qber() + 0.09 && eve.test.qber() > clean.test.qber() + 0.09);
        // Dead time eats a part of what the loss takes.
        assert!(with(InjectedFault::Loss { db: 3.0 }).key.total() < 0.75 * clean.key.total());
        assert!(with(InjectedFault::DarkClicks { probability: 1e-2 }).key.qber() > clean.key.qber());
        assert!(with(InjectedFault::Misalignment { probability: 0.05 }).key.qber() > clean.key.qber() + 0.04);
        assert_eq!(InjectedFault::Cut.applied_to(&model).unwrap(), model);
        let split = with(InjectedFault::PhotonNumberSplitting);
        assert!(split.gain[1] / split.gain[0] < 0.8 * clean.gain[1] / clean.gain[0], "decoys suffer more");
    }

    #[test]
    fn a_fault_out_of_range_is_refused() {
        let model = Preset::Lab.model();
        for fault in [
            InjectedFault::InterceptResend { fraction: 1.5, basis: 0.5 },
            InjectedFault::InterceptResend { fraction: f64::NAN, basis: 0.5 },
            InjectedFault::Loss { db: f64::INFINITY },
            InjectedFault::Misalignment { probability: 0.9 },
        ] {
            assert!(fault.applied_to(&model).is_err(), "{fault}");
        }
    }
}
