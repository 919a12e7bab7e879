//! Adverts. In: what this node publishes, what gossipsub brings. Out: a verdict on each message.
//! Always: the author is a member, and one author takes a bounded share.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::gossipsub::{Message, MessageAcceptance, PublishError};
use qkd_proto::id::NodeId;
use tracing::debug;

use super::behaviour::{self, Gossip};
use super::peers::Peers;

/// Adverts of one author that are heard in a second.
const ADVERTS_PER_SECOND_MAX: u32 = 50;

/// The state of advert traffic.
pub(super) struct Adverts {
    peers: Arc<Peers>,
    heard: HashMap<NodeId, u32>,
    unsent: Option<Vec<u8>>,
}

impl Adverts {
    pub(super) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, heard: HashMap::new(), unsent: None }
    }

    /// Publishes; while no neighbour listens, keeps the newest advert.
    pub(super) fn publish(&mut self, gossip: &mut Gossip, bytes: Vec<u8>) {
        match gossip.publish(behaviour::topic(), bytes.clone()) {
            Ok(_) => self.unsent = None,
            Err(PublishError::NoPeersSubscribedToTopic) => self.unsent = Some(bytes),
            Err(error) => debug!(%error, "Advert not published"),
        }
    }

    /// Publishes what was kept: a neighbour listens now.
    pub(super) fn peer_listens(&mut self, gossip: &mut Gossip) {
        if let Some(bytes) = self.unsent.take() {
            self.publish(gossip, bytes);
        }
    }

    /// Judges a message, and names its author if it is accepted.
    pub(super) fn judge(&mut self, message: &Message) -> (MessageAcceptance, Option<NodeId>) {
        let author = message.source.and_then(|peer| self.peers.node(&peer));
        let Some(author) = author else { return (MessageAcceptance::Reject, None) };
        let heard = self.heard.entry(author.clone()).or_default();
        if *heard >= ADVERTS_PER_SECOND_MAX {
            return (MessageAcceptance::Ignore, None);
        }
        *heard += 1;
        (MessageAcceptance::Accept, Some(author.clone()))
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        self.heard.clear();
    }
}
