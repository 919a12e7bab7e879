//! A node's disk: what was durable survives a crash, what was being written may be torn.

use std::collections::BTreeMap;

use crate::entropy::SeededEntropy;
use crate::id::StoreSequence;
use crate::node::Stored;
use crate::node::effect::{Commit, Record, Table};
use crate::secret::SecretBytes;

/// Tables of records, and commits not durable yet, oldest first.
#[derive(Default)]
pub(super) struct Disk {
    tables: BTreeMap<(Table, Vec<u8>), SecretBytes>,
    pub(super) writing: Vec<Commit>,
    /// Rises with every write of tables.
    pub(super) sequence: StoreSequence,
    /// The number of the last start.
    pub(super) incarnation: u64,
}

impl Disk {
    /// The oldest commit is durable.
    pub(super) fn finish_oldest(&mut self) {
        if !self.writing.is_empty() {
            let commit = self.writing.remove(0);
            commit.records.into_iter().for_each(|record| self.write(record));
        }
    }

    /// What the pads table has under these keys.
    pub(super) fn pads(&self, keys: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Option<SecretBytes>)> {
        let find = |key: Vec<u8>| {
            let found = self.tables.get(&(Table::Pads, key.clone()));
            (key, found.map(|value| SecretBytes::copy_of(value.expose())))
        };
        keys.into_iter().map(find).collect()
    }

    /// A copy of what is durable.
    pub(super) fn copy(&self) -> Self {
        let copy = |((table, key), value): (&(Table, Vec<u8>), &SecretBytes)| {
            ((*table, key.clone()), SecretBytes::copy_of(value.expose()))
        };
        let tables = self.tables.iter().map(copy).collect();
        Self { tables, writing: Vec::new(), sequence: self.sequence, incarnation: self.incarnation }
    }

    /// Power is gone: of the commit being written, some first records survive.
    pub(super) fn crash(&mut self, entropy: &mut SeededEntropy) {
        let torn = std::mem::take(&mut self.writing).into_iter().next();
        if let Some(commit) = torn {
            let survive = entropy.below(commit.records.len() as u64 + 1) as usize;
            commit.records.into_iter().take(survive).for_each(|record| self.write(record));
        }
    }

    /// What a starting node reads.
    pub(super) fn read(&self) -> Stored {
        let table = |wanted| {
            let records = self.tables.iter().filter(|((table, _), _)| *table == wanted);
            records.map(|((_, key), value)| (key.clone(), SecretBytes::copy_of(value.expose()))).collect()
        };
        Stored { pools: table(Table::Pools), marks: table(Table::Marks), transfers: table(Table::Transfers) }
    }

    fn write(&mut self, record: Record) {
        if record.table != Table::Marks {
            self.sequence.0 += 1;
        }
        let place = (record.table, record.key);
        match record.value {
            Some(value) if record.table != Table::Audit => {
                self.tables.insert(place, value);
            }
            Some(_) => {}
            None => {
                self.tables.remove(&place);
            }
        }
    }
}
