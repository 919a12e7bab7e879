//! What nodes say to carry keys: frames between neighbours, letters between end nodes, adverts to
//! all. Versions are in front of every signed text.

use serde::{Deserialize, Serialize};

use crate::codec::Bytes;
use crate::crypto::Signature;
use crate::hybrid::{HybridAnswer, HybridOffer};
use crate::id::{Incarnation, LinkId, NodeId, SaeId, SessionId, TransferId};
use crate::mac::Tag;

/// Version of signed texts here.
pub const RELAY_VERSION: u8 = 1;
/// Longest route, in links.
pub const ROUTE_LINKS_MAX: usize = 16;
/// Most bytes of end-to-end bits in one transfer.
pub const TRANSFER_BYTES_MAX: usize = 16 << 10;
/// Largest letter, in bytes.
pub const LETTER_BYTES_MAX: usize = 8 << 10;
/// Largest advert, in bytes: 60 links.
pub const ADVERT_BYTES_MAX: usize = 16 << 10;
/// Highest level that an advert may tell.
pub const LEVEL_MAX: u8 = 15;
/// Highest rate that an advert may tell.
pub const RATE_MAX: u8 = 31;
/// Longest key of a transfer, in bytes.
pub const KEY_BYTES_MAX: u32 = 1024;
/// Longest reason that a peer may give, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Words about relaying on a link's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayMessage {
    /// End-to-end bits under this link's pad.
    Hop(HopFrame),
    /// A letter on its way; each node passes it one link on.
    Letter {
        /// Links that it may still cross.
        hops_left: u8,
        /// Encoded [`SignedText`] of a [`LetterText`].
        letter: Bytes,
    },
    /// Which adverts the speaker has: origin, run, sequence.
    Digest(Vec<(NodeId, Incarnation, u64)>),
    /// Adverts that the listener lacks.
    Adverts(Vec<Bytes>),
}

/// What every hop of a transfer says in the clear, authenticated per hop and, by the confirmation,
/// end to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferHeader {
    /// Which transfer.
    pub transfer: TransferId,
    /// The end-to-end session that will mask its keys.
    pub session: SessionId,
    /// Where it starts.
    pub origin: NodeId,
    /// Where it ends.
    pub target: NodeId,
    /// The whole route, origin first.
    pub route: Vec<LinkId>,
    /// Number of keys.
    pub count: u32,
    /// Bytes of each.
    pub key_bytes: u32,
}

/// One hop of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HopFrame {
    /// The same on every hop.
    pub header: TransferHeader,
    /// Place of this link in the route.
    pub hop: u8,
    /// First pad byte, in the sender's direction.
    pub offset: u64,
    /// The bits, under the pad.
    pub body: Bytes,
    /// One-time tag over all of it.
    pub tag: Tag,
}

/// A text with its author's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// The signed bytes.
    pub text: Bytes,
    /// By the author's identity key.
    pub signature: Signature,
}

/// What one node tells another, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterText {
    /// Its author.
    pub from: NodeId,
    /// Its reader.
    pub to: NodeId,
    /// The author's run number.
    pub incarnation: Incarnation,
    /// What it says.
    pub body: LetterBody,
}

/// What a letter says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LetterBody {
    /// Origin: let us have a session.
    SessionOffer {
        /// Its name.
        session: SessionId,
        /// The key exchange.
        offer: HybridOffer,
    },
    /// Target: agreed.
    SessionAnswer {
        /// Its name.
        session: SessionId,
        /// The key exchange.
        answer: HybridAnswer,
    },
    /// Target: this session is not known (any more).
    SessionUnknown {
        /// Its name.
        session: SessionId,
        /// The transfer that needed it.
        transfer: TransferId,
    },
    /// Relay: the transfer ends here. Advice to the origin, no more.
    HopFailed {
        /// Which transfer.
        transfer: TransferId,
        /// The link that could not carry it.
        link: LinkId,
        /// Why.
        reason: String,
    },
    /// Target: the bits are durable here; the tag tells whether they are the origin's.
    Confirm {
        /// Which transfer.
        transfer: TransferId,
        /// Keyed by the session, under 16 extra relayed bytes.
        tag: Tag,
    },
    /// Origin: the keys count, and belong to these applications.
    Commit {
        /// Which transfer.
        transfer: TransferId,
        /// Keyed by the session.
        tag: Tag,
        /// The session that seals `assign`.
        session: SessionId,
        /// Sealed [`AssignText`].
        assign: Bytes,
    },
    /// Origin: the keys do not count.
    Abort {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: String,
    },
    /// Origin: further keys of a stored run belong to these applications.
    Assign {
        /// Which transfer.
        transfer: TransferId,
        /// The session that seals `assign`.
        session: SessionId,
        /// Sealed [`AssignText`].
        assign: Bytes,
    },
    /// Target: the assignment is durable here.
    AssignAck {
        /// Which transfer.
        transfer: TransferId,
    },
    /// Origin: keys never assigned are given up.
    Purge {
        /// Which transfer.
        transfer: TransferId,
    },
    /// Target: they are gone here too.
    PurgeAck {
        /// Which transfer.
        transfer: TransferId,
    },
}

/// To whom a run of keys belongs (ITU-T Q.4163 "key supply notification").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignText {
    /// First key of the run.
    pub from: u32,
    /// First key after it.
    pub to: u32,
    /// Gets the keys first.
    pub master: SaeId,
    /// Asks for them by id.
    pub slave: SaeId,
}

/// What a node says of itself to all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertText {
    /// Who.
    pub origin: NodeId,
    /// Its run number.
    pub incarnation: Incarnation,
    /// Rises within the run.
    pub sequence: u64,
    /// Its end of each of its links.
    pub links: Vec<AdvertLink>,
}

/// One end's state of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvertLink {
    /// Which link.
    pub link: LinkId,
    /// The link certificate: both ends' signatures, transmitter first.
    pub certificate: Option<[Signature; 2]>,
    /// What this end allows.
    pub state: LinkState,
    /// log2 of the KiB that this end may send under, 0 to 15.
    pub level: u8,
    /// log2 of the secret bits per second, 0 to 31.
    pub rate: u8,
    /// QBER of the last block, in per mille.
    pub qber_per_mille: u16,
}

/// What one end of a link allows; the weaker end counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LinkState {
    /// Nothing.
    Down,
    /// Letters, but no key: no pad yet, or in quarantine.
    Talk,
    /// Letters and key.
    Up,
}

/// The SAEs of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaesText {
    /// Which node.
    pub node: NodeId,
    /// Its run number.
    pub incarnation: Incarnation,
    /// Rises within the run.
    pub sequence: u64,
    /// Who is enrolled there.
    pub saes: Vec<SaeId>,
}
