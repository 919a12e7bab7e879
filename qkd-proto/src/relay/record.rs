//! A transfer on disk, at its two ends. Always: it holds masked keys, tags and the seed of the ids,
//! never a session's keys; a finished one is a tombstone without keys.

use serde::{Deserialize, Serialize};

use crate::bits::BitString;
use crate::codec::{self, Bytes, CodecError};
use crate::id::{Incarnation, LinkId, NodeId, SaeId, SessionId, TransferId};
use crate::mac::Tag;
use crate::moment::UnixMillis;
use crate::secret::SecretBytes;

/// Version of the records here.
pub const TRANSFER_RECORD_VERSION: u8 = 1;
/// Largest record, in bytes: 128 local keys of 8,192 bits, and room for the rest.
pub const TRANSFER_RECORD_BYTES_MAX: usize = 256 << 10;

/// This end's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferRole {
    /// It made the bits and decides the outcome.
    Origin,
    /// It received them.
    Target,
    /// Both applications are at this node: nothing was relayed.
    Local,
}

/// How far it is (ETSI GS QKD 020 has the words for outcomes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TransferState {
    /// Durable here; the other end may lack it.
    Pending,
    /// Origin: the target confirmed; it must hear so. Target: not used.
    Committed,
    /// Relayed: both ends hold it and know the applications.
    Relayed,
    /// Failed or voided: no key of it will ever be handed out.
    Voided,
}

/// To whom a run of keys belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// First key.
    pub from: u32,
    /// First key after it.
    pub to: u32,
    /// Gets the keys first.
    pub master: SaeId,
    /// Asks for them by id.
    pub slave: SaeId,
}

/// The durable form of a transfer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRecord {
    /// Which.
    pub id: TransferId,
    /// This end's part.
    pub role: TransferRole,
    /// The other end.
    pub peer: NodeId,
    /// How far.
    pub state: TransferState,
    /// The session that masked it.
    pub session: SessionId,
    /// True if the mask of the session is on the keys.
    pub hybrid: bool,
    /// Routes that it took, one a share.
    pub routes: Vec<Vec<LinkId>>,
    /// Bytes of each key.
    pub key_bytes: u32,
    /// Number of keys.
    pub count: u32,
    /// Keys not yet handed out; an empty one is gone.
    pub keys: Vec<Bytes>,
    /// The target's confirmation.
    pub confirm: Tag,
    /// The origin's commitment.
    pub commit: Tag,
    /// Seed of the key ids.
    pub id_seed: Bytes,
    /// To whom the keys belong.
    pub assignments: Vec<Assignment>,
    /// Keys that the master got.
    pub delivered_master: BitString,
    /// Keys that the slave got.
    pub delivered_slave: BitString,
    /// Run of this node that made the record.
    pub incarnation: Incarnation,
    /// Wall time of its start, for people and expiry.
    pub created: UnixMillis,
}

impl TransferRecord {
    /// Its bytes.
    pub fn encode(&self) -> SecretBytes {
        SecretBytes::new(codec::encode(TRANSFER_RECORD_VERSION, self))
    }

    /// From bytes.
    ///
    /// # Errors
    /// Malformed, or of another version.
    pub fn decode(bytes: &SecretBytes) -> Result<Self, CodecError> {
        codec::decode(TRANSFER_RECORD_VERSION, bytes.expose(), TRANSFER_RECORD_BYTES_MAX)
    }
}
