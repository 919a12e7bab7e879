//! What a node wants done, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::effect::{Action, Commit, Effect, Lane, Record};
use crate::id::CommitId;

/// Effects not yet taken, and commits not yet durable.
#[derive(Default)]
pub(super) struct Outbox {
    queue: VecDeque<Effect>,
    open: BTreeMap<CommitId, Lane>,
    failed: BTreeSet<CommitId>,
    last: u64,
}

impl Outbox {
    pub(super) fn next(&mut self) -> Option<Effect> {
        self.queue.pop_front()
    }

    /// Wants `action` done now.
    pub(super) fn act(&mut self, action: Action) {
        self.queue.push_back(Effect { after: None, action });
    }

    /// Wants `action` done once `commit` is durable; at once if it is, never if it failed.
    pub(super) fn act_after(&mut self, commit: Option<CommitId>, action: Action) {
        if commit.is_some_and(|commit| self.failed.contains(&commit)) {
            return;
        }
        let after = commit.filter(|commit| self.open.contains_key(commit));
        self.queue.push_back(Effect { after, action });
    }

    /// Wants `records` durable together.
    pub(super) fn commit(&mut self, lane: Lane, records: Vec<Record>) -> CommitId {
        self.last += 1;
        let id = CommitId(self.last);
        self.open.insert(id, lane.clone());
        self.act(Action::Commit(Commit { id, lane, records }));
        id
    }

    /// True until `commit` is durable or has failed.
    pub(super) fn is_open(&self, commit: CommitId) -> bool {
        self.open.contains_key(&commit)
    }

    /// A commit is durable: its lane.
    pub(super) fn durable(&mut self, commit: CommitId) -> Option<Lane> {
        self.open.remove(&commit)
    }

    /// A commit failed: its lane.
    pub(super) fn failed(&mut self, commit: CommitId) -> Option<Lane> {
        self.failed.insert(commit);
        self.open.remove(&commit)
    }
}
