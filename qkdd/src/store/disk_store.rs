//! The store of a data directory. In: commits. Out: records. Always: within one commit the audit
//! lines are durable first, then the tables, then the marks.
//!
//! Tables and marks witness each other, so that either put back alone from an older copy shows at
//! the next open. Both witnesses are lower bounds, written along with records that are written
//! anyway, and cost no sync of their own: a mark file holds the table sequence that was durable
//! before it; the tables hold, for each link, the mark sequence that was durable before them. A
//! clean stop makes both exact, and tells the state file too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qkd_proto::id::StoreSequence;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::access::DirLock;
use super::anchor::{Anchor, Progress};
use super::audit::AuditLog;
use super::ballast;
use super::error::StoreError;
use super::marks::Marks;
use super::node_state::{NodeState, StateFile};
use super::rotation;
use super::shred::Shred;
use super::tables::{Change, Tables, holds};
use super::{FoundRecord, Store, check_records};
use crate::fail_point::{self, Point};

/// How long an intermediate key is in use: what it sealed can be opened by who copied the disk meanwhile.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// The parts of a data directory, checked against each other.
pub(super) struct Parts {
    pub(super) state_file: StateFile,
    pub(super) state: NodeState,
    pub(super) shred: Shred,
    pub(super) tables: Tables,
    pub(super) marks: Marks,
}

impl Parts {
    /// How far the store is.
    pub(super) fn progress(&self) -> Progress {
        let seq_of = |link: &Vec<u8>| (link.clone(), self.marks.seq(link).unwrap_or(0));
        let marks = self.marks.links().map(seq_of).collect();
        Progress { sequence: self.tables.durable_seq(), generation: self.state.generation, marks }
    }
}

/// The open store of a data directory.
pub(super) struct DiskStore {
    audit: AuditLog,
    parts: Parts,
    anchor: Option<Anchor>,
    /// Links whose mark is newer than what the tables have seen of it.
    unseen: BTreeSet<Vec<u8>>,
    renewed: Instant,
    /// The file that keeps room for a start on a full disk.
    ballast: PathBuf,
    /// Held as long as the store lives, and dropped last: no second process opens the directory.
    _lock: DirLock,
}

impl DiskStore {
    /// Puts checked parts together: from here on they witness each other.
    pub(super) fn new(
        audit: AuditLog,
        parts: Parts,
        anchor: Option<Anchor>,
        ballast: PathBuf,
        lock: DirLock,
    ) -> Result<Self, StoreError> {
        let unseen = parts.marks.links().cloned().collect();
        let mut store = Self { audit, parts, anchor, unseen, renewed: Instant::now(), ballast, _lock: lock };
        store.write_seen()?;
        store.tell_anchor();
        Ok(store)
    }

    /// Of the newest batch of the tables that is durable.
    pub(super) fn sequence(&self) -> StoreSequence {
        StoreSequence(self.parts.tables.durable_seq())
    }

    /// The changes of a commit to the tables: its own, then what they see of the marks. A mark that
    /// goes is forgotten before its file is: a file that was not seen is taken, one that was seen
    /// and is gone is a loss.
    fn changes(&mut self, records: &[Record]) -> Vec<Change> {
        let mut changes = Vec::new();
        for Record { table, key, value } in records {
            changes.extend(Change::record(*table, key, value.as_ref()));
            if *table == Table::Marks && value.is_none() {
                self.unseen.remove(key);
                changes.push(Change::mark_seen(key, None));
            }
        }
        if !changes.is_empty() {
            changes.extend(self.seen());
        }
        changes
    }

    fn seen(&mut self) -> Vec<Change> {
        let links = std::mem::take(&mut self.unseen);
        links.iter().map(|link| Change::mark_seen(link, self.parts.marks.seq(link))).collect()
    }

