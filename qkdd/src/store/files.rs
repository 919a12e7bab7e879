//! Careful file handling. In: paths. Out: open files. Always: files are made for their owner only,
//! never through a symbolic link, and a new name is durable when the function returns.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::StoreError;

/// Most bytes that [`shred_file`] overwrites: no file of ours that it is for is longer.
const SHRED_BYTES_MAX: u64 = 64 << 10;

/// Options for a file of the data directory.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", dir))
}

/// Makes the directory that holds `path` durable.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Creates or replaces `path` as a whole: after a crash it is there with all of `bytes`, or as before.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let draft = draft_of(path);
    remove_file(&draft)?;
    let mut file = options().write(true).create_new(true).open(&draft).map_err(StoreError::io("create", &draft))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(StoreError::io("write", &draft))?;
    fs::rename(&draft, path).map_err(StoreError::io("create", path))?;
    sync_parent(path)
}

/// The name under which `path` is written before it is complete; no mark or state file ends so.
fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Creates a directory for its owner only, if it is not there.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::io("create", dir)(error)),
        _ => sync_parent(dir),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), StoreError> {
    absent_is_fine(fs::remove_file(path)).map_err(StoreError::io("remove", path))
}

/// Overwrites a small file and removes it. A kill in between leaves a file that is to be removed again.
pub(super) fn shred_file(path: &Path) -> Result<(), StoreError> {
    let file = options().write(true).open(path).map_err(StoreError::io("open", path))?;
    let length = file.metadata().map_err(StoreError::io("read", path))?.len();
    let zeros = vec![0; usize::try_from(length.min(SHRED_BYTES_MAX)).unwrap_or(0)];
    file.write_all_at(&zeros, 0).and_then(|()| file.sync_data()).map_err(StoreError::io("overwrite", path))?;
    remove_file(path)
}

/// Removes a directory and what it holds, if it is there.
pub(super) fn remove_dir(path: &Path) -> Result<(), StoreError> {
    absent_is_fine(fs::remove_dir_all(path)).map_err(StoreError::io("remove", path))
}

fn absent_is_fine(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The names in a directory, sorted; none if it is not there.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("read", dir))?,
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<_>, _>>().map_err(StoreError::io("read", dir))?;
    names.sort();
    Ok(names)
}
