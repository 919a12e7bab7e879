//! What can go wrong with stored state. In: faults of every part. Out: one closed list. Always: no
//! value is shown, and an error at start says what to do.

use std::io;
use std::path::{Path, PathBuf};

/// The end of every error that stops the start.
const WAY_OUT: &str =
    "no pool, mark or key was changed; `qkdctl pool reset --config FILE` discards the pools and is the only way out";

/// Why records could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table engine refused.
    #[error("the table engine in {} failed: {reason}", path.display())]
    Engine {
        /// Its directory.
        path: PathBuf,
        /// In its own words.
        reason: String,
    },
    /// An earlier write failed: what the disk holds of it is unknown.
    #[error("{} takes no more commits since a write failed: free or replace the disk, then restart the daemon", path.display())]
    Broken {
        /// The file or directory.
        path: PathBuf,
    },
    /// No room in a file of bounded length.
    #[error("{} holds {limit} data keys and has no room for another: let applications fetch their keys, or discard them", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
        /// How many it may hold.
        limit: u32,
    },
    /// A record that no store takes.
    #[error("refused a record of table {table}: {reason}")]
    Refused {
        /// Its table.
        table: &'static str,
        /// Which rule it breaks.
        reason: String,
    },
    /// Something that must exist does not.
    #[error("{} is missing, though the node's state says it existed; {WAY_OUT}", path.display())]
    Missing {
        /// What.
        path: PathBuf,
    },
    /// Bytes that are not what was written.
    #[error("{} is damaged: {reason}; {WAY_OUT}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// State of another data directory.
    #[error("{} belongs to another data directory; {WAY_OUT}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// State from before what the rest of the directory remembers.
    #[error("{} is an older copy: its {what} is {found}, the rest of the directory has seen {seen}; {WAY_OUT}", path.display())]
    Older {
        /// Which file.
        path: PathBuf,
        /// Which number tells.
        what: &'static str,
        /// The number in the file.
        found: u64,
        /// The number elsewhere.
        seen: u64,
    },
    /// A sealed record that does not open.
    #[error("a record of table {table} in {} was altered or moved; {WAY_OUT}", path.display())]
    Altered {
        /// Where.
        path: PathBuf,
        /// Its table.
        table: &'static str,
    },
}

impl StoreError {
    /// For `map_err`: the verb and the path of a failed system call.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}
