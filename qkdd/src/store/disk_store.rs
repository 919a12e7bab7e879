//! The store of a data directory. In: commits. Out: records. Always: within one commit the audit
//! lines are durable first, then the tables, then the marks.
//!
//! Tables and marks witness each other, so that either put back alone from an older copy shows at
//! the next open. Both witnesses are lower bounds, written along with records that are written
//! anyway, and cost no sync of their own: a mark file holds the table sequence that was durable
//! before it; the tables hold, for each link, the mark sequence that was durable before them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use qkd_proto::id::DataDirId;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::audit::AuditLog;
use super::error::StoreError;
use super::marks::Marks;
use super::seal::{CHAIN_NONE, RecordSeal};
use super::sled_store::{Operation, SledStore, Tree};
use super::{Store, check_records};

const KEY_DIR: &[u8] = b"dir";
const KEY_SELF: &[u8] = b"self";
const MARK_PREFIX: &[u8] = b"mark\0";

/// What the tables record about themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SelfRecord {
    /// Rises by one with every open of the data directory.
    pub(super) generation: u64,
    /// Rises by one with every commit to the tables.
    pub(super) seq: u64,
}

/// The tables with their seal.
pub(super) struct Tables {
    sled: SledStore,
    seal: RecordSeal,
    me: SelfRecord,
}

impl Tables {
    /// Gives a new database its id and generation 0.
    pub(super) fn create(sled: SledStore, seal: RecordSeal, id: DataDirId) -> Result<Self, StoreError> {
        let mut tables = Self { sled, seal, me: SelfRecord { generation: 0, seq: 0 } };
        let id = Operation { tree: Tree::Meta, key: KEY_DIR.to_vec(), value: Some(id.0.to_vec()) };
        tables.apply(vec![id])?;
        Ok(tables)
    }

    /// Checks that the database is the one of this directory.
    pub(super) fn open(sled: SledStore, seal: RecordSeal, id: DataDirId) -> Result<Self, StoreError> {
        let path = || sled.dir().to_owned();
        let Some(found) = sled.get(Tree::Meta, KEY_DIR)? else {
            return Err(StoreError::Missing { path: path().join("db (its own record)") });
        };
        if found != id.0 {
            return Err(StoreError::Foreign { path: path() });
        }
        let envelope = sled.get(Tree::Meta, KEY_SELF)?.unwrap_or_default();
        let plain = seal.open(Tree::Meta.name(), KEY_SELF, &envelope);
        let numbers = plain.as_ref().and_then(|plain| numbers::<2>(plain.expose()));
        let Some([generation, seq]) = numbers else {
            return Err(StoreError::Altered { path: path(), table: Tree::Meta.name() });
        };
        Ok(Self { sled, seal, me: SelfRecord { generation, seq } })
    }

    /// What the tables record about themselves.
    pub(super) fn me(&self) -> SelfRecord {
        self.me
    }

