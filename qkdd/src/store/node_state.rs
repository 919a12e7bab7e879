//! The node's own state file: who this directory is and how often it was opened. In: the numbers of
//! an open. Out: those of the last one. Always: authenticated, and replaced in place by two slots.

use std::path::Path;

use qkd_proto::id::{DataDirId, Incarnation};
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::options::Profile;
use super::slots::{Magic, Slot, SlotFile, SlotKey};

const MAGIC: Magic = *b"qkdstate";

/// How far the last open came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// State says the new generation, the tables may still say the one before; nobody used them.
    Opening,
    /// Both say the same, and the node may have run.
    Open,
    /// The directory is of today's form, but parts of it still lie where they were made: see `migrate`.
    Moving,
}

/// What the state file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeState {
    /// The directory.
    pub(super) id: DataDirId,
    /// How often it was opened.
    pub(super) generation: u64,
    /// The number of the newest start.
    pub(super) incarnation: Incarnation,
    /// How far that start came.
    pub(super) phase: Phase,
    /// What of it outlives the process.
    pub(super) profile: Profile,
    /// The table sequence that was durable when this was written.
    pub(super) table_seq: u64,
}

/// The open state file.
pub(super) struct StateFile {
    file: SlotFile,
    key: SlotKey,
    seq: u64,
}

impl StateFile {
    /// Creates the file, in place of an earlier one.
    pub(super) fn create(path: &Path, key: SlotKey, state: &NodeState) -> Result<Self, StoreError> {
        let file = SlotFile::create(&key, path, MAGIC, &slot_of(1, state))?;
        Ok(Self { file, key, seq: 1 })
    }

    /// Opens the file; changes nothing.
    pub(super) fn open(path: &Path, key: SlotKey) -> Result<(Self, NodeState), StoreError> {
        let (file, slot) = SlotFile::open(&key, path, MAGIC)?;
        let damaged =
            || StoreError::Damaged { path: path.to_owned(), reason: "its content is of no known form".into() };
        let state = state_of(&slot).ok_or_else(damaged)?;
        Ok((Self { file, key, seq: slot.seq }, state))
    }

    /// Opens a file of today's form, or of the first: true for that one.
    pub(super) fn open_any(path: &Path, master: &SecretBytes) -> Result<(Self, NodeState, bool), StoreError> {
        match Self::open(path, SlotKey::clear(master)) {
            Err(error @ StoreError::Damaged { .. }) => match Self::open(path, SlotKey::first(master)) {
                Ok((file, state)) => Ok((file, state, true)),
                Err(_) => Err(error),
            },
            opened => opened.map(|(file, state)| (file, state, false)),
        }
    }

    /// Writes in the form of `key` from here on.
    pub(super) fn change_form(&mut self, key: SlotKey) {
        self.key = key;
    }

    /// Replaces what the file says.
    pub(super) fn write(&mut self, state: &NodeState) -> Result<(), StoreError> {
        self.seq = self.seq.saturating_add(1);
        self.file.write(&self.key, &slot_of(self.seq, state))?;
        self.file.settle()
    }
}

fn slot_of(seq: u64, state: &NodeState) -> Slot {
    let mut payload = [state.generation.to_be_bytes(), state.incarnation.0.to_be_bytes()].concat();
    payload.push(match state.phase {
        Phase::Opening => 0,
        Phase::Open => 1,
        Phase::Moving => 2,
    });
    payload.push(u8::from(state.profile == Profile::Ephemeral));
    Slot { id: state.id, seq, witness: state.table_seq, payload: SecretBytes::new(payload) }
}

fn state_of(slot: &Slot) -> Option<NodeState> {
    let (generation, rest) = slot.payload.expose().split_first_chunk()?;
    let (incarnation, phase) = rest.split_first_chunk()?;
    // Files of version 1 have no byte for the profile.
    let (phase, profile) = phase.split_first()?;
    let phase = match phase {
        0 => Phase::Opening,
        1 => Phase::Open,
        2 => Phase::Moving,
        _ => return None,
    };
    let profile = match profile {
        [] | [0] => Profile::Durable,
        [1] => Profile::Ephemeral,
        _ => return None,
    };
    let (generation, incarnation) = (u64::from_be_bytes(*generation), Incarnation(u64::from_be_bytes(*incarnation)));
    Some(NodeState { id: slot.id, generation, incarnation, phase, profile, table_seq: slot.witness })
}
