//! One hop: bits go under the outbound link's pad, and come out from under the inbound one's.
//! Always: the pad is as long as the bits, the tag's key is fresh, and both are consumed.

use super::message::{HopFrame, TransferHeader};
use crate::codec::{self, Bytes};
use crate::id::{LinkId, PoolId};
use crate::labels;
use crate::mac::{self, ONE_TIME_KEY_BYTES};
use crate::pool::{Direction, LinkKey};
use crate::secret::SecretBytes;

const HOP_VERSION: u8 = 1;

/// Where a frame travels: bound into its tag.
#[derive(Debug, Clone)]
pub struct HopPlace {
    /// The link.
    pub link: LinkId,
    /// Its pool.
    pub pool: PoolId,
    /// The sender's direction.
    pub direction: Direction,
}

/// A frame whose tag is not its sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tag of a relay frame does not fit: altered on the wire, or the two ends' pads differ")]
pub struct TagError;

/// Bytes of pad that `length` bytes need on each hop.
pub fn pad_bytes(length: usize) -> u64 {
    (length + ONE_TIME_KEY_BYTES) as u64
}

/// Puts `bits` under `key`, which has [`pad_bytes`] of them.
pub fn wrap(place: &HopPlace, header: TransferHeader, hop: u8, key: LinkKey, bits: &SecretBytes) -> HopFrame {
    let offset = key.offset;
    let (pad, tag_key) = key.bytes.split_at(bits.len());
    let body = Bytes::from(bits.xor(pad.expose()).expose().to_vec());
    let tag = mac::one_time_tag(&tag_key, labels::tag::HOP, &tag_text(place, &header, hop, offset, &body));
    HopFrame { header, hop, offset, body, tag }
}

/// Takes the bits out from under `key`.
///
/// # Errors
/// If the frame is not what the neighbour sent. The key is gone either way.
pub fn unwrap(place: &HopPlace, frame: &HopFrame, key: LinkKey) -> Result<SecretBytes, TagError> {
    let HopFrame { header, hop, offset, body, tag } = frame;
    let (pad, tag_key) = key.bytes.split_at(body.len());
    if mac::one_time_tag(&tag_key, labels::tag::HOP, &tag_text(place, header, *hop, *offset, body)) != *tag {
        return Err(TagError);
    }
    Ok(SecretBytes::copy_of(body).xor(pad.expose()))
}

/// What a lying relay passes on: the first bit is another.
#[cfg(feature = "sim")]
pub(crate) fn altered(bits: &SecretBytes) -> SecretBytes {
    let mut mask = vec![0; bits.len()];
    mask[0] = 1;
    bits.xor(&mask)
}

fn tag_text(place: &HopPlace, header: &TransferHeader, hop: u8, offset: u64, body: &Bytes) -> Vec<u8> {
    let forward = place.direction == Direction::Forward;
    codec::encode(HOP_VERSION, &(&place.link, place.pool, forward, header, hop, offset, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SessionId, TransferId};

    fn place() -> HopPlace {
        HopPlace { link: "a-b".parse().expect("a name"), pool: PoolId([1; 16]), direction: Direction::Forward }
    }

    fn header() -> TransferHeader {
        let name = |text: &str| text.parse().expect("a name");
        TransferHeader {
            transfer: TransferId([2; 16]),
            session: SessionId([3; 16]),
            origin: name("a"),
            target: name("c"),
            route: vec!["a-b".parse().expect("a name"), "b-c".parse().expect("a name")],
            count: 1,
            key_bytes: 32,
        }
    }

    fn key() -> LinkKey {
        LinkKey { offset: 64, bytes: SecretBytes::new((0..72).collect()) }
    }

    #[test]
    fn the_other_end_gets_the_bits_and_every_change_is_noticed() {
        let bits = SecretBytes::new(vec![9; 40]);
        let frame = wrap(&place(), header(), 0, key(), &bits);
        assert_ne!(frame.body.as_slice(), bits.expose());
        assert_eq!(unwrap(&place(), &frame, key()).map(|got| got.expose().to_vec()), Ok(vec![9; 40]));
        let mut bit = frame.clone();
        bit.body[3] ^= 1;
        let mut hop = frame.clone();
        hop.hop = 1;
        let mut count = frame.clone();
        count.header.count = 2;
        for changed in [bit, hop, count] {
            assert_eq!(unwrap(&place(), &changed, key()).err(), Some(TagError));
        }
        let elsewhere = HopPlace { direction: Direction::Reverse, ..place() };
        assert_eq!(unwrap(&elsewhere, &frame, key()).err(), Some(TagError));
    }
}
