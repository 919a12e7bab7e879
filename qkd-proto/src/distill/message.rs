//! What the two ends say about a block. In: values of a session. Out: bytes, and values again.
//! Always: decoding is bounded by [`BLOCK_MESSAGE_BYTES_MAX`]; whether a value is possible is for
//! the session to check.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bits::BitString;
use crate::codec::{self, Bytes, CodecError};
use crate::mac::AuthTag;

/// Version of the messages.
pub const BLOCK_MESSAGE_VERSION: u8 = 2;
/// Most bytes of a message: what is kept of a block of 2^26 key bits.
pub const BLOCK_MESSAGE_BYTES_MAX: usize = 1 << 26;

/// One message of a block, in the order of the protocol. Variants name their field: serde_cbor 0.11
/// writes unnamed ones in a form that our codec does not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum BlockMessage {
    /// Receiver: in which slots it clicked, one message for each photon frame.
    Clicks {
        /// Gaps between clicks as variable-length numbers; slots count from 1.
        gaps: Bytes,
    },
    /// Receiver, once the last pulse was received: the bases of all clicks; one = test basis.
    Bases {
        /// A bit for each click.
        bases: BitString,
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
    /// Transmitter: the first word of its engine.
    Reconcile {
        /// Engine, seed and word.
        body: ReconcileMessage,
    },
    /// Receiver: a question of its engine.
    Question {
        /// The engine's own form.
        words: Bytes,
    },
    /// Transmitter: the answer.
    Answer {
        /// The engine's own form.
        words: Bytes,
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

/// How the receiver's key is corrected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileMessage {
    /// The engine of this block, the transmitter's choice.
    pub engine: EngineKind,
    /// Public random bits for the engine, 32 bytes.
    pub seed: Bytes,
    /// The engine's first word.
    pub words: Bytes,
}

/// A reconciliation engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum EngineKind {
    /// One-way polar codes.
    #[default]
    Polar,
    /// Interactive parities.
    Cascade,
}

impl EngineKind {
    /// Its name in configurations and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Polar => "polar",
            Self::Cascade => "cascade",
        }
    }
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
        let words = || Bytes::from(vec![1, 2]);
        let reconcile = ReconcileMessage { engine: EngineKind::Cascade, seed: words(), words: words() };
        let messages = [
            BlockMessage::Clicks { gaps: words() },
            BlockMessage::Bases { bases: bits },
            BlockMessage::Reconcile { body: reconcile },
            BlockMessage::Question { words: words() },
            BlockMessage::Abort { code: AbortCode::Timeout },
        ];
        for message in messages {
            assert_eq!(BlockMessage::from_bytes(&message.to_bytes()), Ok(message));
        }
    }
}
