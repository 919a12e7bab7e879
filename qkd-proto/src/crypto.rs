//! Computational primitives: hash, HMAC, HKDF, AEAD, signatures. In: keys and bytes. Out: bytes.
//! Always: comparisons of tags take constant time. The one file that names `ring` (TLS apart).

use ring::signature::KeyPair as _;
use ring::{aead, digest, hkdf, hmac, rand, signature};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::entropy::Entropy;
use crate::secret::SecretBytes;

/// SHA-256 of the parts, one after the other.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    to_array(context.finish().as_ref())
}

/// HMAC-SHA256 (RFC 2104) over a domain label and length-prefixed parts.
pub fn hmac_sha256(key: &[u8], label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    context.update(label.as_bytes());
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    to_array(context.sign().as_ref())
}

/// HKDF-SHA256 (RFC 5869): `length` bytes from `secret`, at most 8,160.
///
/// # Panics
/// If `length` is beyond 255 hashes: the caller's bug.
pub fn derive(salt: &[u8], secret: &SecretBytes, label: &str, context: &[&[u8]], length: usize) -> SecretBytes {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret.expose());
    let mut info = vec![label.as_bytes()];
    info.extend_from_slice(context);
    let mut out = vec![0; length];
    let filled = prk.expand(&info, Length(length)).and_then(|okm| okm.fill(&mut out));
    filled.expect("the length is below 255 hashes");
    SecretBytes::new(out)
}

/// True if both are equal; the time depends on the lengths only.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// What could not be opened: a wrong key, another record's bytes, or altered ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open: altered, foreign, or under another key")]
pub struct OpenError;

/// Seals under AES-256-GCM with a random nonce in front. `about` is authenticated, not hidden.
pub fn seal(key: &SecretBytes, about: &[u8], plain: &[u8], entropy: &mut dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; 12];
    entropy.fill(&mut nonce);
    let mut body = Vec::with_capacity(plain.len() + 28);
    body.extend_from_slice(plain);
    let sealed = aead_key(key).seal_in_place_append_tag(
        aead::Nonce::assume_unique_for_key(nonce),
        aead::Aad::from(about),
        &mut body,
    );
    sealed.expect("a record is far below the cipher's limit");
    let mut out = nonce.to_vec();
    out.extend_from_slice(&body);
    out
}

/// Opens what [`seal`] made for the same `about`.
///
/// # Errors
/// If the key or `about` is another, or any bit was changed.
pub fn open(key: &SecretBytes, about: &[u8], sealed: &[u8]) -> Result<SecretBytes, OpenError> {
    let (nonce, body) = sealed.split_at_checked(12).ok_or(OpenError)?;
    let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
    let mut body = zeroize::Zeroizing::new(body.to_vec());
    let plain = aead_key(key).open_in_place(nonce, aead::Aad::from(about), &mut body).map_err(|_| OpenError)?;
    Ok(SecretBytes::copy_of(plain))
}

fn aead_key(key: &SecretBytes) -> aead::LessSafeKey {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key.expose());
    aead::LessSafeKey::new(key.expect("sealing keys have 32 bytes"))
}

/// An Ed25519 public key (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl PublicKey {
    /// True if `signature` is this key's over `domain` and `message`.
    pub fn verifies(&self, domain: &str, message: &[u8], signature: &Signature) -> bool {
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, &self.0);
        key.verify(&signed_text(domain, message), &signature.0).is_ok()
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signature")
    }
}

/// An identity key: it signs, and its seed never leaves.
pub struct IdentityKey(signature::Ed25519KeyPair);

impl IdentityKey {
    /// From the 32-byte seed of RFC 8032.
    ///
    /// # Panics
    /// If the seed has another length: the caller checks files.
    pub fn from_seed(seed: &SecretBytes) -> Self {
        let pair = signature::Ed25519KeyPair::from_seed_unchecked(seed.expose());
        Self(pair.expect("an Ed25519 seed has 32 bytes"))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(to_array(self.0.public_key().as_ref()))
    }

    /// Signs `message` within `domain`.
    pub fn sign(&self, domain: &str, message: &[u8]) -> Signature {
        Signature(to_array(self.0.sign(&signed_text(domain, message)).as_ref()))
    }
}

impl std::fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdentityKey")
    }
}

fn signed_text(domain: &str, message: &[u8]) -> Vec<u8> {
    [domain.as_bytes(), &[0], message].concat()
}

/// The operating system's randomness.
pub struct SystemEntropy(rand::SystemRandom);

impl SystemEntropy {
    /// Opens the source.
    #[expect(clippy::new_without_default, reason = "a source of key material is asked for by name")]
    pub fn new() -> Self {
        Self(rand::SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the operating system has no randomness: no key may be made then.
    fn fill(&mut self, out: &mut [u8]) {
        rand::SecureRandom::fill(&self.0, out).expect("the operating system gives randomness");
    }
}

/// # Panics
/// If the length differs: callers pass outputs of known length.
fn to_array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the primitive's output has this length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn sealed_bytes_open_for_the_same_record_only() {
        let key = SecretBytes::new(vec![1; 32]);
        let sealed = seal(&key, b"slot 1", b"pads", &mut SeededEntropy::from_number(1));
        assert_eq!(open(&key, b"slot 1", &sealed).map(|plain| plain.expose().to_vec()), Ok(b"pads".to_vec()));
        assert!(open(&key, b"slot 2", &sealed).is_err());
        assert!(open(&key, b"slot 1", &sealed[..20]).is_err());
        assert!(open(&key, b"slot 1", &[]).is_err());
    }

    #[test]
    fn signatures_hold_in_their_domain_only() {
        let key = IdentityKey::from_seed(&SecretBytes::new(vec![2; 32]));
        let signature = key.sign("a", b"text");
        assert!(key.public().verifies("a", b"text", &signature));
        assert!(!key.public().verifies("b", b"text", &signature));
        assert!(!key.public().verifies("a", b"texts", &signature));
    }
}
