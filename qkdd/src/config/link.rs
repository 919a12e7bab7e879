//! The settings of one link. In: a `[[link]]` table. Out: plain numbers in named units. Always: each
//! within its physical range.

use std::path::PathBuf;

use qkd_proto::distill::plan::Distillation;
use qkd_proto::id::LinkId;
use qkd_proto::optics::catalogue;
use qkd_proto::secret::SecretBytes;

use super::device::DeviceSettings;
use super::distillation;
use super::read::Reader;
use super::section::Section;
use super::unit::Unit;

/// Names of the built-in physical presets.
const PRESETS: [&str; 4] = ["lab", "apd-1g", "sdapd-1g", "snspd-2.5g"];
/// Preset of a link that names none.
const PRESET_DEFAULT: &str = "lab";
/// Bytes kept for each direction by default.
const CAPACITY_DEFAULT: f64 = 262_144.0;

/// One link of this node.
#[derive(Debug)]
pub struct LinkSettings {
    /// Its name, as in the roster.
    pub name: LinkId,
    /// File of the pre-shared key.
    pub psk_path: PathBuf,
    /// The pre-shared key.
    pub psk: SecretBytes,
    /// What makes its secret bits.
    pub device: DeviceSettings,
    /// Name of the physical preset, or of a published link.
    pub preset: String,
    /// Length of the fibre, km.
    pub length_km: f64,
    /// Physical parameters that differ from the preset.
    pub overrides: PhysicalOverrides,
    /// How its blocks are distilled.
    pub distillation: Distillation,
    /// Wall time per link time.
    pub dilution: f64,
    /// Most bytes kept for each direction.
    pub capacity_bytes: u64,
    /// Sifted key bits of a block; none takes the preset's.
    pub block_bits: Option<u64>,
    /// Share of pulses that an emulated eavesdropper intercepts and resends (a fault), 0 to 1.
    pub eve: f64,
}

/// Physical parameters that the file gives; none keeps the preset's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PhysicalOverrides {
    /// `clock`: pulses per second.
    pub clock_hz: Option<f64>,
    /// `loss`: dB per km.
    pub loss_db_km: Option<f64>,
    /// `extra_loss`: dB.
    pub extra_loss_db: Option<f64>,
    /// `detector_efficiency`: 0 to 1.
    pub detector_efficiency: Option<f64>,
    /// `dark_probability`: per gate and detector.
    pub dark_probability: Option<f64>,
    /// `misalignment`: error probability of the optics.
    pub misalignment: Option<f64>,
    /// `dead_time`: s.
    pub dead_time_s: Option<f64>,
    /// `afterpulse_probability`: 0 to 1.
    pub afterpulse_probability: Option<f64>,
    /// `afterpulse_time`: s.
    pub afterpulse_time_s: Option<f64>,
    /// `mu`: mean photon numbers, signal then decoy.
    pub mu: Option<[f64; 2]>,
    /// `p`: how often each is sent.
    pub p: Option<[f64; 2]>,
    /// `basis_probability`: how often each end chooses the key basis.
    pub basis_probability: Option<f64>,
    /// `transmitter_basis_probability`: how often the transmitter does, where the ends differ.
    pub transmitter_basis_probability: Option<f64>,
    /// `receiver_basis_probability`: likewise the receiver.
    pub receiver_basis_probability: Option<f64>,
}

impl PhysicalOverrides {
    fn read(link: &Section<'_>) -> Self {
        let probability = || 0.0..=1.0;
        let overrides = Self {
            clock_hz: link.quantity("clock", Unit::Frequency, 1e3..=1e11),
            loss_db_km: link.quantity("loss", Unit::LossPerLength, 0.0..=10.0),
            extra_loss_db: link.quantity("extra_loss", Unit::Loss, 0.0..=100.0),
            detector_efficiency: link.number("detector_efficiency", 1e-6..=1.0),
            dark_probability: link.number("dark_probability", 0.0..=0.1),
            misalignment: link.number("misalignment", 0.0..=0.5),
            dead_time_s: link.quantity("dead_time", Unit::Time, 0.0..=1e-3),
            afterpulse_probability: link.number("afterpulse_probability", 0.0..=0.9),
            afterpulse_time_s: link.quantity("afterpulse_time", Unit::Time, 0.0..=1e-3),
            mu: link.pair("mu", 0.0..=10.0),
            p: link.pair("p", probability()),
            basis_probability: link.number("basis_probability", 0.01..=0.99),
            transmitter_basis_probability: link.number("transmitter_basis_probability", 0.01..=0.99),
            receiver_basis_probability: link.number("receiver_basis_probability", 0.01..=0.99),
        };
        overrides.check(link);
        overrides
    }

