//! Pad bytes become spendable: read back where they lie on the disk, opened, reserved at this end, then at the
//! neighbour's. Always: each step is durable before the next is said; where a block is opened its key on the
//! disk is gone with the same write.

use std::time::Duration;

use super::Node;
use super::effect::{Action, Event, Lane};
use super::link::Phase;
use super::timers::Timer;
use crate::id::{Incarnation, LinkId, Nonce, PoolId};
use crate::pool::message::{PoolMessage, Sequences};
use crate::pool::{Direction, PAD_BLOCK_BYTES, record};
use crate::secret::SecretBytes;

/// When an unanswered reservation is asked for again.
const RESERVATION_RETRY: Duration = Duration::from_secs(1);
/// Blocks read back at one time.
const READ_BLOCKS_MAX: usize = 64;

/// Blocks that are being read back.
pub(super) struct Reading {
    pool: PoolId,
    direction: Direction,
    indices: Vec<u64>,
}

/// What the neighbour wants recorded as reserved; it may have to wait for its blocks to be read back.
#[derive(Clone, Copy)]
pub(super) struct Owed {
    pub(super) incarnation: Incarnation,
    pub(super) nonce: Nonce,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) records: Sequences,
}

impl Node {
    /// Reserves ahead, so that steady traffic never waits.
    pub(super) fn replenish(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.in_session()) else { return };
        let Some(pool) = &mut link.pool else { return };
        let (send, own) = (pool.send(), pool.own_direction());
        let window = link.window.bytes(self.now.moment, send.next(), link.round_trip);
        let closed = send.pending_reservation().map(|(_, to)| to).filter(|&to| !send.is_open_to(to));
        let Some(to) = closed.or_else(|| send.wants_reservation(window)) else { return };
        let unread = pool.unread(own, to);
        if !unread.is_empty() {
            return self.read_pads(id, own, unread);
        }
        pool.open_to(own, to);
        pool.send_mut().reserve(to);
        link.marks.send_reserved = link.marks.send_reserved.max(to);
        link.commit_marks(Vec::new(), &mut self.outbox);
        self.ask_reservation(id);
        #[cfg(feature = "sim")]
        self.spend_unacknowledged(id, to);
    }

    /// Asks the neighbour to record what is reserved here, once that is durable.
    pub(super) fn ask_reservation(&mut self, id: &LinkId) {
        let Some(link) = self.links.get(id).filter(|link| link.in_session()) else { return };
        let Phase::Session { own, .. } = link.phase else { return };
        let Some(send) = link.pool.as_ref().map(|pool| pool.send()) else { return };
        let Some((from, to)) = send.pending_reservation().filter(|&(_, to)| send.is_open_to(to)) else { return };
        let (incarnation, (after, records)) = (self.settings.incarnation, self.sequences_after(id));
        self.send_pool(id, after, PoolMessage::Reserve { incarnation, nonce: own, from, to, records });
        if let Some(link) = self.links.get_mut(id) {
            link.asked.get_or_insert(self.now.moment);
        }
        self.timers.set(Timer::Reservation(id.clone()), self.now.moment + RESERVATION_RETRY);
    }

    /// Records the neighbour's reservation, if it goes on where the record ends.
    pub(super) fn record_reservation(&mut self, id: &LinkId, owed: Owed) {
        let Owed { incarnation, nonce, from, to, records } = owed;
        let Some(link) = self.links.get_mut(id) else { return };
        let Phase::Session { peer, .. } = link.phase else { return };
        if peer != nonce || link.marks.peer.is_none_or(|known| known.incarnation != incarnation) {
            return;
        }
        let (recorded, theirs) = (link.marks.recv_reserved, link.own_direction().opposite());
        let Some(pool) = &mut link.pool else { return };
        let goes_on =
            from == recorded && to >= recorded && to.div_ceil(PAD_BLOCK_BYTES as u64) <= pool.receive().held();
        if !goes_on && to != recorded {
            return self.drop_link(id, &format!("a reservation from {from} to {to} does not go on at {recorded}"));
        }
        if goes_on {
            let unread = pool.unread(theirs, to);
            if !unread.is_empty() {
                link.owed = Some(owed);
                return self.read_pads(id, theirs, unread);
            }
            pool.open_to(theirs, to);
            pool.receive_mut().reserve(to);
            link.marks.recv_reserved = to;
        }
        // What is acknowledged again is remembered as well: a question asked anew is of newer marks.
        let known = link.marks.peer;
        link.remember(records);
        if goes_on || link.marks.peer != known {
            link.commit_marks(Vec::new(), &mut self.outbox);
        }
        let (after, own) = self.sequences_after(id);
        self.send_pool(id, after, PoolMessage::ReserveAck { nonce, to, own });
        self.grant(id);
    }

    /// The neighbour has recorded a reservation of this end.
    pub(super) fn reserved(&mut self, id: &LinkId, nonce: Nonce, to: u64, theirs: Sequences) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !matches!(link.phase, Phase::Session { own, .. } if own == nonce) {
            return;
        }
        if to > link.durable.send_reserved || link.durable.pool != link.marks.pool {
            return self.log(Event::Link(id.clone(), "an acknowledgement came before it was asked: ignored".into()));
        }
        link.remember(theirs);
        link.heard_back(self.now.moment);
        if let Some(pool) = &mut link.pool {
            pool.send_mut().acknowledge(to);
        }
        self.timers.stop(&Timer::Reservation(id.clone()));
        self.replenish(id);
        self.grant(id);
        self.advertise_soon(super::advertise::LEVEL_GAP);
    }

    /// Reads blocks back, unless that is being done.
    fn read_pads(&mut self, id: &LinkId, direction: Direction, mut indices: Vec<u64>) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.reading.is_none()) else { return };
        let Some(pool) = link.pool.as_ref().map(|pool| pool.id()) else { return };
        indices.truncate(READ_BLOCKS_MAX);
        let keys = indices.iter().map(|&index| record::pad_key(id, direction, index)).collect();
        link.reading = Some(Reading { pool, direction, indices });
        self.outbox.act(Action::ReadPads(id.clone(), keys));
    }

    /// What the disk has of the blocks that were asked for. What it lost becomes a hole at both ends.
    pub(super) fn pads_read(&mut self, id: &LinkId, found: &[(Vec<u8>, Option<SecretBytes>)]) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(Reading { pool: of, direction, indices }) = link.reading.take() else { return };
        let Some(pool) = link.pool.as_mut().filter(|pool| pool.id() == of) else { return };
        let mut lost = 0;
        for index in indices {
            let key = record::pad_key(id, direction, index);
            let sealed = found.iter().find(|(of, _)| *of == key).and_then(|(_, sealed)| sealed.as_ref());
            lost += u64::from(!pool.read_back(direction, index, sealed));
        }
        if lost > 0 {
            self.pads_lost(id, lost);
        } else {
            if let Some(owed) = self.links.get_mut(id).and_then(|link| link.owed.take()) {
                self.record_reservation(id, owed);
            }
            self.replenish(id);
        }
    }

    fn pads_lost(&mut self, id: &LinkId, lost: u64) {
        let text = format!("{lost} pad blocks on the disk are missing or damaged: discarded at both ends");
        self.alarm("QKD-2202", id.as_str(), &text);
        let Some(link) = self.links.get_mut(id) else { return };
        let records = link.pool_record().into_iter().collect();
        link.last_commit = Some(self.outbox.commit(Lane::Link(id.clone()), records));
        // The ends tell each other of their holes when they greet.
        self.hang_up(id, "pad blocks were lost");
    }
}
