//! The origin's side of transfers: it draws the bits, chooses the route, and alone decides the
//! outcome.

use std::time::Duration;

use super::Node;
use super::effect::{Event, Lane, Record, Table};
use super::timers::Timer;
use crate::codec::Bytes;
use crate::entropy::draw;
use crate::hybrid::{self, HybridAnswer, HybridOffer, HybridSecret};
use crate::id::{CommitId, LinkId, NodeId, SaeId, SessionId, TransferId};
use crate::mac::Tag;
use crate::moment::Moment;
use crate::relay::message::{LetterBody, TransferHeader};
use crate::relay::record::{TransferRole, TransferState};
use crate::relay::route::Route;
use crate::relay::session::{CONFIRMATION_PAD_BYTES, EndSession};
use crate::relay::transfer::{Recipient, Transfer};
use crate::secret::SecretBytes;

/// A session is made anew after this long.
const SESSION_LIFE: Duration = Duration::from_secs(3600);
/// An unanswered session offer is repeated after this long.
const SESSION_RETRY: Duration = Duration::from_millis(400);
/// A transfer that the target has not confirmed by then is voided, and another way is tried.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(900);
/// An unanswered commitment is repeated after this long, then less often.
const COMMIT_RETRY: Duration = Duration::from_millis(300);
const COMMIT_RETRY_MAX: Duration = Duration::from_secs(10);

/// A session that this node opens to a target.
pub(super) enum OutSession {
    /// Offered, not answered.
    Offered { id: SessionId, secret: HybridSecret, offer: HybridOffer },
    /// In use since.
    Ready(EndSession, Moment),
}

/// What a request needs carried.
pub(super) struct TransferPlan {
    pub(super) target: NodeId,
    pub(super) master: SaeId,
    pub(super) slave: SaeId,
    pub(super) count: usize,
    pub(super) key_bytes: usize,
}

impl Node {
    /// The session to `target`, if it is ready; else it is offered.
    pub(super) fn ready_session(&mut self, target: &NodeId) -> Option<SessionId> {
        match self.out_sessions.get(target) {
            _ if self.locked => None,
            Some(OutSession::Ready(session, made)) if self.now.moment.since(*made) < SESSION_LIFE => Some(session.id()),
            Some(OutSession::Offered { .. }) => None,
            _ => {
                let (secret, offer) = hybrid::offer(&mut *self.entropy);
                let id = SessionId(draw(&mut *self.entropy));
                self.out_sessions.insert(target.clone(), OutSession::Offered { id, secret, offer });
                self.session_overdue(target);
                None
            }
        }
    }

    /// Offers a session, again while somebody waits for it.
    pub(super) fn session_overdue(&mut self, target: &NodeId) {
        let Some(OutSession::Offered { id, offer, .. }) = self.out_sessions.get(target) else { return };
        let body = LetterBody::SessionOffer { session: *id, offer: offer.clone() };
        if !self.requests.values().any(|request| request.waits_for_session(target)) && !self.has_unsealed(target) {
            self.out_sessions.remove(target);
            return;
        }
        self.send_letter(target, body);
        self.timers.set(Timer::Session(target.clone()), self.now.moment + SESSION_RETRY);
    }

    /// True if a commitment to `target` waits for a session to seal it.
    fn has_unsealed(&self, target: &NodeId) -> bool {
        self.transfers
            .values()
            .any(|transfer| transfer.peer() == target && transfer.state() == TransferState::Committed)
    }

    pub(super) fn session_answered(&mut self, from: &NodeId, session: SessionId, answer: &HybridAnswer) {
        if !matches!(self.out_sessions.get(from), Some(OutSession::Offered { id, .. }) if *id == session) {
            return;
        }
        let Some(OutSession::Offered { id, secret, offer }) = self.out_sessions.remove(from) else { return };
        match hybrid::complete(secret, &offer, answer) {
            Err(error) => self.log(Event::Transfer(format!("session with {from}: {error}"))),
            Ok(secret) => {
                let session = EndSession::new(id, &self.settings.id, from, &secret);
                self.out_sessions.insert(from.clone(), OutSession::Ready(session, self.now.moment));
                self.timers.stop(&Timer::Session(from.clone()));
                self.requests_that_wait_for_session(from);
                self.recommit(from);
            }
        }
    }

