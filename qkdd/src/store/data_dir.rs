//! The life cycle of a data directory. In: a path and the master key. Out: an open store under a new
//! incarnation. Always: what is missing, damaged, foreign or older than the rest is an error, and
//! only the file `FRESH` lets state be made anew.
//!
//! First open: `state` (generation 0), `store/`, then `FRESH` is removed. Until then nothing was
//! handed out, so an open that finds `FRESH` beside generation 0 begins again from nothing. `FRESH`
//! beside state that was used is an error: it would forget deliveries.
//!
//! Every open: `state` says the next generation and incarnation and "opening"; the tables say the
//! generation; `state` says "open". A kill after the first step leaves tables one generation behind,
//! which is accepted while `state` says "opening" and then only: nobody wrote to those tables since.
//! Under "open" both must be equal, so tables put back from any earlier run show.

use std::path::{Path, PathBuf};

use qkd_proto::crypto::SystemEntropy;
use qkd_proto::entropy::draw;
use qkd_proto::id::{DataDirId, Incarnation, StoreSequence};
use qkd_proto::secret::SecretBytes;

use super::access::{DirLock, MASTER_KEY_BYTES, check_private_dir, lock};
use super::audit::AuditLog;
use super::disk_store::{DiskStore, Parts};
use super::error::StoreError;
use super::fresh::FRESH_FILE;
use super::marks::Marks;
use super::node_state::{NodeState, Phase, StateFile};
use super::ring::Ring;
use super::rotation;
use super::shred::{SHRED_FILE, Shred};
use super::sled_store::SledStore;
use super::slots::SlotKey;
use super::tables::Tables;
use super::vault::{PAD_FORM, PadForm, Vault};
use super::{Store, ballast, files, fresh};
use crate::fail_point::{self, Point};

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Others than the owner may use it.
    #[error("{} has mode {mode:03o}, so others than its owner may use it: run `chmod go= {}`", path.display(), path.display())]
    Exposed {
        /// Directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    #[error("the data directory of {} is in use by another process: stop that daemon first", path.display())]
    InUse {
        /// Its lock file.
        path: PathBuf,
    },
    /// Not a master key.
    #[error("the master key {} does not have {MASTER_KEY_BYTES} bytes: restore it, or render the node anew", path.display())]
    MasterKeyLength {
        /// Its file.
        path: PathBuf,
    },
    /// A permission to start anew that was not written by us.
    #[error("{} is not of a known form: write it with `qkdctl net render` or `qkdctl pool reset`", path.display())]
    FreshFormat {
        /// Its file.
        path: PathBuf,
    },
    /// A permission to start anew where there is something to lose.
    #[error(
        "{} would discard a data directory that was used; nothing was changed; remove it to go on with what is there, \
         or run `qkdctl pool reset --config FILE` to discard the pools", path.display()
    )]
    FreshBesideUsed {
        /// Its file.
        path: PathBuf,
    },
    /// A part of it is not what it must be.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open data directory.
pub struct OpenedData {
    /// Which one.
    pub id: DataDirId,
    /// The number of this start; no earlier start had it.
    pub incarnation: Incarnation,
    /// The number of this open of the same state; 1 says that the directory is new.
    pub generation: u64,
    /// How often it became durable, over all runs.
    pub sequence: StoreSequence,
    /// Its records. The directory stays locked until this is dropped.
    pub store: Box<dyn Store + Send>,
}

/// A data directory on disk.
pub struct DataDir {
    root: PathBuf,
    pads: PadForm,
}

/// A durable step of an open, for tests that stop there as a kill would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Emptied,
    StateMade,
    StoreMade,
    FreshGone,
    StateOpening,
    StoreBumped,
    StateOpen,
}

type Reached<'a> = &'a mut dyn FnMut(Step) -> Result<(), DataDirError>;

