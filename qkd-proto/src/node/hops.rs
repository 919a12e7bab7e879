//! Frames of transfers pass through: out from under one link's pad, under the next one's. A relay
//! keeps nothing.

use super::Node;
use super::effect::{Event, PadPurpose};
#[cfg(feature = "sim")]
use super::planted::Defect;
use crate::codec;
use crate::id::{LinkId, NodeId};
use crate::mac::ONE_TIME_KEY_BYTES;
use crate::pool::LinkKeyPool;
use crate::relay::hop::{self, HopPlace, TagError};
use crate::relay::message::{
    HopFrame, KEY_BYTES_MAX, LetterBody, LinkState, REASON_CHARS_MAX, ROUTE_LINKS_MAX, RelayMessage,
    TRANSFER_BYTES_MAX, TransferHeader,
};
use crate::relay::route;
use crate::relay::session::CONFIRMATION_PAD_BYTES;
use crate::secret::SecretBytes;

impl Node {
    pub(super) fn relay_message(&mut self, id: &LinkId, message: RelayMessage) {
        if !self.links.get(id).is_some_and(|link| link.in_session()) {
            return;
        }
        match message {
            RelayMessage::Hop(frame) => self.hop(id, &frame),
            RelayMessage::Letter { hops_left, letter } => self.letter_passing(hops_left, letter.into_vec()),
            RelayMessage::Digest(digest) => self.digest_heard(id, &digest),
            RelayMessage::Adverts(adverts) => self.adverts_heard(&adverts),
        }
    }

    /// A frame came in over `id`.
    fn hop(&mut self, id: &LinkId, frame: &HopFrame) {
        let nodes = match self.check_frame(id, frame) {
            Ok(nodes) => nodes,
            Err(why) => return self.log(Event::Link(id.clone(), format!("a relay frame is refused: {why}"))),
        };
        let Some(bits) = self.take_hop(id, frame) else { return };
        // The transmitter makes up for what its neighbour spends, too.
        self.start_block(id);
        let hop = usize::from(frame.hop) + 1;
        if hop + 1 == nodes.len() {
            return self.arrived(frame.header.clone(), bits);
        }
        #[cfg(feature = "sim")]
        let bits = if self.has(Defect::AlterPayloads) { hop::altered(&bits) } else { bits };
        let next = frame.header.route[hop].clone();
        if let Err(why) = self.send_hop(&next, frame.header.clone(), hop, &bits) {
            self.hop_failed(&frame.header, next, &why);
        }
    }

    /// The nodes along the frame's route, if it makes sense and passes here.
    fn check_frame(&self, id: &LinkId, frame: &HopFrame) -> Result<Vec<NodeId>, String> {
        let HopFrame { header, hop, body, .. } = frame;
        let hop = usize::from(*hop);
        let length = u64::from(header.count) * u64::from(header.key_bytes) + CONFIRMATION_PAD_BYTES as u64;
        if header.count == 0 || !(1..=KEY_BYTES_MAX).contains(&header.key_bytes) || length != body.len() as u64 {
            return Err(format!("{} bytes are not {} keys of {}", body.len(), header.count, header.key_bytes));
        }
        if body.len() > TRANSFER_BYTES_MAX + CONFIRMATION_PAD_BYTES || header.route.len() > ROUTE_LINKS_MAX {
            return Err(format!("{} bytes or {} links are over the limit", body.len(), header.route.len()));
        }
        let nodes = route::nodes_along(&self.settings.roster, &header.origin, &header.route).ok_or("no such route")?;
        let here = nodes.get(hop + 1) == Some(&self.settings.id);
        if header.route.get(hop) != Some(id) || !here || nodes.last() != Some(&header.target) {
            return Err("its route does not pass here".into());
        }
        Ok(nodes)
    }

    /// Takes the bits out from under the inbound pad.
    fn take_hop(&mut self, id: &LinkId, frame: &HopFrame) -> Option<SecretBytes> {
        let pool = self.links.get_mut(id)?.pool.as_mut()?;
        match take_from(pool, id, frame) {
            Ok(bits) => Some(bits),
            Err(why) => {
                self.alarm("QKD-2301", id.as_str(), &format!("a relay frame is refused: {why}"));
                self.hop_failed(&frame.header, id.clone(), &why);
                None
            }
        }
    }

    /// Puts the bits under the outbound link's pad and sends them.
    pub(super) fn send_hop(
        &mut self,
        id: &LinkId,
        header: TransferHeader,
        hop: usize,
        bits: &SecretBytes,
    ) -> Result<(), String> {
        let link = self.links.get_mut(id).ok_or("the link is not here")?;
        if link.state() != LinkState::Up {
            return Err("the link is not up".into());
        }
        let pool = link.pool.as_mut().ok_or("the link has no pool")?;
        let length = hop::pad_bytes(bits.len());
        let Some(key) = pool.spend(length) else {
            link.window.want(length);
            self.replenish(id);
            return Err(format!("the link has no {length} bytes of pad to spare"));
        };
        let place = place_of(id, pool, false);
        let offset = key.offset;
        #[cfg(feature = "sim")]
        if self.defects.contains(&Defect::ReusePads) {
            pool.send_mut().plant_rewind(offset);
        }
        link.stats.spent_relay += bits.len() as u64;
        link.stats.spent_auth += ONE_TIME_KEY_BYTES as u64;
        let hop = u8::try_from(hop).map_err(|_| "the route is too long")?;
        let frame = hop::wrap(&place, header, hop, key, bits);
        let leaves = codec::encode(super::message::NEIGHBOUR_VERSION, &frame);
        self.note_use(id, offset, length, PadPurpose::Relay, &leaves);
        self.send_relay(id, RelayMessage::Hop(frame));
        self.replenish(id);
        self.start_block(id);
        Ok(())
    }

    /// Tells the origin that its transfer ends here.
    fn hop_failed(&mut self, header: &TransferHeader, link: LinkId, why: &str) {
        let reason = why.chars().take(REASON_CHARS_MAX).collect();
        let body = LetterBody::HopFailed { transfer: header.transfer, link, reason };
        self.send_letter(&header.origin, body);
    }
}

fn take_from(pool: &mut LinkKeyPool, id: &LinkId, frame: &HopFrame) -> Result<SecretBytes, String> {
    let (place, length) = (place_of(id, pool, true), hop::pad_bytes(frame.body.len()));
    let bits = pool.accept_proven(frame.offset, length, |key| hop::unwrap(&place, frame, key).ok());
    bits.map_err(|error| error.to_string())?.ok_or_else(|| TagError.to_string())
}

fn place_of(id: &LinkId, pool: &LinkKeyPool, inbound: bool) -> HopPlace {
    let own = pool.own_direction();
    HopPlace { link: id.clone(), pool: pool.id(), direction: if inbound { own.opposite() } else { own } }
}