    /// The target has forgotten the session, by a restart perhaps.
    pub(super) fn session_unknown(&mut self, from: &NodeId, session: SessionId, transfer: TransferId) {
        if matches!(self.out_sessions.get(from), Some(OutSession::Ready(known, _)) if known.id() == session) {
            self.out_sessions.remove(from);
        }
        let state = self.transfers.get(&transfer).filter(|transfer| transfer.peer() == from).map(Transfer::state);
        match state {
            Some(TransferState::Pending) => self.void(transfer, "the target has forgotten the session", None),
            Some(TransferState::Committed) => {
                self.ready_session(from);
            }
            _ => {}
        }
    }

    /// Starts a transfer; its id.
    ///
    /// # Errors
    /// If the first link cannot carry it: its name and why.
    pub(super) fn begin(&mut self, plan: TransferPlan, route: Route) -> Result<TransferId, (LinkId, String)> {
        let first = route.links[0].clone();
        let Some(OutSession::Ready(session, _)) = self.out_sessions.get(&plan.target) else {
            return Err((first, "the session is gone".into()));
        };
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let header = TransferHeader {
            transfer: TransferId(draw(&mut *self.entropy)),
            session: session.id(),
            origin: self.settings.id.clone(),
            target: plan.target,
            route: route.links,
            count: number(plan.count),
            key_bytes: number(plan.key_bytes),
        };
        let mut bits = vec![0; plan.count * plan.key_bytes + CONFIRMATION_PAD_BYTES];
        self.entropy.fill(&mut bits);
        let bits = SecretBytes::new(bits);
        let copy = SecretBytes::copy_of(bits.expose());
        let (run, wall) = (self.settings.incarnation, self.now.wall);
        let mut transfer = Transfer::relayed(TransferRole::Origin, &header, session, copy, run, wall);
        transfer.assign(plan.master, plan.slave);
        let id = header.transfer;
        // The bits may leave before the record is durable: if this node crashes in between, the
        // target's confirmation meets an unknown transfer and is answered with an abort.
        self.send_hop(&first, header, 0, &bits).map_err(|why| (first, why))?;
        self.keep(transfer);
        self.commit_transfer(id);
        self.timers.set(Timer::Transfer(id), self.now.moment + CONFIRM_TIMEOUT);
        Ok(id)
    }

    /// The target says that it holds the bits.
    pub(super) fn confirmed(&mut self, from: &NodeId, id: TransferId, tag: &Tag) {
        let transfer = self.transfers.get_mut(&id).filter(|transfer| transfer.peer() == from);
        let Some(transfer) = transfer.filter(|transfer| transfer.role() == TransferRole::Origin) else {
            return self.send_abort(from, id, "unknown here");
        };
        match transfer.state() {
            TransferState::Voided => self.send_abort(from, id, "voided"),
            TransferState::Committed | TransferState::Relayed => self.send_commit(id),
            TransferState::Pending if transfer.confirmed(tag) => {
                self.commit_transfer(id);
                self.send_commit(id);
            }
            TransferState::Pending => {
                let route = format!("{:?}", transfer.routes());
                self.alarm("QKD-2303", from.as_str(), &format!("bits were altered on the way {route}"));
                self.void(id, "altered on the way", None);
            }
        }
    }

    /// Tells the target that the keys count, and to whom they belong.
    fn send_commit(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        let (peer, tag, assign) = (transfer.peer().clone(), transfer.commit_tag(), transfer.assign_text());
        let Some(assign) = assign else { return };
        let retry = self.retry_after(transfer);
        if transfer.state() == TransferState::Committed {
            self.timers.set(Timer::Transfer(id), self.now.moment + retry);
        }
        let Some(OutSession::Ready(session, _)) = self.out_sessions.get(&peer) else {
            self.ready_session(&peer);
            return;
        };
        let session_id = session.id();
        let assign = Bytes::from(session.seal(id, &assign, &mut *self.entropy));
        self.send_letter(&peer, LetterBody::Commit { transfer: id, tag, session: session_id, assign });
    }

    /// The older a transfer, the less often it is asked about.
    fn retry_after(&self, transfer: &Transfer) -> Duration {
        let age = self.now.wall.0.saturating_sub(transfer.created().0);
        Duration::from_millis(age / 2).clamp(COMMIT_RETRY, COMMIT_RETRY_MAX)
    }

