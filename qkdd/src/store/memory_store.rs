//! A store without a disk, for tests. In: commits. Out: records. Always: it takes and refuses what
//! the store on disk takes and refuses, and forgets everything when dropped.

use std::collections::BTreeMap;

use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::{Store, check_records};

/// Records in memory.
#[derive(Default)]
pub struct MemoryStore {
    records: BTreeMap<(Table, Vec<u8>), SecretBytes>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn commit(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        check_records(&records)?;
        for Record { table, key, value } in records {
            match value {
                Some(_) if table == Table::Audit => None,
                Some(value) => self.records.insert((table, key), value),
                None => self.records.remove(&(table, key)),
            };
        }
        Ok(())
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let found = self.records.iter().filter(|((of, _), _)| *of == table);
        Ok(found.map(|((_, key), value)| (key.clone(), SecretBytes::copy_of(value.expose()))).collect())
    }
}
