//! Pools, pads and transfers, sealed, in one sled tree. In: changes in order. Out: records. Always: a
//! batch becomes durable as a whole, with the generation, the sequence number and the digest of all
//! that is in the tables after it, pads in their given form apart.
//!
//! The tables share one tree under a prefix, because a sled batch is atomic within a tree only.

use qkd_proto::id::DataDirId;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

use super::digest::{Digest, Sum};
use super::error::StoreError;
use super::marks::Marks;
use super::seal::{CHAIN_NONE, RecordSeal, table_name};
use super::sled_store::{BATCH_OPERATIONS_MAX, Operation, SledStore};

/// What the store knows about itself lies beside the tables.
const META: &str = "meta";
const KEY_DIR: &[u8] = b"m\0dir";
const KEY_SELF: &[u8] = b"m\0self";
const MARK_PREFIX: &[u8] = b"m\0mark\0";

/// How pad blocks lie in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PadForm {
    /// Sealed and within the digest, as the records of every other table.
    #[cfg_attr(not(test), expect(dead_code, reason = "the form of older directories"))]
    Sealed,
    /// As given: the node seals them itself and knows which it may use. They are not touched by an open.
    AsGiven,
}

/// The form in which data directories are made and opened.
pub(super) const PAD_FORM: PadForm = PadForm::AsGiven;

/// The first byte of a table's keys; none for what does not lie in the tables.
fn prefix_of(table: Table) -> Option<&'static [u8]> {
    match table {
        Table::Pools => Some(b"p"),
        Table::Pads => Some(b"d"),
        Table::Transfers => Some(b"t"),
        Table::Marks | Table::Audit => None,
    }
}

/// True if the table's records lie here.
pub(super) fn holds(table: Table) -> bool {
    prefix_of(table).is_some()
}

/// One change, before it is sealed.
pub(super) struct Change {
    space: &'static str,
    key: Vec<u8>,
    plain: Option<SecretBytes>,
}

impl Change {
    /// Of a record; none if it does not lie in the tables.
    pub(super) fn record(table: Table, key: &[u8], plain: Option<&SecretBytes>) -> Option<Self> {
        let key = [prefix_of(table)?, key].concat();
        let plain = plain.map(|plain| SecretBytes::copy_of(plain.expose()));
        Some(Self { space: table_name(table), key, plain })
    }

    /// Of what the tables have seen of a link's mark.
    pub(super) fn mark_seen(link: &[u8], seq: Option<u64>) -> Self {
        let plain = seq.map(|seq| SecretBytes::copy_of(&seq.to_be_bytes()));
        Self { space: META, key: [MARK_PREFIX, link].concat(), plain }
    }
}

/// The open tables.
pub(super) struct Tables {
    sled: SledStore,
    pads: PadForm,
    seal: RecordSeal,
    digest: Digest,
    generation: u64,
    /// Of the newest batch that was cut.
    seq: u64,
    /// Of the newest batch that is durable.
    durable_seq: u64,
}

impl Tables {
    /// Gives a new database its id and generation 0.
    pub(super) fn create(
        sled: SledStore,
        pads: PadForm,
        master: &SecretBytes,
        id: DataDirId,
    ) -> Result<Self, StoreError> {
        let (seal, mut digest) = (RecordSeal::new(master, id), Digest::new(master, id));
        digest.set(KEY_DIR, Some(&id.0));
        let mut tables = Self { sled, pads, seal, digest, generation: 0, seq: 0, durable_seq: 0 };
        let id = Operation { key: KEY_DIR.to_vec(), value: Some(id.0.to_vec()) };
        let me = tables.next_self();
        tables.write(vec![vec![id, me]])?;
        Ok(tables)
    }

    /// Checks that the database is the one of this directory, and whole.
    pub(super) fn open(
        sled: SledStore,
        pads: PadForm,
        master: &SecretBytes,
        id: DataDirId,
    ) -> Result<Self, StoreError> {
        let Some(found) = sled.get(KEY_DIR)? else {
            return Err(StoreError::Missing { path: sled.dir().join("db") });
        };
        if found != id.0 {
            return Err(StoreError::Foreign { path: sled.dir().to_owned() });
        }
        let (seal, mut digest) = (RecordSeal::new(master, id), Digest::new(master, id));
        let me = sled.get(KEY_SELF)?.and_then(|envelope| seal.open(META, KEY_SELF, &envelope));
        let Some((generation, seq, sum)) = me.as_ref().and_then(|plain| read_self(plain.expose())) else {
            return Err(StoreError::Altered { path: sled.dir().to_owned(), table: META });
        };
        for prefix in prefixes().filter(|prefix| vouches_for(pads, prefix)) {
            sled.visit(prefix, |key, envelope| {
                if key != KEY_SELF {
                    digest.set(key, Some(envelope))
                }
            })?;
        }
        if digest.sum() != sum {
            let reason = "a record is missing, or is not the newest that was written".into();
            return Err(StoreError::Damaged { path: sled.dir().to_owned(), reason });
        }
        Ok(Self { sled, pads, seal, digest, generation, seq, durable_seq: seq })
    }

