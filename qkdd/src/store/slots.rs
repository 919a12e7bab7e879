//! A small file that is overwritten in place: two slots, each whole in itself. In: payloads of up to
//! 3 KiB. Out: the newest that was written whole. Always: the slot that holds the newest durable
//! payload is not touched until a newer one is durable in the other.
//!
//! A write goes to the other slot, is synced, and is then mirrored into the first without a sync:
//! the mirror costs one copy in memory, lets a single damaged slot lose nothing, and leaves no older
//! payload on the disk once the kernel has written it back.
//!
//! A slot, in bytes: magic 8, version 1, zero 3, data directory 16, sequence 8, witness 8, length 4,
//! payload 3,072, zeros, and in the last 32 an HMAC over the file's name and all before it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use qkd_proto::crypto;
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_MARKS;
use qkd_proto::secret::SecretBytes;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::files;

/// Longest payload, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 3072;

const SLOT_BYTES: usize = 4096;
const MAC_AT: usize = SLOT_BYTES - 32;
const PAYLOAD_AT: usize = 48;
const VERSION: u8 = 1;

/// What distinguishes one kind of slot file from another.
pub(super) type Magic = [u8; 8];

/// The content of a slot.
pub(super) struct Slot {
    /// Whose it is.
    pub(super) id: DataDirId,
    /// Rises by one with every write.
    pub(super) seq: u64,
    /// A number of another file that was durable when this was written.
    pub(super) witness: u64,
    /// What the file is for.
    pub(super) payload: SecretBytes,
}

/// The key under which slots are authenticated.
pub(super) struct SlotKey(SecretBytes);

impl SlotKey {
    /// From the master key; the same for every data directory, so that a foreign file is told from
    /// a damaged one.
    pub(super) fn new(master: &SecretBytes) -> Self {
        Self(crypto::derive(&[], master, STORE_MARKS, &[], 32))
    }

    fn encode(&self, magic: Magic, name: &str, slot: &Slot) -> Zeroizing<Vec<u8>> {
        let payload = slot.payload.expose();
        let mut bytes = Zeroizing::new(vec![0; SLOT_BYTES]);
        bytes[..8].copy_from_slice(&magic);
        bytes[8] = VERSION;
        bytes[12..28].copy_from_slice(&slot.id.0);
        bytes[28..36].copy_from_slice(&slot.seq.to_be_bytes());
        bytes[36..44].copy_from_slice(&slot.witness.to_be_bytes());
        bytes[44..48].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes[PAYLOAD_AT..PAYLOAD_AT + payload.len()].copy_from_slice(payload);
        let mac = self.mac(name, &bytes[..MAC_AT]);
        bytes[MAC_AT..].copy_from_slice(&mac);
        bytes
    }

    fn decode(&self, magic: Magic, name: &str, bytes: &[u8]) -> Option<Slot> {
        let (body, mac) = bytes.split_at(MAC_AT);
        if !crypto::equal(&self.mac(name, body), mac) || body[..8] != magic || body[8] != VERSION {
            return None;
        }
        let length = u32::from_be_bytes(body[44..48].try_into().ok()?) as usize;
        Some(Slot {
            id: DataDirId(body[12..28].try_into().ok()?),
            seq: u64::from_be_bytes(body[28..36].try_into().ok()?),
            witness: u64::from_be_bytes(body[36..44].try_into().ok()?),
            payload: SecretBytes::copy_of(body[PAYLOAD_AT..MAC_AT].get(..length)?),
        })
    }

    fn mac(&self, name: &str, body: &[u8]) -> [u8; 32] {
        crypto::hmac_sha256(self.0.expose(), STORE_MARKS, &[name.as_bytes(), body])
    }
}

/// An open slot file.
pub(super) struct SlotFile {
    file: File,
    path: PathBuf,
    name: String,
    magic: Magic,
    /// Index of the slot that holds the newest durable payload.
    newest: u64,
    broken: bool,
}

impl SlotFile {
    /// Creates the file with both slots holding `slot`.
    pub(super) fn create(key: &SlotKey, path: &Path, magic: Magic, slot: &Slot) -> Result<Self, StoreError> {
        let bytes = key.encode(magic, &name_of(path), slot);
        let both = Zeroizing::new([bytes.as_slice(), bytes.as_slice()].concat());
        files::write_whole(path, &both)?;
        Self::open_file(path, magic)
    }

    /// Opens the file and reads its newest slot; changes nothing.
    pub(super) fn open(key: &SlotKey, path: &Path, magic: Magic) -> Result<(Self, Slot), StoreError> {
        let mut file = Self::open_file(path, magic)?;
        let (newest, slot) = file.read(key)?;
        file.newest = newest;
        Ok((file, slot))
    }

    fn open_file(path: &Path, magic: Magic) -> Result<Self, StoreError> {
        let file = match files::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: path.to_owned() });
            }
            file => file.map_err(StoreError::io("open", path))?,
        };
        Ok(Self { file, path: path.to_owned(), name: name_of(path), magic, newest: 0, broken: false })
    }

    /// The newest slot and its index.
    pub(super) fn read(&self, key: &SlotKey) -> Result<(u64, Slot), StoreError> {
        let length = self.file.metadata().map_err(StoreError::io("read", &self.path))?.len();
        if length != 2 * SLOT_BYTES as u64 {
            return Err(self.damaged(format!("it has {length} bytes instead of {}", 2 * SLOT_BYTES)));
        }
        let slots = [self.read_slot(key, 0)?, self.read_slot(key, 1)?];
        let valid = (0..).zip(slots).filter_map(|(index, slot)| slot.map(|slot| (index, slot)));
        valid.max_by_key(|(_, slot)| slot.seq).ok_or_else(|| self.damaged("neither of its two slots is whole".into()))
    }

    fn read_slot(&self, key: &SlotKey, index: u64) -> Result<Option<Slot>, StoreError> {
        let mut bytes = Zeroizing::new(vec![0; SLOT_BYTES]);
        let at = index * SLOT_BYTES as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(StoreError::io("read", &self.path))?;
        Ok(key.decode(self.magic, &self.name, &bytes))
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }

    /// Makes `slot` the newest; it is on stable storage when this returns.
    ///
    /// A failed write closes the file for writing: the kernel may have dropped the page.
    pub(super) fn write(&mut self, key: &SlotKey, slot: &Slot) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken { path: self.path.clone() });
        }
        self.broken = true;
        let bytes = key.encode(self.magic, &self.name, slot);
        let other = 1 - self.newest;
        let written = self.file.write_all_at(&bytes, other * SLOT_BYTES as u64);
        written.and_then(|()| self.file.sync_data()).map_err(StoreError::io("write", &self.path))?;
        let mirrored = self.file.write_all_at(&bytes, self.newest * SLOT_BYTES as u64);
        mirrored.map_err(StoreError::io("write", &self.path))?;
        self.newest = other;
        self.broken = false;
        Ok(())
    }
}

/// The last part of the path: what the HMAC binds the file to.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
