//! Verification: are the corrected keys equal? In: a reconciled key at each end and a fresh public
//! random hash key. Out: a verified key. Always: different keys pass with at most
//! `8 ceil(bytes/16) / 2^106` (Poly1305 with a known pad is almost-universal), 2^-84 for 2^26 bits.
//!
//! The whole tag of [`HASH_BITS`] is charged as leak, on top of the formula's `log2(2/eps_cor)`.

use zeroize::Zeroizing;

use super::abort::AbortReason;
use super::key::{ReconciledKey, VerifiedKey};
use crate::crypto;
use crate::labels;
use crate::mac;

/// Bits of a verification hash.
pub const HASH_BITS: u64 = 128;

/// The hash of a reconciled key.
pub fn hash(key: &ReconciledKey, hash_key: [u8; 16]) -> [u8; 16] {
    let bytes = Zeroizing::new(key.bits.expose().to_bytes());
    mac::tag(&hash_key, &[0; 16], labels::hash::VERIFICATION, &bytes).0
}

/// Accepts the key if the other end's hash of its own key is the same.
///
/// # Errors
/// If it is not.
pub fn check(key: ReconciledKey, hash_key: [u8; 16], other: &[u8]) -> Result<VerifiedKey, AbortReason> {
    let equal = crypto::equal(&hash(&key, hash_key), other);
    if equal { Ok(accept(key)) } else { Err(AbortReason::VerificationFailed) }
}

/// Takes the other end's word that its check passed; that word must be authenticated afterwards.
pub fn accept(key: ReconciledKey) -> VerifiedKey {
    VerifiedKey { bits: key.bits }
}
