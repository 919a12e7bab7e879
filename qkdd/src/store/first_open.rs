//! The first open of a data directory, and its emptying. In: the permission to start anew. Out: state of
//! generation 0. Always: what was used is never emptied by an open; a kill at any point leaves the permission
//! beside less, or state without it.

use qkd_proto::crypto::SystemEntropy;
use qkd_proto::entropy::draw;
use qkd_proto::id::{DataDirId, Incarnation};
use qkd_proto::secret::SecretBytes;

use super::data_dir::{DataDir, DataDirError, Reached, Step};
use super::error::StoreError;
use super::files;
use super::fresh::FRESH_FILE;
use super::migrate::STAGE;
use super::node_state::{NodeState, Phase, StateFile};
use super::options::Profile;
use super::ring::Ring;
use super::shred::{SHRED_FILE, Shred};
use super::sled_store::SledStore;
use super::slots::SlotKey;
use super::tables::Tables;
use super::vault::Vault;

impl DataDir {
    /// Fills the directory and consumes the permission to do so.
    pub(super) fn make_anew(
        &self,
        master: &SecretBytes,
        last: Incarnation,
        reached: Reached<'_>,
    ) -> Result<(), DataDirError> {
        self.check_unused(master)?;
        self.empty()?;
        reached(Step::Emptied)?;
        let id = DataDirId(draw(&mut SystemEntropy::new()));
        let profile = self.options.profile;
        let state = NodeState { id, generation: 0, incarnation: last, phase: Phase::Open, profile, table_seq: 0 };
        StateFile::create(&self.part("state"), SlotKey::clear(master), &state)?;
        reached(Step::StateMade)?;
        if profile == Profile::Durable {
            self.make_tables(master, id)?;
        }
        reached(Step::StoreMade)?;
        files::remove_file(&self.part(FRESH_FILE))?;
        files::sync_dir(&self.root)?;
        reached(Step::FreshGone)
    }

    fn make_tables(&self, master: &SecretBytes, id: DataDirId) -> Result<(), StoreError> {
        let shred = Shred::create(&self.part(SHRED_FILE), master, id)?;
        let ring = Ring::create(&self.root, id, shred.keys().current.clone())?;
        let vault = Vault::new(master, id, self.pads, ring);
        Tables::create(SledStore::create(&self.part("store"))?, vault, master, id, (0, 0)).map(drop)
    }

    /// Only what an interrupted first open left may be emptied: state of generation 0, no marks.
    /// State that cannot be read may have been used.
    fn check_unused(&self, master: &SecretBytes) -> Result<(), DataDirError> {
        let unused = match StateFile::open_any(&self.part("state"), master) {
            Ok((_, state, _)) => state.generation == 0 && files::names(&self.part("marks"))?.is_empty(),
            Err(StoreError::Missing { .. }) => !self.holds_something(),
            Err(_) => false,
        };
        if unused { Ok(()) } else { Err(DataDirError::FreshBesideUsed { path: self.part(FRESH_FILE) }) }
    }

    pub(super) fn holds_something(&self) -> bool {
        ["state", "store", "marks", SHRED_FILE].iter().any(|part| self.part(part).symlink_metadata().is_ok())
    }

    /// The key over all that was consumed or not is overwritten. Marks go first and state last: a kill in between leaves `FRESH` beside less, never beside a
    /// part without the state that vouches for it.
    pub(super) fn empty(&self) -> Result<(), StoreError> {
        files::remove_dir(&self.part("marks"))?;
        files::remove_dir(&self.part("store"))?;
        files::remove_dir(&self.part(STAGE))?;
        if self.part(SHRED_FILE).exists() {
            files::shred_file(&self.part(SHRED_FILE))?;
        }
        for part in ["ring.0", "ring.1", "state"] {
            files::remove_file(&self.part(part))?;
        }
        files::sync_dir(&self.root)
    }
}
