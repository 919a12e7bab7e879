//! Frames between the two devices of a link with QKD modules, sealed like photons. Forward: the ids
//! of a block's keys and the transmitter's digest. Back: the receiver's digest.

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::secret::SecretBytes;

use super::keys::is_id;
use crate::device::photon_frame;

const KEY_IDS: u8 = 3;
const DIGEST: u8 = 4;
const DIGEST_BYTES: usize = 32;

/// A frame of the neighbour's device, still sealed.
pub(super) struct Frame<'a> {
    kind: u8,
    pub(super) block: BlockId,
    body: &'a [u8],
}

/// What the transmitter announces.
pub(super) struct Announcement {
    pub(super) digest: [u8; DIGEST_BYTES],
    pub(super) ids: Vec<String>,
}

/// Reads kind and block.
pub(super) fn open(bytes: &[u8]) -> Option<Frame<'_>> {
    let (kind, block, body) = photon_frame::split(bytes)?;
    matches!(kind, KEY_IDS | DIGEST).then_some(Frame { kind, block, body })
}

/// Announces the ids of a block's keys.
pub(super) fn announce(secret: &SecretBytes, link: &LinkId, block: BlockId, announced: &Announcement) -> Vec<u8> {
    let mut plain = announced.digest.to_vec();
    for id in &announced.ids {
        // Ids have at most 64 characters.
        plain.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        plain.extend_from_slice(id.as_bytes());
    }
    seal(KEY_IDS, secret, link, block, &plain)
}

/// Answers with the receiver's digest.
pub(super) fn answer(secret: &SecretBytes, link: &LinkId, block: BlockId, digest: &[u8; DIGEST_BYTES]) -> Vec<u8> {
    seal(DIGEST, secret, link, block, digest)
}

fn seal(kind: u8, secret: &SecretBytes, link: &LinkId, block: BlockId, plain: &[u8]) -> Vec<u8> {
    let mut frame = photon_frame::header(kind, block);
    frame.extend(crypto::seal(secret, &about(kind, link, block), plain, &mut SystemEntropy::new()));
    frame
}

/// Photons are sealed about link and block alone: the kind at the end keeps the uses apart.
fn about(kind: u8, link: &LinkId, block: BlockId) -> Vec<u8> {
    let mut about = photon_frame::about(link, block);
    about.push(kind);
    about
}

impl Frame<'_> {
    /// The announcement; none if the frame is another, of another session, or broken.
    pub(super) fn announcement(&self, secret: &SecretBytes, link: &LinkId) -> Option<Announcement> {
        let plain = self.unseal(KEY_IDS, secret, link)?;
        let (digest, mut rest) = plain.expose().split_first_chunk()?;
        let mut ids = Vec::new();
        while let Some((&length, after)) = rest.split_first() {
            let (id, next) = after.split_at_checked(length.into())?;
            ids.push(String::from_utf8(id.to_vec()).ok().filter(|id| is_id(id))?);
            rest = next;
        }
        Some(Announcement { digest: *digest, ids })
    }

    /// The receiver's digest; none as above.
    pub(super) fn digest(&self, secret: &SecretBytes, link: &LinkId) -> Option<[u8; DIGEST_BYTES]> {
        self.unseal(DIGEST, secret, link)?.expose().try_into().ok()
    }

    fn unseal(&self, kind: u8, secret: &SecretBytes, link: &LinkId) -> Option<SecretBytes> {
        if self.kind != kind {
            return None;
        }
        crypto::open(secret, &about(kind, link, self.block), self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_opens_in_its_session_only() {
        let (secret, link) = (SecretBytes::new(vec![1; 32]), "a-b".parse().unwrap());
        let announced = Announcement { digest: [9; 32], ids: vec!["one".into(), "two".into()] };
        let bytes = announce(&secret, &link, BlockId(5), &announced);
        let frame = open(&bytes).unwrap();
        let read = frame.announcement(&secret, &link).unwrap();
        assert_eq!((read.digest, read.ids), (announced.digest, announced.ids));
        assert!(frame.digest(&secret, &link).is_none(), "another kind");
        assert!(frame.announcement(&SecretBytes::new(vec![2; 32]), &link).is_none(), "another session");
        assert!(frame.announcement(&secret, &"a-c".parse().unwrap()).is_none(), "another link");
        for end in 0..bytes.len() {
            assert!(open(&bytes[..end]).and_then(|frame| frame.announcement(&secret, &link)).is_none());
        }
        let bytes = answer(&secret, &link, BlockId(5), &[7; 32]);
        assert_eq!(open(&bytes).and_then(|frame| frame.digest(&secret, &link)), Some([7; 32]));
    }
}
