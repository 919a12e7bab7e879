//! What the two ends of a polar reconciliation say. In: values. Out: bytes, and values again. Always:
//! decoding is bounded by what a key of this size needs at most.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bits::BitString;
use crate::codec::{self, Bytes};
use crate::distill::abort::AbortReason;

/// Version of the messages.
const VERSION: u8 = 1;

/// Transmitter: what corrects the receiver's frames, one after the other.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SyndromesMessage {
    /// Frozen bits.
    pub(super) frozen: BitString,
    /// Filter hashes, four bytes a frame.
    pub(super) filters: Bytes,
}

/// Receiver: which frames need more frozen bits.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionMessage {
    /// One bit a frame.
    pub(super) failed: BitString,
}

/// Transmitter: the frozen bits that the failed frames' next rung adds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerMessage {
    /// Frozen bits.
    pub(super) frozen: BitString,
}

/// As bytes.
pub(super) fn to_bytes<T: Serialize>(message: &T) -> Vec<u8> {
    codec::encode(VERSION, message)
}

/// From the other end's bytes, about a key of so many bits.
///
/// # Errors
/// [`AbortReason::Malformed`] of `what` if they are too long or no such message.
pub(super) fn from_bytes<T: DeserializeOwned>(bytes: &[u8], key: usize, what: &'static str) -> Result<T, AbortReason> {
    // At most every bit is told; filters take four bytes a frame of 2^12 bits at least.
    codec::decode(VERSION, bytes, key / 4 + 256).map_err(|_| AbortReason::Malformed(what))
}
