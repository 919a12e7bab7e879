//! Keys that seal what may be forgotten. In: plain bytes. Out: sealed ones. Always: each key has a number
//! that stands beside what it sealed, so that bytes under a key that is gone are told from damaged ones.
//!
//! The master key wraps an intermediate key, which seals marks and the data keys of records. It is renewed
//! often, and the earlier one is overwritten: see `shred`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::entropy::Entropy as _;
use qkd_proto::labels::derive::STORE_SEAL;
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;

/// Bytes of every key here.
pub(super) const KEY_BYTES: usize = 32;

/// A key, and its number.
pub(super) struct WrapKey {
    number: u64,
    key: SecretBytes,
}

impl WrapKey {
    /// From its parts.
    pub(super) fn new(number: u64, key: SecretBytes) -> Self {
        Self { number, key }
    }

    /// A fresh one.
    pub(super) fn fresh(number: u64) -> Self {
        Self { number, key: fresh_key() }
    }

    /// Number 0: of the master key, for `what` alone.
    pub(super) fn of_master(master: &SecretBytes, what: &str) -> Self {
        Self { number: 0, key: crypto::derive(&[], master, STORE_SEAL, &[what.as_bytes()], KEY_BYTES) }
    }

    /// Which one it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The key itself, to be wrapped by another.
    pub(super) fn bytes(&self) -> &SecretBytes {
        &self.key
    }

    /// `plain`, sealed; 28 bytes longer.
    pub(super) fn seal(&self, about: &[u8], plain: &SecretBytes) -> Vec<u8> {
        crypto::seal(&self.key, about, plain.expose(), &mut SystemEntropy::new())
    }

    /// What was sealed for the same `about`.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
        crypto::open(&self.key, about, sealed).ok()
    }
}

/// A key that nobody had before.
pub(super) fn fresh_key() -> SecretBytes {
    let mut key = vec![0; KEY_BYTES];
    SystemEntropy::new().fill(&mut key);
    SecretBytes::new(key)
}

/// The keys that open what lies on a disk: the current one, and while it is renewed, the next.
#[derive(Clone)]
pub(super) struct WrapKeys {
    /// Where they lie.
    pub(super) path: PathBuf,
    /// What is written is sealed under this one.
    pub(super) current: Arc<WrapKey>,
    /// What is read may be sealed under this one.
    pub(super) next: Option<Arc<WrapKey>>,
}

impl WrapKeys {
    /// Number 0 alone.
    pub(super) fn of_master(master: &SecretBytes, what: &str) -> Self {
        Self { path: PathBuf::new(), current: Arc::new(WrapKey::of_master(master, what)), next: None }
    }

    /// The key of a number that stands in the file `of`.
    pub(super) fn find(&self, number: u64, of: &Path) -> Result<&WrapKey, StoreError> {
        let known = [Some(&self.current), self.next.as_ref()].into_iter().flatten();
        let newest = self.next.as_ref().map_or(0, |next| next.number).max(self.current.number);
        if let Some(key) = known.into_iter().find(|key| key.number == number) {
            return Ok(key);
        }
        let what = "key number";
        if number < newest {
            return Err(StoreError::Older { path: of.to_owned(), what, found: number, seen: newest });
        }
        Err(StoreError::Older { path: self.path.clone(), what, found: newest, seen: number })
    }
}
