//! Keys leave the node: marked, written down, and answered in that order. Always: all keys of a
//! request or none, each once to each of its two applications.

use std::collections::BTreeSet;

use super::Node;
use super::effect::{Record, Table};
use super::requests::bad;
use crate::id::{KeyId, RequestId, SaeId, TransferId};
use crate::relay::record::{TransferRole, TransferState};
use crate::relay::transfer::Recipient;
use crate::secret::SecretBytes;
use crate::supply::message::{KEYS_PER_REQUEST_MAX, Refusal, SuppliedKey, SupplyAnswer};

impl Node {
    /// ETSI 014 "Get key with key IDs": all or none.
    pub(super) fn dec_keys(
        &mut self,
        id: RequestId,
        caller: &SaeId,
        master: &SaeId,
        ids: &[KeyId],
    ) -> Result<(), Refusal> {
        let distinct: BTreeSet<&KeyId> = ids.iter().collect();
        if ids.is_empty() || ids.len() > KEYS_PER_REQUEST_MAX || distinct.len() != ids.len() {
            return Err(bad(format!("key_IDs shall be 1 to {KEYS_PER_REQUEST_MAX} different ids")));
        }
        let mut keys = Vec::with_capacity(ids.len());
        let mut missing = false;
        for key in ids {
            let place = self.key_ids.get(key).copied();
            let transfer = place.and_then(|(transfer, _)| self.transfers.get(&transfer));
            let known = transfer.filter(|transfer| transfer.state() == TransferState::Relayed);
            let Some((place, transfer)) = place.zip(known) else {
                missing = true;
                continue;
            };
            let pair = transfer.assignment().map(|to| (&to.master, &to.slave));
            if pair.is_none_or(|(_, slave)| slave != caller) {
                return Err(Refusal::Unauthorised);
            }
            if self.is_in_doubt(transfer) {
                let why = "no neighbour has confirmed yet that this node's store is the newest: try again";
                return Err(Refusal::Unavailable(why.into()));
            }
            let here = transfer.role() != TransferRole::Origin && transfer.has(Recipient::Slave, place.1);
            missing |= !here || pair.is_none_or(|(owner, _)| owner != master);
            keys.push(place);
        }
        if missing {
            return Err(Refusal::not_found());
        }
        self.hand_out(id, Recipient::Slave, caller, master, &keys);
        Ok(())
    }

    /// Marks keys delivered, writes it down, and answers after that.
    pub(super) fn hand_out(
        &mut self,
        id: RequestId,
        to: Recipient,
        caller: &SaeId,
        other: &SaeId,
        keys: &[(TransferId, usize)],
    ) {
        let mut supplied = Vec::with_capacity(keys.len());
        for (transfer, index) in keys {
            let Some(transfer) = self.transfers.get_mut(transfer) else { continue };
            if let Some(key) = transfer.deliver(to, *index) {
                supplied.push(SuppliedKey { id: transfer.key_id(*index), key });
            }
        }
        let touched: BTreeSet<TransferId> = keys.iter().map(|(transfer, _)| *transfer).collect();
        let mut records: Vec<Record> = vec![self.audit_delivery(to, caller, other, &supplied)];
        records.extend(touched.iter().filter_map(|transfer| self.transfer_record(*transfer)));
        let commit = self.commit_delivery(records);
        touched.into_iter().for_each(|transfer| self.bury(transfer));
        self.forget_the_oldest();
        let complete = supplied.len() == keys.len();
        let answer = if complete { SupplyAnswer::Keys(supplied) } else { SupplyAnswer::Refused(Refusal::not_found()) };
        self.answer_after(commit, id, answer);
    }

    fn audit_delivery(&self, to: Recipient, caller: &SaeId, other: &SaeId, keys: &[SuppliedKey]) -> Record {
        let role = if to == Recipient::Master { "master" } else { "slave" };
        let ids = id_list(keys.iter().map(|key| key.id));
        self.audit(
            "delivered",
            &format!(",\"to\":\"{caller}\",\"as\":\"{role}\",\"with\":\"{other}\",\"key_ids\":{ids}"),
        )
    }

    /// A line of the audit log; `fields` is JSON, each field behind a comma.
    pub(super) fn audit(&self, event: &str, fields: &str) -> Record {
        let line = format!("{{\"unix_ms\":{},\"event\":\"{event}\"{fields}}}", self.now.wall.0);
        Record { table: Table::Audit, key: Vec::new(), value: Some(SecretBytes::new(line.into_bytes())) }
    }
}

/// Key ids as JSON.
pub(super) fn id_list(ids: impl Iterator<Item = KeyId>) -> String {
    let ids: Vec<String> = ids.map(|id| format!("\"{id}\"")).collect();
    format!("[{}]", ids.join(","))
}
