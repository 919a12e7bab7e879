//! A digest over all sealed records. In: every change. Out: 16 bytes that stand for the whole set.
//! Always: a record that is missing, added, or older than the newest gives another digest.
//!
//! Sealing alone does not show age: where a byte of sled's log is damaged, sled may skip the entry
//! and answer with the record's earlier version, which opens (seen in `data_dir/tests.rs`).
//!
//! The digest is the exclusive or of a keyed hash of each record, so a change costs two hashes. Who
//! has not the key cannot find another set with the same sum. A record enters by its key and its
//! envelope's head, nonce and tag, which stand for the rest once the record is opened.

use std::collections::BTreeMap;

use qkd_proto::crypto;
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_SEAL;
use qkd_proto::secret::SecretBytes;

/// A digest, or one record's part of it.
pub(super) type Sum = [u8; 16];

/// Bytes at the two ends of an envelope that identify it: head and nonce, and the tag.
const FRONT_BYTES: usize = 21;
const TAG_BYTES: usize = 16;

/// The digest of a growing and shrinking set of records.
pub(super) struct Digest {
    key: SecretBytes,
    sum: Sum,
    parts: BTreeMap<Vec<u8>, Sum>,
}

impl Digest {
    /// Of no record.
    pub(super) fn new(master: &SecretBytes, id: DataDirId) -> Self {
        let key = crypto::derive(&[], master, STORE_SEAL, &[&id.0, b"digest"], 32);
        Self { key, sum: Sum::default(), parts: BTreeMap::new() }
    }

    /// Sets, replaces or, without an envelope, takes a record out.
    pub(super) fn set(&mut self, key: &[u8], envelope: Option<&[u8]>) {
        let new = envelope.map(|envelope| self.part(key, envelope));
        let old = match new {
            Some(new) => self.parts.insert(key.to_vec(), new),
            None => self.parts.remove(key),
        };
        for part in old.iter().chain(&new) {
            self.sum.iter_mut().zip(part).for_each(|(sum, part)| *sum ^= part);
        }
    }

    fn part(&self, key: &[u8], envelope: &[u8]) -> Sum {
        let front = &envelope[..envelope.len().min(FRONT_BYTES)];
        let tag = &envelope[envelope.len().saturating_sub(TAG_BYTES)..];
        let length = (envelope.len() as u64).to_be_bytes();
        let hash = crypto::hmac_sha256(self.key.expose(), STORE_SEAL, &[key, &length, front, tag]);
        let mut part = Sum::default();
        part.copy_from_slice(&hash[..16]);
        part
    }

    /// The digest of the set as it is.
    pub(super) fn sum(&self) -> Sum {
        self.sum
    }
}
