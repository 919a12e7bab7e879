//! A link's settings become the node's plan and the device's setup. In: [`LinkSettings`]. Out: both,
//! checked. Always: both ends of a link compute the same number of pulses from the same settings.

use std::time::Duration;

use qkd_proto::distill::plan::LeakRule;
use qkd_proto::id::LinkId;
use qkd_proto::node::settings::{DevicePlan, LinkPlan};
use qkd_proto::optics::model::{LinkModel, ModelError};
use qkd_proto::optics::preset::{Preset, PresetError, pulses_for};
use qkd_proto::secret::SecretBytes;

use super::PhotonDevice;
use super::receiver::PhotonReceiver;
use super::table::RateTable;
use super::transmitter::PhotonTransmitter;
use crate::config::{DeviceSettings, LinkSettings};

/// Why a link's settings describe no device.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The preset's name.
    #[error("link {0}: {1}")]
    Preset(LinkId, PresetError),
    /// A physical parameter.
    #[error("link {0}: {1}")]
    Model(LinkId, ModelError),
}

/// What a device thread starts from.
pub struct DeviceSetup {
    pub(super) link: LinkId,
    pub(super) plan: DevicePlan,
    pub(super) transmits: bool,
    pub(super) block_time: Duration,
    pub(super) seed: Option<u64>,
}

impl DeviceSetup {
    pub(super) fn into_device(self) -> Box<dyn PhotonDevice> {
        let Self { plan, transmits, block_time, seed, link } = self;
        match plan {
            DevicePlan::Table { .. } => Box::new(RateTable::new(link, block_time)),
            DevicePlan::Simulated { model, pulses } if transmits => {
                Box::new(PhotonTransmitter::new(model, pulses, block_time, seed))
            }
            DevicePlan::Simulated { model, pulses } => Box::new(PhotonReceiver::new(model, pulses, seed)),
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
        engine: None,
        leak: LeakRule::default(),
        capacity_bytes: settings.capacity_bytes,
        faults,
    })
}

/// The setup of a link's device at the end that `transmits` or not; `seed` repeats the emulation in
/// tests.
pub fn setup_of(plan: &LinkPlan, transmits: bool, seed: Option<u64>) -> DeviceSetup {
    DeviceSetup { link: plan.link.clone(), plan: plan.device.clone(), transmits, block_time: plan.block_time(), seed }
}

fn device_plan(settings: &LinkSettings) -> Result<DevicePlan, PlanError> {
    if let DeviceSettings::Table { rate_bps, qber } = settings.device {
        return Ok(DevicePlan::Table { rate_bps, qber });
    }
    let preset: Preset = settings.preset.parse().map_err(|error| PlanError::Preset(settings.name.clone(), error))?;
    let model = model_of(settings, preset);
    model.check().map_err(|error| PlanError::Model(settings.name.clone(), error))?;
    let pulses = pulses_for(&model, settings.block_bits.unwrap_or_else(|| preset.block_key_bits()));
    Ok(DevicePlan::Simulated { model, pulses })
}

fn model_of(settings: &LinkSettings, preset: Preset) -> LinkModel {
    let base = preset.model();
    let given = &settings.overrides;
    LinkModel {
        rate_hz: given.clock_hz.unwrap_or(base.rate_hz),
        mus: given.mu.unwrap_or(base.mus),
        ps: given.p.unwrap_or(base.ps),
        pz_a: given.basis_probability.unwrap_or(base.pz_a),
        pz_b: given.basis_probability.unwrap_or(base.pz_b),
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
