//! A secret shared over a public channel by X25519 (RFC 7748) and ML-KEM-768 (FIPS 203) together:
//! it holds while either does. In: fresh bytes and the other side's public message. Out: one secret.
//! Always: both sides sign the messages elsewhere. The one file that names `x25519-dalek` and
//! `ml-kem`.

use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::{DecapsulationKey, EncapsulationKey, MlKem768};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::codec::Bytes;
use crate::crypto;
use crate::entropy::{Entropy, draw};
use crate::labels;
use crate::secret::SecretBytes;

/// What the first side sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HybridOffer {
    x25519: Bytes,
    ml_kem: Bytes,
}

/// What the second side answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HybridAnswer {
    x25519: Bytes,
    ml_kem: Bytes,
}

/// The first side's secret half, used once.
pub struct HybridSecret {
    x25519: StaticSecret,
    ml_kem: DecapsulationKey<MlKem768>,
}

/// A public value that cannot be what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HybridError {
    /// An X25519 value of another length, or of low order.
    #[error("the X25519 value is malformed or of low order")]
    X25519,
    /// An ML-KEM-768 key or ciphertext of another length or form.
    #[error("the ML-KEM-768 value is malformed")]
    MlKem,
}

/// Starts an exchange.
pub fn offer(entropy: &mut dyn Entropy) -> (HybridSecret, HybridOffer) {
    let x25519 = StaticSecret::from(draw::<32>(entropy));
    let ml_kem = DecapsulationKey::<MlKem768>::from_seed(draw::<64>(entropy).into());
    let offer = HybridOffer {
        x25519: Bytes::from(PublicKey::from(&x25519).as_bytes().to_vec()),
        ml_kem: Bytes::from(ml_kem.encapsulation_key().to_bytes().to_vec()),
    };
    (HybridSecret { x25519, ml_kem }, offer)
}

/// Answers an exchange: the answer to send, and the shared secret.
///
/// # Errors
/// If the offer is malformed.
pub fn answer(offer: &HybridOffer, entropy: &mut dyn Entropy) -> Result<(HybridAnswer, SecretBytes), HybridError> {
    let key = offer.ml_kem.as_slice().try_into().map_err(|_| HybridError::MlKem)?;
    let key = EncapsulationKey::<MlKem768>::new(&key).map_err(|_| HybridError::MlKem)?;
    let own = StaticSecret::from(draw::<32>(entropy));
    let classical = agree(&own, &offer.x25519)?;
    let (ciphertext, quantum_safe) = key.encapsulate_deterministic(&draw::<32>(entropy).into());
    let answer = HybridAnswer {
        x25519: Bytes::from(PublicKey::from(&own).as_bytes().to_vec()),
        ml_kem: Bytes::from(ciphertext.to_vec()),
    };
    let secret = combine(&classical, &SecretBytes::copy_of(&quantum_safe), offer, &answer);
    Ok((answer, secret))
}

/// Completes an exchange.
///
/// # Errors
/// If the answer is malformed.
pub fn complete(secret: HybridSecret, offer: &HybridOffer, answer: &HybridAnswer) -> Result<SecretBytes, HybridError> {
    let classical = agree(&secret.x25519, &answer.x25519)?;
    let ciphertext = answer.ml_kem.as_slice().try_into().map_err(|_| HybridError::MlKem)?;
    let quantum_safe = secret.ml_kem.decapsulate(&ciphertext);
    Ok(combine(&classical, &SecretBytes::copy_of(&quantum_safe), offer, answer))
}

fn agree(own: &StaticSecret, theirs: &[u8]) -> Result<SecretBytes, HybridError> {
    let theirs: [u8; 32] = theirs.try_into().map_err(|_| HybridError::X25519)?;
    let shared = own.diffie_hellman(&PublicKey::from(theirs));
    if !shared.was_contributory() {
        return Err(HybridError::X25519);
    }
    Ok(SecretBytes::copy_of(shared.as_bytes()))
}

/// Both secrets and the whole transcript go in, so that neither half can be swapped.
fn combine(
    classical: &SecretBytes,
    quantum_safe: &SecretBytes,
    offer: &HybridOffer,
    answer: &HybridAnswer,
) -> SecretBytes {
    let transcript = crypto::sha256(&[&offer.x25519, &offer.ml_kem, &answer.x25519, &answer.ml_kem]);
    let both = SecretBytes::copy_of(classical.expose()).join(quantum_safe);
    crypto::derive(&transcript, &both, labels::derive::HYBRID, &[], 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn both_sides_get_the_same_secret() {
        let mut entropy = SeededEntropy::from_number(1);
        let (secret, offer) = offer(&mut entropy);
        let (reply, theirs) = answer(&offer, &mut entropy).expect("the offer is sound");
        let ours = complete(secret, &offer, &reply).expect("the answer is sound");
        assert_eq!(ours.expose(), theirs.expose());
    }

    #[test]
    fn malformed_and_low_order_values_are_refused() {
        let mut entropy = SeededEntropy::from_number(2);
        let (_, good) = offer(&mut entropy);
        let low = HybridOffer { x25519: Bytes::from(vec![0; 32]), ..good.clone() };
        assert_eq!(answer(&low, &mut entropy).err(), Some(HybridError::X25519));
        let short = HybridOffer { ml_kem: Bytes::from(vec![0; 9]), ..good };
        assert_eq!(answer(&short, &mut entropy).err(), Some(HybridError::MlKem));
    }
}
