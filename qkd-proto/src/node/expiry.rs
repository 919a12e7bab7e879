//! Keys that nobody fetches in time are lost. In: the wall clock and a lifetime. Out: tombstones, and a line of
//! the audit log. Always: only keys that both ends have assigned expire, each end for itself: afterwards a fetch
//! is answered as for an unknown key. A clock that jumps costs keys, never gives one twice.

use std::time::Duration;

use super::Node;
use super::deliveries::id_list;
use super::effect::Record;
use super::timers::Timer;
use crate::id::TransferId;
use crate::relay::record::TransferState;
use crate::relay::transfer::{Recipient, Transfer};

/// Longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(600);
/// Transfers that expire in one write.
const BATCH: usize = 64;

impl Node {
    /// Looks for keys that are too old.
    pub(super) fn expire(&mut self) {
        let Some(lifetime) = self.settings.key_lifetime else { return };
        let age = |transfer: &Transfer| Duration::from_millis(self.now.wall.0.saturating_sub(transfer.created().0));
        let old = self.transfers.values().filter(|transfer| {
            transfer.state() == TransferState::Relayed && !transfer.is_over() && age(transfer) > lifetime
        });
        let old: Vec<TransferId> = old.map(Transfer::id).take(BATCH).collect();
        let more = old.len() == BATCH;
        let next = if more { Duration::ZERO } else { (lifetime / 8).min(LOOK_MAX) };
        self.timers.set(Timer::Expiry, self.now.moment + next);
        if old.is_empty() || self.delivery_poisoned {
            return;
        }
        let mut records = Vec::with_capacity(2 * old.len());
        for id in old {
            records.extend(self.expire_one(id));
        }
        self.commit_delivery(records);
        self.forget_the_oldest();
    }

    fn expire_one(&mut self, id: TransferId) -> Vec<Record> {
        let Some(transfer) = self.transfers.get_mut(&id) else { return Vec::new() };
        let waiting = |index: &usize| Recipient::BOTH.iter().any(|&recipient| transfer.has(recipient, *index));
        let ids = id_list((0..transfer.count()).filter(waiting).map(|index| transfer.key_id(index)));
        transfer.lose_keys();
        self.unclaimed.remove(&id);
        let audit = self.audit("expired", &format!(",\"key_ids\":{ids}"));
        let record = self.transfer_record(id);
        self.bury(id);
        [Some(audit), record].into_iter().flatten().collect()
    }
}
