//! Data keys in a ring of fixed slots, overwritten in place. In: fresh keys. Out: the slots that hold them.
//! Always: a slot that was given back is overwritten by the next [`Ring::settle`] and only then used again, so
//! what its key sealed cannot be opened, wherever copies of it may lie.
//!
//! The table engine never forgets: its log holds records that were replaced or deleted long ago. So each
//! version of a record that may hold a secret is sealed under a key of its own, and this file holds the keys.
//!
//! The file is `ring.0` or `ring.1`, by the parity of the number of the intermediate key that wraps its slots:
//! a renewal writes the other file whole before it forgets the key of this one. It consists of slots of 64
//! bytes and grows in chunks. Slot 0 is the head: magic 8, version 1, zero 3, data directory 16, key number 8,
//! HMAC 28. Every other slot: nonce 12, data key 32, tag 16, zero 4, bound to directory and place; or noise.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::entropy::Entropy as _;
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_MARKS;
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::files;
use super::wrap::{WrapKey, WrapKeys};
use crate::fail_point::{self, Point};

/// Most slots of a ring, its head among them: the file has 64 MiB then.
pub(super) const SLOTS_MAX: u32 = 1 << 20;

const SLOT_BYTES: usize = 64;
/// Nonce, key and tag.
const WRAPPED_BYTES: usize = 60;
/// Slots by which the file grows.
const CHUNK_SLOTS: u32 = 1024;
const CHUNK_BYTES: usize = CHUNK_SLOTS as usize * SLOT_BYTES;
const MAGIC: &[u8; 8] = b"qkdring\0";
const VERSION: u8 = 1;
/// Bytes of the head that its HMAC covers.
const HEAD_BYTES: usize = 36;

/// The open file.
pub(super) struct Ring {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    id: DataDirId,
    key: Arc<WrapKey>,
    /// Slots in the file.
    slots: u32,
    /// Slots of noise.
    free: Vec<u32>,
    /// Slots that were given back and are still to be overwritten.
    spent: Vec<u32>,
    unsynced: bool,
    broken: bool,
}

impl Ring {
    /// Creates the file with one chunk of free slots, in place of an earlier one.
    pub(super) fn create(dir: &Path, id: DataDirId, key: Arc<WrapKey>) -> Result<Self, StoreError> {
        let (path, file) = create_file(dir, &key)?;
        let mut ring = Self::new(dir, path, file, id, key);
        ring.grow()?;
        ring.sync()?;
        files::sync_dir(dir)?;
        Ok(ring)
    }

    /// Opens the file of the current key; changes nothing. No slot is free until [`Ring::keep`] says which.
    pub(super) fn open(dir: &Path, id: DataDirId, keys: &WrapKeys) -> Result<Self, StoreError> {
        let [path, other] = [0, 1].map(|after| path_of(dir, keys.current.number().wrapping_add(after)));
        let path = if path.exists() || !other.exists() { path } else { other };
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        let file = files::options().read(true).write(true).open(&path).map_err(StoreError::io("open", &path))?;
        let length = file.metadata().map_err(StoreError::io("read", &path))?.len();
        let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
        let slots = u32::try_from(length / SLOT_BYTES as u64).unwrap_or(u32::MAX);
        if length == 0 || !length.is_multiple_of(CHUNK_BYTES as u64) || slots > SLOTS_MAX {
            return Err(damaged(format!("it has {length} bytes, which is no whole number of chunks below the limit")));
        }
        let mut head = [0; SLOT_BYTES];
        file.read_exact_at(&mut head, 0).map_err(StoreError::io("read", &path))?;
        let number = head.get(28..HEAD_BYTES).and_then(|number| Some(u64::from_be_bytes(number.try_into().ok()?)));
        let Some(number) = number.filter(|_| head[..8] == *MAGIC && head[8] == VERSION) else {
            return Err(damaged("its head is of no known form".into()));
        };
        if head[12..28] != id.0 {
            return Err(StoreError::Foreign { path });
        }
        let key = keys.find(number, &path)?;
        if number != keys.current.number() || head != head_of(id, key) {
            return Err(damaged("its head is not under the current key".into()));
        }
        let mut ring = Self::new(dir, path.clone(), file, id, keys.current.clone());
        ring.slots = slots;
        Ok(ring)
    }