    fn check(&self, link: &Section<'_>) {
        if self.mu.is_some_and(|[signal, decoy]| signal <= decoy) {
            link.fault("mu", "must give the signal first and a smaller decoy second");
        }
        if self.p.is_some_and(|[signal, decoy]| (signal + decoy - 1.0).abs() > 1e-9 || signal * decoy == 0.0) {
            link.fault("p", "must be two probabilities above 0 that add up to 1");
        }
    }
}

/// Refuses a preset that is none, or that has no effect on the device.
fn check_preset(link: &Section<'_>, preset: &str, device: Option<&DeviceSettings>) {
    let published = catalogue::find(preset);
    if !PRESETS.contains(&preset) && published.is_none() {
        let names = PRESETS.join(", ");
        link.fault(
            "preset",
            format!("= {preset:?} is unknown: use one of {names}, or a published link of qkdctl link presets"),
        );
        return;
    }
    let advice = match device {
        Some(DeviceSettings::Simulated | DeviceSettings::Seeded)
            if published.is_some_and(|published| published.pulses.is_none()) =>
        {
            "was published as a rate, without a pulse model: use device = \"table\""
        }
        Some(DeviceSettings::Table { .. }) if link.has("preset") && published.is_none() => {
            "is of emulated optics: name a published link of qkdctl link presets, or remove it"
        }
        Some(DeviceSettings::Etsi014(_)) if link.has("preset") => {
            "has no effect on a pair of modules, device = \"etsi014\": remove it"
        }
        _ => return,
    };
    link.fault("preset", format!("= {preset:?} {advice}"));
}

impl LinkSettings {
    pub(super) fn read(reader: &Reader<'_>, link: &Section<'_>) -> Option<Self> {
        let name: Option<LinkId> = link.required("name");
        let psk_path = link.required_text("psk").map(|text| reader.path(text));
        let psk = psk_path.as_ref().and_then(|path| reader.secret(link, "psk", path));
        let preset = link.text("preset").unwrap_or(PRESET_DEFAULT);
        let published = catalogue::find(preset);
        let device = DeviceSettings::read(reader, link, published);
        check_preset(link, preset, device.as_ref());
        let has_optics = device.as_ref().is_some_and(DeviceSettings::has_optics);
        let overrides = PhysicalOverrides::read(link);
        if device.is_some() && !has_optics && overrides != PhysicalOverrides::default() {
            link.fault(
                "device",
                "is neither \"simulated\" nor \"seeded\", so physical parameters have no effect: remove them",
            );
        }
        let length_km = link.quantity("length", Unit::Length, 0.0..=1000.0);
        if !link.has("length") && has_optics && published.is_none() {
            link.fault("length", "is missing: add the fibre's length, as \"10km\"");
        }
        let dilution = link.number("dilution", 0.01..=1e6).unwrap_or(1.0);
        let capacity = link.quantity("capacity", Unit::Bytes, 16_384.0..=17_179_869_184.0).unwrap_or(CAPACITY_DEFAULT);
        let block = link.quantity("block", Unit::Bits, 4096.0..=1_073_741_824.0);
        let eve = link.number("eve", 0.0..=1.0).unwrap_or(0.0);
        let distillation = distillation::read(link);
        if device.is_some() && !has_optics {
            for key in distillation::KEYS.into_iter().filter(|&key| link.has(key)) {
                link.fault(key, "is of links with optics, and this device distils nothing: remove it");
            }
        }
        link.finish();
        Some(Self {
            name: name?,
            psk_path: psk_path?,
            psk: psk?,
            device: device?,
            preset: preset.to_owned(),
            length_km: length_km.or(published.map(|published| published.length_km)).unwrap_or(0.0),
            overrides,
            distillation,
            dilution,
            capacity_bytes: capacity as u64,
            block_bits: block.map(|bits| bits as u64),
            eve,
        })
    }
}
