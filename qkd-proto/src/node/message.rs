//! Everything that a neighbour says on a link's two streams of words.

use serde::{Deserialize, Serialize};

use crate::id::BlockId;
use crate::pool::message::PoolMessage;
use crate::relay::message::RelayMessage;

/// Version of messages between neighbours.
pub const NEIGHBOUR_VERSION: u8 = 1;
/// Largest message on a link's pool-and-relay stream, in bytes.
pub const NEIGHBOUR_BYTES_MAX: usize = 64 << 10;

/// On the pool-and-relay stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourMessage {
    /// About the link's own bits.
    Pool(PoolMessage),
    /// About carrying keys.
    Relay(RelayMessage),
}

/// On the distillation stream: the block it belongs to goes in front of the words themselves.
pub fn frame_block(block: BlockId, words: &[u8]) -> Vec<u8> {
    [block.0.to_be_bytes().as_slice(), words].concat()
}

/// The block and the words.
pub fn open_block(mut bytes: Vec<u8>) -> Option<(BlockId, Vec<u8>)> {
    let block = u64::from_be_bytes(*bytes.first_chunk()?);
    bytes.drain(..8);
    Some((BlockId(block), bytes))
}
