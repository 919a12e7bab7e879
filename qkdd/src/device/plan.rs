//! A link's settings become the node's plan and the device's setup. In: [`LinkSettings`]. Out: both,
//! checked. Always: both ends of a link compute the same number of pulses from the same settings.

use std::time::Duration;

use qkd_proto::distill::finite_key::Epsilons;
use qkd_proto::distill::finite_key::forecast::Forecast;
use qkd_proto::distill::message::EngineKind;
use qkd_proto::distill::plan::LeakRule;
use qkd_proto::id::LinkId;
use qkd_proto::node::settings::{DevicePlan, LinkPlan};
use qkd_proto::optics::catalogue;
use qkd_proto::optics::model::{LinkModel, ModelError};
use qkd_proto::optics::preset::{Preset, PresetError, pulses_for};
use qkd_proto::secret::SecretBytes;

use super::PhotonDevice;
use super::fault::{FaultSlot, Faultable};
use super::module::{KmeClient, ModuleReceiver, ModuleTransmitter};
use super::receiver::PhotonReceiver;
use super::seeded::SeededOptics;
use super::table::{Pace, RateTable};
use super::transmitter::PhotonTransmitter;
use crate::config::{DeviceSettings, LinkSettings, ModuleSettings};

/// Why a link's settings describe no device.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The preset's name.
    #[error("link {0}: {1}")]
    Preset(LinkId, PresetError),
    /// A physical parameter.
    #[error("link {0}: {1}")]
    Model(LinkId, ModelError),
    /// An engine that leaves no key.
    #[error(
        "link {0}: engine = \"cascade\" with leak = \"both\" leaves no key here (QBER {1:.2} %): use engine = \"polar\""
    )]
    NoKey(LinkId, f64),
    /// A QKD module's address or files.
    #[error("link {0}: {1}")]
    Module(LinkId, String),
}

/// What a device thread starts from.
pub struct DeviceSetup {
    link: LinkId,
    apparatus: Apparatus,
    transmits: bool,
    block_time: Duration,
    seed: Option<u64>,
}

enum Apparatus {
    Optics(LinkModel, u64),
    Seeded(LinkModel, u64),
    Table(f64, Pace),
    Module(KmeClient, ModuleSettings),
}

impl DeviceSetup {
    /// The setup of a link's device at the end that `transmits` or not; `seed` repeats the emulation
    /// in tests.
    ///
    /// # Errors
    /// If the settings describe no device, or files that they name cannot be used.
    pub fn new(settings: &LinkSettings, transmits: bool, seed: Option<u64>) -> Result<Self, PlanError> {
        let apparatus = match &settings.device {
            DeviceSettings::Etsi014(module) => {
                let client = KmeClient::new(module);
                let client = client.map_err(|text| PlanError::Module(settings.name.clone(), text))?;
                Apparatus::Module(client, module.clone())
            }
            DeviceSettings::Simulated => {
                let (model, pulses) = optics(settings)?;
                Apparatus::Optics(model, pulses)
            }
            DeviceSettings::Seeded => {
                let (model, pulses) = optics(settings)?;
                Apparatus::Seeded(model, pulses)
            }
            DeviceSettings::Table { rate_bps, schedule, .. } => {
                Apparatus::Table(*rate_bps, Pace { schedule: *schedule, dilution: settings.dilution })
            }
        };
        let block_time = link_plan(settings)?.block_time();
        if settings.distillation.leak == LeakRule::Transmitter {
            tracing::warn!(
                link = %settings.name,
                "leak = \"alice\": the receiver's words are not charged, which the security proof does not cover by itself"
            );
        }
        Ok(Self { link: settings.name.clone(), apparatus, transmits, block_time, seed })
    }

    /// Whose device it is.
    pub fn link(&self) -> &LinkId {
        &self.link
    }

    /// When the device makes key, if it has passes.
    pub(super) fn pace(&self) -> Option<Pace> {
        match self.apparatus {
            Apparatus::Table(_, pace) => Some(pace),
            _ => None,
        }
    }

    /// Where faults are put into the device.
    pub(super) fn fault_slot(&self) -> FaultSlot {
        let acts_on = match &self.apparatus {
            Apparatus::Optics(model, _) => Faultable::Optics(model.clone()),
            Apparatus::Seeded(model, _) => Faultable::Seeded(model.clone()),
            Apparatus::Table(..) => Faultable::Table,
            Apparatus::Module(..) => Faultable::Nothing,
        };
        FaultSlot::new(acts_on, self.transmits)
    }

    pub(super) fn into_device(self) -> Box<dyn PhotonDevice> {
        let Self { apparatus, transmits, block_time, seed, link } = self;
        match (apparatus, transmits) {
            (Apparatus::Optics(model, pulses), true) => {
                Box::new(PhotonTransmitter::new(model, pulses, block_time, seed))
            }
            (Apparatus::Optics(model, pulses), false) => Box::new(PhotonReceiver::new(model, pulses, seed)),
            (Apparatus::Seeded(model, pulses), _) => Box::new(SeededOptics::new(model, pulses, block_time, transmits)),
            (Apparatus::Table(rate_bps, pace), _) => Box::new(RateTable::new(link, rate_bps, pace)),
            (Apparatus::Module(client, settings), true) => Box::new(ModuleTransmitter::new(client, settings)),
            (Apparatus::Module(client, settings), false) => Box::new(ModuleReceiver::new(client, settings)),
        }
    }
}

