//! What lies in the tables, sealed. In: a record. Out: the value that the table engine keeps. Always: a record
//! that may hold a secret is sealed under a data key of its own in the ring, fresh for each of its versions, and
//! the slot of a version that was replaced is given back only after the newer one is durable.
//!
//! Three kinds of keys in the tables: what the store notes for itself is sealed under the key of the directory;
//! pools and transfers under data keys; pads as their form says.

use std::collections::BTreeMap;

use qkd_proto::id::DataDirId;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::ring::Ring;
use super::seal::{self, RecordSeal};
use super::wrap::fresh_key;

/// The first byte of the keys of what the store notes for itself.
pub(super) const META_PREFIX: &[u8] = b"m";

/// How pad blocks lie in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PadForm {
    /// Sealed under the key of the directory and within the digest.
    Sealed,
    /// As given: the node seals them itself and knows which it may use. They are not touched by an open.
    AsGiven,
}

/// The form in which data directories are made and opened.
pub(super) const PAD_FORM: PadForm = PadForm::AsGiven;

/// How a value lies in the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    UnderDirectory,
    UnderDataKey,
    AsGiven,
}

/// The first byte of a table's keys; none for what does not lie in the tables.
pub(super) fn prefix_of(table: Table) -> Option<&'static [u8]> {
    match table {
        Table::Pools => Some(b"p"),
        Table::Pads => Some(b"d"),
        Table::Transfers => Some(b"t"),
        Table::Marks | Table::Audit => None,
    }
}

/// Seals and opens values.
pub(super) struct Vault {
    seal: RecordSeal,
    pads: PadForm,
    ring: Ring,
    /// Where the data key of each record's newest version is.
    slots: BTreeMap<Vec<u8>, u32>,
    /// Slots of versions that are replaced once the batches in hand are durable.
    replaced: Vec<u32>,
}

impl Vault {
    /// With no record yet.
    pub(super) fn new(master: &SecretBytes, id: DataDirId, pads: PadForm, ring: Ring) -> Self {
        Self { seal: RecordSeal::new(master, id), pads, ring, slots: BTreeMap::new(), replaced: Vec::new() }
    }

    fn kind(&self, key: &[u8]) -> Kind {
        let is_of = |table| prefix_of(table).is_some_and(|prefix| key.starts_with(prefix));
        if is_of(Table::Pools) || is_of(Table::Transfers) {
            Kind::UnderDataKey
        } else if is_of(Table::Pads) && self.pads == PadForm::AsGiven {
            Kind::AsGiven
        } else {
            Kind::UnderDirectory
        }
    }

    /// True if the value under a key is within the digest.
    pub(super) fn vouches_for(&self, key: &[u8]) -> bool {
        self.kind(key) != Kind::AsGiven
    }

    /// Every first byte of keys whose values are within the digest.
    pub(super) fn vouched_prefixes(&self) -> Vec<&'static [u8]> {
        let tables = [Table::Pools, Table::Pads, Table::Transfers].into_iter().filter_map(prefix_of);
        [META_PREFIX].into_iter().chain(tables).filter(|prefix| self.vouches_for(prefix)).collect()
    }

    /// Notes at an open which slot a value names; false if it is not of the form that it must have.
    pub(super) fn note(&mut self, key: &[u8], value: &[u8]) -> bool {
        let slot = seal::slot_of(value);
        if self.kind(key) != Kind::UnderDataKey {
            return slot == Some(0);
        }
        slot.is_some_and(|slot| self.slots.insert(key.to_vec(), slot).is_none())
    }

    /// Gives every slot back that nothing noted names; false if slots contradict each other or the ring.
    pub(super) fn keep_noted(&mut self) -> bool {
        self.ring.keep(self.slots.values().copied())
    }

    /// Sees to it that the records of these keys can be sealed, or refuses.
    pub(super) fn make_room<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) -> Result<(), StoreError> {
        let count = keys.filter(|key| self.kind(key) == Kind::UnderDataKey).count();
        self.ring.make_room(count)
    }

    /// The value of a record.
    pub(super) fn seal(&mut self, space: &str, key: &[u8], plain: &SecretBytes) -> Result<Vec<u8>, StoreError> {
        match self.kind(key) {
            Kind::AsGiven => Ok(plain.expose().to_vec()),
            Kind::UnderDirectory => Ok(self.seal.seal(space, key, plain)),
            Kind::UnderDataKey => {
                let data_key = fresh_key();
                let slot = self.ring.put(&data_key)?;
                self.replaced.extend(self.slots.insert(key.to_vec(), slot));
                Ok(seal::seal_under(&data_key, slot, space, key, plain))
            }
        }
    }

    /// Lets go of a record that is deleted.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.replaced.extend(self.slots.remove(key));
    }

    /// The record in a value; none if it was altered, or is not the newest.
    pub(super) fn open(&self, space: &str, key: &[u8], value: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        match self.kind(key) {
            Kind::AsGiven => Ok(Some(SecretBytes::copy_of(value))),
            Kind::UnderDirectory => Ok(self.seal.open(space, key, value)),
            Kind::UnderDataKey => {
                let Some(slot) = self.slots.get(key).filter(|slot| seal::slot_of(value) == Some(**slot)) else {
                    return Ok(None);
                };
                Ok(self.ring.get(*slot)?.and_then(|data_key| seal::open_under(&data_key, space, key, value)))
            }
        }
    }

    /// Makes the data keys of new values durable.
    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        self.ring.sync()
    }

    /// The newer values are durable: what they replaced may go.
    pub(super) fn replaced_durably(&mut self) {
        self.ring.give_back(self.replaced.drain(..));
    }

    /// The ring of data keys.
    pub(super) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }
}
