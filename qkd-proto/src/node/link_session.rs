//! A link connects, its ends introduce themselves, its pool goes on or starts anew.

use std::time::Duration;

use super::Node;
use super::effect::{Action, Event};
use super::link::Phase;
use super::message::{NEIGHBOUR_BYTES_MAX, NEIGHBOUR_VERSION, NeighbourMessage, SESSION_BLOCK_BITS};
use super::reservations::Owed;
use super::timers::Timer;
use crate::codec;
use crate::crypto;
use crate::distill::plan::Role;
use crate::id::{BlockId, CommitId, LinkId};
use crate::labels;
use crate::pool::LinkKeyPool;
use crate::pool::handshake::{self, Agreement, Handshake, Introduction};
use crate::pool::message::{PoolMessage, Resume, SignedHello};
use crate::pool::record::{HOLES_MAX, MarksRecord};
use crate::relay::message::RelayMessage;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

impl Node {
    pub(super) fn link_up(&mut self, id: &LinkId) {
        if self.links.get(id).is_some_and(|link| !matches!(link.phase, Phase::Down)) {
            self.link_broken(id);
        }
        let introduction = self.introduction(id);
        let Some(introduction) = introduction else { return };
        let (handshake, hello) = Handshake::start(introduction, &self.settings.identity, &mut *self.entropy);
        if let Some(link) = self.links.get_mut(id) {
            link.phase = Phase::Greeting(Box::new(handshake));
        }
        if let Some(hello) = hello {
            self.send_pool(id, None, PoolMessage::Hello(hello));
        }
        self.timers.set(Timer::Handshake(id.clone()), self.now.moment + HANDSHAKE_TIMEOUT);
    }

    /// The connection is lost: blocks on their way wait for the next one.
    pub(super) fn link_broken(&mut self, id: &LinkId) {
        self.unplug(id);
        self.suspend_blocks(id);
    }

    fn unplug(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let was_up = !matches!(link.phase, Phase::Down);
        link.phase = Phase::Down;
        (link.asked, link.round_trip) = (None, None);
        (link.offer, link.owed) = (None, None);
        for timer in [Timer::Handshake, Timer::NextBlock, Timer::Reservation] {
            self.timers.stop(&timer(id.clone()));
        }
        let opening = link.last_commit;
        self.outbox.act(Action::CloseDevice(id.clone()));
        // An opening that still waits for its commit is undone after it.
        self.outbox.act_after(opening, Action::CloseDevice(id.clone()));
        if was_up {
            self.log(Event::Link(id.clone(), "down".into()));
            self.advertise_soon(Duration::ZERO);
        }
    }

    /// Closes a link's streams, and drops its blocks: the neighbour, or this end, is at fault. The network
    /// dials again.
    pub(super) fn drop_link(&mut self, id: &LinkId, why: &str) {
        self.hang_up(id, why);
        self.drop_blocks(id);
    }

    /// Closes a link's streams: the connection is at fault. The network dials again.
    pub(super) fn hang_up(&mut self, id: &LinkId, why: &str) {
        self.log(Event::Link(id.clone(), format!("dropped: {why}")));
        self.outbox.act(Action::DropLink(id.clone()));
        self.link_broken(id);
    }

    pub(super) fn link_bytes(&mut self, id: &LinkId, bytes: &[u8]) {
        match codec::decode(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX) {
            Ok(NeighbourMessage::Pool(message)) => self.pool_message(id, message),
            Ok(NeighbourMessage::Relay(message)) => self.relay_message(id, message),
            Err(error) => self.drop_link(id, &format!("the neighbour sent what is no message: {error}")),
        }
    }

    pub(super) fn send_pool(&mut self, id: &LinkId, after: Option<CommitId>, message: PoolMessage) {
        self.send_neighbour(id, after, &NeighbourMessage::Pool(message));
    }

    pub(super) fn send_relay(&mut self, id: &LinkId, message: RelayMessage) {
        self.send_neighbour(id, None, &NeighbourMessage::Relay(message));
    }

    fn send_neighbour(&mut self, id: &LinkId, after: Option<CommitId>, message: &NeighbourMessage) {
        let bytes = codec::encode(NEIGHBOUR_VERSION, message);
        self.outbox.act_after(after, Action::SendLink(id.clone(), bytes));
    }

    fn introduction(&self, id: &LinkId) -> Option<Introduction> {
        let link = self.links.get(id).filter(|link| !link.poisoned)?;
        #[cfg(feature = "sim")]
        let deaf = self.has(super::planted::Defect::DeafToRollback);
        #[cfg(not(feature = "sim"))]
        let deaf = false;
        let marks = if deaf { MarksRecord { peer: None, ..link.marks } } else { link.marks };
        Some(Introduction {
            link: link.roster.clone(),
            own: self.settings.id.clone(),
            peer_key: link.peer_key,
            incarnation: self.settings.incarnation,
            boot: self.settings.boot,
            data_dir: self.settings.data_dir,
            store_sequence: self.witness.sequence,
            vouches: deaf || self.vouches(id),
            resume: self.resume_offer(id),
            send_next: link.pool.as_ref().map_or(0, |pool| pool.send().next()),
            send_runs: link.pool.as_ref().map_or(Vec::new(), |pool| pool.send().runs()),
            marks,
        })
    }

