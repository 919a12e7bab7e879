//! Defects that tests put into a node, to see that they are caught.

use super::Node;
use crate::id::LinkId;

/// What is wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// It hands pad bytes out twice.
    ReusePads,
    /// It is a liar: it alters the bits that it relays.
    AlterPayloads,
    /// It spends pad before the neighbour has recorded it.
    SpendUnacknowledged,
    /// It does not compare what neighbours and it remember of each other.
    DeafToRollback,
}

impl Node {
    /// Puts a defect in.
    pub fn plant(&mut self, defect: Defect) {
        // A node that compares nothing waits for no confirmation.
        self.witness.confirmed |= defect == Defect::DeafToRollback;
        self.defects.push(defect);
    }

    pub(super) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    /// The neighbour shall not be waited for.
    pub(super) fn spend_unacknowledged(&mut self, id: &LinkId, to: u64) {
        let planted = self.has(Defect::SpendUnacknowledged);
        let pool = self.links.get_mut(id).and_then(|link| link.pool.as_mut());
        if let Some(pool) = pool.filter(|_| planted) {
            pool.send_mut().acknowledge(to);
        }
    }
}
