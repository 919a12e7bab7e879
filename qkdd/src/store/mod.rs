//! What the node remembers. In: commits of records. Out: records, loaded at start. Always: when
//! [`Store::commit`] returns, its records are on stable storage; missing, damaged, foreign or older
//! state is an error, never an empty store.
//!
//! One data directory holds `lock`, `state`, `store/` (sled), `marks/`, `audit.log` and
//! `ballast`; [`data_dir`]
//! tells how it comes to life and `disk_store` in which order its parts are written.

pub mod access;
pub mod anchor;
pub mod audit;
mod ballast;
pub mod committer;
pub mod data_dir;
mod digest;
mod disk_store;
mod engine_panic;
mod ephemeral_store;
pub mod error;
mod files;
mod filesystem;
mod first_open;
pub mod fresh;
pub mod locked;
pub mod marks;
pub mod master_key;
pub mod memory_store;
mod migrate;
mod node_state;
pub mod options;
mod ring;
mod rotation;
mod seal;
mod shred;
mod sled_store;
mod slots;
mod tables;
mod vault;
mod wrap;
pub mod zeroize;

use qkd_proto::id::StoreSequence;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use error::StoreError;

/// A key, and the record under it, if there is one.
pub type FoundRecord = (Vec<u8>, Option<SecretBytes>);

/// A durable home for records.
pub trait Store {
    /// Writes the records in their order and returns once they are on stable storage, with the store's
    /// sequence: it rises with every commit that holds records of tables, over all runs.
    ///
    /// A crash in between leaves the audit lines, then a prefix of the table records (all or
    /// nothing up to 255 of them), then some of the marks: a record that makes others valid comes last. Later records win over earlier ones.
    ///
    /// # Errors
    /// If a record breaks a rule (nothing was written) or the disk fails (some of it may be there).
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError>;

    /// What a table holds under each of the keys, in their order; none where there is no record, or one that
    /// was altered. The audit log is written only: it holds none.
    ///
    /// # Errors
    /// If the disk fails.
    fn read(&self, table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError>;

    /// Does what commits left for later: overwrites what they replaced, and renews the key over it each hour.
    /// It is called within a second of each commit, and each minute.
    ///
    /// # Errors
    /// If the disk fails.
    fn settle(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Every record of a table, by rising key. The audit log is written only: it loads as empty.
    ///
    /// # Errors
    /// If a record is altered or foreign, or the disk fails.
    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError> {
        (**self).commit(records)
    }

    fn read(&self, table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError> {
        (**self).read(table, keys)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        (**self).settle()
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        (**self).load(table)
    }
}

/// Refuses records that no store takes, before anything is written.
fn check_records(records: &[Record]) -> Result<(), StoreError> {
    records.iter().try_for_each(|record| match record.table {
        Table::Marks => marks::check(record),
        Table::Audit => audit::check(record),
        Table::Pools | Table::Pads | Table::Transfers => Ok(()),
    })
}
