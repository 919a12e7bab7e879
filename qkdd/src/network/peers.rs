//! Who is who: the roster's names and keys as libp2p's peers. In: the roster and this node's seed.
//! Out: look-ups both ways. Always: one peer per member, and this node is a member.

use std::collections::HashMap;

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, ed25519};
use qkd_proto::id::NodeId;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{Member, Roster};

/// Why the roster or the identity is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// The seed is not 32 bytes.
    #[error("the identity seed is not an ed25519 seed")]
    Seed,
    /// A member's key is not a point of the curve.
    #[error("the key of member {0} is not an ed25519 key")]
    Key(NodeId),
    /// The roster has no member of this node's name and key.
    #[error("this node, {0}, is not in the roster with the key that it has")]
    NotAMember(NodeId),
}

/// The members, by name and by peer.
#[derive(Debug)]
pub(super) struct Peers {
    nodes: HashMap<PeerId, NodeId>,
    peers: HashMap<NodeId, PeerId>,
}

/// libp2p's form of the identity key.
pub(super) fn keypair(seed: &SecretBytes) -> Result<Keypair, PeersError> {
    // The library wipes the copy that it is given.
    Keypair::ed25519_from_bytes(seed.expose().to_vec()).map_err(|_| PeersError::Seed)
}

fn peer_of(member: &Member) -> Result<PeerId, PeersError> {
    let key = ed25519::PublicKey::try_from_bytes(&member.key.0).map_err(|_| PeersError::Key(member.id.clone()))?;
    Ok(PublicKey::from(key).to_peer_id())
}

impl Peers {
    /// Reads the roster; `node` must be in it with the identity `own`.
    pub(super) fn new(roster: &Roster, node: &NodeId, own: PeerId) -> Result<Self, PeersError> {
        let mut nodes = HashMap::new();
        let mut peers = HashMap::new();
        for member in &roster.nodes {
            let peer = peer_of(member)?;
            nodes.insert(peer, member.id.clone());
            peers.insert(member.id.clone(), peer);
        }
        if peers.get(node) != Some(&own) {
            return Err(PeersError::NotAMember(node.clone()));
        }
        Ok(Self { nodes, peers })
    }

    /// The member behind a peer.
    pub(super) fn node(&self, peer: &PeerId) -> Option<&NodeId> {
        self.nodes.get(peer)
    }

    /// The peer of a member.
    pub(super) fn peer(&self, node: &NodeId) -> Option<PeerId> {
        self.peers.get(node).copied()
    }

    /// All peers.
    pub(super) fn all(&self) -> impl Iterator<Item = &PeerId> {
        self.nodes.keys()
    }
}