/// The node's plan of a link.
///
/// # Errors
/// If the settings describe no device.
pub fn link_plan(settings: &LinkSettings) -> Result<LinkPlan, PlanError> {
    let mut faults = Vec::new();
    if settings.eve > 0.0 {
        faults.push(format!("eve: intercepts and resends {:.0} % of the pulses", settings.eve * 100.0));
    }
    Ok(LinkPlan {
        link: settings.name.clone(),
        psk: SecretBytes::copy_of(settings.psk.expose()),
        device: device_plan(settings)?,
        dilution: settings.dilution,
        distillation: settings.distillation,
        capacity_bytes: settings.capacity_bytes,
        faults,
    })
}

/// Leak of Cascade over what Shannon asks for, where both ends' words are charged (measured: 2.09).
const CASCADE_BOTH_F_EC: f64 = 2.1;

/// Refuses Cascade where charging both ends leaves no key.
fn check_engine(settings: &LinkSettings, model: &LinkModel, pulses: u64) -> Result<(), PlanError> {
    let choice = settings.distillation;
    if choice.engine == Some(EngineKind::Cascade) && choice.leak == LeakRule::Both {
        let forecast = Forecast::of(model, pulses as f64, CASCADE_BOTH_F_EC, Epsilons::OF_LINKS);
        if forecast.wiesemann.is_none_or(|bounds| bounds.whole_bits() == 0) {
            return Err(PlanError::NoKey(settings.name.clone(), forecast.expected.key.qber() * 100.0));
        }
    }
    Ok(())
}

fn device_plan(settings: &LinkSettings) -> Result<DevicePlan, PlanError> {
    match &settings.device {
        DeviceSettings::Table { rate_bps, qber, schedule } => {
            Ok(DevicePlan::Table { rate_bps: *rate_bps, qber: *qber, schedule: *schedule })
        }
        DeviceSettings::Etsi014(module) => Ok(DevicePlan::Etsi014 { wait: module.wait }),
        DeviceSettings::Simulated => {
            let (model, pulses) = optics(settings)?;
            check_engine(settings, &model, pulses)?;
            Ok(DevicePlan::Simulated { model, pulses })
        }
        DeviceSettings::Seeded => {
            let (model, pulses) = optics(settings)?;
            check_engine(settings, &model, pulses)?;
            Ok(DevicePlan::Seeded { model, pulses })
        }
    }
}

/// The physics of a link, and the pulses of its blocks.
fn optics(settings: &LinkSettings) -> Result<(LinkModel, u64), PlanError> {
    let (base, block_bits) = preset(settings)?;
    let model = model_of(settings, base);
    model.check().map_err(|error| PlanError::Model(settings.name.clone(), error))?;
    let pulses = pulses_for(&model, settings.block_bits.unwrap_or(block_bits));
    Ok((model, pulses))
}

/// The model and block size that the settings start from: a published link's, or a preset's.
fn preset(settings: &LinkSettings) -> Result<(LinkModel, u64), PlanError> {
    if let Some(published) = catalogue::find(&settings.preset).and_then(|link| link.pulses.as_ref()) {
        return Ok((published.model.clone(), published.block_key_bits));
    }
    let preset: Preset = settings.preset.parse().map_err(|error| PlanError::Preset(settings.name.clone(), error))?;
    Ok((preset.model(), preset.block_key_bits()))
}

fn model_of(settings: &LinkSettings, base: LinkModel) -> LinkModel {
    let given = &settings.overrides;
    LinkModel {
        rate_hz: given.clock_hz.unwrap_or(base.rate_hz),
        mus: given.mu.unwrap_or(base.mus),
        ps: given.p.unwrap_or(base.ps),
        pz_a: given.transmitter_basis_probability.or(given.basis_probability).unwrap_or(base.pz_a),
        pz_b: given.receiver_basis_probability.or(given.basis_probability).unwrap_or(base.pz_b),
        length_km: settings.length_km,
        alpha_db_km: given.loss_db_km.unwrap_or(base.alpha_db_km),
        extra_loss_db: given.extra_loss_db.unwrap_or(base.extra_loss_db),
        eta_det: given.detector_efficiency.unwrap_or(base.eta_det),
        p_dark: given.dark_probability.unwrap_or(base.p_dark),
        e_mis: given.misalignment.unwrap_or(base.e_mis),
        p_ap: given.afterpulse_probability.unwrap_or(base.p_ap),
        tau_ap_s: given.afterpulse_time_s.unwrap_or(base.tau_ap_s),
        dead_s: given.dead_time_s.unwrap_or(base.dead_s),
        eve_ir: settings.eve,
        ..base
    }
}
