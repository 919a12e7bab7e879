//! Everything that a neighbour says on a link's two streams of words.

use serde::{Deserialize, Serialize};

use crate::id::BlockId;
use crate::pool::message::PoolMessage;
use crate::relay::message::RelayMessage;

/// Version of messages between neighbours.
pub const NEIGHBOUR_VERSION: u8 = 1;
/// Largest message on a link's pool-and-relay stream, in bytes.
pub const NEIGHBOUR_BYTES_MAX: usize = 64 << 10;

/// Blocks of one link session rise within these bits; above, their numbers tell the sessions apart.
pub const SESSION_BLOCK_BITS: u32 = 32;

/// On the pool-and-relay stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourMessage {
    /// About the link's own bits.
    Pool(PoolMessage),
    /// About carrying keys.
    Relay(RelayMessage),
}

/// The number of what is said out of turn: that a block was given up.
pub const UNNUMBERED: u32 = u32::MAX;
/// Block, number, heard.
const FRAME_HEADER_BYTES: usize = 16;

/// On the distillation stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFrame<'a> {
    /// The block it belongs to.
    pub block: BlockId,
    /// Which message of its sender about this block it is, from 0; or [`UNNUMBERED`].
    pub number: u32,
    /// Messages of the listener about this block that the sender has taken.
    pub heard: u32,
    /// The message itself; empty: the frame confirms only.
    pub words: &'a [u8],
}

impl<'a> BlockFrame<'a> {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + self.words.len());
        bytes.extend_from_slice(&self.block.0.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.heard.to_be_bytes());
        bytes.extend_from_slice(self.words);
        bytes
    }

    /// From bytes; none if they are too few.
    pub fn open(bytes: &'a [u8]) -> Option<Self> {
        let (block, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (heard, words) = rest.split_first_chunk()?;
        let block = BlockId(u64::from_be_bytes(*block));
        Some(Self { block, number: u32::from_be_bytes(*number), heard: u32::from_be_bytes(*heard), words })
    }
}