impl DataDir {
    /// Opens the directory for this process, under the next incarnation.
    ///
    /// # Errors
    /// If it is in use, exposed to others, or any part is missing, damaged, foreign or older.
    pub fn open(path: &Path, master: &SecretBytes) -> Result<OpenedData, DataDirError> {
        let dir = Self::at(path);
        let ballast = dir.part("ballast");
        let opened = match dir.open_in_steps(master, &mut |_| Ok(())) {
            Err(error) if ballast::is_wanted(&error) && ballast::release(&ballast) => {
                return dir.open_in_steps(master, &mut |_| Ok(()));
            }
            opened => opened?,
        };
        ballast::keep(&ballast);
        Ok(opened)
    }

    /// Makes an empty directory that the next open may fill.
    ///
    /// # Errors
    /// If there is state in it already, or the disk fails.
    pub fn prepare(path: &Path) -> Result<(), DataDirError> {
        let dir = Self::at(path);
        files::make_dir(path)?;
        check_private_dir(path)?;
        let _lock = lock(&dir.part("lock"))?;
        if dir.holds_something() {
            return Err(DataDirError::FreshBesideUsed { path: dir.part(FRESH_FILE) });
        }
        Ok(fresh::write(&dir.part(FRESH_FILE), Incarnation(0))?)
    }

    /// Discards pools, marks, transfers and state, and lets the next open start anew. The audit log
    /// stays. Incarnations count on if the old state opens under `master`; without it neighbours see
    /// the number fall, and drop what they shared with this node.
    ///
    /// # Errors
    /// If the directory is in use or exposed to others, or the disk fails; then it can be repeated.
    pub fn reset(path: &Path, master: Option<&SecretBytes>) -> Result<(), DataDirError> {
        let dir = Self::at(path);
        files::make_dir(path)?;
        check_private_dir(path)?;
        let _lock = lock(&dir.part("lock"))?;
        let state = master.map(|master| StateFile::open(&dir.part("state"), SlotKey::clear(master)));
        let last = state.and_then(Result::ok).map(|(_, state)| state.incarnation);
        let earlier = fresh::read(&dir.part(FRESH_FILE)).ok().flatten();
        fresh::write(&dir.part(FRESH_FILE), last.max(earlier).unwrap_or_default())?;
        Ok(dir.empty()?)
    }

    fn at(path: &Path) -> Self {
        Self { root: path.to_owned(), pads: PAD_FORM }
    }

