//! What of a pool is on disk. Always: every record starts with its version; pad blocks lie there in the boxes of
//! their chain, whose heads stand in the marks alone.

use serde::{Deserialize, Serialize};

use super::Direction;
use super::chain::PadChain;
use super::hash_keys::{Generation, HashKeys};
use crate::codec::{self, Bytes, CodecError};
use crate::id::{BootId, DataDirId, Incarnation, LinkId, PoolId, StoreSequence};
use crate::mac::HASH_KEY_BYTES;
use crate::secret::SecretBytes;

/// Version of the records here.
pub const POOL_RECORD_VERSION: u8 = 3;
/// Version of marks before pads lay under chains.
const EARLIER_MARKS_VERSION: u8 = 2;
/// Largest record, in bytes.
pub const POOL_RECORD_BYTES_MAX: usize = 64 << 10;
/// Holes that a direction may have; beyond, the pool is made anew.
pub const HOLES_MAX: usize = 256;
/// Blocks that one end may be ahead of the other; beyond, it is not telling the truth.
pub const BLOCKS_AHEAD_MAX: u64 = RING_SLOTS;
/// Highest index of a block: offsets stay far below the limit of their type.
pub const BLOCK_INDEX_MAX: u64 = 1 << 48;
/// Slots of the ring of pad blocks, per link and direction: 256 MiB.
pub const RING_SLOTS: u64 = 1 << 16;

/// One direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideRecord {
    /// Blocks held so far.
    pub held: u64,
    /// Blocks that one end lost.
    pub holes: Vec<(u64, u64)>,
    /// Blocks below this have no box any more.
    pub purged: u64,
}

/// One generation of hash keys, forward and reverse.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashKeysRecord {
    generation: u32,
    keys: [Bytes; 2],
}

impl HashKeysRecord {
    fn new(generation: &Generation) -> Self {
        let keys = [0, 1].map(|side| Bytes::from(generation.keys[side].expose().to_vec()));
        Self { generation: generation.number, keys }
    }

    fn into_generation(self) -> Generation {
        let keys = self.keys.map(|key| SecretBytes::new(key.into_vec()));
        Generation { number: self.generation, keys }
    }
}

/// A pool, without its pad blocks.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRecord {
    pool: PoolId,
    hash_keys: HashKeysRecord,
    previous: Option<HashKeysRecord>,
    /// Tags under the hash keys so far.
    tags: u64,
    sides: [SideRecord; 2],
}

impl PoolRecord {
    pub(super) fn new(
        pool: PoolId,
        (current, previous, tags): (&Generation, Option<&Generation>, u64),
        sides: [SideRecord; 2],
    ) -> Self {
        let (hash_keys, previous) = (HashKeysRecord::new(current), previous.map(HashKeysRecord::new));
        Self { pool, hash_keys, previous, tags, sides }
    }

    /// Which pool.
    pub fn pool(&self) -> PoolId {
        self.pool
    }

    pub(super) fn into_parts(self) -> (PoolId, HashKeys, [SideRecord; 2]) {
        let previous = self.previous.map(HashKeysRecord::into_generation);
        (self.pool, HashKeys::restore(self.hash_keys.into_generation(), previous, self.tags), self.sides)
    }

    /// Its bytes.
    pub fn encode(&self) -> SecretBytes {
        SecretBytes::new(codec::encode(POOL_RECORD_VERSION, self))
    }

    /// From bytes.
    ///
    /// # Errors
    /// Malformed, or of another version.
    pub fn decode(bytes: &SecretBytes) -> Result<Self, CodecError> {
        let record: Self = codec::decode(POOL_RECORD_VERSION, bytes.expose(), POOL_RECORD_BYTES_MAX)?;
        let wrong = |record: &HashKeysRecord| record.keys.iter().any(|key| key.len() != HASH_KEY_BYTES);
        if wrong(&record.hash_keys) || record.previous.as_ref().is_some_and(wrong) {
            return Err(CodecError::Malformed("a hash key has another length".into()));
        }
        Ok(record)
    }
}

/// What this end remembers of the neighbour, to notice that it was rolled back or cloned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerMemory {
    /// Its data directory.
    pub data_dir: DataDirId,
    /// Its highest run number.
    pub incarnation: Incarnation,
    /// That run's process.
    pub boot: BootId,
    /// Highest sequence of its marks.
    pub mark_sequence: u64,
    /// Highest sequence of its store.
    pub store_sequence: StoreSequence,
}

