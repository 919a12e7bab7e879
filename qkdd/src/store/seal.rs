//! Sealing of records at rest. In: a table, a key and a value. Out: the envelope that a table holds.
//! Always: an envelope opens only under its own data directory, table and key.
//!
//! An envelope, in bytes: version 1, chain 8, then AES-256-GCM (nonce 12, body, tag 16). `chain`
//! is the place in a forward hash chain whose key seals the body; 0 is the key of the directory.

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_SEAL;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 9;

/// The chain number of records under the key of the data directory.
pub(super) const CHAIN_NONE: u64 = 0;

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
    entropy: SystemEntropy,
}

impl RecordSeal {
    /// For this directory.
    pub(super) fn new(master: &SecretBytes, id: DataDirId) -> Self {
        let key = crypto::derive(&[], master, STORE_SEAL, &[&id.0], 32);
        Self { key, entropy: SystemEntropy::new() }
    }

    /// The envelope of `plain`.
    pub(super) fn seal(&mut self, table: &str, key: &[u8], chain: u64, plain: &[u8]) -> Vec<u8> {
        let head = head(chain);
        let body = crypto::seal(&self.key, &about(&head, table, key), plain, &mut self.entropy);
        [head.as_slice(), &body].concat()
    }

    /// What is in an envelope; none if it is not from this directory, table and key.
    pub(super) fn open(&self, table: &str, key: &[u8], envelope: &[u8]) -> Option<SecretBytes> {
        let (found, body) = envelope.split_at_checked(HEAD_BYTES)?;
        if found != head(CHAIN_NONE) {
            return None;
        }
        crypto::open(&self.key, &about(found, table, key), body).ok()
    }
}

fn head(chain: u64) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    head[1..].copy_from_slice(&chain.to_be_bytes());
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
        let mut seal = RecordSeal::new(&master, DataDirId([1; 16]));
        let envelope = seal.seal("pads", b"a", CHAIN_NONE, b"bits");
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
    }
}
