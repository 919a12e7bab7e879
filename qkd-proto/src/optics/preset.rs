//! Named links. In: a preset's name. Out: its model and its fixed number of pulses per block.
//! Always: the number of pulses follows from the model alone, never from what was detected
//! (Wiesemann et al. 2026: a block must not end "when enough clicks came").

use std::fmt;
use std::str::FromStr;

use super::model::LinkModel;

/// Expected key-basis bits of a `lab` block: 2^18 and room for fluctuation, so that four frames fill.
pub const LAB_BLOCK_KEY_BITS: u64 = (1 << 18) + 3_000;
/// Expected key-basis bits of a block of `apd-1g` and `snspd-2.5g`.
pub const FULL_BLOCK_KEY_BITS: u64 = 1 << 24;
/// The same for `sdapd-1g`: so few of its bits are tested (1 in 225) that a shorter block gives nothing.
pub const BIASED_BLOCK_KEY_BITS: u64 = 1 << 26;
/// Most pulses of a block: the share of a year of link time that tests of slots can still hold.
pub const PULSES_MAX: u64 = crate::kernel::arrivals::NEVER;

/// A named link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// `apd-1g` tuned for short blocks: demonstrations and networks of many nodes.
    Lab,
    /// 1 GHz, InGaAs avalanche diodes with 50 ns dead time.
    Apd1g,
    /// 1 GHz, self-differencing avalanche diodes, no dead time.
    Sdapd1g,
    /// 2.5 GHz, superconducting nanowires over ultra-low-loss fibre.
    Snspd25g,
}

/// A name that is no preset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a preset: use lab, apd-1g, sdapd-1g or snspd-2.5g")]
pub struct PresetError(String);

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Self, PresetError> {
        match text {
            "lab" => Ok(Self::Lab),
            "apd-1g" => Ok(Self::Apd1g),
            "sdapd-1g" => Ok(Self::Sdapd1g),
            "snspd-2.5g" => Ok(Self::Snspd25g),
            other => Err(PresetError(other.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lab => "lab",
            Self::Apd1g => "apd-1g",
            Self::Sdapd1g => "sdapd-1g",
            Self::Snspd25g => "snspd-2.5g",
        })
    }
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Lab, Self::Apd1g, Self::Sdapd1g, Self::Snspd25g];

    /// The model, at 10 km for `lab` and 50 km for the others.
    pub fn model(self) -> LinkModel {
        let apd = LinkModel {
            rate_hz: 1e9,
            mus: [0.5, 0.15],
            ps: [0.7, 0.3],
            pz_a: 0.9,
            pz_b: 0.9,
            length_km: 50.0,
            alpha_db_km: 0.2,
            extra_loss_db: 3.0,
            eta_det: 0.2,
            p_dark: 1e-6,
            e_mis: 0.01,
            p_ap: 0.01,
            tau_ap_s: 1e-7,
            dead_s: 5e-8,
            eve_ir: 0.0,
            eve_key_basis: 0.5,
            eve_pns: None,
        };
        match self {
            Self::Lab => LinkModel { mus: [0.3, 0.1], ps: [0.3, 0.7], pz_a: 0.6, pz_b: 0.6, length_km: 10.0, ..apd },
            Self::Apd1g => apd,
            Self::Sdapd1g => LinkModel {
                mus: [0.425, 0.1],
                ps: [0.8, 0.2],
                pz_a: 0.9375,
                pz_b: 0.9375,
                extra_loss_db: 1.0,
                eta_det: 0.205,
                p_dark: 2.1e-5,
                p_ap: 0.0525,
                dead_s: 0.0,
                ..apd
            },
            Self::Snspd25g => LinkModel {
                rate_hz: 2.5e9,
                alpha_db_km: 0.17,
                extra_loss_db: 2.0,
                eta_det: 0.8,
                p_dark: 4e-9,
                e_mis: 0.005,
                p_ap: 0.0,
                dead_s: 3e-8,
                ..apd
            },
        }
    }

    /// Expected key-basis bits of one block.
    pub fn block_key_bits(self) -> u64 {
        match self {
            Self::Lab => LAB_BLOCK_KEY_BITS,
            Self::Apd1g | Self::Snspd25g => FULL_BLOCK_KEY_BITS,
            Self::Sdapd1g => BIASED_BLOCK_KEY_BITS,
        }
    }

    /// Pulses of one block at the model's default length.
    pub fn pulses(self) -> u64 {
        pulses_for(&self.model(), self.block_key_bits())
    }
}

/// Pulses after which `model` lets one expect `target_key_bits` sifted key-basis bits.
pub fn pulses_for(model: &LinkModel, target_key_bits: u64) -> u64 {
    let per_pulse = model.expected(1.0).key.total();
    let pulses = (target_key_bits as f64 / per_pulse).round();
    // A float cast saturates, and a model without any click gives infinity.
    (pulses as u64).clamp(1, PULSES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_models_pass_their_check() {
        for preset in [Preset::Lab, Preset::Apd1g, Preset::Sdapd1g, Preset::Snspd25g] {
            assert_eq!(preset.to_string().parse(), Ok(preset));
            assert_eq!(preset.model().check(), Ok(()));
            let key_bits = preset.model().expected(preset.pulses() as f64).key.total();
            assert!((key_bits - preset.block_key_bits() as f64).abs() < 1.0);
        }
        assert!("apd".parse::<Preset>().is_err());
    }

    #[test]
    fn a_wrong_field_is_named() {
        let error = LinkModel { e_mis: f64::NAN, ..Preset::Lab.model() }.check().unwrap_err();
        assert_eq!(error.field, "e_mis");
    }
}
