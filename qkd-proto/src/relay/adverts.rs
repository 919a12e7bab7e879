//! What all nodes say of their links: the newest advert of each. In: signed adverts by gossip or
//! from a neighbour. Out: the links that both ends allow, for routing. Always: order is by run and
//! sequence, never by a clock; a node speaks for its own ends only; a link without a certificate of
//! both ends does not exist.

use std::collections::BTreeMap;

use super::letter::{self, LetterError};
use super::message::{ADVERT_BYTES_MAX, AdvertLink, AdvertText, LEVEL_MAX, LinkState, RATE_MAX};
use crate::crypto::Signature;
use crate::id::{Incarnation, LinkId, NodeId};
use crate::labels;
use crate::pool::handshake::certificate_text;
use crate::topology::Roster;

struct Entry {
    text: AdvertText,
    bytes: Vec<u8>,
}

/// The newest advert of every node.
#[derive(Default)]
pub struct AdvertBook {
    entries: BTreeMap<NodeId, Entry>,
    certified: BTreeMap<LinkId, [Signature; 2]>,
}

/// Why an advert was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertError {
    /// Malformed, by a stranger, or not signed by its origin.
    #[error("advert: {0}")]
    Letter(#[from] LetterError),
    /// It speaks of a link that the roster does not give to its origin.
    #[error("advert: {origin} speaks of link {link}, which is not its own")]
    NotOwn {
        /// Who.
        origin: NodeId,
        /// Of what.
        link: LinkId,
    },
    /// A level or a rate that no number of bits has.
    #[error("advert: the level or rate of link {0} is out of range")]
    Range(LinkId),
    /// A link certificate that one of the ends did not sign.
    #[error("advert: the certificate of link {0} is not by both ends")]
    Certificate(LinkId),
}

impl AdvertBook {
    /// Takes an advert; true if it was news. Stale ones cost no signature check.
    ///
    /// # Errors
    /// If it breaks a rule: tell whoever passed it on.
    pub fn take(&mut self, bytes: &[u8], roster: &Roster) -> Result<bool, AdvertError> {
        let (text, _) = letter::peek::<AdvertText>(bytes, ADVERT_BYTES_MAX)?;
        if !self.is_newer(&text.origin, text.incarnation, text.sequence) {
            return Ok(false);
        }
        let text: AdvertText =
            letter::open(labels::sign::ADVERT, bytes, ADVERT_BYTES_MAX, roster, |text: &AdvertText| &text.origin)?;
        for link in &text.links {
            self.check_link(&text.origin, link, roster)?;
        }
        self.entries.insert(text.origin.clone(), Entry { text, bytes: bytes.to_vec() });
        Ok(true)
    }

    /// Whose adverts are here, and how new they are.
    pub fn digest(&self) -> Vec<(NodeId, Incarnation, u64)> {
        self.entries
            .values()
            .map(|entry| (entry.text.origin.clone(), entry.text.incarnation, entry.text.sequence))
            .collect()
    }

    /// The adverts that are newer here than in `digest`, at most `bytes_max` together; and whether
    /// `digest` has something newer.
    pub fn missing_in(&self, digest: &[(NodeId, Incarnation, u64)], bytes_max: usize) -> (Vec<&[u8]>, bool) {
        let theirs: BTreeMap<_, _> = digest.iter().map(|(node, run, sequence)| (node, (*run, *sequence))).collect();
        let mut size = 0;
        let lacks = |entry: &&Entry| {
            theirs.get(&entry.text.origin).is_none_or(|&seen| seen < (entry.text.incarnation, entry.text.sequence))
        };
        let fits = |bytes: &&[u8]| {
            size += bytes.len();
            size <= bytes_max
        };
        let adverts =
            self.entries.values().filter(lacks).map(|entry| entry.bytes.as_slice()).take_while(fits).collect();
        let behind = digest.iter().any(|(node, run, sequence)| self.is_newer(node, *run, *sequence));
        (adverts, behind)
    }

    /// Nodes that have spoken.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.entries.keys()
    }

    /// What `node` says of `link`.
    pub fn end(&self, node: &NodeId, link: &LinkId) -> Option<&AdvertLink> {
        self.entries.get(node)?.text.links.iter().find(|end| end.link == *link)
    }

    /// What both ends of a link allow.
    pub fn state(&self, link: &LinkId, ends: [&NodeId; 2]) -> LinkState {
        let state = |node| self.end(node, link).filter(|end| end.certificate.is_some()).map(|end| end.state);
        match ends.map(state) {
            [Some(a), Some(b)] => a.min(b),
            _ => LinkState::Down,
        }
    }

    fn is_newer(&self, origin: &NodeId, incarnation: Incarnation, sequence: u64) -> bool {
        let known = self.entries.get(origin).map(|entry| (entry.text.incarnation, entry.text.sequence));
        known.is_none_or(|known| (incarnation, sequence) > known)
    }

    fn check_link(&mut self, origin: &NodeId, end: &AdvertLink, roster: &Roster) -> Result<(), AdvertError> {
        let not_own = || AdvertError::NotOwn { origin: origin.clone(), link: end.link.clone() };
        let link = roster.link(&end.link).filter(|link| link.far_end(origin).is_some()).ok_or_else(not_own)?;
        if end.level > LEVEL_MAX || end.rate > RATE_MAX {
            return Err(AdvertError::Range(link.id.clone()));
        }
        let Some(certificate) = end.certificate else { return Ok(()) };
        if self.certified.get(&link.id) == Some(&certificate) {
            return Ok(());
        }
        let text = certificate_text(link);
        let signed = [&link.transmitter, &link.receiver].into_iter().zip(&certificate).all(|(node, signature)| {
            let key = roster.member(node).map(|member| member.key);
            key.is_some_and(|key| key.verifies(labels::sign::LINK_CERTIFICATE, &text, signature))
        });
        if !signed {
            return Err(AdvertError::Certificate(link.id.clone()));
        }
        self.certified.insert(link.id.clone(), certificate);
        Ok(())
    }
}
