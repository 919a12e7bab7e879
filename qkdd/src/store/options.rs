//! How a data directory is to be opened. In: the `[store]` table of a configuration. Out: plain choices.
//! Always: the defaults are the safe ones.

use std::path::PathBuf;

use super::audit::AuditLimits;

/// What of a node's state outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// All of it.
    #[default]
    Durable,
    /// The number of starts and the audit log: pools and keys are in memory alone.
    Ephemeral,
}

impl Profile {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// Where the anchor lies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AnchorDir {
    /// In the first of the usual places that is in memory, if there is one.
    #[default]
    Usual,
    /// In a directory that is in memory.
    At(PathBuf),
    /// There is none.
    Nowhere,
}

/// How to open a data directory.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// The directory of the anchor; without one nothing here vouches for the state after a restart.
    pub anchor_dir: Option<PathBuf>,
    /// What outlives the process.
    pub profile: Profile,
    /// Whether a file system that keeps what is overwritten is refused.
    pub strict: bool,
    /// How much of the audit log is kept.
    pub audit: AuditLimits,
}
