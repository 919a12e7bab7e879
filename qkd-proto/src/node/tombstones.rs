//! Transfers that are over are kept for a while, for people and against replays, then forgotten on
//! disk and in memory.
//!
//! An origin may forget at any time: a late confirmation of an unknown transfer is answered with an
//! abort, which changes nothing at a target that has committed. A target first ends the session
//! that masked the transfer: whoever replays its frames then makes no key of them again.

use super::Node;
use super::effect::{Record, Table};
use crate::id::TransferId;
use crate::relay::record::TransferRole;
use crate::relay::transfer::Transfer;

/// Transfers that are over and still known.
pub(super) const TOMBSTONES_MAX: usize = 10_000;
/// Forgotten in one write.
const FORGET_BATCH: usize = 64;

impl Node {
    /// Keeps fewer tombstones, for tests.
    #[cfg(feature = "sim")]
    pub fn plant_few_tombstones(&mut self, most: usize) {
        self.tombstones_max = most;
    }

    /// Notes that a transfer is over, if it is.
    pub(super) fn bury(&mut self, id: TransferId) {
        if self.transfers.get(&id).is_some_and(Transfer::is_over) && !self.tombstones.contains(&id) {
            self.tombstones.push_back(id);
        }
    }

    /// Keeps the number of tombstones bounded.
    pub(super) fn forget_the_oldest(&mut self) {
        if self.tombstones.len() < self.tombstones_max + FORGET_BATCH {
            return;
        }
        let excess = self.tombstones.len() - self.tombstones_max;
        let oldest: Vec<TransferId> = self.tombstones.drain(..excess).collect();
        let records = oldest.iter().filter_map(|id| self.forget(*id)).collect();
        self.commit_delivery(records);
    }

    fn forget(&mut self, id: TransferId) -> Option<Record> {
        let transfer = self.transfers.remove(&id)?;
        if transfer.role() == TransferRole::Target {
            self.end_in_session(transfer.peer(), transfer.session());
        }
        for index in 0..transfer.count() {
            self.key_ids.remove(&transfer.key_id(index));
        }
        self.unclaimed.remove(&id);
        Some(Record { table: Table::Transfers, key: id.0.to_vec(), value: None })
    }
}
