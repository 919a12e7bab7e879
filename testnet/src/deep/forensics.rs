//! What can be read from a disk by who has all of it and the master key. In: the raw bytes of an image. Out:
//! every key that still opens. Always: by the written formats alone, at every place of the image, whether a
//! file is there, was there, or lies in a journal.
//!
//! What is sealed is found by its keys: each version of a record has a data key of its own in the ring, each
//! mark its own number. A key of no record of now is of something consumed or replaced: it may be there for a second.

use std::collections::{BTreeMap, BTreeSet};

use qkd_proto::crypto;
use qkd_proto::labels::derive::STORE_SEAL;
use qkd_proto::secret::SecretBytes;

/// Bytes of a slot of a slot file, and where its parts are.
pub(super) const PAGE: usize = 4096;
const ID: std::ops::Range<usize> = 12..28;
const SEQ: std::ops::Range<usize> = 28..36;
const LENGTH: std::ops::Range<usize> = 52..56;
/// Bytes of a slot of the ring, and of the wrapped key in it.
const RING_SLOT: usize = 64;
const WRAPPED: usize = 60;
const RING_SLOTS_IN_A_PAGE: usize = PAGE / RING_SLOT;
/// Slots of a ring that are looked for: a test needs one chunk.
const RING_SLOTS: usize = 1024;

/// All keys that open.
#[derive(Default)]
pub(super) struct Opened {
    /// Intermediate keys.
    pub(super) wraps: BTreeSet<[u8; 32]>,
    /// Data keys, those of now and those that should be gone.
    pub(super) data_keys: BTreeSet<[u8; 32]>,
    /// Numbers of marks, by link.
    pub(super) marks: BTreeMap<String, BTreeSet<u64>>,
}

/// Reads an image of a disk that held one data directory.
pub(super) fn read(image: &[u8], master: &SecretBytes, links: &[String]) -> Opened {
    let mut opened = Opened::default();
    let top = crypto::derive(&[], master, STORE_SEAL, &[b"shred"], 32);
    let mut ids = BTreeSet::new();
    for page in image.chunks_exact(PAGE).filter(|page| page.starts_with(b"qkdshred")) {
        ids.extend(<[u8; 16]>::try_from(&page[ID]));
        if let Some(payload) = payload(page, b"qkdshred", "shred", &top) {
            opened.wraps.extend(payload[8..].chunks_exact(32).filter_map(|key| <[u8; 32]>::try_from(key).ok()));
        }
    }
    let wraps: Vec<_> = opened.wraps.iter().map(|wrap| SecretBytes::copy_of(wrap)).collect();
    for page in image.chunks_exact(PAGE).filter(|page| page.starts_with(b"qkdmark\0")) {
        for link in links {
            let name = format!("{link}.mark");
            if wraps.iter().any(|wrap| payload(page, b"qkdmark\0", &name, wrap).is_some()) {
                let seq = page[SEQ].try_into().map_or(0, u64::from_be_bytes);
                opened.marks.entry(link.clone()).or_default().insert(seq);
            }
        }
    }
    for page in image.chunks_exact(PAGE) {
        for (place, slot) in page.chunks_exact(RING_SLOT).enumerate().filter(|(_, slot)| is_wrapped(slot)) {
            opened.data_keys.extend(ids.iter().filter_map(|id| data_key(slot, place, id, &wraps)));
        }
    }
    opened
}

/// What a slot holds, if it opens under the key.
fn payload(page: &[u8], magic: &[u8; 8], name: &str, key: &SecretBytes) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(page[LENGTH].try_into().ok()?) as usize;
    let sealed = page.get(LENGTH.end..LENGTH.end.checked_add(length)?)?;
    let about = [magic.as_slice(), &page[ID], &page[SEQ], name.as_bytes()].concat();
    crypto::open(key, &about, sealed).ok().map(|payload| payload.expose().to_vec())
}

/// A wrapped key ends in zeros; noise does once in 2^32.
fn is_wrapped(slot: &[u8]) -> bool {
    slot[WRAPPED..] == [0; RING_SLOT - WRAPPED] && slot[..16] != [0; 16]
}

/// Files lie in whole pages: of the slot's number only the last six bits are known from its place.
fn data_key(slot: &[u8], place: usize, id: &[u8; 16], wraps: &[SecretBytes]) -> Option<[u8; 32]> {
    let numbers = (place..RING_SLOTS).step_by(RING_SLOTS_IN_A_PAGE);
    let mut tries = numbers.flat_map(|number| wraps.iter().map(move |wrap| (number as u32, wrap)));
    tries.find_map(|(number, wrap)| {
        let about = [b"ring".as_slice(), id, &number.to_be_bytes()].concat();
        crypto::open(wrap, &about, &slot[..WRAPPED]).ok()?.expose().try_into().ok()
    })
}