    fn new(dir: &Path, path: PathBuf, file: File, id: DataDirId, key: Arc<WrapKey>) -> Self {
        let (free, spent) = (Vec::new(), Vec::new());
        Self { dir: dir.to_owned(), path, file, id, key, slots: 0, free, spent, unsynced: false, broken: false }
    }

    /// Gives every slot back that is not `named`; false if a slot is named twice or is not there.
    pub(super) fn keep(&mut self, named: impl Iterator<Item = u32>) -> bool {
        let mut kept = vec![false; self.slots as usize];
        for slot in named {
            match kept.get_mut(slot as usize) {
                Some(kept) if slot != 0 && !*kept => *kept = true,
                _ => return false,
            }
        }
        self.spent = (1..self.slots).filter(|&slot| !kept[slot as usize]).collect();
        self.free.clear();
        true
    }

    /// Sees to it that so many keys have room, or refuses.
    pub(super) fn make_room(&mut self, keys: usize) -> Result<(), StoreError> {
        if self.free.len() < keys && !self.spent.is_empty() {
            self.settle()?;
        }
        let room = (SLOTS_MAX - self.slots) as usize;
        if self.free.len() + room < keys {
            return Err(self.full());
        }
        while self.free.len() < keys {
            self.grow()?;
        }
        Ok(())
    }

    fn full(&self) -> StoreError {
        StoreError::Full { path: self.path.clone(), limit: SLOTS_MAX }
    }

    /// Wraps a data key into a free slot. It is durable after the next [`Ring::sync`].
    pub(super) fn put(&mut self, key: &SecretBytes) -> Result<u32, StoreError> {
        let slot = self.free.pop().ok_or_else(|| self.full())?;
        self.write(slot, &self.wrap(slot, key))?;
        Ok(slot)
    }

    /// The data key in a slot; none if there is none.
    pub(super) fn get(&self, slot: u32) -> Result<Option<SecretBytes>, StoreError> {
        if slot == 0 || slot >= self.slots {
            return Ok(None);
        }
        let mut bytes = [0; SLOT_BYTES];
        self.file.read_exact_at(&mut bytes, offset(slot)).map_err(StoreError::io("read", &self.path))?;
        Ok(self.key.open(&about(self.id, slot), &bytes[..WRAPPED_BYTES]))
    }

