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

use qkd_proto::id::{DataDirId, Incarnation, StoreSequence};
use qkd_proto::node::settings::Standing;
use qkd_proto::secret::SecretBytes;

use super::access::{DirLock, MASTER_KEY_BYTES, check_private_dir, lock};
use super::anchor::{self, Anchor};
use super::audit::AuditLog;
use super::disk_store::{DiskStore, Parts};
use super::ephemeral_store::EphemeralStore;
use super::error::StoreError;
use super::fresh::FRESH_FILE;
use super::marks::Marks;
use super::node_state::{NodeState, Phase, StateFile};
use super::options::{Profile, StoreOptions};
use super::ring::Ring;
use super::rotation;
use super::shred::{SHRED_FILE, Shred};
use super::sled_store::SledStore;
use super::slots::SlotKey;
use super::tables::Tables;
use super::vault::{PAD_FORM, PadForm, Vault};
use super::{Store, ballast, files, filesystem, fresh};
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
    #[error("the master key {} holds neither 64 hex digits nor {MASTER_KEY_BYTES} bytes: restore it, or render the node anew", path.display())]
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
    /// A witness that lies where the state lies says nothing.
    #[error("anchor_dir {} is not in memory, so a copy of the disk holds it too: name a directory on tmpfs, as /dev/shm, or \"none\"", path.display())]
    AnchorOnDisk {
        /// Its directory.
        path: PathBuf,
    },
    /// The file system keeps what is to be forgotten.
    #[error("{} is on {kind}, which keeps what is overwritten: put it on ext4 or xfs, or remove store.strict from the configuration", path.display())]
    KeepsCopies {
        /// The data directory.
        path: PathBuf,
        /// What it is on.
        kind: &'static str,
    },
    /// It was made for another profile.
    #[error(
        "{} was made with store.profile = {:?}, and the configuration says otherwise: go back, or run \
         `qkdctl pool reset --config FILE`, which discards its pools and keys", path.display(), made_with.as_str()
    )]
    OtherProfile {
        /// The data directory.
        path: PathBuf,
        /// Its own.
        made_with: Profile,
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
    /// What vouches that nobody put an older copy of all of it back.
    pub standing: Standing,
    /// What the open did that deserves a person's attention.
    pub alarms: Vec<String>,
    /// Its records. The directory stays locked until this is dropped.
    pub store: Box<dyn Store + Send>,
}

/// A data directory on disk.
pub struct DataDir {
    pub(super) root: PathBuf,
    pub(super) pads: PadForm,
    pub(super) options: StoreOptions,
}

/// A durable step of an open, for tests that stop there as a kill would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Emptied,
    StateMade,
    StoreMade,
    FreshGone,
    StateOpening,
    StoreBumped,
    StateOpen,
}

pub(super) type Reached<'a> = &'a mut dyn FnMut(Step) -> Result<(), DataDirError>;

impl DataDir {
    /// Opens the directory for this process, under the next incarnation.
    ///
    /// # Errors
    /// If it is in use, exposed to others, or any part is missing, damaged, foreign or older.
    pub fn open(path: &Path, master: &SecretBytes) -> Result<OpenedData, DataDirError> {
        Self::open_with(path, master, StoreOptions::default())
    }

    /// Opens the directory as `options` say.
    ///
    /// # Errors
    /// As [`DataDir::open`]; and if the options refuse what is found.
    pub fn open_with(path: &Path, master: &SecretBytes, options: StoreOptions) -> Result<OpenedData, DataDirError> {
        let dir = Self { options, ..Self::at(path) };
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
        let state = master.map(|master| StateFile::open_any(&dir.part("state"), master));
        let last = state.and_then(Result::ok).map(|(_, state, _)| state.incarnation);
        let earlier = fresh::read(&dir.part(FRESH_FILE)).ok().flatten();
        fresh::write(&dir.part(FRESH_FILE), last.max(earlier).unwrap_or_default())?;
        Ok(dir.empty()?)
    }

