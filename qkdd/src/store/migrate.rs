//! A data directory of the first form becomes one of today's. In: a directory as qkdd wrote it when marks were
//! in the clear and all records under one key. Out: the same transfers and marks, sealed as today, and what else
//! can be kept. Always: the old parts are checked whole and stay as they are until the new ones are; a kill at
//! any point leaves a directory that opens; and once `state` says the new form, an older qkdd refuses it.
//!
//! The new parts are made in a folder of their own. Then `state` says "moving", in the new form, and each part
//! takes its place.

use qkd_proto::id::DataDirId;
use qkd_proto::node::effect::Table;
use qkd_proto::secret::SecretBytes;

use super::data_dir::{DataDir, check_generation};
use super::digest::Digest;
use super::error::StoreError;
use super::files;
use super::marks::Marks;
use super::node_state::{NodeState, Phase, StateFile};
use super::ring::Ring;
use super::seal::{RecordSeal, table_name};
use super::shred::{SHRED_FILE, Shred};
use super::sled_store::SledStore;
use super::slots::{Slot, SlotKey};
use super::tables::{Change, KEY_DIR, KEY_SELF, MARK_PREFIX, META, Tables, read_self};
use super::vault::{PadForm, Vault, prefix_of};

/// Where the new parts are made.
pub(super) const STAGE: &str = "migrated";
/// What is made there and moves.
const PARTS: [&str; 4] = ["store", "marks", SHRED_FILE, "ring.1"];
/// Changes that are written at once.
const CHANGES_AT_ONCE: usize = 1000;

/// A durable step, for tests that stop there as a kill would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Made,
    Declared,
    Moved(&'static str),
    Done,
}

pub(super) type Moved<'a> = &'a mut dyn FnMut(Move) -> Result<(), StoreError>;

/// What a directory of the first form holds.
struct First {
    seq: u64,
    records: Vec<(Table, Vec<u8>, SecretBytes)>,
    marks: Vec<(Vec<u8>, Slot)>,
}

impl DataDir {
    /// Brings the directory to today's form, if it is of the first; tells what came of it, if anything did.
    pub(super) fn bring_to_form(&self, master: &SecretBytes, moved: Moved<'_>) -> Result<Option<String>, StoreError> {
        let (mut file, mut state, is_first) = StateFile::open_any(&self.part("state"), master)?;
        let mut news = None;
        if is_first {
            let first = self.read_first(master, &state)?;
            let pads = first.records.iter().filter(|(table, ..)| *table == Table::Pads).count();
            state.table_seq = self.make_stage(master, state.id, state.generation, first)?;
            moved(Move::Made)?;
            state.phase = Phase::Moving;
            file.change_form(SlotKey::clear(master));
            file.write(&state)?;
            moved(Move::Declared)?;
            let fate = if self.pads == PadForm::Sealed { "kept" } else { "discarded with their pools" };
            news = Some(format!(
                "the data directory was brought to a newer form: transfers and marks were kept, {pads} pad blocks {fate}"
            ));
        }
        if state.phase == Phase::Moving {
            self.move_in(moved)?;
            state.phase = Phase::Open;
            file.write(&state)?;
            moved(Move::Done)?;
        }
        Ok(news)
    }

    fn move_in(&self, moved: Moved<'_>) -> Result<(), StoreError> {
        let stage = self.part(STAGE);
        for part in PARTS {
            let (from, to) = (stage.join(part), self.part(part));
            if from.exists() {
                if to.is_dir() {
                    files::remove_dir(&to)?
                } else {
                    files::remove_file(&to)?
                }
                std::fs::rename(&from, &to).map_err(StoreError::io("move", &from))?;
                files::sync_dir(&stage)?;
                files::sync_dir(&self.root)?;
            }
            moved(Move::Moved(part))?;
        }
        files::remove_dir(&stage)?;
        files::sync_dir(&self.root)
    }