    /// Puts what was written on stable storage.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if std::mem::take(&mut self.unsynced) {
            self.broken = true;
            fail_point::pass(Point::RingWritten);
            self.file.sync_data().map_err(StoreError::io("sync", &self.path))?;
            fail_point::pass(Point::RingSynced);
            self.broken = false;
        }
        Ok(())
    }

    /// Takes slots back whose records are gone for good.
    pub(super) fn give_back(&mut self, slots: impl IntoIterator<Item = u32>) {
        self.spent.extend(slots);
    }

    /// Overwrites every slot that was given back; then they are free.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let mut spent = std::mem::take(&mut self.spent);
        spent.sort_unstable();
        for run in spent.chunk_by(|a, b| a + 1 == *b) {
            for part in run.chunks(CHUNK_SLOTS as usize) {
                self.write(part[0], &noise(part.len() * SLOT_BYTES))?;
            }
        }
        self.sync()?;
        self.free.append(&mut spent);
        Ok(())
    }

    /// Writes the ring of the next key beside this one, which stays in use: this returns the other.
    pub(super) fn copy_under(&self, next: Arc<WrapKey>) -> Result<Self, StoreError> {
        let (path, file) = create_file(&self.dir, &next)?;
        let mut copy = Self::new(&self.dir, path, file, self.id, next);
        let mut idle = vec![false; self.slots as usize];
        for &slot in [0].iter().chain(&self.free).chain(&self.spent) {
            idle[slot as usize] = true;
        }
        let used = self.slots - idle.iter().rev().take_while(|idle| **idle).count() as u32;
        while copy.slots < used.max(1) {
            copy.grow()?;
        }
        for from in (0..used).step_by(CHUNK_SLOTS as usize) {
            let idle = &idle[from as usize..(from + CHUNK_SLOTS) as usize];
            copy.write(from, &self.rewrap(from, idle, &copy)?)?;
        }
        copy.free.retain(|&slot| idle.get(slot as usize).is_none_or(|idle| *idle));
        copy.sync()?;
        files::sync_dir(&self.dir)?;
        Ok(copy)
    }

    /// A chunk of the copy: what is not idle, under its key.
    fn rewrap(&self, from: u32, idle: &[bool], copy: &Self) -> Result<Vec<u8>, StoreError> {
        let mut old = vec![0; CHUNK_BYTES];
        self.file.read_exact_at(&mut old, offset(from)).map_err(StoreError::io("read", &self.path))?;
        let mut new = copy.fresh_chunk(from);
        let slots = old.chunks_exact(SLOT_BYTES).zip(new.chunks_exact_mut(SLOT_BYTES)).zip(from..).zip(idle);
        for (((old, new), slot), _) in slots.filter(|(_, idle)| !**idle) {
            let lost = || StoreError::Damaged { path: self.path.clone(), reason: format!("slot {slot} does not open") };
            let key = self.key.open(&about(self.id, slot), &old[..WRAPPED_BYTES]).ok_or_else(lost)?;
            new.copy_from_slice(&copy.wrap(slot, &key));
        }
        Ok(new)
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes no more keys.
    pub(super) fn close(&mut self) {
        self.broken = true;
    }

    /// Removes the file of any other key.
    pub(super) fn remove_other(&self) -> Result<(), StoreError> {
        let other = path_of(&self.dir, self.key.number().wrapping_add(1));
        files::remove_file(&other)?;
        files::sync_dir(&self.dir)
    }

    /// Adds a chunk of free slots, unless the limit is reached.
    fn grow(&mut self) -> Result<(), StoreError> {
        let from = self.slots;
        if from >= SLOTS_MAX {
            return Ok(());
        }
        self.write(from, &self.fresh_chunk(from))?;
        self.slots = from + CHUNK_SLOTS;
        self.free.extend((from.max(1)..self.slots).rev());
        Ok(())
    }

    /// Free slots, after the head in the first chunk.
    fn fresh_chunk(&self, from: u32) -> Vec<u8> {
        let mut chunk = noise(CHUNK_BYTES);
        if from == 0 {
            chunk[..SLOT_BYTES].copy_from_slice(&head_of(self.id, &self.key));
        }
        chunk
    }

    fn write(&mut self, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        self.broken = true;
        self.file.write_all_at(bytes, offset(slot)).map_err(StoreError::io("write", &self.path))?;
        self.broken = false;
        self.unsynced = true;
        Ok(())
    }

    /// After a failed write nobody knows what the disk holds.
    fn check(&self) -> Result<(), StoreError> {
        if self.broken { Err(StoreError::Broken { path: self.path.clone() }) } else { Ok(()) }
    }

    fn wrap(&self, slot: u32, key: &SecretBytes) -> Vec<u8> {
        let mut bytes = self.key.seal(&about(self.id, slot), key);
        bytes.resize(SLOT_BYTES, 0);
        bytes
    }
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * SLOT_BYTES as u64
}

fn about(id: DataDirId, slot: u32) -> Vec<u8> {
    [b"ring".as_slice(), &id.0, &slot.to_be_bytes()].concat()
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("ring.{}", number % 2))
}

fn create_file(dir: &Path, key: &WrapKey) -> Result<(PathBuf, File), StoreError> {
    let path = path_of(dir, key.number());
    files::remove_file(&path)?;
    let file = files::options().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(StoreError::io("create", &path))?;
    Ok((path, file))
}

fn head_of(id: DataDirId, key: &WrapKey) -> [u8; SLOT_BYTES] {
    let mut head = [0; SLOT_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8] = VERSION;
    head[12..28].copy_from_slice(&id.0);
    head[28..HEAD_BYTES].copy_from_slice(&key.number().to_be_bytes());
    let mac = crypto::hmac_sha256(key.bytes().expose(), STORE_MARKS, &[b"ring", &head[..HEAD_BYTES]]);
    head[HEAD_BYTES..].copy_from_slice(&mac[..SLOT_BYTES - HEAD_BYTES]);
    head
}

/// What a free slot holds: nobody can tell it from a key, or make it smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SystemEntropy::new().fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
