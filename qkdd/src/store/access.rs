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

/// Longest part of a key file that is read.
const KEY_FILE_BYTES_MAX: usize = 128;

pub(super) const OTHERS: u32 = 0o077;

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

/// Reads the master key: a file with 64 hex digits or 32 bytes that only its owner may use.
///
/// # Errors
/// If others may use the file, it has another length, or cannot be read.
pub fn read_master_key(path: &Path) -> Result<SecretBytes, DataDirError> {
    read_key(path, OTHERS)
}

/// Reads it from a credential of systemd: the folder is closed to others, and the group of the file is
/// the mask of its access list.
///
/// # Errors
/// As [`read_master_key`].
pub fn read_credential(path: &Path) -> Result<SecretBytes, DataDirError> {
    read_key(path, OTHERS & !0o040)
}

fn read_key(path: &Path, refused: u32) -> Result<SecretBytes, DataDirError> {
    let bytes = read_private(path, refused, KEY_FILE_BYTES_MAX)?;
    key_of(&bytes).ok_or_else(|| DataDirError::MasterKeyLength { path: path.to_owned() })
}

/// A key of 32 bytes, or of 64 hex digits with or without a line end.
pub fn key_of(bytes: &[u8]) -> Option<SecretBytes> {
    if bytes.len() == MASTER_KEY_BYTES {
        return Some(SecretBytes::copy_of(bytes));
    }
    let digits = bytes.trim_ascii();
    if digits.len() != 2 * MASTER_KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(SecretBytes::copy_of(&*key))
}

/// The first `limit` bytes of a file with none of the `refused` permissions.
pub(super) fn read_private(path: &Path, refused: u32, limit: usize) -> Result<Zeroizing<Vec<u8>>, DataDirError> {
    let failed = |error| StoreError::io("read the secret", path)(error);
    let file = open_key(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & refused != 0 {
        return Err(DataDirError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
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
