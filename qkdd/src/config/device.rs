//! What stands at the ends of a link. In: the keys of a `[[link]]` table that depend on `device`.
//! Out: [`DeviceSettings`]. Always: a key of one device is refused beside another.

use std::time::Duration;

use qkd_proto::optics::catalogue::{CataloguedLink, PassSchedule};

use super::module::ModuleSettings;
use super::read::Reader;
use super::section::Section;
use super::unit::Unit;

/// Names of the devices.
const DEVICES: [&str; 4] = ["simulated", "seeded", "table", "etsi014"];
/// Keys of `device = "table"`.
const TABLE_KEYS: [&str; 5] = ["rate", "qber", "pass_every", "pass_length", "pass_offset"];
/// Longest period of passes, in s: a year.
const PASS_EVERY_MAX: f64 = 365.0 * 86_400.0;

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
        /// Error rate to report, 0 to 0.5; none where none was published.
        qber: Option<f64>,
        /// When it makes key, in link time from the epoch; always, without one.
        schedule: Option<PassSchedule>,
    },
    /// A QKD module that hands keys out by ETSI GS QKD 014.
    Etsi014(ModuleSettings),
}

impl DeviceSettings {
    pub(super) fn read(
        reader: &Reader<'_>,
        link: &Section<'_>,
        published: Option<&'static CataloguedLink>,
    ) -> Option<Self> {
        let table = TableKeys::read(link);
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
            "table" => table.settings(link, published),
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

/// What a table of a rate-table link gives.
struct TableKeys {
    rate_bps: Option<f64>,
    qber: Option<f64>,
    schedule: Option<PassSchedule>,
}

impl TableKeys {
    fn read(link: &Section<'_>) -> Self {
        Self {
            rate_bps: link.quantity("rate", Unit::BitRate, 1e-3..=1e9),
            qber: link.number("qber", 0.0..=0.5),
            schedule: schedule(link),
        }
    }

    /// What a published link gives goes where the table is silent.
    fn settings(self, link: &Section<'_>, published: Option<&'static CataloguedLink>) -> Option<DeviceSettings> {
        if published.is_none() {
            for key in ["rate", "qber"].into_iter().filter(|&key| !link.has(key)) {
                link.fault(
                    key,
                    "is missing: device = \"table\" needs rate, as \"2.1kbit/s\", and qber, as 0.023, \
                     or the preset of a published link",
                );
            }
        }
        Some(DeviceSettings::Table {
            rate_bps: self.rate_bps.or(published.map(|published| published.rate_bps))?,
            qber: self.qber.or(published.and_then(|published| published.qber)),
            schedule: self.schedule.or(published.and_then(|published| published.schedule)),
        })
    }
}

fn schedule(link: &Section<'_>) -> Option<PassSchedule> {
    let every = link.quantity("pass_every", Unit::Time, 1.0..=PASS_EVERY_MAX);
    let length = link.quantity("pass_length", Unit::Time, 1.0..=PASS_EVERY_MAX);
    let offset = link.quantity("pass_offset", Unit::Time, 0.0..=PASS_EVERY_MAX);
    let missing = ["pass_every", "pass_length"].into_iter().find(|&key| !link.has(key));
    if let Some(key) = missing {
        if ["pass_every", "pass_length", "pass_offset"].into_iter().any(|key| link.has(key)) {
            link.fault(key, "is missing: passes need pass_every, as \"24h\", and pass_length, as \"5min\"");
        }
        return None;
    }
    let (every, length) = (every?, length?);
    if length > every {
        link.fault("pass_length", "is longer than pass_every: passes would overlap");
        return None;
    }
    let [period, pass, offset] = [every, length, offset.unwrap_or(0.0)].map(Duration::from_secs_f64);
    Some(PassSchedule { period, pass, offset })
}