    pub(super) fn at(path: &Path) -> Self {
        Self { root: path.to_owned(), pads: PAD_FORM, options: StoreOptions::default() }
    }

    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn open_in_steps(&self, master: &SecretBytes, reached: Reached<'_>) -> Result<OpenedData, DataDirError> {
        check_private_dir(&self.root)?;
        let lock = lock(&self.part("lock"))?;
        self.check_file_system()?;
        if let Some(last) = fresh::read(&self.part(FRESH_FILE))? {
            self.make_anew(master, last, reached)?;
        }
        let alarms = self.bring_to_form(master, &mut |_| Ok(()))?.into_iter().collect();
        if self.options.profile == Profile::Ephemeral {
            return self.open_ephemeral(master, lock);
        }
        let mut parts = self.check(master)?;
        let (anchor, standing) = self.anchor(master, &parts);
        self.bump(&mut parts, reached)?;
        let NodeState { id, incarnation, generation, .. } = parts.state;
        let audit = AuditLog::open(&self.root, master, self.options.audit)?;
        let store = DiskStore::new(audit, parts, anchor, self.part("ballast"), lock)?;
        let sequence = store.sequence();
        Ok(OpenedData { id, incarnation, generation, sequence, standing, alarms, store: Box::new(store) })
    }

    fn open_ephemeral(&self, master: &SecretBytes, lock: DirLock) -> Result<OpenedData, DataDirError> {
        let (mut state_file, mut state) = self.open_state(master)?;
        state.generation = state.generation.saturating_add(1);
        state.incarnation = Incarnation(state.incarnation.0.saturating_add(1));
        state_file.write(&state)?;
        let NodeState { id, incarnation, generation, .. } = state;
        let store = EphemeralStore::new(AuditLog::open(&self.root, master, self.options.audit)?, generation, lock);
        let (sequence, standing) = (store.sequence(), Standing::Unconfirmed);
        let alarms = Vec::new();
        Ok(OpenedData { id, incarnation, generation, sequence, standing, alarms, store: Box::new(store) })
    }

    /// The state file, if it is of the profile that the options say.
    fn open_state(&self, master: &SecretBytes) -> Result<(StateFile, NodeState), DataDirError> {
        let (state_file, state) = StateFile::open(&self.part("state"), SlotKey::clear(master))?;
        if state.profile != self.options.profile {
            return Err(DataDirError::OtherProfile { path: self.root.clone(), made_with: state.profile });
        }
        Ok((state_file, state))
    }

    fn check_file_system(&self) -> Result<(), DataDirError> {
        let path = self.root.clone();
        match filesystem::keeps_what_is_overwritten(&path) {
            Some(kind) if self.options.strict => Err(DataDirError::KeepsCopies { path, kind }),
            Some(kind) => {
                let path = path.display();
                tracing::warn!(%path, "The data directory is on {kind}, which keeps what is overwritten for a while");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What the anchor says of the parts as they are; best effort.
    fn anchor(&self, master: &SecretBytes, parts: &Parts) -> (Option<Anchor>, Standing) {
        let Some(dir) = &self.options.anchor_dir else { return (None, Standing::Unconfirmed) };
        match Anchor::open(dir, &self.root, master, parts.state.id) {
            Ok((anchor, seen)) => (Some(anchor), anchor::standing(seen.as_ref(), &parts.progress())),
            Err(error) => {
                tracing::warn!(%error, "There is no anchor: after a start a neighbour has to vouch for the pools");
                (None, Standing::Unconfirmed)
            }
        }
    }

    /// Checks every part against every other; changes nothing but what the table engine does to its
    /// own files when it opens them.
    fn check(&self, master: &SecretBytes) -> Result<Parts, DataDirError> {
        let (state_file, state) = self.open_state(master)?;
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
            parts.marks.settle()?;
            parts.tables.ring().remove_other()?;
        }
        parts.tables.settle()?;
        parts.marks.sweep()
    }

    /// Makes this open the newest, in state and tables.
    fn bump(&self, parts: &mut Parts, reached: Reached<'_>) -> Result<(), DataDirError> {
        self.settle(parts)?;
        let Parts { state_file, state, tables, .. } = parts;
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
        reached(Step::StateOpen)
    }
}

/// Refuses tables and state of different opens.
pub(super) fn check_generation(
    store: &Path,
    state_path: &Path,
    found: u64,
    state: &NodeState,
) -> Result<(), StoreError> {
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
