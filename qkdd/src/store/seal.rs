//! Sealing of records at rest. In: a table, a key and a value. Out: the envelope that a table holds.
//! Always: an envelope opens only under its own data directory, table and key.
//!
//! An envelope, in bytes: version 1, slot 8, then AES-256-GCM (nonce 12, body, tag 16). `slot` is the place
//! in the ring of the data key that seals the body; 0 is the key of the directory.

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_SEAL;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;

/// A table's name on disk and in errors.
pub(super) fn table_name(table: Table) -> &'static str {
    match table {
        Table::Pools => "pools",
        Table::Pads => "pads",
        Table::Transfers => "transfers",
        Table::Marks => "marks",
        Table::Audit => "audit",
    }
}

/// Seals and opens the records of one data directory.
pub(super) struct RecordSeal {
    key: SecretBytes,
}

impl RecordSeal {
    /// For this directory.
    pub(super) fn new(master: &SecretBytes, id: DataDirId) -> Self {
        let key = crypto::derive(&[], master, STORE_SEAL, &[&id.0], 32);
        Self { key }
    }

    /// The envelope of `plain` under the key of the directory.
    pub(super) fn seal(&self, table: &str, key: &[u8], plain: &SecretBytes) -> Vec<u8> {
        envelope(&self.key, 0, table, key, plain)
    }

    /// What is in an envelope; none if it is not from this directory, table and key.
    pub(super) fn open(&self, table: &str, key: &[u8], envelope: &[u8]) -> Option<SecretBytes> {
        if slot_of(envelope) != Some(0) {
            return None;
        }
        open_under(&self.key, table, key, envelope)
    }
}

/// The envelope of `plain` under the data key in a slot of the ring.
pub(super) fn seal_under(data_key: &SecretBytes, slot: u32, table: &str, key: &[u8], plain: &SecretBytes) -> Vec<u8> {
    envelope(data_key, slot, table, key, plain)
}

/// What is in an envelope under a data key; none if it is not of this table and key.
pub(super) fn open_under(data_key: &SecretBytes, table: &str, key: &[u8], envelope: &[u8]) -> Option<SecretBytes> {
    let (head, body) = envelope.split_at_checked(HEAD_BYTES)?;
    crypto::open(data_key, &about(head, table, key), body).ok()
}

/// The slot that an envelope names; none if it is of no known form.
pub(super) fn slot_of(envelope: &[u8]) -> Option<u32> {
    let (&[version], rest) = envelope.split_first_chunk()?;
    let slot = u64::from_be_bytes(*rest.first_chunk()?);
    if version == VERSION { u32::try_from(slot).ok() } else { None }
}

fn envelope(under: &SecretBytes, slot: u32, table: &str, key: &[u8], plain: &SecretBytes) -> Vec<u8> {
    let head = head(slot);
    let body = crypto::seal(under, &about(&head, table, key), plain.expose(), &mut SystemEntropy::new());
    [head.as_slice(), &body].concat()
}

fn head(slot: u32) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    head[1..].copy_from_slice(&u64::from(slot).to_be_bytes());
    head
}

/// The head has a fixed length and no table name holds a zero: no two records share these bytes.
fn about(head: &[u8], table: &str, key: &[u8]) -> Vec<u8> {
    [head, table.as_bytes(), &[0], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_opens_in_its_own_place_only() {
        let master = SecretBytes::new(vec![1; 32]);
        let seal = RecordSeal::new(&master, DataDirId([1; 16]));
        let envelope = seal.seal("pads", b"a", &SecretBytes::copy_of(b"bits"));
        assert_eq!(seal.open("pads", b"a", &envelope).map(|plain| plain.expose().to_vec()), Some(b"bits".to_vec()));
        assert!(seal.open("pads", b"b", &envelope).is_none());
        assert!(seal.open("pools", b"a", &envelope).is_none());
        assert!(RecordSeal::new(&master, DataDirId([2; 16])).open("pads", b"a", &envelope).is_none());
        for i in 0..envelope.len() {
            let mut altered = envelope.clone();
            altered[i] ^= 1;
            assert!(seal.open("pads", b"a", &altered).is_none(), "byte {i}");
        }
        assert!(seal.open("pads", b"a", &envelope[..5]).is_none());
        let under = seal_under(&SecretBytes::new(vec![3; 32]), 7, "pads", b"a", &SecretBytes::copy_of(b"bits"));
        assert!(slot_of(&under) == Some(7) && seal.open("pads", b"a", &under).is_none());
    }
}
