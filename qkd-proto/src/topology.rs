//! Who is in the network and which links may exist: the roster, signed by the operator's network
//! key. In: bytes from a file. Out: a checked roster. Always: names and links are unique, every
//! link joins two members.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::codec::{self, Bytes, CodecError};
use crate::crypto::{IdentityKey, PublicKey, Signature};
use crate::id::{LinkId, NodeId};
use crate::labels;

/// Format version of a signed roster.
pub const ROSTER_VERSION: u8 = 1;
/// Largest roster, in bytes: some 10,000 nodes.
pub const ROSTER_BYTES_MAX: usize = 4 << 20;

/// A node that belongs to the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub id: NodeId,
    /// Its identity key.
    pub key: PublicKey,
    /// Where its overlay listens, `host:port`.
    pub address: String,
}

/// A link that may exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterLink {
    /// Its name.
    pub id: LinkId,
    /// The end that emits (ITU-T "QKD-Tx").
    pub transmitter: NodeId,
    /// The end that detects (ITU-T "QKD-Rx").
    pub receiver: NodeId,
}

impl RosterLink {
    /// The other end, if `node` is one.
    pub fn far_end(&self, node: &NodeId) -> Option<&NodeId> {
        if *node == self.transmitter {
            Some(&self.receiver)
        } else if *node == self.receiver {
            Some(&self.transmitter)
        } else {
            None
        }
    }
}

/// The membership of one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// The network's name.
    pub network: String,
    /// Rises with every edition.
    pub sequence: u64,
    /// All members.
    pub nodes: Vec<Member>,
    /// All links.
    pub links: Vec<RosterLink>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedRoster {
    roster: Bytes,
    signature: Signature,
}

/// Why a roster was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Not the bytes of a roster.
    #[error("roster: {0}")]
    Codec(#[from] CodecError),
    /// Signed by another key, or altered.
    #[error("roster: the signature is not by the configured network key")]
    Signature,
    /// Two members or links share a name, or a key.
    #[error("roster: {0} appears twice")]
    Twice(String),
    /// A link that does not join two members.
    #[error("roster: link {0} does not join two different members")]
    Dangling(LinkId),
}

impl Roster {
    /// The member of this name.
    pub fn member(&self, id: &NodeId) -> Option<&Member> {
        self.nodes.iter().find(|member| member.id == *id)
    }

    /// The link of this name.
    pub fn link(&self, id: &LinkId) -> Option<&RosterLink> {
        self.links.iter().find(|link| link.id == *id)
    }

    /// The links that end at `node`.
    pub fn links_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = &'a RosterLink> {
        self.links.iter().filter(move |link| link.far_end(node).is_some())
    }

    /// The signed bytes, for a file.
    pub fn sign(&self, network_key: &IdentityKey) -> Vec<u8> {
        let roster = codec::encode(ROSTER_VERSION, self);
        let signature = network_key.sign(labels::sign::ROSTER, &roster);
        codec::encode(ROSTER_VERSION, &SignedRoster { roster: Bytes::from(roster), signature })
    }

    /// Reads signed bytes.
    ///
    /// # Errors
    /// Malformed, not signed by `network_key`, or contradicting itself.
    pub fn open(bytes: &[u8], network_key: &PublicKey) -> Result<Self, RosterError> {
        let signed: SignedRoster = codec::decode(ROSTER_VERSION, bytes, ROSTER_BYTES_MAX)?;
        if !network_key.verifies(labels::sign::ROSTER, &signed.roster, &signed.signature) {
            return Err(RosterError::Signature);
        }
        let roster: Self = codec::decode(ROSTER_VERSION, &signed.roster, ROSTER_BYTES_MAX)?;
        roster.check()?;
        Ok(roster)
    }

    /// Finds contradictions.
    ///
    /// # Errors
    /// Names the first one.
    pub fn check(&self) -> Result<(), RosterError> {
        let mut keys = BTreeSet::new();
        let mut members = BTreeMap::new();
        for member in &self.nodes {
            if members.insert(&member.id, ()).is_some() || !keys.insert(member.key) {
                return Err(RosterError::Twice(format!("node {} or its key", member.id)));
            }
        }
        let mut names = BTreeSet::new();
        for link in &self.links {
            if !names.insert(&link.id) {
                return Err(RosterError::Twice(format!("link {}", link.id)));
            }
            let both = members.contains_key(&link.transmitter) && members.contains_key(&link.receiver);
            if !both || link.transmitter == link.receiver {
                return Err(RosterError::Dangling(link.id.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    fn key(seed: u8) -> IdentityKey {
        IdentityKey::from_seed(&SecretBytes::new(vec![seed; 32]))
    }

    fn member(name: &str, seed: u8) -> Member {
        Member { id: name.parse().expect("a name"), key: key(seed).public(), address: "127.0.0.1:1".into() }
    }

    fn roster() -> Roster {
        let (a, b) = (member("a", 1), member("b", 2));
        let link = RosterLink { id: "a-b".parse().expect("a name"), transmitter: a.id.clone(), receiver: b.id.clone() };
        Roster { network: "test".into(), sequence: 1, nodes: vec![a, b], links: vec![link] }
    }

    #[test]
    fn a_signed_roster_opens_with_the_network_key_only() {
        let bytes = roster().sign(&key(9));
        assert_eq!(Roster::open(&bytes, &key(9).public()), Ok(roster()));
        assert_eq!(Roster::open(&bytes, &key(8).public()), Err(RosterError::Signature));
        assert!(matches!(Roster::open(&bytes[..20], &key(9).public()), Err(RosterError::Codec(_))));
    }

    #[test]
    fn contradictions_are_named() {
        let mut twice = roster();
        twice.nodes.push(member("a", 3));
        assert!(matches!(twice.check(), Err(RosterError::Twice(_))));
        let mut dangling = roster();
        dangling.links[0].receiver = "c".parse().expect("a name");
        assert_eq!(dangling.check(), Err(RosterError::Dangling("a-b".parse().expect("a name"))));
    }
}
