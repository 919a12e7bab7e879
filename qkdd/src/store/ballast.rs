//! Room kept for a start on a full disk. In: a data directory. Out: some MiB, when nothing else is
//! left. Always: best effort; a directory without it works.
//!
//! sled needs room to open a database, so a daemon that filled its disk could not start again, and
//! without starting it cannot forget what it no longer needs.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

use super::data_dir::DataDirError;
use super::error::StoreError;
use super::files;

/// Bytes kept: several of sled's segments of 512 KiB.
const BYTES: u64 = 4 << 20;
/// Free bytes from which on the room is kept again while the daemon runs.
const PLENTY: u64 = 2 * BYTES;

/// True if the disk was full.
pub(super) fn is_wanted(error: &DataDirError) -> bool {
    matches!(error, DataDirError::Store(StoreError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull)
}

/// Gives the room back; false if there is none.
pub(super) fn release(path: &Path) -> bool {
    let released = std::fs::remove_file(path).is_ok();
    if released {
        tracing::warn!(path = %path.display(), "The disk is full: released the room that is kept for a start");
    }
    released
}

/// Keeps the room, if it is not kept yet.
pub(super) fn keep(path: &Path) {
    if let Err(error) = allocate(path) {
        let _ = std::fs::remove_file(path);
        tracing::warn!(path = %path.display(), %error, "Cannot keep room for a start on a full disk");
    }
}

/// Keeps the room again once there is plenty, after a start on a full disk took it.
pub(super) fn keep_again(path: &Path) {
    let plenty = || {
        let about = rustix::fs::statvfs(path.parent()?).ok()?;
        Some(about.f_bavail.saturating_mul(about.f_frsize) >= PLENTY)
    };
    if !path.exists() && plenty() == Some(true) {
        keep(path);
    }
}

fn allocate(path: &Path) -> std::io::Result<()> {
    let file = files::options().write(true).create(true).truncate(false).open(path)?;
    Ok(fallocate(&file, FallocateFlags::empty(), 0, BYTES)?)
}
