//! Answers to an operator. Every reply carries `schema`; fields are added, never changed.

use serde::{Deserialize, Serialize};

/// Edition of the JSON forms here.
pub const SCHEMA: u32 = 1;

/// State of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The node's name.
    pub node: String,
    /// Name of its network.
    pub network: String,
    /// Version of the daemon.
    pub version: String,
    /// Run number of its data directory.
    pub incarnation: u64,
    /// Time since start.
    pub uptime_s: u64,
    /// Its links.
    pub links: Vec<LinkReply>,
    /// Nodes whose adverts are known, itself included.
    pub nodes_known: Vec<String>,
    /// SAEs enrolled here.
    pub saes: Vec<String>,
    /// End-to-end keys that wait for an application.
    pub keys_waiting: u64,
    /// Whether an operator has locked the node.
    #[serde(default)]
    pub locked: bool,
    /// Open alarms.
    pub alarms: Vec<AlarmReply>,
}

/// State of one link, seen from this end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkReply {
    /// Its name.
    pub name: String,
    /// The neighbour.
    pub peer: String,
    /// `transmitter` or `receiver`.
    pub role: String,
    /// `simulated`, `seeded`, `table` or `etsi014`.
    pub device: String,
    /// Wall time per link time: 1 is real time, 10 is ten times slower.
    pub dilution: f64,
    /// `down`, `handshake`, `up` or `quarantine`.
    pub state: String,
    /// How tags are keyed: `computational bootstrap` until the first block, then `pool`.
    pub authentication: String,
    /// Error rate of the last block, 0 to 1.
    pub qber: Option<f64>,
    /// Secret key rate in link time, bits per second, of the last block.
    pub skr_bps: Option<f64>,
    /// Bytes that this end may still send under.
    pub store_bytes: u64,
    /// Bytes that the neighbour may still send under.
    pub store_peer_bytes: u64,
    /// Most bytes kept for each direction.
    pub capacity_bytes: u64,
    /// Sifted bits of all blocks since start.
    pub sifted_bits: u64,
    /// Secret bits of all blocks since start.
    pub secret_bits: u64,
    /// Blocks that gave key.
    pub blocks_ok: u64,
    /// Blocks that gave none.
    pub blocks_aborted: u64,
    /// Why the last block gave none.
    pub last_abort: Option<String>,
    /// Bytes of pad spent for relayed key.
    pub spent_relay_bytes: u64,
    /// Bytes of pad spent for authentication.
    pub spent_auth_bytes: u64,
    /// Injected faults, by name.
    pub faults: Vec<String>,
    /// Seconds of wall time until the next pass, 0 during one; none on links without passes.
    #[serde(default)]
    pub next_pass_s: Option<u64>,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmReply {
    /// Catalogue code.
    pub code: String,
    /// What it is about.
    pub about: String,
    /// What is wrong, with value and limit.
    pub text: String,
}

/// What a delivered key cost, and which way it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReply {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The key.
    pub key_id: String,
    /// `origin` or `target`.
    pub role: String,
    /// Node names from origin to target, one list a share.
    pub routes: Vec<Vec<String>>,
    /// Whether the mask of the end-to-end session is on the key.
    pub hybrid: bool,
    /// Pad spent on each link for the key's whole transfer, as far as the route tells.
    pub cost: Vec<CostReply>,
}

/// Pad spent on one link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostReply {
    /// The link.
    pub link: String,
    /// Bytes that hid key.
    pub relay_bytes: u64,
    /// Bytes that authenticated.
    pub auth_bytes: u64,
}

/// An error of the control interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What is wrong and what to do.
    pub error: String,
}
