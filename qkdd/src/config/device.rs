//! What stands at the ends of a link. In: the keys of a `[[link]]` table that depend on `device`.
//! Out: [`DeviceSettings`]. Always: a key of one device is refused beside another.

use super::module::ModuleSettings;
use super::read::Reader;
use super::section::Section;
use super::unit::Unit;

/// Names of the devices.
const DEVICES: [&str; 4] = ["simulated", "seeded", "table", "etsi014"];
/// Keys of `device = "table"`.
const TABLE_KEYS: [&str; 2] = ["rate", "qber"];

/// What stands at the ends of a link.
#[derive(Debug, Clone, PartialEq)]
pub enum DeviceSettings {
    /// The emulated optics.
    Simulated,
    /// The emulated optics, derived at both ends from one secret: for many nodes on one machine.
    Seeded,
    /// Emulated key at a published rate, without optics.
    Table {
        /// Secret bits per second of link time.
        rate_bps: f64,
        /// Error rate to report, 0 to 0.5.
        qber: f64,
    },
    /// A QKD module that hands keys out by ETSI GS QKD 014.
    Etsi014(ModuleSettings),
}

impl DeviceSettings {
    pub(super) fn read(reader: &Reader<'_>, link: &Section<'_>) -> Option<Self> {
        let rate = link.quantity("rate", Unit::BitRate, 1e-3..=1e9);
        let qber = link.number("qber", 0.0..=0.5);
        let module = link.section("module");
        let device = link.text("device").unwrap_or(DEVICES[0]);
        if device != "table" {
            for key in TABLE_KEYS.into_iter().filter(|&key| link.has(key)) {
                link.fault(key, "needs device = \"table\": add it, or remove this");
            }
        }
        if device != "etsi014" && module.is_present() {
            link.fault("module", "needs device = \"etsi014\": add it, or remove this table");
        }
        if device == "etsi014" {
            for key in ["eve", "dilution"].into_iter().filter(|&key| link.has(key)) {
                link.fault(key, "is of emulated devices, and etsi014 is none: remove it");
            }
        }
        match device {
            "simulated" => Some(Self::Simulated),
            "seeded" => Some(Self::Seeded),
            "table" => {
                for key in TABLE_KEYS.into_iter().filter(|&key| !link.has(key)) {
                    link.fault(key, "is missing: device = \"table\" needs rate, as \"2.1kbit/s\", and qber, as 0.023");
                }
                Some(Self::Table { rate_bps: rate?, qber: qber? })
            }
            "etsi014" => ModuleSettings::read(reader, link, &module).map(Self::Etsi014),
            other => {
                link.fault("device", format!("= {other:?} is unknown: use one of {}", DEVICES.join(", ")));
                None
            }
        }
    }

    /// True if the link's physical parameters count.
    pub(super) fn has_optics(&self) -> bool {
        matches!(self, Self::Simulated | Self::Seeded)
    }
}
