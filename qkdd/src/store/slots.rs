//! A small file that is overwritten in place: two slots, each whole in itself. In: payloads of up to
//! 3 KiB. Out: the newest that was written whole. Always: the slot that holds the newest durable
//! payload is not touched until a newer one is durable in the other.
//!
//! A write goes to the other slot and is synced; [`SlotFile::settle`] copies it over the first one and syncs
//! that: then a single damaged slot loses nothing, and no earlier payload is left.
//!
//! A slot, in bytes: magic 8, version 2, zero 3, data directory 16, sequence 8, witness 8, number of the key
//! that seals the payload 8, length 4, payload, zeros, and in the last 32 an HMAC over the file's name and all
//! before it. The HMAC is under the master key, so that a foreign file, and one under a key that is gone, are
//! told from damaged ones. Version 1 had no key number: it is read by `migrate` alone.

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
use super::wrap::WrapKeys;
use crate::fail_point::{self, Point};

/// Longest payload, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 3072;

const SLOT_BYTES: usize = 4096;
const MAC_AT: usize = SLOT_BYTES - 32;
const NUMBERS_AT: usize = 28;

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

/// How payloads lie in slots.
enum Form {
    /// In the clear, before payloads were sealed.
    First,
    /// In the clear: there is nothing secret.
    Clear,
    /// Of this directory, and sealed under a key that may be forgotten.
    Sealed(DataDirId, WrapKeys),
}

impl Form {
    fn version(&self) -> u8 {
        if matches!(self, Self::First) { 1 } else { 2 }
    }

    fn payload_at(&self) -> usize {
        if matches!(self, Self::First) { 48 } else { 56 }
    }
}

/// The keys under which slots are authenticated and sealed.
pub(super) struct SlotKey {
    mac: SecretBytes,
    form: Form,
}

/// A slot that is whole; its payload may be sealed.
struct Found {
    slot: Slot,
    key_number: u64,
}

impl SlotKey {
    /// For slots without a secret.
    pub(super) fn clear(master: &SecretBytes) -> Self {
        Self { mac: mac_key(master), form: Form::Clear }
    }

    /// For slots of one directory whose payload is sealed.
    pub(super) fn sealed(master: &SecretBytes, id: DataDirId, keys: WrapKeys) -> Self {
        Self { mac: mac_key(master), form: Form::Sealed(id, keys) }
    }

    /// For slots of version 1.
    pub(super) fn first(master: &SecretBytes) -> Self {
        Self { mac: mac_key(master), form: Form::First }
    }

    /// Reads and writes under other keys from here on.
    pub(super) fn seal_under(&mut self, keys: WrapKeys) {
        if let Form::Sealed(_, old) = &mut self.form {
            *old = keys;
        }
    }

    fn encode(&self, magic: Magic, name: &str, slot: &Slot) -> Zeroizing<Vec<u8>> {
        let (key_number, payload) = match &self.form {
            Form::First | Form::Clear => (0, slot.payload.expose().to_vec()),
            Form::Sealed(_, keys) => {
                (keys.current.number(), keys.current.seal(&about(magic, name, slot), &slot.payload))
            }
        };
        let payload = Zeroizing::new(payload);
        let mut bytes = Zeroizing::new(vec![0; SLOT_BYTES]);
        bytes[..8].copy_from_slice(&magic);
        bytes[8] = self.form.version();
        bytes[12..28].copy_from_slice(&slot.id.0);
        let mut head = [slot.seq.to_be_bytes(), slot.witness.to_be_bytes()].concat();
        if !matches!(self.form, Form::First) {
            head.extend(key_number.to_be_bytes());
        }
        head.extend((payload.len() as u32).to_be_bytes());
        let at = self.form.payload_at();
        bytes[NUMBERS_AT..at].copy_from_slice(&head);
        bytes[at..at + payload.len()].copy_from_slice(&payload);
        let mac = self.mac(name, &bytes[..MAC_AT]);
        bytes[MAC_AT..].copy_from_slice(&mac);
        bytes
    }

