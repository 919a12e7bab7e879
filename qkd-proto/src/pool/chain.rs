//! The keys of pad blocks at rest: a forward hash chain for each direction (`design` 5). In: fresh
//! heads. Out: boxes of blocks, and blocks from boxes. Always: a head that has moved past a block is gone, and
//! with it every way to open what a disk still holds of that block.
//!
//! `key of block n = HMAC(head n, "block")`, `head n+1 = HMAC(head n, "step")`. A clean stop puts the rest of
//! its open blocks under a chain of their own in front: hence segments.

use super::record::SegmentRecord;
use super::{Direction, PAD_BLOCK_BYTES};
use crate::codec::{self, Bytes};
use crate::crypto;
use crate::entropy::{Entropy, draw};
use crate::id::PoolId;
use crate::labels::derive::{PAD_BLOCK, PAD_STEP};
use crate::secret::SecretBytes;

/// Version of a box; its first byte.
const BOX_VERSION: u8 = 1;
/// Segments at most: one in use, one that the last clean stop put in front, and one to spare.
const SEGMENTS_MAX: usize = 4;
const HEAD_BYTES: usize = 32;

/// A stretch of blocks whose keys follow from one head.
struct Segment {
    /// The first block whose key is known.
    at: u64,
    /// The first block that is not of it.
    end: u64,
    head: SecretBytes,
}

impl Segment {
    fn fresh(at: u64, end: u64, entropy: &mut dyn Entropy) -> Self {
        Self { at, end, head: SecretBytes::new(draw::<HEAD_BYTES>(entropy).to_vec()) }
    }

    fn key_head(&self, index: u64) -> SecretBytes {
        (self.at..index).fold(SecretBytes::copy_of(self.head.expose()), |head, _| step(&head))
    }
}

/// The keys of one direction's blocks, from the first that is not opened yet.
#[derive(Default)]
pub struct PadChain {
    segments: Vec<Segment>,
    /// The head that was used last to seal, and its block: deposits lie far ahead of what is spent.
    last: Option<(u64, SecretBytes)>,
}

impl PadChain {
    /// A chain for every block of a new pool.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self { segments: vec![Segment::fresh(0, u64::MAX, entropy)], last: None }
    }

    /// Forgets the keys of all blocks below `index`.
    pub fn advance(&mut self, index: u64) {
        self.segments.retain(|segment| segment.end > index);
        for segment in self.segments.iter_mut().filter(|segment| segment.at < index) {
            segment.head = segment.key_head(index);
            segment.at = index;
        }
        self.last.take_if(|(at, _)| *at < index);
    }

    /// Gives the blocks from `from` to `to`, whose keys are gone, new ones.
    pub fn put_in_front(&mut self, from: u64, to: u64, entropy: &mut dyn Entropy) {
        self.segments.retain(|segment| segment.at >= to);
        self.segments.insert(0, Segment::fresh(from, to, entropy));
    }

    /// The box of a block; none if its key is gone.
    pub(super) fn seal(
        &mut self,
        place: PadPlace,
        bytes: &SecretBytes,
        entropy: &mut dyn Entropy,
    ) -> Option<SecretBytes> {
        let key = self.key(place.index)?;
        let sealed = crypto::seal(&key, &place.text(), bytes.expose(), entropy);
        Some(SecretBytes::new([&[BOX_VERSION], sealed.as_slice()].concat()))
    }

    /// The block in a box; none if its key is gone, or the box is not this block's.
    pub fn open(&mut self, place: PadPlace, sealed: &SecretBytes) -> Option<SecretBytes> {
        let (version, sealed) = sealed.expose().split_first()?;
        let key = self.key(place.index).filter(|_| *version == BOX_VERSION)?;
        crypto::open(&key, &place.text(), sealed).ok().filter(|bytes| bytes.len() == PAD_BLOCK_BYTES)
    }

    fn key(&mut self, index: u64) -> Option<SecretBytes> {
        let segment = self.segments.iter().find(|segment| (segment.at..segment.end).contains(&index))?;
        let head = match self.last.take() {
            Some((at, head)) if segment.at <= at && at <= index => (at..index).fold(head, |head, _| step(&head)),
            _ => segment.key_head(index),
        };
        let key = SecretBytes::new(crypto::hmac_sha256(head.expose(), PAD_BLOCK, &[]).to_vec());
        self.last = Some((index, head));
        Some(key)
    }

    /// For the record.
    pub(super) fn record(&self) -> Vec<SegmentRecord> {
        let record = |segment: &Segment| SegmentRecord {
            at: segment.at,
            end: segment.end,
            head: Bytes::from(segment.head.expose().to_vec()),
        };
        self.segments.iter().map(record).collect()
    }

    /// From the record; none if it contradicts itself.
    pub(super) fn restore(records: Vec<SegmentRecord>) -> Option<Self> {
        let sound = records.len() <= SEGMENTS_MAX
            && records.iter().all(|record| record.at < record.end && record.head.len() == HEAD_BYTES)
            && records.windows(2).all(|pair| pair[0].end <= pair[1].at);
        let segment = |record: SegmentRecord| Segment {
            at: record.at,
            end: record.end,
            head: SecretBytes::new(record.head.into_vec()),
        };
        sound.then(|| Self { segments: records.into_iter().map(segment).collect(), last: None })
    }
}

