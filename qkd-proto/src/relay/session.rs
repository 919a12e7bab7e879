//! The end-to-end session of an origin and a target: keys that no relay has. In: a hybrid secret.
//! Out: masks, tags, key ids. Always: the keys stay in memory; what must outlive a restart (masked
//! keys, tags, the seed of the ids) is computed from them at once.

use super::message::{AssignText, TransferHeader};
use crate::codec;
use crate::crypto;
use crate::entropy::Entropy;
use crate::id::{NodeId, SessionId, TransferId};
use crate::labels::derive;
use crate::mac::Tag;
use crate::secret::SecretBytes;

/// Extra relayed bytes of a transfer: they hide the confirmation tag, so that it tells nothing of the
/// bits even to an unlimited adversary.
pub const CONFIRMATION_PAD_BYTES: usize = 16;
const ASSIGN_VERSION: u8 = 1;
const ASSIGN_BYTES_MAX: usize = 1 << 10;

/// Keys of one session.
pub struct EndSession {
    id: SessionId,
    confirm: SecretBytes,
    mask: SecretBytes,
    key_id: SecretBytes,
    seal: SecretBytes,
}

/// What both ends must remember of a transfer beside its keys.
pub struct Proof {
    /// The target's confirmation.
    pub confirm: Tag,
    /// The origin's commitment.
    pub commit: Tag,
    /// From which the key ids follow.
    pub id_seed: SecretBytes,
}

impl EndSession {
    /// From the secret that `origin` and `target` agreed on.
    pub fn new(id: SessionId, origin: &NodeId, target: &NodeId, secret: &SecretBytes) -> Self {
        let names = codec::encode(ASSIGN_VERSION, &(origin, target));
        let keys = crypto::derive(&id.0, secret, derive::END_SESSION, &[&names], 128);
        let (confirm, rest) = keys.split_at(32);
        let (mask, rest) = rest.split_at(32);
        let (key_id, seal) = rest.split_at(32);
        Self { id, confirm, mask, key_id, seal }
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Turns the relayed `payload` (key bits, then the confirmation pad) into the keys to hand out
    /// and the proof that both ends must agree on.
    ///
    /// # Panics
    /// If the payload's length is not what the header says: callers check.
    pub fn finish(&self, header: &TransferHeader, payload: SecretBytes) -> (Vec<SecretBytes>, Proof) {
        let bits = header.count as usize * header.key_bytes as usize;
        let (bits, pad) = payload.split_at(bits);
        let context = codec::encode(ASSIGN_VERSION, header);
        let target = crypto::hmac_sha256(self.confirm.expose(), derive::CONFIRM_TARGET, &[&context, bits.expose()]);
        let origin = crypto::hmac_sha256(self.confirm.expose(), derive::CONFIRM_ORIGIN, &[&context]);
        let seed = crypto::hmac_sha256(self.key_id.expose(), derive::KEY_ID_SEED, &[&header.transfer.0]);
        let mut confirm = first_half(target);
        confirm.iter_mut().zip(pad.expose()).for_each(|(bit, pad)| *bit ^= pad);
        let proof =
            Proof { confirm: Tag(confirm), commit: Tag(first_half(origin)), id_seed: SecretBytes::copy_of(&seed) };
        let keys = bits.expose().chunks_exact(header.key_bytes as usize).enumerate().map(|(index, bits)| {
            let mask = self.mask_of(header.transfer, index, bits.len());
            SecretBytes::copy_of(bits).xor(mask.expose())
        });
        (keys.collect(), proof)
    }

    /// Seals an assignment for the other end.
    pub fn seal(&self, transfer: TransferId, assign: &AssignText, entropy: &mut dyn Entropy) -> Vec<u8> {
        crypto::seal(&self.seal, &transfer.0, &codec::encode(ASSIGN_VERSION, assign), entropy)
    }

    /// Opens an assignment of the other end.
    pub fn open(&self, transfer: TransferId, sealed: &[u8]) -> Option<AssignText> {
        let plain = crypto::open(&self.seal, &transfer.0, sealed).ok()?;
        codec::decode(ASSIGN_VERSION, plain.expose(), ASSIGN_BYTES_MAX).ok()
    }

    fn mask_of(&self, transfer: TransferId, index: usize, length: usize) -> SecretBytes {
        crypto::derive(&transfer.0, &self.mask, derive::KEY_MASK, &[&(index as u64).to_be_bytes()], length)
    }
}

impl std::fmt::Debug for EndSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EndSession({:?})", self.id)
    }
}

fn first_half(hash: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}
