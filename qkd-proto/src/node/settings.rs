//! What a node is told at its start.

use std::time::Duration;

use crate::crypto::IdentityKey;
use crate::distill::plan::Distillation;
use crate::id::{BootId, DataDirId, Incarnation, LinkId, NodeId, SaeId, StoreSequence};
use crate::optics::catalogue::PassSchedule;
use crate::optics::model::LinkModel;
use crate::pool::PAD_BLOCK_BYTES;
use crate::quantity::BitCount;
use crate::secret::SecretBytes;
use crate::topology::Roster;

/// Secret bits of a rate-table device's block: one pad block for each direction.
pub const TABLE_BLOCK_BITS: BitCount = BitCount(2 * 8 * PAD_BLOCK_BYTES as u64);
/// Least secret bits of a block from a pair of QKD modules: one pad block for each direction.
pub const MODULE_BLOCK_BITS: BitCount = TABLE_BLOCK_BITS;
/// No block takes longer, whatever its settings say.
const BLOCK_SECONDS_MAX: f64 = 1e9;

/// Who the node is, and what belongs to it.
pub struct NodeSettings {
    /// Its name, a member of the roster.
    pub id: NodeId,
    /// Its identity key, the roster's for that name.
    pub identity: IdentityKey,
    /// The network.
    pub roster: Roster,
    /// Run number of its data directory.
    pub incarnation: Incarnation,
    /// This process.
    pub boot: BootId,
    /// Its data directory.
    pub data_dir: DataDirId,
    /// The store's sequence at this start.
    pub sequence: StoreSequence,
    /// What vouches for the store.
    pub standing: Standing,
    /// A key is handed out only once a neighbour remembers the store that says so.
    pub strict: bool,
    /// Its links; the roster must have each.
    pub links: Vec<LinkPlan>,
    /// The SAEs enrolled here.
    pub saes: Vec<SaeId>,
    /// Test switch: an SAE may name itself as slave.
    pub self_pair: bool,
}

/// What vouches, at a start, that no older copy of the store was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A witness outside of the store says the same as the store, since this machine booted.
    Anchored,
    /// Nothing does: a neighbour has to.
    Unconfirmed,
    /// The witness has seen more than the store says: an older copy was put back.
    RolledBack,
}

/// One link, as its end is told to run it.
pub struct LinkPlan {
    /// Its name.
    pub link: LinkId,
    /// Pre-shared with the neighbour; never a pad.
    pub psk: SecretBytes,
    /// What makes its bits.
    pub device: DevicePlan,
    /// Wall time per link time.
    pub dilution: f64,
    /// How its blocks are distilled.
    pub distillation: Distillation,
    /// Bytes kept for each direction before distillation pauses.
    pub capacity_bytes: u64,
    /// Injected faults, for the operator's eyes.
    pub faults: Vec<String>,
}

impl LinkPlan {
    /// Longest wall time of one block's measurement.
    pub fn block_time(&self) -> Duration {
        let link_time = match &self.device {
            DevicePlan::Simulated { model, pulses } | DevicePlan::Seeded { model, pulses } => {
                *pulses as f64 / model.rate_hz
            }
            DevicePlan::Table { rate_bps, schedule, .. } => {
                let up = TABLE_BLOCK_BITS.0 as f64 / rate_bps;
                let longest = |schedule: &PassSchedule| {
                    schedule.longest_wait_for(Duration::from_secs_f64(up.clamp(0.0, BLOCK_SECONDS_MAX))).as_secs_f64()
                };
                schedule.as_ref().map_or(up, longest)
            }
            // Modules keep the time of the world.
            DevicePlan::Etsi014 { wait } => return *wait,
        };
        Duration::from_secs_f64((link_time * self.dilution).clamp(0.0, BLOCK_SECONDS_MAX))
    }
}

/// What makes a link's bits.
#[derive(Debug, Clone)]
pub enum DevicePlan {
    /// The emulated decoy-BB84 device.
    Simulated {
        /// Its physics.
        model: LinkModel,
        /// Pulses per block, fixed in advance.
        pulses: u64,
    },
    /// The same, but both ends derive the whole emulation from the session's secret and send no photon.
    Seeded {
        /// Its physics.
        model: LinkModel,
        /// Pulses per block, fixed in advance.
        pulses: u64,
    },
    /// A published rate, for links that no pulse model serves.
    Table {
        /// Secret bits per second of link time.
        rate_bps: f64,
        /// Error rate to report, where one was published.
        qber: Option<f64>,
        /// When it makes key; always, without one. Counted in link time from the epoch.
        schedule: Option<PassSchedule>,
    },
    /// A pair of QKD modules that hand keys out by ETSI GS QKD 014. What they are is not known here.
    Etsi014 {
        /// Longest wait for the keys of a block.
        wait: Duration,
    },
}

impl DevicePlan {
    /// Its name in status, trust and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Simulated { .. } => "simulated",
            Self::Seeded { .. } => "seeded",
            Self::Table { .. } => "table",
            Self::Etsi014 { .. } => "etsi014",
        }
    }
}