    /// Makes the new parts; returns the sequence of the new tables.
    fn make_stage(
        &self,
        master: &SecretBytes,
        id: DataDirId,
        generation: u64,
        first: First,
    ) -> Result<u64, StoreError> {
        let stage = self.part(STAGE);
        files::remove_dir(&stage)?;
        files::make_dir(&stage)?;
        let shred = Shred::create(&stage.join(SHRED_FILE), master, id)?;
        let ring = Ring::create(&stage, id, shred.keys().current.clone())?;
        let store = stage.join("store");
        let vault = Vault::new(master, id, self.pads, ring);
        let mut tables = Tables::create(SledStore::create(&store)?, vault, master, id, (generation, first.seq))?;
        let keep = |table| table == Table::Transfers || self.pads == PadForm::Sealed;
        let records = first.records.iter().filter(|(table, ..)| keep(*table));
        let mut changes: Vec<_> =
            records.filter_map(|(table, key, value)| Change::record(*table, key, Some(value))).collect();
        changes.extend(first.marks.iter().map(|(link, slot)| Change::mark_seen(link, Some(slot.seq))));
        for changes in changes.chunks(CHANGES_AT_ONCE) {
            tables.apply(changes)?;
        }
        let mut marks = Marks::open(&stage.join("marks"), id, SlotKey::sealed(master, id, shred.keys().clone()))?;
        files::make_dir(&stage.join("marks"))?;
        for (link, slot) in first.marks {
            marks.adopt(&link, slot)?;
        }
        let seq = tables.durable_seq();
        drop(tables);
        SledStore::wait_until_closed(&store)?;
        files::sync_dir(&stage)?;
        Ok(seq)
    }

    /// Reads the old parts and checks each against the others, as they were checked when they were in use.
    fn read_first(&self, master: &SecretBytes, state: &NodeState) -> Result<First, StoreError> {
        let marks = Marks::read_first(&self.part("marks"), state.id, &SlotKey::first(master))?;
        let dir = self.part("store");
        let sled = SledStore::open(&dir)?;
        match sled.get(KEY_DIR)? {
            None => return Err(StoreError::Missing { path: dir.join("db") }),
            Some(found) if found != state.id.0 => return Err(StoreError::Foreign { path: dir }),
            Some(_) => {}
        }
        let altered = |table| StoreError::Altered { path: dir.clone(), table };
        let seal = RecordSeal::new(master, state.id);
        let me = sled.get(KEY_SELF)?.and_then(|envelope| seal.open(META, KEY_SELF, &envelope));
        let me = me.as_ref().and_then(|plain| read_self(plain.expose()));
        let (generation, seq, sum) = me.ok_or_else(|| altered(META))?;
        let mut digest = Digest::new(master, state.id);
        sled.visit(&[], |key, envelope| {
            if key != KEY_SELF {
                digest.set(key, Some(envelope));
            }
        })?;
        if digest.sum() != sum {
            let reason = "a record is missing, or is not the newest that was written".into();
            return Err(StoreError::Damaged { path: dir, reason });
        }
        check_generation(&dir, &self.part("state"), generation, state)?;
        let seen = marks.iter().map(|(_, slot)| slot.witness).max().unwrap_or(0).max(state.table_seq);
        if seq < seen {
            return Err(StoreError::Older { path: dir, what: "commit sequence", found: seq, seen });
        }
        let read = |space, prefix: &[u8]| {
            let mut found = Vec::new();
            sled.visit(prefix, |key, envelope| {
                found.push((key[prefix.len()..].to_vec(), seal.open(space, key, envelope)));
            })?;
            let opened = found.into_iter().map(|(key, plain)| Ok((key, plain.ok_or_else(|| altered(space))?)));
            opened.collect::<Result<Vec<_>, StoreError>>()
        };
        for (link, seen) in read(META, MARK_PREFIX)? {
            let seen = seen.expose().try_into().map_or(u64::MAX, u64::from_be_bytes);
            let found = marks.iter().find(|(of, _)| *of == link).map(|(_, slot)| slot.seq);
            let path = self.part("marks").join(format!("{}.mark", String::from_utf8_lossy(&link)));
            match found {
                None => return Err(StoreError::Missing { path }),
                Some(found) if found < seen => {
                    return Err(StoreError::Older { path, what: "mark sequence", found, seen });
                }
                Some(_) => {}
            }
        }
        let mut records = Vec::new();
        for table in [Table::Pools, Table::Pads, Table::Transfers] {
            let prefix = prefix_of(table).unwrap_or_default();
            records.extend(read(table_name(table), prefix)?.into_iter().map(|(key, value)| (table, key, value)));
        }
        Ok(First { seq, records, marks })
    }
}

#[cfg(test)]
mod tests;