    fn part(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn holds_something(&self) -> bool {
        ["state", "store", "marks", SHRED_FILE].iter().any(|part| self.part(part).symlink_metadata().is_ok())
    }

    /// Marks go first and state last: a kill in between leaves `FRESH` beside less, never beside a
    /// part without the state that vouches for it.
    fn empty(&self) -> Result<(), StoreError> {
        files::remove_dir(&self.part("marks"))?;
        files::remove_dir(&self.part("store"))?;
        for part in ["ring.0", "ring.1", SHRED_FILE, "state"] {
            files::remove_file(&self.part(part))?;
        }
        files::sync_dir(&self.root)
    }

    fn open_in_steps(&self, master: &SecretBytes, reached: Reached<'_>) -> Result<OpenedData, DataDirError> {
        check_private_dir(&self.root)?;
        let lock = lock(&self.part("lock"))?;
        if let Some(last) = fresh::read(&self.part(FRESH_FILE))? {
            self.make_anew(master, last, reached)?;
        }
        let parts = self.check(master)?;
        self.bump(parts, lock, reached)
    }

    /// Fills the directory and consumes the permission to do so.
    fn make_anew(&self, master: &SecretBytes, last: Incarnation, reached: Reached<'_>) -> Result<(), DataDirError> {
        self.check_unused(master)?;
        self.empty()?;
        reached(Step::Emptied)?;
        let id = DataDirId(draw(&mut SystemEntropy::new()));
        let state = NodeState { id, generation: 0, incarnation: last, phase: Phase::Open, table_seq: 0 };
        StateFile::create(&self.part("state"), SlotKey::clear(master), &state)?;
        reached(Step::StateMade)?;
        let shred = Shred::create(&self.part(SHRED_FILE), master, id)?;
        let ring = Ring::create(&self.root, id, shred.keys().current.clone())?;
        let vault = Vault::new(master, id, self.pads, ring);
        Tables::create(SledStore::create(&self.part("store"))?, vault, master, id)?;
        reached(Step::StoreMade)?;
        files::remove_file(&self.part(FRESH_FILE))?;
        files::sync_dir(&self.root)?;
        reached(Step::FreshGone)
    }

    /// Only what an interrupted first open left may be emptied: state of generation 0, no marks.
    /// State that cannot be read may have been used.
    fn check_unused(&self, master: &SecretBytes) -> Result<(), DataDirError> {
        let unused = match StateFile::open(&self.part("state"), SlotKey::clear(master)) {
            Ok((_, state)) => state.generation == 0 && files::names(&self.part("marks"))?.is_empty(),
            Err(StoreError::Missing { .. }) => !self.holds_something(),
            Err(_) => false,
        };
        if unused { Ok(()) } else { Err(DataDirError::FreshBesideUsed { path: self.part(FRESH_FILE) }) }
    }

    /// Checks every part against every other; changes nothing but what the table engine does to its
    /// own files when it opens them.
    fn check(&self, master: &SecretBytes) -> Result<Parts, StoreError> {
        let (state_file, state) = StateFile::open(&self.part("state"), SlotKey::clear(master))?;
        let shred = Shred::open(&self.part(SHRED_FILE), master, state.id)?;
        let marks =
            Marks::open(&self.part("marks"), state.id, SlotKey::sealed(master, state.id, shred.keys().clone()))?;
        let ring = Ring::open(&self.root, state.id, shred.keys())?;
        let store = self.part("store");
        let vault = Vault::new(master, state.id, self.pads, ring);
        let tables = Tables::open(SledStore::open(&store)?, vault, master, state.id)?;
        check_generation(&store, &self.part("state"), tables.generation(), &state)?;
        tables.check_seq(state.table_seq.max(marks.witness()))?;
        tables.check_marks(&marks)?;
        Ok(Parts { state_file, state, shred, tables, marks })
    }

    /// Ends what a kill interrupted: renewal, removals, and overwriting of what was replaced.
    fn settle(&self, parts: &mut Parts) -> Result<(), StoreError> {
        if parts.shred.keys().next.is_some() {
            rotation::renew(parts, &mut |_| Ok(()))?;
        } else {
            parts.marks.write_under(parts.shred.keys().clone())?;
            parts.tables.ring().remove_other()?;
        }
        parts.tables.settle()?;
        parts.marks.sweep()
    }

    /// Makes this open the newest, in state and tables.
    fn bump(&self, mut parts: Parts, lock: DirLock, reached: Reached<'_>) -> Result<OpenedData, DataDirError> {
        self.settle(&mut parts)?;
        let Parts { state_file, state, tables, .. } = &mut parts;
        if state.phase == Phase::Open {
            state.generation = state.generation.saturating_add(1);
        }
        state.incarnation = Incarnation(state.incarnation.0.saturating_add(1));
        (state.phase, state.table_seq) = (Phase::Opening, tables.durable_seq());
        state_file.write(state)?;
        fail_point::pass(Point::StateOpening);
        reached(Step::StateOpening)?;
        tables.set_generation(state.generation)?;
        fail_point::pass(Point::StoreBumped);
        reached(Step::StoreBumped)?;
        (state.phase, state.table_seq) = (Phase::Open, tables.durable_seq());
        state_file.write(state)?;
        fail_point::pass(Point::StateOpen);
        reached(Step::StateOpen)?;
        let NodeState { id, incarnation, generation, .. } = *state;
        let store = DiskStore::new(AuditLog::open(&self.part("audit.log"))?, parts, self.part("ballast"), lock)?;
        let sequence = store.sequence();
        Ok(OpenedData { id, incarnation, generation, sequence, store: Box::new(store) })
    }
}

fn check_generation(store: &Path, state_path: &Path, found: u64, state: &NodeState) -> Result<(), StoreError> {
    let (what, seen) = ("generation", state.generation);
    if found > seen {
        let path = state_path.to_owned();
        return Err(StoreError::Older { path, what, found: seen, seen: found });
    }
    let behind = seen - found;
    if behind == 0 || (behind == 1 && state.phase == Phase::Opening) {
        return Ok(());
    }
    Err(StoreError::Older { path: store.to_owned(), what, found, seen })
}

#[cfg(test)]
mod tests;
