//! The configuration of a node. In: one TOML file and the files it names. Out: a checked [`Config`],
//! or every fault with its line. Always: paths are absolute or relative to the file's folder, secret
//! files are private, and what start-up and `--check-config` accept is the same.

mod audit;
mod device;
mod distillation;
mod fault;
mod guard;
mod hardening;
mod link;
mod module;
mod read;
mod secret_file;
mod section;
mod store;
mod unit;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use qkd_proto::crypto::PublicKey;
use qkd_proto::id::{NodeId, SaeId};
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::Roster;

use crate::hardening::HardeningSettings;
use crate::store::audit::AuditLimits;
use crate::store::master_key::MasterKeySource;
use crate::store::options::{AnchorDir, Profile};
use crate::tamper::TamperSettings;

pub use device::DeviceSettings;
pub use fault::{ConfigFaults, Fault};
pub use link::{LinkSettings, PhysicalOverrides};
pub use module::ModuleSettings;

/// Longest path of a Unix socket, in bytes: `sun_path` of Linux without its closing zero.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The operator's public key.
    pub network_key: PublicKey,
    /// Members and links, as the operator signed them.
    pub roster: Roster,
    /// Seed of this node's identity key.
    pub identity_key: SecretBytes,
    /// Where the key over everything on disk is.
    pub master_key: MasterKeySource,
    /// What counts as tampering.
    pub tamper: TamperSettings,
    /// The walls around the process.
    pub hardening: HardeningSettings,
    /// Where the state lies.
    pub data_dir: PathBuf,
    /// How the state is kept.
    pub store: StoreSettings,
    /// How much of the audit log is kept.
    pub audit: AuditLimits,
    /// Where the overlay listens.
    pub overlay_listen: SocketAddr,
    /// The key socket.
    pub supply: SupplySettings,
    /// The control socket.
    pub control_socket: PathBuf,
    /// Where metrics are served, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// Level of the log.
    pub log_level: LogLevel,
    /// The links that end here.
    pub links: Vec<LinkSettings>,
    /// The SAEs enrolled here.
    pub saes: Vec<SaeSettings>,
    /// Switches for tests, if acknowledged.
    pub insecure_test: Option<InsecureTest>,
}

/// How the state is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreSettings {
    /// Where the witness lies that no older copy of the state was put back.
    pub anchor_dir: AnchorDir,
    /// What outlives the process.
    pub profile: Profile,
    /// Whether a file system that keeps what is overwritten is refused.
    pub strict: bool,
}

/// Settings of the ETSI GS QKD 014 interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupplySettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Authorities of client certificates, PEM.
    pub client_ca: PathBuf,
}

/// An SAE that may ask this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaeSettings {
    /// Its name.
    pub id: SaeId,
    /// SHA-256 of the only certificate it may use, if pinned.
    pub fingerprint: Option<[u8; 32]>,
}

/// Switches that break security, for tests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsecureTest {
    /// A file that lists every pad range spent, to find one spent twice.
    pub pad_ledger: Option<PathBuf>,
    /// Whether an SAE may name itself as its slave.
    pub self_pair: bool,
    /// Seed that makes the emulated photons repeatable.
    pub emulator_seed: Option<u64>,
    /// Whether the operator may put faults on emulated links.
    pub faults: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what needs a look.
    Warn,
    /// And what changed.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl LogLevel {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        let found = all.into_iter().find(|level| level.as_str() == text);
        found.ok_or("not a level: use error, warn, info, debug or trace")
    }
}

impl Config {
    /// Reads a file and all that it names.
    ///
    /// # Errors
    /// Every fault of the file and of the files it names.
    pub fn load(path: &Path) -> Result<Self, ConfigFaults> {
        read::load(path)
    }
}