    fn decode(&self, magic: Magic, name: &str, bytes: &[u8]) -> Option<Found> {
        let (body, mac) = bytes.split_at(MAC_AT);
        let (head, payload) = body.split_at(self.form.payload_at());
        if !crypto::equal(&self.mac(name, body), mac) || head[..8] != magic || head[8] != self.form.version() {
            return None;
        }
        let (numbers, length) = head[NUMBERS_AT..].split_at(head.len() - NUMBERS_AT - 4);
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let mut numbers = numbers.chunks_exact(8).map_while(|number| Some(u64::from_be_bytes(number.try_into().ok()?)));
        let (seq, witness, key_number) = (numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0));
        let id = DataDirId(head[12..28].try_into().ok()?);
        let payload = SecretBytes::copy_of(payload.get(..length)?);
        Some(Found { slot: Slot { id, seq, witness, payload }, key_number })
    }

    /// The slot with its payload in the clear.
    fn unseal(&self, magic: Magic, path: &Path, found: Found) -> Result<Slot, StoreError> {
        let Found { mut slot, key_number } = found;
        if let Form::Sealed(id, keys) = &self.form {
            if slot.id != *id {
                return Err(StoreError::Foreign { path: path.to_owned() });
            }
            let key = keys.find(key_number, path)?;
            let payload = key.open(&about(magic, &name_of(path), &slot), slot.payload.expose());
            slot.payload = payload.ok_or_else(|| StoreError::Damaged {
                path: path.to_owned(),
                reason: "its payload does not open under the key that it names".into(),
            })?;
        }
        Ok(slot)
    }

    fn mac(&self, name: &str, body: &[u8]) -> [u8; 32] {
        crypto::hmac_sha256(self.mac.expose(), STORE_MARKS, &[name.as_bytes(), body])
    }
}

fn mac_key(master: &SecretBytes) -> SecretBytes {
    crypto::derive(&[], master, STORE_MARKS, &[], 32)
}

/// What a payload is sealed for. Magic, id and number have fixed lengths: no two slots share these bytes.
fn about(magic: Magic, name: &str, slot: &Slot) -> Vec<u8> {
    [magic.as_slice(), &slot.id.0, &slot.seq.to_be_bytes(), name.as_bytes()].concat()
}

/// An open slot file.
pub(super) struct SlotFile {
    file: File,
    path: PathBuf,
    name: String,
    magic: Magic,
    /// Index of the slot that holds the newest durable payload.
    newest: u64,
    /// What the other slot must be overwritten with.
    unsettled: Option<Zeroizing<Vec<u8>>>,
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
        // What a kill left in the other slot, and maybe unsynced here.
        file.unsettled = Some(file.bytes(newest)?);
        Ok((file, slot))
    }

    fn open_file(path: &Path, magic: Magic) -> Result<Self, StoreError> {
        let file = match files::options().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(StoreError::Missing { path: path.to_owned() });
            }
            file => file.map_err(StoreError::io("open", path))?,
        };
        Ok(Self { file, path: path.to_owned(), name: name_of(path), magic, newest: 0, unsettled: None, broken: false })
    }

    /// The newest slot and its index.
    pub(super) fn read(&self, key: &SlotKey) -> Result<(u64, Slot), StoreError> {
        let length = self.file.metadata().map_err(StoreError::io("read", &self.path))?.len();
        if length != 2 * SLOT_BYTES as u64 {
            return Err(self.damaged(format!("it has {length} bytes instead of {}", 2 * SLOT_BYTES)));
        }
        let slots = [self.read_slot(key, 0)?, self.read_slot(key, 1)?];
        let valid = (0..).zip(slots).filter_map(|(index, slot)| slot.map(|slot| (index, slot)));
        let newest = valid.max_by_key(|(_, found)| found.slot.seq);
        let (index, found) = newest.ok_or_else(|| self.damaged("neither of its two slots is whole".into()))?;
        Ok((index, key.unseal(self.magic, &self.path, found)?))
    }

    fn read_slot(&self, key: &SlotKey, index: u64) -> Result<Option<Found>, StoreError> {
        Ok(key.decode(self.magic, &self.name, &self.bytes(index)?))
    }

    fn bytes(&self, index: u64) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut bytes = Zeroizing::new(vec![0; SLOT_BYTES]);
        let at = index * SLOT_BYTES as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(StoreError::io("read", &self.path))?;
        Ok(bytes)
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason }
    }

    /// Makes `slot` the newest; it is on stable storage when this returns.
    ///
    /// A failed write closes the file for writing: the kernel may have dropped the page.
    pub(super) fn write(&mut self, key: &SlotKey, slot: &Slot) -> Result<(), StoreError> {
        let bytes = key.encode(self.magic, &self.name, slot);
        let other = 1 - self.newest;
        self.put(other, &bytes)?;
        self.newest = other;
        self.unsettled = Some(bytes);
        Ok(())
    }

    /// Overwrites what the newest payload replaced.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        self.unsettled.take().map_or(Ok(()), |bytes| self.put(1 - self.newest, &bytes))
    }

    fn put(&mut self, index: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken { path: self.path.clone() });
        }
        self.broken = true;
        fail_point::pass(Point::SlotBegins);
        let at = index * SLOT_BYTES as u64;
        self.file.write_all_at(bytes, at).map_err(StoreError::io("write", &self.path))?;
        fail_point::pass(Point::SlotWritten);
        self.file.sync_data().map_err(StoreError::io("write", &self.path))?;
        fail_point::pass(Point::SlotSynced);
        self.broken = false;
        Ok(())
    }
}

/// The last part of the path: what the HMAC binds the file to.
fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
