//! An operator locks the node: it hands out no key and forgets the secrets of its sessions, until it is
//! unlocked. Always: written down; links go on making key, and relays relaying what they cannot read.

use super::Node;

/// What an application is told.
pub(super) const LOCKED: &str = "the node is locked";

impl Node {
    pub(super) fn lock(&mut self) {
        if std::mem::replace(&mut self.locked, true) {
            return;
        }
        self.out_sessions.clear();
        self.in_sessions.clear();
        self.alarm("QKD-3003", "delivery", "the node is locked: no key is handed out until qkdctl unlock");
        self.refuse_all(LOCKED);
        self.note_lock("locked");
    }

    pub(super) fn unlock(&mut self) {
        if std::mem::replace(&mut self.locked, false) {
            self.clear_alarm("QKD-3003", "delivery");
            self.note_lock("unlocked");
        }
    }

    fn note_lock(&mut self, event: &str) {
        if self.delivery_poisoned {
            return;
        }
        let line = self.audit(event, "");
        self.commit_delivery(vec![line]);
    }
}
