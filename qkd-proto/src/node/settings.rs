//! What a node is told at its start.

use crate::crypto::IdentityKey;
use crate::id::{BootId, DataDirId, Incarnation, LinkId, NodeId, SaeId};
use crate::optics::model::LinkModel;
use crate::secret::SecretBytes;
use crate::topology::Roster;

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
    /// Its links; the roster must have each.
    pub links: Vec<LinkPlan>,
    /// The SAEs enrolled here.
    pub saes: Vec<SaeId>,
    /// Test switch: an SAE may name itself as slave.
    pub self_pair: bool,
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
    /// Bytes kept for each direction before distillation pauses.
    pub capacity_bytes: u64,
    /// Injected faults, for the operator's eyes.
    pub faults: Vec<String>,
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
    /// A published rate, for links that no pulse model serves.
    Table {
        /// Secret bits per second of link time.
        rate_bps: f64,
        /// Error rate to report.
        qber: f64,
    },
}

impl DevicePlan {
    /// Its name in status, trust and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Simulated { .. } => "simulated",
            Self::Table { .. } => "table",
        }
    }
}
