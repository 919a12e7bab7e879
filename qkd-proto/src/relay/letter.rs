//! Texts signed by their author: letters, adverts and SAE rosters. In: bytes from anywhere. Out:
//! the text and its author, a member. Always: the signature is checked over the received bytes.

use serde::{Serialize, de::DeserializeOwned};

use super::message::{RELAY_VERSION, SignedText};
use crate::codec::{self, Bytes, CodecError};
use crate::crypto::IdentityKey;
use crate::id::NodeId;
use crate::topology::Roster;

/// Why a signed text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// Malformed.
    #[error("signed text: {0}")]
    Codec(#[from] CodecError),
    /// The author is not a member.
    #[error("signed text: {0} is not in the roster")]
    Stranger(NodeId),
    /// Signed by another key, or altered.
    #[error("signed text: the signature is not the author's")]
    Signature,
}

/// Signs `text` within `domain`.
pub fn sign<T: Serialize>(domain: &str, text: &T, key: &IdentityKey) -> Vec<u8> {
    let text = codec::encode(RELAY_VERSION, text);
    let signature = key.sign(domain, &text);
    codec::encode(RELAY_VERSION, &SignedText { text: Bytes::from(text), signature })
}

/// Reads a text without trusting it, to see where it goes.
///
/// # Errors
/// Malformed or too long.
pub fn peek<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<(T, SignedText), LetterError> {
    let signed: SignedText = codec::decode(RELAY_VERSION, bytes, limit)?;
    Ok((codec::decode(RELAY_VERSION, &signed.text, limit)?, signed))
}

/// Reads a text that `author_of` says is by a member.
///
/// # Errors
/// Malformed, too long, by a stranger, or not signed by its author.
pub fn open<T: DeserializeOwned>(
    domain: &str,
    bytes: &[u8],
    limit: usize,
    roster: &Roster,
    author_of: impl Fn(&T) -> &NodeId,
) -> Result<T, LetterError> {
    let (text, signed) = peek::<T>(bytes, limit)?;
    let author = author_of(&text);
    let member = roster.member(author).ok_or_else(|| LetterError::Stranger(author.clone()))?;
    if !member.key.verifies(domain, &signed.text, &signed.signature) {
        return Err(LetterError::Signature);
    }
    Ok(text)
}