    /// Rises by one with every open of the data directory.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of the newest durable batch; rises by one with each.
    pub(super) fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Refuses marks that are gone or older than the tables have seen.
    pub(super) fn check_marks(&self, marks: &Marks) -> Result<(), StoreError> {
        for (key, plain) in self.load_prefix(META, MARK_PREFIX)? {
            let path = marks.path_of(&key);
            let seen = plain.expose().try_into().map_or(u64::MAX, u64::from_be_bytes);
            match marks.seq(&key) {
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
        if self.seq < seen {
            let path = self.sled.dir().to_owned();
            return Err(StoreError::Older { path, what: "commit sequence", found: self.seq, seen });
        }
        Ok(())
    }

    /// Records a generation.
    pub(super) fn set_generation(&mut self, generation: u64) -> Result<(), StoreError> {
        self.generation = generation;
        let me = self.next_self();
        self.write(vec![vec![me]])
    }

    /// Writes the changes in their order, and syncs them.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let batches = changes.chunks(BATCH_OPERATIONS_MAX - 1).map(|changes| self.batch_of(changes)).collect();
        self.write(batches)
    }

    /// After a failure the digest is ahead of the disk: sled then takes no more batches.
    fn write(&mut self, batches: Vec<Vec<Operation>>) -> Result<(), StoreError> {
        self.sled.apply(batches)?;
        self.durable_seq = self.seq;
        Ok(())
    }

    fn batch_of(&mut self, changes: &[Change]) -> Vec<Operation> {
        let mut operations = Vec::with_capacity(changes.len() + 1);
        for Change { space, key, plain } in changes {
            let vouched = vouches_for(self.pads, key);
            let value = plain.as_ref().map(|plain| match vouched {
                true => self.seal.seal(space, key, CHAIN_NONE, plain.expose()),
                false => plain.expose().to_vec(),
            });
            if vouched {
                self.digest.set(key, value.as_deref());
            }
            operations.push(Operation { key: key.clone(), value });
        }
        operations.push(self.next_self());
        operations
    }

    fn next_self(&mut self) -> Operation {
        self.seq = self.seq.saturating_add(1);
        let numbers = [self.generation.to_be_bytes(), self.seq.to_be_bytes()].concat();
        let plain = [numbers.as_slice(), &self.digest.sum()].concat();
        let value = Some(self.seal.seal(META, KEY_SELF, CHAIN_NONE, &plain));
        Operation { key: KEY_SELF.to_vec(), value }
    }

    /// Every record of a table, by rising key.
    pub(super) fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        prefix_of(table).map_or(Ok(Vec::new()), |prefix| self.load_prefix(table_name(table), prefix))
    }

    /// The record under a key, if there is one; one that was altered is told and not given.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        let Some(prefix) = prefix_of(table) else { return Ok(None) };
        let key = [prefix, key].concat();
        let Some(envelope) = self.sled.get(&key)? else { return Ok(None) };
        let found = self.open_value(table_name(table), &key, &envelope);
        if found.is_none() {
            let altered = StoreError::Altered { path: self.sled.dir().to_owned(), table: table_name(table) };
            tracing::error!(error = %altered, "A record is not given back");
        }
        Ok(found)
    }

    fn open_value(&self, space: &'static str, key: &[u8], value: &[u8]) -> Option<SecretBytes> {
        match vouches_for(self.pads, key) {
            true => self.seal.open(space, key, value),
            false => Some(SecretBytes::copy_of(value)),
        }
    }

    fn load_prefix(&self, space: &'static str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let mut loaded = Vec::new();
        self.sled.visit(prefix, |key, envelope| {
            loaded.push((key[prefix.len()..].to_vec(), self.open_value(space, key, envelope)));
        })?;
        let altered = || StoreError::Altered { path: self.sled.dir().to_owned(), table: space };
        loaded.into_iter().map(|(key, plain)| plain.map(|plain| (key, plain)).ok_or_else(altered)).collect()
    }
}

/// Every first byte of a key.
fn prefixes() -> impl Iterator<Item = &'static [u8]> {
    let tables = [Table::Pools, Table::Pads, Table::Transfers];
    [&KEY_SELF[..1]].into_iter().chain(tables.into_iter().filter_map(prefix_of))
}

/// True if the value under a key is sealed here and within the digest.
fn vouches_for(pads: PadForm, key: &[u8]) -> bool {
    pads == PadForm::Sealed || prefix_of(Table::Pads).is_none_or(|prefix| !key.starts_with(prefix))
}

fn read_self(plain: &[u8]) -> Option<(u64, u64, Sum)> {
    let (generation, rest) = plain.split_first_chunk()?;
    let (seq, sum) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*generation), u64::from_be_bytes(*seq), sum.try_into().ok()?))
}