impl std::fmt::Debug for PadChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.segments.iter().map(|segment| (segment.at, segment.end))).finish()
    }
}

/// Where a block belongs: a box of another place does not open.
#[derive(Clone, Copy)]
pub struct PadPlace {
    /// The pool.
    pub pool: PoolId,
    /// The direction in it.
    pub direction: Direction,
    /// The index in the direction.
    pub index: u64,
}

impl PadPlace {
    fn text(self) -> Vec<u8> {
        codec::encode(BOX_VERSION, &(self.pool, self.direction == Direction::Forward, self.index))
    }
}

fn step(head: &SecretBytes) -> SecretBytes {
    SecretBytes::new(crypto::hmac_sha256(head.expose(), PAD_STEP, &[]).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn place(index: u64) -> PadPlace {
        PadPlace { pool: PoolId([3; 16]), direction: Direction::Forward, index }
    }

    fn block(fill: u8) -> SecretBytes {
        SecretBytes::new(vec![fill; PAD_BLOCK_BYTES])
    }

    fn copy(chain: &PadChain) -> PadChain {
        PadChain::restore(chain.record()).expect("its own record")
    }

    #[test]
    fn what_the_head_has_passed_does_not_open_and_the_rest_does() {
        let mut entropy = SeededEntropy::from_number(1);
        let mut chain = PadChain::new(&mut entropy);
        let boxes: Vec<SecretBytes> =
            (0..9).map(|i| chain.seal(place(i), &block(i as u8), &mut entropy).expect("ahead of the head")).collect();
        for passed in 0..9_u64 {
            chain.advance(passed);
            let mut restored = copy(&chain);
            for (index, sealed) in boxes.iter().enumerate() {
                let opened = restored.open(place(index as u64), sealed);
                let expected = (index as u64 >= passed).then(|| vec![index as u8; PAD_BLOCK_BYTES]);
                assert_eq!(opened.map(|bytes| bytes.expose().to_vec()), expected, "{index} after {passed}");
            }
        }
        assert!(chain.seal(place(3), &block(3), &mut entropy).is_none(), "its key is gone");
    }

    #[test]
    fn a_box_opens_in_its_own_place_only() {
        let mut entropy = SeededEntropy::from_number(2);
        let mut chain = PadChain::new(&mut entropy);
        let sealed = chain.seal(place(5), &block(5), &mut entropy).expect("ahead");
        assert!(chain.open(place(6), &sealed).is_none());
        assert!(chain.open(PadPlace { direction: Direction::Reverse, ..place(5) }, &sealed).is_none());
        assert!(chain.open(PadPlace { pool: PoolId([4; 16]), ..place(5) }, &sealed).is_none());
        let mut other = PadChain::new(&mut entropy);
        assert!(other.open(place(5), &sealed).is_none(), "another chain");
        assert!(chain.open(place(5), &sealed).is_some());
        assert!(chain.open(place(5), &SecretBytes::new(Vec::new())).is_none());
    }

    #[test]
    fn blocks_that_a_stop_puts_in_front_go_with_the_head_too() {
        let mut entropy = SeededEntropy::from_number(3);
        let mut chain = PadChain::new(&mut entropy);
        let far = chain.seal(place(20), &block(20), &mut entropy).expect("ahead");
        chain.advance(8);
        chain.put_in_front(5, 8, &mut entropy);
        let near: Vec<SecretBytes> =
            (5..8).map(|i| chain.seal(place(i), &block(i as u8), &mut entropy).expect("in front")).collect();
        let mut again = copy(&chain);
        assert!(again.open(place(5), &near[0]).is_some() && again.open(place(20), &far).is_some());
        again.advance(7);
        assert!(again.open(place(6), &near[1]).is_none() && again.open(place(7), &near[2]).is_some());
        again.advance(8);
        assert!(again.open(place(7), &near[2]).is_none() && again.open(place(20), &far).is_some());
    }

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let segment = |at, end, bytes: usize| SegmentRecord { at, end, head: Bytes::from(vec![1; bytes]) };
        assert!(PadChain::restore(vec![segment(0, 4, 32), segment(4, 9, 32)]).is_some());
        assert!(PadChain::restore(vec![segment(0, 5, 32), segment(4, 9, 32)]).is_none());
        assert!(PadChain::restore(vec![segment(3, 3, 32)]).is_none());
        assert!(PadChain::restore(vec![segment(0, 3, 31)]).is_none());
        assert!(PadChain::restore((0..5).map(|i| segment(i, i + 1, 32)).collect()).is_none());
    }
}
