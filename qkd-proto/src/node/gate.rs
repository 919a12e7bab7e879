//! Holds effects back until the commit that they name is durable. The daemon and the simulator
//! perform effects through the same gate.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{Action, Effect};
use crate::id::CommitId;

/// Commits that are not durable yet, and what waits for each.
#[derive(Default)]
pub struct Gate {
    open: BTreeMap<CommitId, Vec<Action>>,
    failed: BTreeSet<CommitId>,
}

impl Gate {
    /// What may be done now: the effect's action, unless it waits or its commit failed.
    pub fn admit(&mut self, effect: Effect) -> Option<Action> {
        if effect.after.is_some_and(|commit| self.failed.contains(&commit)) {
            return None;
        }
        if let Some(waiting) = effect.after.and_then(|commit| self.open.get_mut(&commit)) {
            waiting.push(effect.action);
            return None;
        }
        if let Action::Commit(commit) = &effect.action {
            self.open.insert(commit.id, Vec::new());
        }
        Some(effect.action)
    }

    /// `commit` is durable: what waited for it, in order.
    pub fn durable(&mut self, commit: CommitId) -> Vec<Action> {
        self.open.remove(&commit).unwrap_or_default()
    }

    /// `commit` failed: what waited for it will never be done. It comes back, so that whoever waits
    /// for an answer can be told.
    pub fn failed(&mut self, commit: CommitId) -> Vec<Action> {
        self.failed.insert(commit);
        self.open.remove(&commit).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::effect::{Commit, Lane};

    fn advert(after: Option<CommitId>, byte: u8) -> Effect {
        Effect { after, action: Action::Advert(vec![byte]) }
    }

    fn commit(id: u64) -> Effect {
        let commit = Commit { id: CommitId(id), lane: Lane::Delivery, records: Vec::new() };
        Effect { after: None, action: Action::Commit(commit) }
    }

    #[test]
    fn nothing_passes_before_its_commit_and_nothing_after_a_failed_one() {
        let mut gate = Gate::default();
        assert!(gate.admit(commit(1)).is_some());
        assert!(gate.admit(commit(2)).is_some());
        assert!(gate.admit(advert(Some(CommitId(1)), 1)).is_none());
        assert!(gate.admit(advert(Some(CommitId(2)), 2)).is_none());
        assert!(gate.admit(advert(None, 3)).is_some());
        assert_eq!(gate.durable(CommitId(1)).len(), 1);
        assert_eq!(gate.failed(CommitId(2)).len(), 1);
        assert!(gate.durable(CommitId(2)).is_empty());
        assert!(gate.admit(advert(Some(CommitId(2)), 5)).is_none(), "it came after the failure");
        assert!(gate.admit(advert(Some(CommitId(1)), 4)).is_some());
    }
}
