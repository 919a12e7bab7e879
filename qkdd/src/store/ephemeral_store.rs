//! A store that ends with the process: records in memory, audit lines on the disk. In: commits. Out: records.
//! Always: audit lines are durable before their commit is reported; nothing else is ever written.

use qkd_proto::id::StoreSequence;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::access::DirLock;
use super::audit::AuditLog;
use super::error::StoreError;
use super::memory_store::MemoryStore;
use super::{FoundRecord, Store, check_records};

/// Commits that one run may make: so many sequence numbers are its own.
const COMMITS_OF_A_RUN: u64 = 1 << 32;

/// The open store.
pub(super) struct EphemeralStore {
    memory: MemoryStore,
    audit: AuditLog,
    /// Held as long as the store lives, and dropped last: no second process opens the directory.
    _lock: DirLock,
}

impl EphemeralStore {
    /// An empty one; its sequence goes on where no earlier run was.
    pub(super) fn new(audit: AuditLog, generation: u64, lock: DirLock) -> Self {
        let sequence = StoreSequence(generation.saturating_mul(COMMITS_OF_A_RUN));
        Self { memory: MemoryStore::counting_from(sequence), audit, _lock: lock }
    }

    /// Of the newest commit to the tables.
    pub(super) fn sequence(&self) -> StoreSequence {
        self.memory.sequence()
    }
}

impl Store for EphemeralStore {
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError> {
        check_records(&records)?;
        self.audit.append(&records)?;
        self.memory.commit(records)
    }

    fn read(&self, table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError> {
        self.memory.read(table, keys)
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        self.memory.load(table)
    }
}
