//! What the two ends say about a block. In: values of a session. Out: bytes, and values again.
//! Always: decoding is bounded by [`BLOCK_MESSAGE_BYTES_MAX`]; whether a value is possible is for
//! the session to check.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bits::BitString;
use crate::codec::{self, Bytes, CodecError};
use crate::mac::AuthTag;

/// Version of the messages.
pub const BLOCK_MESSAGE_VERSION: u8 = 1;
/// Most bytes of a message: the clicks of a block of 2^24 to 2^25 key bits.
pub const BLOCK_MESSAGE_BYTES_MAX: usize = 1 << 27;

/// One message of a block, in the order of the protocol. Variants name their field: serde_cbor 0.11
/// writes unnamed ones in a form that our codec does not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BlockMessage {
    /// Receiver: where it clicked and in which basis.
    Detections {
        /// The clicks.
        body: DetectionsMessage,
    },
    /// Transmitter: which clicks count, with which intensity, and its test bits.
    Sift {
        /// What is kept.
        body: SiftMessage,
    },
    /// Receiver: what the test basis showed.
    Estimate {
        /// The errors.
        body: EstimateMessage,
    },
    /// Transmitter: what corrects the receiver's key.
    Syndromes {
        /// The syndromes.
        body: SyndromesMessage,
    },
    /// Receiver: what could be corrected.
    Report {
        /// The report.
        body: ReportMessage,
    },
    /// Transmitter: how to amplify.
    Amplify {
        /// Seed and length.
        body: AmplifyMessage,
    },
    /// Either end: its one tag over everything said before it.
    Tag {
        /// The tag.
        tag: AuthTag,
    },
    /// Either end gives up.
    Abort {
        /// Why.
        code: AbortCode,
    },
}

/// Clicks of a block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionsMessage {
    /// Positions of the clicks, chunk by chunk; slots count from 1.
    pub gaps: Vec<Bytes>,
    /// One = test basis.
    pub bases: BitString,
}

/// What the transmitter keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiftMessage {
    /// Clicks with equal bases.
    pub keep: BitString,
    /// Of the kept: one = decoy.
    pub decoy: BitString,
    /// Of the kept in the test basis: the transmitter's bits.
    pub test_bits: BitString,
}

/// Test-basis errors, signal then decoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EstimateMessage {
    /// Bits compared.
    pub counts: [u64; 2],
    /// Errors among them.
    pub errors: [u64; 2],
}

/// What corrects one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameSyndrome {
    /// The frozen bits.
    pub frozen: BitString,
    /// A short hash that tells a corrected frame from a failed one.
    pub filter: u32,
}

/// What corrects the receiver's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyndromesMessage {
    /// Design error rate, in steps of 0.25 %.
    pub rate_step: u8,
    /// Public random key of the filter hashes.
    pub filter_key: Bytes,
    /// One per frame.
    pub frames: Vec<FrameSyndrome>,
}

/// What the receiver could correct.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportMessage {
    /// Frames that passed their filter.
    pub kept: BitString,
    /// Key-basis errors in them, signal then decoy.
    pub errors: [u64; 2],
    /// Public random key of the verification hash.
    pub hash_key: Bytes,
    /// Verification hash of the kept frames.
    pub hash: Bytes,
}

/// How to amplify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmplifyMessage {
    /// 256 fresh bits, sent after every detection was announced.
    pub seed: Bytes,
    /// Secret bits to keep.
    pub length: u64,
}

/// Why the other end gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbortCode {
    /// Too many errors.
    QberOverLimit,
    /// No secret bit is left.
    NoKey,
    /// No frame could be corrected.
    ReconciliationFailed,
    /// The keys differ.
    VerificationFailed,
    /// A tag was wrong.
    AuthenticationFailed,
    /// A message was not as expected.
    Malformed,
    /// Nothing came in time.
    Timeout,
    /// Too few sifted bits.
    TooFewDetections,
}

impl fmt::Display for AbortCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QberOverLimit => "qber over limit",
            Self::NoKey => "no key",
            Self::ReconciliationFailed => "reconciliation failed",
            Self::VerificationFailed => "verification failed",
            Self::AuthenticationFailed => "authentication failed",
            Self::Malformed => "malformed message",
            Self::Timeout => "timeout",
            Self::TooFewDetections => "too few detections",
        })
    }
}

impl BlockMessage {
    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(BLOCK_MESSAGE_VERSION, self)
    }

    /// From the other end's bytes.
    ///
    /// # Errors
    /// Too long, another version, or malformed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(BLOCK_MESSAGE_VERSION, bytes, BLOCK_MESSAGE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let bits: BitString = (0..70).map(|i| i % 3 == 0).collect();
        let frames = vec![FrameSyndrome { frozen: bits.clone(), filter: 7 }];
        let messages = [
            BlockMessage::Detections { body: DetectionsMessage { gaps: vec![Bytes::from(vec![1, 2])], bases: bits } },
            BlockMessage::Syndromes {
                body: SyndromesMessage { rate_step: 3, filter_key: Bytes::from(vec![1]), frames },
            },
            BlockMessage::Abort { code: AbortCode::Timeout },
        ];
        for message in messages {
            assert_eq!(BlockMessage::from_bytes(&message.to_bytes()), Ok(message));
        }
    }
}
