//! Keys as a module gave them. In: ids and bits. Out: one string of bits, and its keyed digest.
//! Always: bits are wiped when dropped; an id that was used is known for long.

use std::collections::{BTreeSet, VecDeque};

use qkd_proto::bits::BitString;
use qkd_proto::crypto::{self, sha256};
use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::labels;
use qkd_proto::secret::{SecretBits, SecretBytes};
use zeroize::Zeroizing;

/// Ids of used keys that are remembered: those of 1024 blocks of 256-bit keys, about 16 MiB.
const USED_MAX: usize = 1 << 18;
/// Longest key id, in characters: a UUID has 36.
pub(super) const ID_CHARS_MAX: usize = 64;

/// One key.
pub(super) struct ModuleKey {
    pub(super) id: String,
    pub(super) bits: SecretBytes,
}

/// True for what may stand in a request as a key id.
pub(super) fn is_id(text: &str) -> bool {
    let visible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:{}".contains(&byte);
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(visible)
}

/// Ids that were used, the oldest forgotten first.
pub(super) struct UsedIds {
    most: usize,
    known: BTreeSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Default for UsedIds {
    fn default() -> Self {
        Self { most: USED_MAX, known: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl UsedIds {
    /// Notes an id; false if it is known. Upper and lower case are the same UUID.
    pub(super) fn note(&mut self, id: &str) -> bool {
        let hash = sha256(&[id.to_ascii_lowercase().as_bytes()]);
        let Some(short) = hash.first_chunk::<16>() else { return false };
        if !self.known.insert(*short) {
            return false;
        }
        self.order.push_back(*short);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Which end computed a digest: neither end's can be sent back to it as the other's.
#[derive(Clone, Copy)]
pub(super) enum End {
    Transmitter = b'T' as isize,
    Receiver = b'R' as isize,
}

/// The bits of one block.
pub(super) struct BlockKey(Zeroizing<Vec<u8>>);

impl BlockKey {
    /// The bits of the keys, one after the other.
    pub(super) fn of(keys: &[ModuleKey]) -> Self {
        let mut whole = Zeroizing::new(Vec::with_capacity(keys.iter().map(|key| key.bits.len()).sum()));
        keys.iter().for_each(|key| whole.extend_from_slice(key.bits.expose()));
        Self(whole)
    }

    /// Digest (HMAC-SHA256) under the session's secret: it tells whoever lacks that secret nothing.
    pub(super) fn digest(&self, secret: &SecretBytes, link: &LinkId, block: BlockId, end: End) -> [u8; 32] {
        let label = labels::derive::MODULE_DIGEST;
        let key = crypto::derive(&[], secret, label, &[], 32);
        let about = [link.as_str().as_bytes(), &block.0.to_be_bytes(), &[end as u8], &self.0];
        crypto::hmac_sha256(key.expose(), label, &about)
    }

    /// For the node.
    pub(super) fn into_bits(self) -> SecretBits {
        SecretBits::new(BitString::from_bytes(&self.0, 8 * self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ModuleKey {
        ModuleKey { id: format!("id-{byte}"), bits: SecretBytes::new(vec![byte; 2]) }
    }

    #[test]
    fn an_id_is_used_once_whatever_its_case() {
        let mut used = UsedIds { most: 100, ..UsedIds::default() };
        assert!(used.note("00aa") && used.note("00ab"));
        assert!(!used.note("00AA") && !used.note("00ab"));
        for i in 0..100 {
            assert!(used.note(&format!("x{i}")));
        }
        assert_eq!(used.known.len(), 100);
        assert!(used.note("00aa"), "the oldest are forgotten");
    }

    #[test]
    fn a_digest_tells_bits_order_end_block_and_session_apart() {
        let link: LinkId = "a-b".parse().unwrap();
        let of = |keys: &[ModuleKey], secret, block, end| {
            BlockKey::of(keys).digest(&SecretBytes::new(vec![secret; 32]), &link, BlockId(block), end)
        };
        let digests = [
            of(&[key(1), key(2)], 7, 1, End::Transmitter),
            of(&[key(2), key(1)], 7, 1, End::Transmitter),
            of(&[key(1), key(2)], 7, 1, End::Receiver),
            of(&[key(1), key(2)], 7, 2, End::Transmitter),
            of(&[key(1), key(2)], 8, 1, End::Transmitter),
        ];
        assert_eq!(BTreeSet::from(digests).len(), digests.len());
        assert_eq!(digests[0], of(&[key(1), key(2)], 7, 1, End::Transmitter));
    }

    #[test]
    fn ids_are_plain_words() {
        for good in ["bc490419-7d60-487f-adc1-4ddcc177c139", "A.1_2:3"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
