//! Pools, pads and transfers, sealed, in one sled tree. In: changes in order. Out: records. Always: a
//! batch becomes durable as a whole, with the generation, the sequence number and the digest of all
//! that is in the tables after it, pads in their given form apart; the data keys of its records are durable before.
//!
//! The tables share one tree under a prefix, because a sled batch is atomic within a tree only.

use std::path::Path;

use qkd_proto::id::DataDirId;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

use super::digest::{Digest, Sum};
use super::error::StoreError;
use super::marks::Marks;
use super::ring::Ring;
use super::seal::table_name;
use super::sled_store::{BATCH_OPERATIONS_MAX, Operation, SledStore};
use super::vault::{Vault, prefix_of};

/// What the store knows about itself lies beside the tables.
pub(super) const META: &str = "meta";
pub(super) const KEY_DIR: &[u8] = b"m\0dir";
pub(super) const KEY_SELF: &[u8] = b"m\0self";
pub(super) const MARK_PREFIX: &[u8] = b"m\0mark\0";

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
    vault: Vault,
    digest: Digest,
    generation: u64,
    /// Of the newest batch that was cut.
    seq: u64,
    /// Of the newest batch that is durable.
    durable_seq: u64,
}

impl Tables {
    /// Gives a new database its id, its generation, and the sequence from which it counts on.
    pub(super) fn create(
        sled: SledStore,
        vault: Vault,
        master: &SecretBytes,
        id: DataDirId,
        (generation, seq): (u64, u64),
    ) -> Result<Self, StoreError> {
        let mut digest = Digest::new(master, id);
        digest.set(KEY_DIR, Some(&id.0));
        let mut tables = Self { sled, vault, digest, generation, seq, durable_seq: seq };
        let id = Operation { key: KEY_DIR.to_vec(), value: Some(id.0.to_vec()) };
        let me = tables.next_self()?;
        tables.write(vec![vec![id, me]])?;
        Ok(tables)
    }

    /// Checks that the database is the one of this directory, and whole.
    pub(super) fn open(
        sled: SledStore,
        mut vault: Vault,
        master: &SecretBytes,
        id: DataDirId,
    ) -> Result<Self, StoreError> {
        let Some(found) = sled.get(KEY_DIR)? else {
            return Err(StoreError::Missing { path: sled.dir().join("db") });
        };
        if found != id.0 {
            return Err(StoreError::Foreign { path: sled.dir().to_owned() });
        }
        let me = sled.get(KEY_SELF)?.map(|envelope| vault.open(META, KEY_SELF, &envelope)).transpose()?.flatten();
        let Some((generation, seq, sum)) = me.as_ref().and_then(|plain| read_self(plain.expose())) else {
            return Err(StoreError::Altered { path: sled.dir().to_owned(), table: META });
        };
        let (mut digest, mut known) = (Digest::new(master, id), true);
        for prefix in vault.vouched_prefixes() {
            sled.visit(prefix, |key, envelope| {
                if key != KEY_SELF {
                    digest.set(key, Some(envelope));
                    known &= key == KEY_DIR || vault.note(key, envelope);
                }
            })?;
        }
        let damaged = |path: &Path, reason: &str| Err(StoreError::Damaged { path: path.into(), reason: reason.into() });
        if !known || digest.sum() != sum {
            return damaged(sled.dir(), "a record is missing, or is not the newest that was written");
        }
        if !vault.keep_noted() {
            return damaged(
                vault.ring().path(),
                "a record names a slot that it does not have, or that another names too",
            );
        }
        Ok(Self { sled, vault, digest, generation, seq, durable_seq: seq })
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
        let me = self.next_self()?;
        self.write(vec![vec![me]])
    }

    /// Writes the changes in their order, and syncs them.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let written = changes.iter().filter(|change| change.plain.is_some());
        self.vault.make_room(written.map(|change| change.key.as_slice()))?;
        let batches = changes.chunks(BATCH_OPERATIONS_MAX - 1).map(|changes| self.batch_of(changes));
        let batches = batches.collect::<Result<_, _>>();
        if batches.is_err() {
            // The vault is ahead of the disk: what follows would seal under slots that nothing names.
            self.close();
        }
        self.write(batches?)
    }

    /// Data keys first: a value whose key is lost cannot be opened. After a failure digest and vault are ahead
    /// of the disk: ring or engine then take no more.
    fn write(&mut self, batches: Vec<Vec<Operation>>) -> Result<(), StoreError> {
        self.vault.sync()?;
        self.sled.apply(batches)?;
        self.durable_seq = self.seq;
        self.vault.replaced_durably();
        Ok(())
    }

    fn batch_of(&mut self, changes: &[Change]) -> Result<Vec<Operation>, StoreError> {
        let mut operations = Vec::with_capacity(changes.len() + 1);
        for Change { space, key, plain } in changes {
            let value = plain.as_ref().map(|plain| self.vault.seal(space, key, plain)).transpose()?;
            if value.is_none() {
                self.vault.forget(key);
            }
            if self.vault.vouches_for(key) {
                self.digest.set(key, value.as_deref());
            }
            operations.push(Operation { key: key.clone(), value });
        }
        operations.push(self.next_self()?);
        Ok(operations)
    }

    fn next_self(&mut self) -> Result<Operation, StoreError> {
        self.seq = self.seq.saturating_add(1);
        let numbers = [self.generation.to_be_bytes(), self.seq.to_be_bytes()].concat();
        let plain = SecretBytes::new([numbers.as_slice(), &self.digest.sum()].concat());
        Ok(Operation { key: KEY_SELF.to_vec(), value: Some(self.vault.seal(META, KEY_SELF, &plain)?) })
    }

    /// Overwrites the data keys of what was replaced.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        self.vault.ring().settle()
    }

    /// The ring of data keys.
    pub(super) fn ring(&mut self) -> &mut Ring {
        self.vault.ring()
    }

    /// Takes no more changes.
    pub(super) fn close(&mut self) {
        self.vault.ring().close();
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
        let found = self.vault.open(table_name(table), &key, &envelope)?;
        if found.is_none() {
            tracing::error!(error = %self.altered(table_name(table)), "A record is not given back");
        }
        Ok(found)
    }

    fn load_prefix(&self, space: &'static str, prefix: &[u8]) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let mut loaded = Vec::new();
        self.sled.visit(prefix, |key, envelope| {
            loaded.push((key[prefix.len()..].to_vec(), self.vault.open(space, key, envelope)));
        })?;
        let opened = loaded.into_iter().map(|(key, plain)| match plain? {
            Some(plain) => Ok((key, plain)),
            None => Err(self.altered(space)),
        });
        opened.collect()
    }

    fn altered(&self, table: &'static str) -> StoreError {
        StoreError::Altered { path: self.sled.dir().to_owned(), table }
    }
}

/// Generation, sequence and digest, from what the store notes of itself.
pub(super) fn read_self(plain: &[u8]) -> Option<(u64, u64, Sum)> {
    let (generation, rest) = plain.split_first_chunk()?;
    let (seq, sum) = rest.split_first_chunk()?;
    Some((u64::from_be_bytes(*generation), u64::from_be_bytes(*seq), sum.try_into().ok()?))
}
