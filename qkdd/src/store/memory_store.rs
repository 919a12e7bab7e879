//! A store without a disk, for tests and for nodes that keep nothing. In: commits. Out: records. Always: it takes and refuses what
//! the store on disk takes and refuses, and forgets everything when dropped.

use std::collections::BTreeMap;

use qkd_proto::id::StoreSequence;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::{FoundRecord, Store, check_records, tables};

/// Records in memory.
#[derive(Default)]
pub struct MemoryStore {
    records: BTreeMap<(Table, Vec<u8>), SecretBytes>,
    sequence: StoreSequence,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one that counts its commits on from `sequence`.
    pub(super) fn counting_from(sequence: StoreSequence) -> Self {
        Self { sequence, ..Self::default() }
    }

    /// How often its tables were committed to.
    pub(super) fn sequence(&self) -> StoreSequence {
        self.sequence
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError> {
        check_records(&records)?;
        if records.iter().any(|record| tables::holds(record.table)) {
            self.sequence.0 = self.sequence.0.saturating_add(1);
        }
        for Record { table, key, value } in records {
            match value {
                Some(_) if table == Table::Audit => None,
                Some(value) => self.records.insert((table, key), value),
                None => self.records.remove(&(table, key)),
            };
        }
        Ok(self.sequence)
    }

    fn read(&self, table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError> {
        let found = keys.into_iter().map(|key| {
            let at = (table, key);
            let value = self.records.get(&at).map(|value| SecretBytes::copy_of(value.expose()));
            (at.1, value)
        });
        Ok(found.collect())
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let found = self.records.iter().filter(|((of, _), _)| *of == table);
        Ok(found.map(|((_, key), value)| (key.clone(), SecretBytes::copy_of(value.expose()))).collect())
    }
}
