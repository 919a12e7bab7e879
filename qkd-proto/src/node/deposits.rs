//! Distilled keys become pad blocks at both ends: offer and acknowledgement. Each step is durable before the
//! next is said.

use super::Node;
use super::effect::{Action, Event, Lane, PadPurpose, PadUse};
use crate::crypto;
use crate::distill::plan::Role;
use crate::id::{BlockId, LinkId};
use crate::pool::Direction;
use crate::pool::message::{DepositOffer, PoolMessage};

impl Node {
    /// Transmitter: its key of `block` becomes pad blocks, and the receiver hears where.
    pub(super) fn offer_deposit(&mut self, id: &LinkId, block: BlockId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(pool) = &mut link.pool else { return };
        if let Some(unanswered) = link.offer.take() {
            pool.refuse_deposit(&unanswered);
            link.talks.remove(&unanswered.block);
        }
        let Some((offer, pads)) = pool.deposit(block, &mut *self.entropy) else {
            link.talks.remove(&block);
            return;
        };
        link.offer = Some(offer);
        let records = link.deposit_records(pads);
        let commit = self.outbox.commit(Lane::Link(id.clone()), records);
        link.last_commit = Some(commit);
        self.send_pool(id, Some(commit), PoolMessage::BlockOffer(offer));
    }

    /// Receiver: the transmitter says where a key goes. If the key is still being made, it waits.
    pub(super) fn block_offered(&mut self, id: &LinkId, offer: DepositOffer) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.role != Role::Receiver {
            return self.drop_link(id, "a receiver offered a deposit");
        }
        if !link.is_current(offer.block) {
            return;
        }
        if link.pool.as_ref().is_some_and(|pool| !pool.is_plausible(&offer)) {
            return self.drop_link(id, "a deposit was offered where none can be");
        }
        if link.runs.contains_key(&offer.block) {
            link.offer = Some(offer);
            return;
        }
        self.take_deposit(id, offer);
    }

    pub(super) fn take_deposit(&mut self, id: &LinkId, offer: DepositOffer) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(pool) = &mut link.pool else { return };
        link.offer = None;
        link.talks.remove(&offer.block);
        let pads = pool.deposit_at(&offer, &mut *self.entropy);
        let answer = match &pads {
            Some(_) => {
                pool.confirm_deposit(&offer);
                PoolMessage::BlockAck(offer)
            }
            None => {
                pool.refuse_deposit(&offer);
                PoolMessage::BlockNak(offer)
            }
        };
        let records = link.deposit_records(pads.unwrap_or_default());
        let commit = self.outbox.commit(Lane::Link(id.clone()), records);
        link.last_commit = Some(commit);
        self.send_pool(id, Some(commit), answer);
        self.replenish(id);
        self.grant(id);
        self.advertise_soon(super::advertise::LEVEL_GAP);
    }

    pub(super) fn block_acknowledged(&mut self, id: &LinkId, offer: &DepositOffer) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.role != Role::Transmitter || link.offer != Some(*offer) {
            return;
        }
        link.offer = None;
        link.talks.remove(&offer.block);
        if let Some(pool) = &mut link.pool {
            pool.confirm_deposit(offer);
        }
        self.replenish(id);
        self.advertise_soon(super::advertise::LEVEL_GAP);
        self.offer_next(id);
        self.grant(id);
    }

    /// Transmitter: the next key may be offered, and the next block may start.
    pub(super) fn offer_next(&mut self, id: &LinkId) {
        if let Some(block) = self.links.get_mut(id).and_then(|link| link.to_offer.pop_front()) {
            self.offer_deposit(id, block);
        }
        self.start_block(id);
    }

    pub(super) fn block_refused(&mut self, id: &LinkId, offer: &DepositOffer) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.role != Role::Transmitter || link.offer != Some(*offer) {
            return;
        }
        link.offer = None;
        link.talks.remove(&offer.block);
        if let Some(pool) = &mut link.pool {
            pool.refuse_deposit(offer);
        }
        let records = link.pool_record().into_iter().collect();
        link.last_commit = Some(self.outbox.commit(Lane::Link(id.clone()), records));
        self.log(Event::Link(id.clone(), format!("the neighbour lacks block {}: discarded", offer.block.0)));
        self.offer_next(id);
    }

    /// Tells the test ledger, before the bytes leave, what leaves under which pad.
    pub(super) fn note_use(&mut self, id: &LinkId, offset: u64, length: u64, purpose: PadPurpose, leaves: &[u8]) {
        let Some(link) = self.links.get(id) else { return };
        let Some(pool) = link.pool.as_ref().map(crate::pool::LinkKeyPool::id) else { return };
        let mut digest = [0; 16];
        digest.copy_from_slice(&crypto::sha256(&[leaves])[..16]);
        let forward = link.own_direction() == Direction::Forward;
        let note = PadUse { link: id.clone(), pool, forward, offset, length, purpose, digest };
        self.outbox.act(Action::NotePadUse(note));
    }
}