    fn write_seen(&mut self) -> Result<(), StoreError> {
        let seen = self.seen();
        if seen.is_empty() { Ok(()) } else { self.parts.tables.apply(&seen) }
    }

    /// Writes the last mark of each link; the tables see a new file at once.
    fn write_marks(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let marks = records.into_iter().filter(|record| record.table == Table::Marks);
        let last: BTreeMap<_, _> = marks.map(|record| (record.key, record.value)).collect();
        let mut created = false;
        for (link, payload) in last {
            created |= self.write_mark(&link, payload)?;
            if self.parts.marks.seq(&link).is_some() {
                self.unseen.insert(link);
            }
        }
        if created { self.write_seen() } else { Ok(()) }
    }

    fn write_mark(&mut self, link: &[u8], payload: Option<SecretBytes>) -> Result<bool, StoreError> {
        let Parts { tables, marks, .. } = &mut self.parts;
        match payload {
            Some(payload) => marks.write(link, tables.durable_seq(), payload),
            None => marks.remove(link).map(|()| false),
        }
    }

    fn write(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        self.audit.append(&records)?;
        let changes = self.changes(&records);
        if !changes.is_empty() {
            self.parts.tables.apply(&changes)?;
        }
        self.write_marks(records)
    }

    /// What is durable counts, whether or not all of its commit is.
    fn tell_anchor(&mut self) {
        let Some(anchor) = &mut self.anchor else { return };
        if let Err(error) = anchor.write(&self.parts.progress()) {
            tracing::warn!(%error, "The anchor is given up: after the next start a neighbour has to vouch for the pools");
            self.anchor.take().into_iter().for_each(Anchor::remove);
        }
    }

    fn write_last_words(&mut self) -> Result<(), StoreError> {
        fail_point::pass(Point::LastWords);
        self.write_seen()?;
        let Parts { state_file, state, tables, .. } = &mut self.parts;
        state.table_seq = tables.durable_seq();
        state_file.write(state)
    }

    /// Nothing that was consumed can be opened after this, not even from copies of the files that it lay in.
    fn renew(&mut self) -> Result<(), StoreError> {
        self.renewed = Instant::now();
        rotation::renew(&mut self.parts, &mut |_| Ok(()))
    }

    fn overwrite_replaced(&mut self) -> Result<(), StoreError> {
        fail_point::pass(Point::SettleBegins);
        self.parts.marks.settle()?;
        self.parts.tables.settle()?;
        fail_point::pass(Point::SettleEnds);
        Ok(())
    }
}

impl Store for DiskStore {
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError> {
        fail_point::pass(Point::CommitBegins);
        check_records(&records)?;
        let done = self.write(records);
        fail_point::pass(Point::CommitEnds);
        self.tell_anchor();
        fail_point::pass(Point::AnchorTold);
        done.map(|()| self.sequence())
    }

    fn read(&self, table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError> {
        let Parts { tables, marks, .. } = &self.parts;
        let found = keys.into_iter().map(|key| {
            let value = if table == Table::Marks { marks.get(&key) } else { tables.get(table, &key) };
            value.map(|value| (key, value))
        });
        found.collect()
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.overwrite_replaced()?;
        ballast::keep_again(&self.ballast);
        if self.renewed.elapsed() < RENEW_EVERY { Ok(()) } else { self.renew() }
    }

    fn load(&self, table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        if holds(table) {
            return self.parts.tables.load(table);
        }
        if table == Table::Marks { self.parts.marks.load() } else { Ok(Vec::new()) }
    }
}

impl Drop for DiskStore {
    /// Best effort: what fails here only leaves the parts less well witnessed, as a kill does.
    fn drop(&mut self) {
        let done = self.write_last_words().and_then(|()| self.overwrite_replaced()).and_then(|()| self.renew());
        self.tell_anchor();
        if let Err(error) = done {
            tracing::warn!(%error, "The store could not write its last words");
        }
    }
}

#[cfg(test)]
mod tests;
