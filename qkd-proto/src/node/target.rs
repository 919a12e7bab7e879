//! The target's side of transfers: it holds what arrives, confirms it, and waits for the origin's
//! word as long as it takes.

use std::time::Duration;

use super::effect::Event;
use super::timers::Timer;
use super::{Node, SESSIONS_PER_ORIGIN};
use crate::hybrid::{self, HybridOffer};
use crate::id::{NodeId, SessionId, TransferId};
use crate::mac::Tag;
use crate::relay::message::{LetterBody, TransferHeader};
use crate::relay::record::{TransferRole, TransferState};
use crate::relay::session::EndSession;
use crate::relay::transfer::Transfer;
use crate::secret::SecretBytes;

/// An unanswered confirmation is repeated after this long, then less often.
const CONFIRM_RETRY: Duration = Duration::from_millis(300);
const CONFIRM_RETRY_MAX: Duration = Duration::from_secs(10);
/// Transfers kept at most; beyond, new ones are not taken.
const TRANSFERS_MAX: usize = 100_000;
/// Transfers of one origin that wait for its word, at most: a relay that makes some up fills no memory.
const OPEN_PER_ORIGIN_MAX: usize = 256;

impl Node {
    pub(super) fn session_offered(&mut self, from: &NodeId, session: SessionId, offer: &HybridOffer) {
        if self.locked {
            return;
        }
        let known = self.in_sessions.entry(from.clone()).or_default();
        if let Some((_, _, answer)) = known.iter().find(|(id, ..)| *id == session) {
            // The first answer was lost. Another one would make another secret.
            let answer = answer.clone();
            return self.send_letter(from, LetterBody::SessionAnswer { session, answer });
        }
        match hybrid::answer(offer, &mut *self.entropy) {
            Err(error) => self.log(Event::Transfer(format!("session of {from}: {error}"))),
            Ok((answer, secret)) => {
                if known.len() == SESSIONS_PER_ORIGIN {
                    known.remove(0);
                }
                let keys = EndSession::new(session, from, &self.settings.id, &secret);
                known.push((session, keys, answer.clone()));
                self.send_letter(from, LetterBody::SessionAnswer { session, answer });
            }
        }
    }

    /// Ends a session of `origin`; it makes a new one when it needs one.
    pub(super) fn end_in_session(&mut self, origin: &NodeId, session: SessionId) {
        if let Some(known) = self.in_sessions.get_mut(origin) {
            known.retain(|(id, ..)| *id != session);
        }
    }

    fn in_session_of(&self, origin: &NodeId, session: SessionId) -> Option<&EndSession> {
        self.in_sessions.get(origin)?.iter().find(|(id, ..)| *id == session).map(|(_, session, _)| session)
    }

    /// The bits of a transfer are here.
    pub(super) fn arrived(&mut self, header: TransferHeader, bits: SecretBytes) {
        let (id, origin, session) = (header.transfer, header.origin.clone(), header.session);
        if self.transfers.contains_key(&id)
            || self.delivery_poisoned
            || self.locked
            || self.transfers.len() >= TRANSFERS_MAX
        {
            return;
        }
        let open = |transfer: &&Transfer| transfer.peer() == &origin && transfer.state() == TransferState::Pending;
        if self.transfers.values().filter(open).count() >= OPEN_PER_ORIGIN_MAX {
            return self.log(Event::Transfer(format!("{origin} has {OPEN_PER_ORIGIN_MAX} open transfers: no more")));
        }
        let Some(keys) = self.in_session_of(&origin, session) else {
            return self.send_letter(&origin, LetterBody::SessionUnknown { session, transfer: id });
        };
        let (run, wall) = (self.settings.incarnation, self.now.wall);
        let transfer = Transfer::relayed(TransferRole::Target, &header, keys, bits, run, wall);
        self.keep(transfer);
        self.commit_transfer(id);
        self.confirm(id);
    }

    /// Tells the origin that the bits are durable here; again until it answers.
    pub(super) fn confirm(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        let age = self.now.wall.0.saturating_sub(transfer.created().0);
        let retry = Duration::from_millis(age / 2).clamp(CONFIRM_RETRY, CONFIRM_RETRY_MAX);
        let (origin, tag) = (transfer.peer().clone(), transfer.confirm_tag());
        self.timers.set(Timer::Transfer(id), self.now.moment + retry);
        self.send_letter(&origin, LetterBody::Confirm { transfer: id, tag });
    }

    /// The origin says that the keys count.
    pub(super) fn committed(&mut self, from: &NodeId, id: TransferId, tag: &Tag, session: SessionId, sealed: &[u8]) {
        let target = |transfer: &&Transfer| transfer.peer() == from && transfer.role() == TransferRole::Target;
        let Some(state) = self.transfers.get(&id).filter(target).map(Transfer::state) else { return };
        if state == TransferState::Relayed {
            return self.send_letter(from, LetterBody::AssignAck { transfer: id });
        }
        let Some(keys) = self.in_session_of(from, session) else {
            return self.send_letter(from, LetterBody::SessionUnknown { session, transfer: id });
        };
        let assign = keys.open(id, sealed);
        if let Some(assign) = &assign
            && self.directory.is_claimed_by_another(&assign.master, from)
        {
            let text = format!("{from} speaks for SAE {}, which is another node's", assign.master);
            return self.alarm("QKD-2304", from.as_str(), &text);
        }
        let transfer = self.transfers.get_mut(&id);
        let news = transfer.zip(assign).is_some_and(|(transfer, assign)| transfer.committed(tag, assign));
        if !news {
            return self.log(Event::Transfer(format!("a commitment of {from} to {id:?} is not genuine")));
        }
        self.timers.stop(&Timer::Transfer(id));
        self.commit_transfer(id);
        self.send_letter(from, LetterBody::AssignAck { transfer: id });
    }

    /// The origin says that the keys do not count.
    pub(super) fn voided_by_origin(&mut self, from: &NodeId, id: TransferId, reason: &str) {
        let target = |transfer: &&mut Transfer| transfer.peer() == from && transfer.role() == TransferRole::Target;
        if !self.transfers.get_mut(&id).filter(target).is_some_and(Transfer::void) {
            return;
        }
        self.timers.stop(&Timer::Transfer(id));
        self.commit_transfer(id);
        self.log(Event::Transfer(format!("transfer {id:?} voided by its origin: {reason}")));
    }
}
