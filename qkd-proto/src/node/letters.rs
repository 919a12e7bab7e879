//! Letters between two nodes of the network: signed by their author, passed on link by link.

use super::Node;
use super::effect::{Action, Event};
use super::message::{NEIGHBOUR_VERSION, NeighbourMessage};
use crate::codec::{self, Bytes};
use crate::id::{LinkId, NodeId};
use crate::labels;
use crate::relay::letter;
use crate::relay::message::{LETTER_BYTES_MAX, LetterBody, LetterText, ROUTE_LINKS_MAX, RelayMessage};
use crate::relay::route::{self, Demand};

impl Node {
    /// Sends a letter once all that the ledger decided so far is durable. Without a way it is lost:
    /// whoever needs an answer asks again.
    pub(super) fn send_letter(&mut self, to: &NodeId, body: LetterBody) {
        let from = self.settings.id.clone();
        if *to == from {
            return self.letter_body(&from, body);
        }
        let text = LetterText { from, to: to.clone(), incarnation: self.settings.incarnation, body };
        let letter = letter::sign(labels::sign::LETTER, &text, &self.settings.identity);
        let Some(link) = self.way_to(to) else { return };
        let hops_left = ROUTE_LINKS_MAX as u8;
        let message = NeighbourMessage::Relay(RelayMessage::Letter { hops_left, letter: Bytes::from(letter) });
        let bytes = codec::encode(NEIGHBOUR_VERSION, &message);
        self.outbox.act_after(self.last_delivery, Action::SendLink(link, bytes));
    }

    /// A letter came over a link: it is read here, or passed on.
    pub(super) fn letter_passing(&mut self, hops_left: u8, bytes: Vec<u8>) {
        let Ok((text, _)) = letter::peek::<LetterText>(&bytes, LETTER_BYTES_MAX) else {
            return self.log(Event::Alarm("QKD-2302 a letter is malformed".into()));
        };
        if text.to == self.settings.id {
            return self.letter_arrived(&bytes);
        }
        let Some(hops_left) = hops_left.min(ROUTE_LINKS_MAX as u8).checked_sub(1).filter(|&left| left > 0) else {
            return;
        };
        if let Some(link) = self.way_to(&text.to) {
            self.send_relay(&link, RelayMessage::Letter { hops_left, letter: Bytes::from(bytes) });
        }
    }

    fn letter_arrived(&mut self, bytes: &[u8]) {
        let roster = &self.settings.roster;
        match letter::open(labels::sign::LETTER, bytes, LETTER_BYTES_MAX, roster, |text: &LetterText| &text.from) {
            Ok(text) => self.letter_body(&text.from, text.body),
            Err(error) => self.log(Event::Alarm(format!("QKD-2302 a letter is not accepted: {error}"))),
        }
    }

    fn letter_body(&mut self, from: &NodeId, body: LetterBody) {
        match body {
            LetterBody::SessionOffer { session, offer } => self.session_offered(from, session, &offer),
            LetterBody::SessionAnswer { session, answer } => self.session_answered(from, session, &answer),
            LetterBody::SessionUnknown { session, transfer } => self.session_unknown(from, session, transfer),
            LetterBody::HopFailed { transfer, link, reason } => self.transfer_stuck(transfer, link, &reason),
            LetterBody::Confirm { transfer, tag } => self.confirmed(from, transfer, &tag),
            LetterBody::Commit { transfer, tag, session, assign } => {
                self.committed(from, transfer, &tag, session, &assign);
            }
            LetterBody::Abort { transfer, reason } => self.voided_by_origin(from, transfer, &reason),
            LetterBody::AssignAck { transfer } => self.assign_acknowledged(from, transfer),
            LetterBody::Assign { .. } | LetterBody::Purge { .. } | LetterBody::PurgeAck { .. } => {
                self.log(Event::Transfer(format!("{from} speaks of stored runs, which this version does not have")));
            }
        }
    }

    /// The first link towards `to`, over links that carry letters.
    fn way_to(&self, to: &NodeId) -> Option<LinkId> {
        let Self { settings, adverts, .. } = self;
        let down = self.links.values().filter(|link| !link.in_session()).map(|link| link.roster.id.clone());
        let demand = Demand { level_kib: None, avoid: down.collect() };
        let direct = self.links.values().find(|link| link.peer == *to && link.in_session());
        if let Some(link) = direct {
            return Some(link.roster.id.clone());
        }
        route::find(&settings.roster, adverts, &settings.id, to, &demand)?.links.into_iter().next()
    }
}
