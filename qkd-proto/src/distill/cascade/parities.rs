//! Parity bits on their way: those of one round, packed. In: bits one by one, the other end's
//! message. Out: a message, and the parities of differences in order. Always: a message has exactly
//! the bits that its round asks for.

use super::super::abort::AbortReason;
use zeroize::Zeroize;

/// The parities of one round.
#[derive(Default)]
pub(super) struct Parities {
    words: Vec<u64>,
    len: usize,
}

impl Parities {
    /// Forgets all, keeps the room.
    pub(super) fn clear(&mut self) {
        self.words.clear();
        self.len = 0;
    }

    /// Appends one.
    #[inline]
    pub(super) fn push(&mut self, parity: bool) {
        if self.len & 63 == 0 {
            self.words.push(0);
        }
        if let Some(last) = self.words.last_mut() {
            *last |= u64::from(parity) << (self.len & 63);
        }
        self.len += 1;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// As a message.
    pub(super) fn to_message(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8));
        bytes
    }

    /// Checks a message of the other end.
    ///
    /// # Errors
    /// If it has not exactly these parities.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), AbortReason> {
        let spare = message.last().is_some_and(|last| !self.len.is_multiple_of(8) && last >> (self.len % 8) != 0);
        if message.len() != self.len.div_ceil(8) || spare {
            return Err(AbortReason::Malformed("parities"));
        }
        Ok(())
    }

    /// The parities of differences from a message of the other end, parity `first` the next; where
    /// the message has none, it counts as even.
    pub(super) fn differences<'a>(&'a self, message: &'a [u8], first: usize) -> impl FnMut() -> bool + 'a {
        let mut at = first;
        move || {
            let other = message.get(at >> 3).map_or(0, |byte| u64::from(*byte) >> (at & 7));
            let own = self.words[at >> 6] >> (at & 63);
            at += 1;
            (own ^ other) & 1 == 1
        }
    }
}

impl Drop for Parities {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// The parity of a word.
#[inline]
pub(super) fn of(word: u64) -> bool {
    word.count_ones() & 1 == 1
}