    /// Refuses marks that are gone or older than the tables have seen.
    pub(super) fn check_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        for (key, envelope) in self.sled.scan(Tree::Meta, MARK_PREFIX)? {
            let link = &key[MARK_PREFIX.len()..];
            let path = marks.path_of(link);
            let plain = self.open_value(Tree::Meta, &key, &envelope)?;
            let [seen] = numbers(plain.expose()).unwrap_or([u64::MAX]);
            match marks.seq(link) {
                None => return Err(StoreError::Missing { path }),
                Some(found) if found < seen => {
                    return Err(StoreError::Older { path, what: "mark sequence", found, seen });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Refuses tables that are older than `seen`.
    pub(super) fn check_seq(&self, seen: u64) -> Result<(), StoreError> {
        if self.me.seq < seen {
            let path = self.sled.dir().to_owned();
            return Err(StoreError::Older { path, what: "commit sequence", found: self.me.seq, seen });
        }
        Ok(())
    }

    /// Records a generation.
    pub(super) fn set_generation(&mut self, generation: u64) -> Result<(), StoreError> {
        self.me.generation = generation;
        self.apply(Vec::new())
    }

    /// Applies operations, and the next sequence number behind them.
    fn apply(&mut self, mut operations: Vec<Operation>) -> Result<(), StoreError> {
        let next = SelfRecord { seq: self.me.seq.saturating_add(1), ..self.me };
        let plain = [next.generation.to_be_bytes(), next.seq.to_be_bytes()].concat();
        operations.push(self.sealed(Tree::Meta, KEY_SELF.to_vec(), Some(&plain)));
        self.sled.apply(operations)?;
        self.me = next;
        Ok(())
    }

    fn sealed(&mut self, tree: Tree, key: Vec<u8>, plain: Option<&[u8]>) -> Operation {
        let value = plain.map(|plain| self.seal.seal(tree.name(), &key, CHAIN_NONE, plain));
        Operation { tree, key, value }
    }

    fn mark_witness(&mut self, link: &[u8], seq: Option<u64>) -> Operation {
        let plain = seq.map(u64::to_be_bytes);
        self.sealed(Tree::Meta, [MARK_PREFIX, link].concat(), plain.as_ref().map(<[u8; 8]>::as_slice))
    }

    fn open_value(&self, tree: Tree, key: &[u8], envelope: &[u8]) -> Result<SecretBytes, StoreError> {
        let altered = || StoreError::Altered { path: self.sled.dir().to_owned(), table: tree.name() };
        self.seal.open(tree.name(), key, envelope).ok_or_else(altered)
    }

    fn load(&self, tree: Tree) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let pairs = self.sled.scan(tree, &[])?.into_iter();
        pairs.map(|(key, envelope)| self.open_value(tree, &key, &envelope).map(|plain| (key, plain))).collect()
    }
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    if words.len() != N {
        return None;
    }
    numbers.iter_mut().zip(words).for_each(|(number, word)| *number = u64::from_be_bytes(*word));
    Some(numbers)
}

fn tree_of(table: Table) -> Option<Tree> {
    match table {
        Table::Pools => Some(Tree::Pools),
        Table::Pads => Some(Tree::Pads),
        Table::Transfers => Some(Tree::Transfers),
        Table::Marks | Table::Audit => None,
    }
}

/// The open store of a data directory.
pub(super) struct DiskStore {
    audit: AuditLog,
    tables: Tables,
    marks: Marks,
    /// Links whose mark is newer than what the tables have seen of it.
    unseen: BTreeSet<Vec<u8>>,
    /// Held as long as the store lives: no second process opens the directory.
    _lock: File,
}

impl DiskStore {
    /// Puts checked parts together: from here on they witness each other.
    pub(super) fn new(audit: AuditLog, mut tables: Tables, marks: Marks, lock: File) -> Result<Self, StoreError> {
        let seqs: Vec<_> = marks.seqs().map(|(link, seq)| (link.to_vec(), seq)).collect();
        let witnesses = seqs.iter().map(|(link, seq)| tables.mark_witness(link, Some(*seq))).collect();
        tables.apply(witnesses)?;
        Ok(Self { audit, tables, marks, unseen: BTreeSet::new(), _lock: lock })
    }

    /// The operations of a commit: its own, then what the tables see of the marks. A witness goes
    /// before its mark file: a file without one is taken, a witness without a file is a loss.
    fn operations(&mut self, records: &[Record]) -> Vec<Operation> {
        let mut operations = Vec::new();
        for record in records {
            let plain = record.value.as_ref().map(SecretBytes::expose);
            if let Some(tree) = tree_of(record.table) {
                operations.push(self.tables.sealed(tree, record.key.clone(), plain));
            } else if record.table == Table::Marks && plain.is_none() {
                self.unseen.remove(&record.key);
                operations.push(self.tables.mark_witness(&record.key, None));
            }
        }
        if !operations.is_empty() {
            operations.extend(self.witnesses());
        }
        operations
    }

    fn witnesses(&mut self) -> Vec<Operation> {
        let links = std::mem::take(&mut self.unseen);
        links.iter().map(|link| self.tables.mark_witness(link, self.marks.seq(link))).collect()
    }

    /// Writes the last mark of each link; the tables see a new file at once.
    fn write_marks(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let marks = records.into_iter().filter(|record| record.table == Table::Marks);
        let last: BTreeMap<_, _> = marks.map(|record| (record.key, record.value)).collect();
        let mut created = false;
        for (link, payload) in last {
            match payload {
                Some(payload) => created |= self.marks.write(&link, self.tables.me().seq, payload)?,
                None => self.marks.remove(&link)?,
            }
            if self.marks.seq(&link).is_some() {
                self.unseen.insert(link);
            }
        }
        let witnesses = if created { self.witnesses() } else { Vec::new() };
        if witnesses.is_empty() { Ok(()) } else { self.tables.apply(witnesses) }
    }
}

impl Store for DiskStore {
    fn commit(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        check_records(&records)?;
        self.audit.append(&records)?;
        let operations = self.operations(&records);
        if !operations.is_empty() {
            self.tables.apply(operations)?;
        }
        self.write_marks(records)
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        match table {
            Table::Pools => self.tables.load(Tree::Pools),
            Table::Pads => self.tables.load(Tree::Pads),
            Table::Transfers => self.tables.load(Tree::Transfers),
            Table::Marks => self.marks.load(),
            Table::Audit => Ok(Vec::new()),
        }
    }
}

impl Drop for DiskStore {
    /// Lets the tables see the last marks. Best effort: an unseen mark is only less well witnessed.
    fn drop(&mut self) {
        let witnesses = self.witnesses();
        if !witnesses.is_empty() {
            let _ = self.tables.apply(witnesses);
        }
    }
}
