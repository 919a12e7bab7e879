//! Who may use a data directory: its owner, and one process at a time. In: paths. Out: a lock, and
//! the master key. Always: what others may read is refused, not repaired.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use qkd_proto::secret::SecretBytes;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::data_dir::DataDirError;
use super::error::StoreError;
use super::files;

/// Bytes of a master key.
pub const MASTER_KEY_BYTES: usize = 32;

const OTHERS: u32 = 0o077;

/// Refuses a path that others than its owner may use.
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), DataDirError> {
    let mode = metadata.permissions().mode() & 0o777;
    if mode & OTHERS == 0 { Ok(()) } else { Err(DataDirError::Exposed { path: path.to_owned(), mode }) }
}

/// Refuses what is no directory, or one that others may use.
pub(super) fn check_private_dir(path: &Path) -> Result<(), DataDirError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::Missing { path: path.to_owned() }.into());
        }
        found => found.map_err(StoreError::io("use the data directory", path))?,
    };
    if !metadata.is_dir() {
        return Err(StoreError::io("use the data directory", path)(ErrorKind::NotADirectory.into()).into());
    }
    check_private(path, &metadata)
}

/// Reads the master key: a file of exactly 32 bytes that only its owner may use.
///
/// # Errors
/// If others may use the file, it has another length, or cannot be read.
pub fn read_master_key(path: &Path) -> Result<SecretBytes, DataDirError> {
    let mut file = open_key(path).map_err(StoreError::io("read the master key", path))?;
    check_private(path, &file.metadata().map_err(StoreError::io("read the master key", path))?)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MASTER_KEY_BYTES + 1));
    let limit = MASTER_KEY_BYTES as u64 + 1;
    let found =
        file.by_ref().take(limit).read_to_end(&mut bytes).map_err(StoreError::io("read the master key", path))?;
    if found != MASTER_KEY_BYTES {
        return Err(DataDirError::MasterKeyLength { path: path.to_owned() });
    }
    Ok(SecretBytes::copy_of(&bytes))
}

/// Follows symbolic links, as secret mounts use them, but does not wait for the writer of a pipe.
fn open_key(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Holds the data directory for this process, until it is dropped.
pub(super) struct DirLock(File);

impl Drop for DirLock {
    /// Unlocks by name: a child that another thread is just starting holds a copy of the file.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Takes the data directory for this process.
pub(super) fn lock(path: &Path) -> Result<DirLock, DataDirError> {
    let file = files::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(StoreError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(DirLock(file)),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error).into()),
    }
}
