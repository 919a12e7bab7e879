//! The recycled hash keys of a link's tags, and when they are renewed. In: fresh bytes of a deposit.
//! Out: running hashes under a named generation. Always: the bootstrap's keys, which are
//! computational, end with the first deposit; others end after [`TAGS_MAX`] tags, since a recycled key
//! degrades slowly with its use (Abidin and Larsson, arXiv:1109.5168).

use super::Direction;
use crate::mac::{HASH_KEY_BYTES, RunningHash};
use crate::secret::SecretBytes;

/// Bytes that new hash keys take of a deposit: one key for each direction.
pub(super) const FRESH_BYTES: usize = 2 * HASH_KEY_BYTES;
/// Tags under one pair of hash keys.
const TAGS_MAX: u64 = 1 << 16;

/// A pair of hash keys: forward and reverse.
pub(super) struct Generation {
    pub(super) number: u32,
    pub(super) keys: [SecretBytes; 2],
}

impl Generation {
    /// From [`FRESH_BYTES`] bytes that nobody else uses.
    pub(super) fn new(number: u32, bytes: &[u8]) -> Self {
        let (forward, reverse) = bytes.split_at(HASH_KEY_BYTES);
        Self { number, keys: [SecretBytes::copy_of(forward), SecretBytes::copy_of(reverse)] }
    }
}

/// The hash keys of a pool: those in use, those before, and those of an open deposit.
pub(super) struct HashKeys {
    current: Generation,
    previous: Option<Generation>,
    next: Option<Generation>,
    /// Tags made and checked under the current keys.
    tags: u64,
}

impl HashKeys {
    /// The bootstrap's.
    pub(super) fn bootstrap(keys: [SecretBytes; 2]) -> Self {
        Self { current: Generation { number: 0, keys }, previous: None, next: None, tags: 0 }
    }

    /// As recorded.
    pub(super) fn restore(current: Generation, previous: Option<Generation>, tags: u64) -> Self {
        Self { current, previous, next: None, tags }
    }

    /// For the record: the current keys, those before, and the tags made.
    pub(super) fn parts(&self) -> (&Generation, Option<&Generation>, u64) {
        (&self.current, self.previous.as_ref(), self.tags)
    }

    /// The generation that new blocks use.
    pub(super) fn current(&self) -> u32 {
        self.current.number
    }

    /// The generation that the next deposit should bring, if it is time.
    pub(super) fn due(&self) -> Option<u32> {
        let due = self.current.number == 0 || self.tags >= TAGS_MAX;
        due.then(|| self.current.number.wrapping_add(1)).filter(|&number| number > 0)
    }

    /// A tag was made or checked.
    pub(super) fn count(&mut self) {
        self.tags += 1;
    }

    /// Keys of a deposit that is not agreed yet.
    pub(super) fn propose(&mut self, generation: Generation) {
        self.next = Some(generation);
    }

    /// The deposit is agreed: its keys, if it brought any, are in use. The ones before them serve
    /// blocks under way, and a neighbour that has not heard of the agreement.
    pub(super) fn install(&mut self) {
        let Some(next) = self.next.take() else { return };
        let before = next.number.wrapping_sub(1);
        let current = std::mem::replace(&mut self.current, next);
        let kept = [Some(current), self.previous.take()].into_iter().flatten();
        self.previous = kept.into_iter().find(|generation| generation.number == before);
        self.tags = 0;
    }

    /// The deposit is refused, and its keys with it.
    pub(super) fn withdraw(&mut self) {
        self.next = None;
    }

    /// A hash under the keys of `generation`; none if this end does not have them.
    pub(super) fn hash(&self, generation: u32, signer: Direction, label: &str) -> Option<RunningHash> {
        let mut known = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let keys = known.find(|known| known.number == generation)?;
        Some(RunningHash::new(keys.keys[signer.index()].expose(), label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(number: u32) -> Generation {
        Generation::new(number, &[number as u8; FRESH_BYTES])
    }

    #[test]
    fn the_bootstraps_keys_end_with_the_first_deposit() {
        let mut keys = HashKeys::bootstrap(generation(0).keys);
        assert_eq!(keys.due(), Some(1));
        keys.propose(generation(1));
        assert_eq!(keys.current(), 0, "a deposit may be refused");
        keys.install();
        assert_eq!((keys.current(), keys.due()), (1, None));
        assert!(keys.hash(0, Direction::Forward, "label").is_some(), "for blocks under way");
        assert!(keys.hash(2, Direction::Forward, "label").is_none());
    }

    #[test]
    fn keys_are_renewed_after_their_tags() {
        let mut keys = HashKeys::restore(generation(1), None, TAGS_MAX - 1);
        assert_eq!(keys.due(), None);
        keys.count();
        assert_eq!(keys.due(), Some(2));
        keys.propose(generation(2));
        keys.withdraw();
        keys.install();
        assert_eq!(keys.current(), 1, "a refused deposit brings nothing");
    }

    #[test]
    fn an_end_that_lost_the_agreement_is_followed() {
        let mut receiver = HashKeys::restore(generation(2), Some(generation(1)), 0);
        // The transmitter crashed before it heard of generation 2, and proposes another one.
        receiver.propose(generation(2));
        receiver.install();
        assert_eq!(receiver.current(), 2);
        assert!(receiver.hash(1, Direction::Forward, "label").is_some(), "the transmitter still names it");
    }
}
