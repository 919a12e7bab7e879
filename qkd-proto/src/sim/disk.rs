//! A node's disk: what was durable survives a crash, what was being written may be torn.

use std::collections::BTreeMap;

use crate::entropy::SeededEntropy;
use crate::node::Stored;
use crate::node::effect::{Commit, Record, Table};
use crate::secret::SecretBytes;

/// Tables of records, and commits not durable yet, oldest first.
#[derive(Default)]
pub(super) struct Disk {
    tables: BTreeMap<(Table, Vec<u8>), SecretBytes>,
    pub(super) writing: Vec<Commit>,
}

impl Disk {
    /// The oldest commit is durable.
    pub(super) fn finish_oldest(&mut self) {
        if !self.writing.is_empty() {
            let commit = self.writing.remove(0);
            commit.records.into_iter().for_each(|record| self.write(record));
        }
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
        Stored {
            pools: table(Table::Pools),
            pads: table(Table::Pads),
            marks: table(Table::Marks),
            transfers: table(Table::Transfers),
        }
    }

    fn write(&mut self, record: Record) {
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
