//! The head of the audit log: how far it came. In: the place after each append. Out: the newest place.
//! Always: one of its two slots is whole, and a log that is shorter than its head was cut.
//!
//! Each append writes the head, but syncs it only now and then: the process may die at any time
//! without a loss, and after a power loss the head is at most [`SYNC_LINES`] lines behind the log.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use qkd_proto::crypto;

use super::super::error::StoreError;
use super::super::files;
use super::line::{AuditKey, Chain, HASH_BYTES};

/// Lines after which the head is synced.
pub(super) const SYNC_LINES: u64 = 1024;

const MAGIC: &[u8; 8] = b"qkdaudit";
const SLOT_BYTES: usize = 96;
const BODY_BYTES: usize = SLOT_BYTES - 32;
/// Each slot begins a page of its own, and no disk writes part of a sector.
const SLOT_EVERY_BYTES: u64 = 4096;

/// A place in the files of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The last line.
    pub(super) chain: Chain,
    /// The number of the first line of the last file.
    pub(super) file: u64,
    /// Where the last line of that file ends.
    pub(super) offset: u64,
}

/// The open head.
pub(super) struct Head {
    file: File,
    path: PathBuf,
    next_slot: u64,
    synced_seq: u64,
}

impl Head {
    /// Opens the head, or makes an empty one; tells the newest place that is authentic under `key`.
    pub(super) fn open(path: &Path, key: &AuditKey) -> Result<(Self, Option<Place>), StoreError> {
        let file = files::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(StoreError::io("open", path))?;
        file.set_len(2 * SLOT_EVERY_BYTES).map_err(StoreError::io("write", path))?;
        files::sync_parent(path)?;
        let (slot, place) = newest(&file, Some(key)).map_err(StoreError::io("read", path))?.unzip();
        let next_slot = slot.map_or(0, |slot| 1 - slot);
        Ok((Self { file, path: path.to_owned(), next_slot, synced_seq: 0 }, place))
    }

    /// The newest place of a head that is not opened for writing; without a key it is not authenticated.
    pub(super) fn peek(path: &Path, key: Option<&AuditKey>) -> Option<Place> {
        let file = File::open(path).ok()?;
        newest(&file, key).ok()?.map(|(_, place)| place)
    }

    /// Notes how far the log came.
    pub(super) fn put(&mut self, key: &AuditKey, place: &Place, sync: bool) -> Result<(), StoreError> {
        let failed = |path| StoreError::io("write", path);
        let written = self.file.write_all_at(&encode(key, place), self.next_slot * SLOT_EVERY_BYTES);
        written.map_err(failed(&self.path))?;
        self.next_slot = 1 - self.next_slot;
        if sync || place.chain.seq >= self.synced_seq.saturating_add(SYNC_LINES) {
            self.file.sync_data().map_err(failed(&self.path))?;
            self.synced_seq = place.chain.seq;
        }
        Ok(())
    }
}

fn encode(key: &AuditKey, place: &Place) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    for (at, number) in [(8, place.chain.seq), (16, place.file), (24, place.offset)] {
        bytes[at..at + 8].copy_from_slice(&number.to_be_bytes());
    }
    bytes[32..BODY_BYTES].copy_from_slice(&place.chain.hash);
    let mac = key.mac("head", &bytes[..BODY_BYTES]);
    bytes[BODY_BYTES..].copy_from_slice(&mac);
    bytes
}

fn decode(key: Option<&AuditKey>, bytes: &[u8; SLOT_BYTES]) -> Option<Place> {
    let (body, mac) = bytes.split_at(BODY_BYTES);
    if body[..8] != *MAGIC || key.is_some_and(|key| !crypto::equal(&key.mac("head", body), mac)) {
        return None;
    }
    let number = |at: usize| Some(u64::from_be_bytes(body[at..at + 8].try_into().ok()?));
    let hash: [u8; HASH_BYTES] = body[32..].try_into().ok()?;
    Some(Place { chain: Chain { seq: number(8)?, hash }, file: number(16)?, offset: number(24)? })
}

fn newest(file: &File, key: Option<&AuditKey>) -> std::io::Result<Option<(u64, Place)>> {
    let mut found: Option<(u64, Place)> = None;
    for slot in 0..2 {
        let mut bytes = [0; SLOT_BYTES];
        let read = file.read_exact_at(&mut bytes, slot * SLOT_EVERY_BYTES);
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => continue,
            read => read?,
        }
        let place = decode(key, &bytes);
        let newer = |place: &Place| found.is_none_or(|(_, old)| place.chain.seq > old.chain.seq);
        if let Some(place) = place.filter(newer) {
            found = Some((slot, place));
        }
    }
    Ok(found)
}
