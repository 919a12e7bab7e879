//! Wegman–Carter authentication: a polynomial hash whose value is hidden by a one-time pad.
//! In: a key and a text. Out: a tag. Always: the pad half of the key serves one text only (the pool
//! sees to it); the hash half may be recycled (Portmann, arXiv:1202.1229). The one file that names
//! `poly1305`.
//!
//! Poly1305 is `(hash_r(text) + s) mod 2^128`. With `r` secret and `s` fresh this is Wegman–Carter:
//! forging succeeds with at most `8 * ceil(len/16) / 2^106`, whatever the attacker computes
//! (Bernstein 2005, theorem 3.3): 2^-85 for a transcript of 32 MiB.

use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto;
use crate::secret::SecretBytes;

/// Bytes of a hash key `r`.
pub const HASH_KEY_BYTES: usize = 16;
/// Bytes of pad `s` that one tag consumes under a recycled hash key.
pub const TAG_PAD_BYTES: usize = 16;
/// Bytes that the hash takes at a time.
const HASH_BLOCK_BYTES: usize = 16;
/// Bytes of pad that one tag consumes when the hash key is fresh too.
pub const ONE_TIME_KEY_BYTES: usize = HASH_KEY_BYTES + TAG_PAD_BYTES;

/// A tag over one text.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        crypto::equal(&self.0, &other.0)
    }
}

impl Eq for Tag {}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tag")
    }
}

/// Where the pad of a tag comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PadStock {
    /// First pads of a link session, from its handshake: computational, wiped after the first block.
    Bootstrap,
    /// The link key pool.
    Pool,
}

/// A tag, and the place of the pad that hides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthTag {
    /// Which stock the pad is from.
    pub stock: PadStock,
    /// Its first byte in the signer's direction of that stock.
    pub offset: u64,
    /// The tag.
    pub tag: Tag,
}

/// The hash of a text that comes in parts, so that nobody has to keep the text.
pub struct RunningHash {
    hash: Poly1305,
    /// The part of a block that has come.
    rest: [u8; HASH_BLOCK_BYTES],
    filled: usize,
}

impl RunningHash {
    /// Starts with `label` under `hash_key`.
    ///
    /// # Panics
    /// If the key has not [`HASH_KEY_BYTES`] bytes: the caller's bug.
    pub fn new(hash_key: &[u8], label: &str) -> Self {
        // With a pad of zero the tag is the hash itself.
        let mut key = Zeroizing::new([0; ONE_TIME_KEY_BYTES]);
        key[..HASH_KEY_BYTES].copy_from_slice(hash_key);
        let hash = Poly1305::new(key.as_ref().into());
        let mut running = Self { hash, rest: [0; HASH_BLOCK_BYTES], filled: 0 };
        running.update(&(label.len() as u64).to_be_bytes());
        running.update(label.as_bytes());
        running
    }

    /// The text goes on.
    pub fn update(&mut self, mut text: &[u8]) {
        if self.filled > 0 {
            let (head, tail) = text.split_at(text.len().min(HASH_BLOCK_BYTES - self.filled));
            self.rest[self.filled..self.filled + head.len()].copy_from_slice(head);
            self.filled += head.len();
            text = tail;
            if self.filled < HASH_BLOCK_BYTES {
                return;
            }
            self.hash.update(&[self.rest.into()]);
        }
        let (whole, rest) = text.split_at(text.len() / HASH_BLOCK_BYTES * HASH_BLOCK_BYTES);
        self.hash.update_padded(whole);
        self.rest[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// The text is over.
    pub fn finish(self) -> HashValue {
        HashValue(Zeroizing::new(self.hash.compute_unpadded(&self.rest[..self.filled]).into()))
    }
}

impl std::fmt::Debug for RunningHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RunningHash")
    }
}

/// The hash of a text under a secret key: it tells of the key, so it leaves under a pad only.
pub struct HashValue(Zeroizing<[u8; 16]>);

impl HashValue {
    /// The tag: the hash under a one-time pad, added modulo 2^128.
    ///
    /// # Panics
    /// If the pad has not [`TAG_PAD_BYTES`] bytes: the caller's bug.
    pub fn hide(&self, pad: &[u8]) -> Tag {
        let mut bytes = Zeroizing::new([0; TAG_PAD_BYTES]);
        bytes.copy_from_slice(pad);
        Tag(u128::from_le_bytes(*self.0).wrapping_add(u128::from_le_bytes(*bytes)).to_le_bytes())
    }
}

impl std::fmt::Debug for HashValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashValue")
    }
}

/// The tag over `label` and `text` under `hash_key` and the one-time `pad`.
///
/// # Panics
/// If either key half has not 16 bytes: the caller's bug.
pub fn tag(hash_key: &[u8], pad: &[u8], label: &str, text: &[u8]) -> Tag {
    let mut running = RunningHash::new(hash_key, label);
    running.update(text);
    running.finish().hide(pad)
}

/// The tag over `label` and `text` under 32 fresh bytes.
///
/// # Panics
/// If the key has not 32 bytes: the caller's bug.
pub fn one_time_tag(key: &SecretBytes, label: &str, text: &[u8]) -> Tag {
    let (hash_key, pad) = key.expose().split_at(HASH_KEY_BYTES);
    tag(hash_key, pad, label, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8439, 2.5.2, with our label framing taken off.
    #[test]
    fn poly1305_known_answer() {
        let key: [u8; 32] = [
            0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5, 0x06, 0xa8, 0x01, 0x03,
            0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd, 0x4a, 0xbf, 0xf6, 0xaf, 0x41, 0x49, 0xf5, 0x1b,
        ];
        let tag = Poly1305::new(&key.into()).compute_unpadded(b"Cryptographic Forum Research Group");
        assert_eq!(tag[..4], [0xa8, 0x06, 0x1d, 0xc1]);
    }

    /// The definition, at once: what wires held before the hash ran.
    fn at_once(hash_key: [u8; 16], pad: [u8; 16], label: &str, text: &[u8]) -> Tag {
        let mut key = [0; ONE_TIME_KEY_BYTES];
        key[..16].copy_from_slice(&hash_key);
        key[16..].copy_from_slice(&pad);
        let length = (label.len() as u64).to_be_bytes();
        let mac = Poly1305::new(&key.into());
        Tag(mac.compute_unpadded(&[&length, label.as_bytes(), text].concat()).into())
    }

    proptest! {
        #[test]
        fn parts_make_the_tag_of_the_whole(
            text in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0..200usize, 0..6),
            hash_key in any::<[u8; 16]>(),
            pad in any::<[u8; 16]>(),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut running = RunningHash::new(&hash_key, "label");
            cuts.windows(2).for_each(|cut| running.update(&text[cut[0]..cut[1]]));
            prop_assert_eq!(running.finish().hide(&pad), at_once(hash_key, pad, "label", &text));
        }
    }

    #[test]
    fn a_tag_depends_on_label_text_and_both_key_halves() {
        let base = tag(&[1; 16], &[2; 16], "a", b"text");
        assert_eq!(base, tag(&[1; 16], &[2; 16], "a", b"text"));
        assert_ne!(base, tag(&[1; 16], &[2; 16], "at", b"ext"));
        assert_ne!(base, tag(&[1; 16], &[2; 16], "a", b"texu"));
        assert_ne!(base, tag(&[3; 16], &[2; 16], "a", b"text"));
        assert_ne!(base, tag(&[1; 16], &[3; 16], "a", b"text"));
    }
}