    /// The pool to resume, with the marks that are durable: others could be taken back by a crash.
    fn resume_offer(&self, id: &LinkId) -> Option<Resume> {
        let link = self.links.get(id)?;
        let pool = link.pool.as_ref().filter(|pool| link.durable.pool == Some(pool.id()))?;
        let holes = pool.send().holes().len() + pool.receive().holes().len();
        (holes <= HOLES_MAX / 2).then(|| pool.resume_offer(&link.durable))
    }

    fn pool_message(&mut self, id: &LinkId, message: PoolMessage) {
        match message {
            PoolMessage::Hello(hello) => self.hello(id, &hello),
            _ if !self.links.get(id).is_some_and(|link| link.in_session()) => {}
            PoolMessage::BlockStart { block, hash_keys } => self.block_started(id, block, hash_keys),
            PoolMessage::BlockResume { block, heard } => self.block_resumed(id, block, heard),
            PoolMessage::BlockOffer(offer) => self.block_offered(id, offer),
            PoolMessage::BlockAck(offer) => self.block_acknowledged(id, &offer),
            PoolMessage::BlockNak(offer) => self.block_refused(id, &offer),
            PoolMessage::Reserve { incarnation, nonce, from, to, records } => {
                self.record_reservation(id, Owed { incarnation, nonce, from, to, records });
            }
            PoolMessage::ReserveAck { nonce, to, own } => self.reserved(id, nonce, to, own),
            PoolMessage::Heartbeat { nonce, records } => self.heartbeat_heard(id, nonce, records),
            PoolMessage::HeartbeatAck { nonce, records, own } => self.heartbeat_remembered(id, nonce, records, own),
            PoolMessage::Grant { nonce, offset, length } => self.grant_heard(id, nonce, offset, length),
        }
    }

    fn hello(&mut self, id: &LinkId, hello: &SignedHello) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Phase::Greeting(handshake) = &mut link.phase else {
            return self.drop_link(id, "a greeting came within a session");
        };
        match handshake.handle(hello, &self.settings.identity, &mut *self.entropy) {
            Err(refusal) => self.drop_link(id, &refusal.to_string()),
            Ok(progress) => {
                if let Some(reply) = progress.reply {
                    self.send_pool(id, None, PoolMessage::Hello(reply));
                }
                if let Some(agreement) = progress.agreement {
                    self.agreed(id, agreement);
                }
            }
        }
    }

    /// Both ends agree: the session starts, its marks and pool become durable.
    fn agreed(&mut self, id: &LinkId, agreement: Agreement) {
        self.timers.stop(&Timer::Handshake(id.clone()));
        if let Some(why) = &agreement.discarded {
            self.alarm("QKD-2201", id.as_str(), &format!("pool discarded, bootstrapping anew: {why}"));
        }
        self.testimony(id, agreement.testimony.clone());
        let own_certificate =
            self.settings.identity.sign(labels::sign::LINK_CERTIFICATE, &self.certificate_text(id).unwrap_or_default());
        let own_incarnation = self.settings.incarnation;
        let go_on = self.blocks_go_on(id, &agreement);
        if !go_on {
            self.drop_blocks(id);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        let fresh = agreement.resume.is_none();
        let mut again = None;
        match (&agreement.resume, &mut link.pool) {
            (Some(theirs), Some(pool)) => again = pool.resume(theirs, go_on),
            _ => {
                let incarnations = match link.role {
                    Role::Transmitter => [own_incarnation, agreement.peer.incarnation],
                    Role::Receiver => [agreement.peer.incarnation, own_incarnation],
                };
                let (pool, keys, stock) = handshake::bootstrap(&link.plan.psk, &agreement, incarnations);
                let own = link.own_direction();
                link.pool = Some(LinkKeyPool::new(pool, own, keys, stock, &mut *self.entropy));
                (link.marks.pool, link.marks.send_reserved, link.marks.recv_reserved) = (Some(pool), 0, 0);
            }
        }
        link.marks.peer = Some(agreement.peer);
        link.live = true;
        link.phase = Phase::Session { own: agreement.own_nonce, peer: agreement.peer_nonce };
        let session = crypto::sha256(&[&agreement.transcript]);
        link.last_block = BlockId(u64::from(u16::from_be_bytes([session[0], session[1]])) << SESSION_BLOCK_BITS);
        link.certificate = Some(match link.role {
            Role::Transmitter => [own_certificate, agreement.peer_certificate],
            Role::Receiver => [agreement.peer_certificate, own_certificate],
        });
        let records = link.pool_record().into_iter().collect();
        let commit = link.commit_marks(records, &mut self.outbox);
        let secret = crypto::derive(&[], &agreement.secret, labels::derive::LINK_DEVICE, &[], 32);
        self.outbox.act_after(Some(commit), Action::OpenDevice(id.clone(), secret));
        let news = if fresh { "session with a new pool (computational bootstrap)" } else { "session, pool resumed" };
        self.log(Event::Link(id.clone(), news.into()));
        self.resume_blocks(id, again, commit);
        self.session_started(id);
    }

    fn session_started(&mut self, id: &LinkId) {
        self.send_relay(id, RelayMessage::Digest(self.adverts.digest()));
        self.advertise_soon(Duration::ZERO);
        self.ask_reservation(id);
        self.replenish(id);
        self.offer_next(id);
    }

    fn certificate_text(&self, id: &LinkId) -> Option<Vec<u8>> {
        Some(handshake::certificate_text(&self.links.get(id)?.roster))
    }
}
