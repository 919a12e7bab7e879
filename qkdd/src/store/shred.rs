//! The intermediate key, in a file of its own that is overwritten in place. In: the master key. Out: the
//! key that seals marks and data keys. Always: once [`Shred::forget`] returns, no file holds the key that was
//! current before, so what it sealed is gone, wherever copies of it may lie.
//!
//! Renewal: the next key is written beside the current one; all that is sealed is sealed anew under it; then
//! the file holds the next key alone. `rotation` does it in this order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qkd_proto::id::DataDirId;
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::slots::{Magic, Slot, SlotFile, SlotKey};
use super::wrap::{KEY_BYTES, WrapKey, WrapKeys};

const MAGIC: Magic = *b"qkdshred";

/// Name of the file in the data directory.
pub(super) const SHRED_FILE: &str = "shred";

/// The open file.
pub(super) struct Shred {
    file: SlotFile,
    key: SlotKey,
    id: DataDirId,
    seq: u64,
    keys: WrapKeys,
}

impl Shred {
    /// Creates the file with a first key, in place of an earlier one.
    pub(super) fn create(path: &Path, master: &SecretBytes, id: DataDirId) -> Result<Self, StoreError> {
        let keys = WrapKeys { path: path.to_owned(), current: Arc::new(WrapKey::fresh(1)), next: None };
        let key = slot_key(master, id);
        let file = SlotFile::create(&key, path, MAGIC, &slot_of(id, 1, &keys))?;
        Ok(Self { file, key, id, seq: 1, keys })
    }

    /// Opens the file; changes nothing.
    pub(super) fn open(path: &Path, master: &SecretBytes, id: DataDirId) -> Result<Self, StoreError> {
        let key = slot_key(master, id);
        let (file, slot) = SlotFile::open(&key, path, MAGIC)?;
        let damaged =
            || StoreError::Damaged { path: path.to_owned(), reason: "its content is of no known form".into() };
        let keys = keys_of(path.to_owned(), slot.payload).ok_or_else(damaged)?;
        Ok(Self { file, key, id, seq: slot.seq, keys })
    }

    /// What it holds.
    pub(super) fn keys(&self) -> &WrapKeys {
        &self.keys
    }

    /// Lays the next key down, if it is not there yet.
    pub(super) fn announce(&mut self) -> Result<Arc<WrapKey>, StoreError> {
        if let Some(next) = &self.keys.next {
            return Ok(next.clone());
        }
        let next = Arc::new(WrapKey::fresh(self.keys.current.number().saturating_add(1)));
        self.write(WrapKeys { next: Some(next.clone()), ..self.keys.clone() })?;
        Ok(next)
    }

    /// Makes the next key the only one: both slots are overwritten and synced.
    pub(super) fn forget(&mut self) -> Result<(), StoreError> {
        let Some(next) = self.keys.next.clone() else { return Ok(()) };
        self.write(WrapKeys { path: self.keys.path.clone(), current: next, next: None })
    }

    fn write(&mut self, keys: WrapKeys) -> Result<(), StoreError> {
        self.seq = self.seq.saturating_add(1);
        self.file.write(&self.key, &slot_of(self.id, self.seq, &keys))?;
        self.file.settle()?;
        self.keys = keys;
        Ok(())
    }
}

fn slot_key(master: &SecretBytes, id: DataDirId) -> SlotKey {
    SlotKey::sealed(master, id, WrapKeys::of_master(master, "shred"))
}

fn slot_of(id: DataDirId, seq: u64, keys: &WrapKeys) -> Slot {
    let number = SecretBytes::copy_of(&keys.current.number().to_be_bytes());
    let payload = number.join(keys.current.bytes());
    let payload = keys.next.iter().fold(payload, |payload, next| payload.join(next.bytes()));
    Slot { id, seq, witness: 0, payload }
}

fn keys_of(path: PathBuf, payload: SecretBytes) -> Option<WrapKeys> {
    if payload.len() != 8 + KEY_BYTES && payload.len() != 8 + 2 * KEY_BYTES {
        return None;
    }
    let (number, keys) = payload.split_at(8);
    let number = u64::from_be_bytes(number.expose().try_into().ok()?);
    let (current, next) = keys.split_at(KEY_BYTES);
    let next = (!next.is_empty()).then(|| Arc::new(WrapKey::new(number.saturating_add(1), next)));
    Some(WrapKeys { path, current: Arc::new(WrapKey::new(number, current)), next })
}