    /// Repeats the commitments to `target` that waited for a session.
    fn recommit(&mut self, target: &NodeId) {
        let waiting = self.transfers.values().filter(|transfer| {
            transfer.peer() == target
                && transfer.role() == TransferRole::Origin
                && transfer.state() == TransferState::Committed
        });
        for id in waiting.map(Transfer::id).collect::<Vec<_>>() {
            self.send_commit(id);
        }
    }

    /// The target knows to whom the keys belong: they may be handed out here.
    pub(super) fn assign_acknowledged(&mut self, from: &NodeId, id: TransferId) {
        let Some(transfer) = self.transfers.get_mut(&id).filter(|transfer| transfer.peer() == from) else { return };
        if !transfer.acknowledged() {
            return;
        }
        self.timers.stop(&Timer::Transfer(id));
        self.commit_transfer(id);
        self.transfer_arrived(id);
    }

    /// A relay says that it could not go on. Advice only: the origin decides.
    pub(super) fn transfer_stuck(&mut self, id: TransferId, link: LinkId, reason: &str) {
        let pending = self.transfers.get(&id).is_some_and(|transfer| {
            transfer.role() == TransferRole::Origin && transfer.state() == TransferState::Pending
        });
        if pending {
            self.log(Event::Transfer(format!("transfer {id:?} is stuck at {link}: {reason}")));
            self.void(id, "stuck on the way", Some(link));
        }
    }

    pub(super) fn transfer_overdue(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        match (transfer.role(), transfer.state()) {
            (TransferRole::Origin, TransferState::Pending) => self.void(id, "not confirmed in time", None),
            (TransferRole::Origin, TransferState::Committed) => self.send_commit(id),
            (TransferRole::Target, TransferState::Pending) => self.confirm(id),
            _ => {}
        }
    }

    /// Voids a transfer, tells the target, and lets its request try another way.
    fn void(&mut self, id: TransferId, why: &str, link: Option<LinkId>) {
        let Some(peer) = self.transfers.get(&id).map(|transfer| transfer.peer().clone()) else { return };
        let routes = self.transfers.get(&id).map(|transfer| transfer.routes().to_vec()).unwrap_or_default();
        if !self.transfers.get_mut(&id).is_some_and(Transfer::void) {
            return;
        }
        self.timers.stop(&Timer::Transfer(id));
        self.log(Event::Transfer(format!("transfer {id:?} voided: {why}")));
        self.commit_transfer(id);
        self.send_abort(&peer, id, why);
        let suspects = link.map_or_else(|| routes.into_iter().flatten().collect(), |link| vec![link]);
        self.transfer_failed(id, &suspects);
    }

    fn send_abort(&mut self, to: &NodeId, id: TransferId, why: &str) {
        self.send_letter(to, LetterBody::Abort { transfer: id, reason: why.into() });
    }

    /// Keeps a transfer and its ids in memory.
    pub(super) fn keep(&mut self, transfer: Transfer) {
        for index in 0..transfer.count() {
            self.key_ids.insert(transfer.key_id(index), (transfer.id(), index));
        }
        self.transfers.insert(transfer.id(), transfer);
    }

    /// Makes a transfer's present state durable.
    pub(super) fn commit_transfer(&mut self, id: TransferId) -> CommitId {
        self.bury(id);
        let records = self.transfer_record(id).into_iter().collect();
        let commit = self.commit_delivery(records);
        self.forget_the_oldest();
        commit
    }

    pub(super) fn transfer_record(&self, id: TransferId) -> Option<Record> {
        let value = self.transfers.get(&id)?.record().encode();
        Some(Record { table: Table::Transfers, key: id.0.to_vec(), value: Some(value) })
    }

    pub(super) fn commit_delivery(&mut self, records: Vec<Record>) -> CommitId {
        let commit = self.outbox.commit(Lane::Delivery, records);
        self.last_delivery = Some(commit);
        self.news_for_neighbours();
        commit
    }

    /// Number of keys that wait for an application here.
    pub(super) fn keys_waiting(&self) -> u64 {
        let waiting = |transfer: &Transfer| {
            Recipient::BOTH.iter().map(|&recipient| transfer.waiting(recipient).count() as u64).sum::<u64>()
        };
        self.transfers.values().map(waiting).sum()
    }
}