/// High-water marks of a link, at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarksRecord {
    /// The pool they belong to.
    pub pool: Option<PoolId>,
    /// Rises with every write.
    pub sequence: u64,
    /// Own direction: bytes below were used or are burnt. While the node runs, all that is reserved; after a
    /// clean stop, exactly what was used.
    pub send_next: u64,
    /// Own direction: bytes below may be in use.
    pub send_reserved: u64,
    /// Neighbour's direction: as `send_next`.
    pub recv_next: u64,
    /// Neighbour's direction: bytes below may be in use.
    pub recv_reserved: u64,
    /// What this end remembers of the neighbour.
    pub peer: Option<PeerMemory>,
}

/// A stretch of a pad chain, from the first block whose key is known.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SegmentRecord {
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) head: Bytes,
}

/// Marks as version 2 had them. Their pool's pads lay in another form, and are lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierMarks {
    #[serde(rename = "pool")]
    _pool: Option<PoolId>,
    sequence: u64,
    #[serde(rename = "send_reserved")]
    _send_reserved: u64,
    #[serde(rename = "recv_reserved")]
    _recv_reserved: u64,
    peer: Option<EarlierPeer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EarlierPeer {
    data_dir: DataDirId,
    incarnation: Incarnation,
    boot: BootId,
    mark_sequence: u64,
    #[serde(rename = "ledger_sequence")]
    _ledger_sequence: u64,
}

impl From<EarlierMarks> for MarksRecord {
    fn from(earlier: EarlierMarks) -> Self {
        let peer = earlier.peer.map(|peer| PeerMemory {
            data_dir: peer.data_dir,
            incarnation: peer.incarnation,
            boot: peer.boot,
            mark_sequence: peer.mark_sequence,
            // It counted something else.
            store_sequence: StoreSequence(0),
        });
        Self { sequence: earlier.sequence, peer, ..Self::default() }
    }
}

/// Marks with the heads of the pad chains, forward and reverse.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarksWithChains {
    marks: MarksRecord,
    chains: [Vec<SegmentRecord>; 2],
}

impl MarksRecord {
    /// What a crash leaves of it: what is reserved is burnt.
    pub fn running(self) -> Self {
        Self { send_next: self.send_reserved, recv_next: self.recv_reserved, ..self }
    }

    /// Its bytes, with the chains'.
    pub fn encode(&self, chains: &[PadChain; 2]) -> SecretBytes {
        let with = MarksWithChains { marks: *self, chains: [chains[0].record(), chains[1].record()] };
        SecretBytes::new(codec::encode(POOL_RECORD_VERSION, &with))
    }

    /// From bytes: marks and chains.
    ///
    /// # Errors
    /// Malformed, or of another version.
    pub fn decode(bytes: &SecretBytes) -> Result<(Self, [PadChain; 2]), CodecError> {
        if bytes.expose().first() == Some(&EARLIER_MARKS_VERSION) {
            let earlier: EarlierMarks = codec::decode(EARLIER_MARKS_VERSION, bytes.expose(), POOL_RECORD_BYTES_MAX)?;
            return Ok((earlier.into(), Default::default()));
        }
        let MarksWithChains { marks, chains: [forward, reverse] } =
            codec::decode(POOL_RECORD_VERSION, bytes.expose(), POOL_RECORD_BYTES_MAX)?;
        let contradicts = || CodecError::Malformed("a chain or mark contradicts itself".into());
        let chains = PadChain::restore(forward).zip(PadChain::restore(reverse)).ok_or_else(contradicts)?;
        let ordered = marks.send_next <= marks.send_reserved && marks.recv_next <= marks.recv_reserved;
        if ordered { Ok((marks, chains.into())) } else { Err(contradicts()) }
    }
}

/// The key of a pad block's slot.
pub fn pad_key(link: &LinkId, direction: Direction, index: u64) -> Vec<u8> {
    let slot = (index % RING_SLOTS) * 2 + direction.index() as u64;
    [link.as_str().as_bytes(), &[0], &slot.to_be_bytes()].concat()
}
