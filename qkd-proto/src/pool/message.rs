//! What the two ends of a link say about their pool.

use serde::{Deserialize, Serialize};

use super::record::PeerMemory;
use crate::codec::Bytes;
use crate::crypto::Signature;
use crate::hybrid::{HybridAnswer, HybridOffer};
use crate::id::{BlockId, BootId, DataDirId, Incarnation, LinkId, NodeId, Nonce, PoolId, StoreSequence};

/// A handshake message with its sender's signature over the bytes of a [`HelloText`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHello {
    /// Encoded [`HelloText`].
    pub text: Bytes,
    /// By the sender's identity key.
    pub signature: Signature,
}

/// What a handshake message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelloText {
    /// The link.
    pub link: LinkId,
    /// Who speaks.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// The speaker's run number.
    pub incarnation: Incarnation,
    /// The speaker's process.
    pub boot: BootId,
    /// The speaker's data directory.
    pub data_dir: DataDirId,
    /// Fresh; names the speaker's half of this link session.
    pub nonce: Nonce,
    /// The message that this one answers.
    pub answers: Option<Bytes>,
    /// The speaker's half of the link certificate.
    pub certificate: Signature,
    /// Sequence of the speaker's store.
    pub store_sequence: StoreSequence,
    /// What the speaker remembers of the listener.
    pub remembers: Option<PeerMemory>,
    /// The speaker's memory is sure: its process was in a session with the listener before, or something
    /// vouches that its store is no older copy.
    pub vouches: bool,
    /// The pool that the speaker would resume; none asks for a new one.
    pub resume: Option<Resume>,
    /// The key exchange of this message.
    pub exchange: Exchange,
}

/// How far a node's durable records are: a node that ever says less than it said was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequences {
    /// Of the link's marks.
    pub marks: u64,
    /// Of the whole store.
    pub store: StoreSequence,
}

/// A step of the key exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exchange {
    /// First message.
    Offer(HybridOffer),
    /// Second message.
    Answer(HybridAnswer),
    /// Third message.
    Done,
}

/// One end's state of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Which pool.
    pub pool: PoolId,
    /// Sequence of the speaker's marks.
    pub mark_sequence: u64,
    /// Reserved in the speaker's own direction.
    pub send_reserved: u64,
    /// Recorded here as reserved by the listener.
    pub recv_reserved: u64,
    /// The speaker will not accept bytes below this.
    pub recv_floor: u64,
    /// Blocks held, forward and reverse.
    pub held: [u64; 2],
    /// Holes, forward and reverse.
    pub holes: [Vec<(u64, u64)>; 2],
}

/// Where the blocks of a distilled key go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepositOffer {
    /// Whose key.
    pub block: BlockId,
    /// The block whose left-over bytes come first.
    pub prior: Option<BlockId>,
    /// The deposit's first bytes become hash keys of this generation.
    pub hash_keys: Option<u32>,
    /// First index, forward and reverse.
    pub first: [u64; 2],
    /// Number of blocks, forward and reverse.
    pub count: [u32; 2],
}

/// What a neighbour says about the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolMessage {
    /// Handshake, first to third message.
    Hello(SignedHello),
    /// Transmitter: a block begins.
    BlockStart {
        /// Its number.
        block: BlockId,
        /// The generation of hash keys of its tags.
        hash_keys: u32,
    },
    /// Either end, after a lost connection: it goes on with a block of the session before.
    BlockResume {
        /// Its number.
        block: BlockId,
        /// Messages of the listener on the distillation stream that the speaker has taken.
        heard: u32,
    },
    /// Transmitter: the blocks are durable here.
    BlockOffer(DepositOffer),
    /// Receiver: here too.
    BlockAck(DepositOffer),
    /// Receiver: they never will be; both make them holes.
    BlockNak(DepositOffer),
    /// Sender of a direction: reserve `from` to `to`; durable at the speaker already.
    Reserve {
        /// The speaker's run number.
        incarnation: Incarnation,
        /// The speaker's half of the link session.
        nonce: Nonce,
        /// What the listener has recorded.
        from: u64,
        /// What it shall record.
        to: u64,
        /// How far the speaker's own records are.
        records: Sequences,
    },
    /// Receiver of a direction: durable here too.
    ReserveAck {
        /// From the request.
        nonce: Nonce,
        /// What is recorded.
        to: u64,
        /// How far the speaker's own records are; the listener remembers it.
        own: Sequences,
    },
    /// Either end: how far its records are; the listener remembers it.
    Heartbeat {
        /// The speaker's half of the link session.
        nonce: Nonce,
        /// How far.
        records: Sequences,
    },
    /// The listener: remembered, durably.
    HeartbeatAck {
        /// From the heartbeat.
        nonce: Nonce,
        /// How far.
        records: Sequences,
        /// How far the speaker's own records are; the listener remembers it.
        own: Sequences,
    },
    /// Owner: these own bytes were reserved, acknowledged and are given away.
    Grant {
        /// The owner's half of the link session.
        nonce: Nonce,
        /// First byte in the owner's direction.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
}
