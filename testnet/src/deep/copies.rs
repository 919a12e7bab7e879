//! Copies of data directories, as a person or a snapshot makes them. In: a daemon. Out: a copy beside the
//! network, put back when asked. Always: with permissions and times, as `cp -a` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::daemon::Daemon;
use crate::error::Failed;

/// Bytes of a slot of a mark file, and where its number is.
const MARK_SLOT: usize = 4096;
const MARK_NUMBER: std::ops::Range<usize> = 28..36;

/// Copies a file or a folder with all that it holds.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    let done = Command::new("cp").arg("-a").arg("--").arg(from).arg(to).stdin(Stdio::null()).output();
    let done = done.map_err(|error| Failed::new(format!("cp: {error}")))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(Failed::file(from, format!("cannot be copied: {words}"))) }
}

/// Removes a file or a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), Failed> {
    let Ok(about) = path.symlink_metadata() else { return Ok(()) };
    let done = if about.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    done.map_err(|error| Failed::file(path, error))
}

/// The number of the newest mark in each file of a folder.
fn mark_numbers(folder: &Path) -> Result<BTreeMap<PathBuf, u64>, Failed> {
    let mut numbers = BTreeMap::new();
    for path in super::damage::files(folder)? {
        let bytes = std::fs::read(&path).map_err(|error| Failed::file(&path, error))?;
        let slots = bytes.chunks(MARK_SLOT).filter_map(|slot| slot.get(MARK_NUMBER)?.try_into().ok());
        let newest = slots.map(u64::from_be_bytes).max().unwrap_or(0);
        numbers.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned(), newest);
    }
    Ok(numbers)
}

/// A copy of a daemon's data directory.
pub(super) struct Snapshot {
    live: PathBuf,
    copy: PathBuf,
}

impl Snapshot {
    /// Copies the directory as it is at one moment: a daemon that runs is held meanwhile.
    pub(super) fn take(daemon: &Daemon, name: &str) -> Result<Self, Failed> {
        daemon.signal(Signal::STOP);
        let done = Self::of_held(daemon, name);
        daemon.signal(Signal::CONT);
        done
    }

    /// Copies the directory of a daemon that is held, or does not run.
    pub(super) fn of_held(daemon: &Daemon, name: &str) -> Result<Self, Failed> {
        let live = daemon.data_dir();
        let copied = live.with_file_name(format!("data-{name}"));
        remove(&copied)?;
        copy(&live, &copied).map(|()| Self { live, copy: copied })
    }

    /// True if the node wrote a mark since: only then is there an older one to put back.
    pub(super) fn is_behind_marks(&self) -> Result<bool, Failed> {
        Ok(mark_numbers(&self.copy.join("marks"))? != mark_numbers(&self.live.join("marks"))?)
    }

    /// Puts the whole directory back.
    pub(super) fn put_back(&self) -> Result<(), Failed> {
        remove(&self.live)?;
        copy(&self.copy, &self.live)
    }

    /// Puts one entry of the directory back; false if neither has it.
    pub(super) fn put_back_part(&self, part: &str) -> Result<bool, Failed> {
        let (live, old) = (self.live.join(part), self.copy.join(part));
        let known = live.exists() || old.exists();
        remove(&live)?;
        if old.exists() {
            copy(&old, &live)?;
        }
        Ok(known)
    }
}
