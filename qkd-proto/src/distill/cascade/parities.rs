//! Parity bits on their way: those of one round, packed. In: bits one by one. Out: the same, in
//! order. Always: a message has exactly the bits that its round asks for.

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

    /// Parity `i`.
    #[inline]
    pub(super) fn get(&self, i: usize) -> bool {
        self.words[i >> 6] >> (i & 63) & 1 == 1
    }

    /// As a message.
    pub(super) fn to_message(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8));
        bytes
    }

    /// Adds a message of the other end: own parities become those of the differences.
    ///
    /// # Errors
    /// If the message has not exactly these parities.
    pub(super) fn add(&mut self, message: &[u8]) -> Result<(), AbortReason> {
        let spare = message.last().is_some_and(|last| !self.len.is_multiple_of(8) && last >> (self.len % 8) != 0);
        if message.len() != self.len.div_ceil(8) || spare {
            return Err(AbortReason::Malformed("parities"));
        }
        for (word, bytes) in self.words.iter_mut().zip(message.chunks(8)) {
            let mut other = [0; 8];
            other[..bytes.len()].copy_from_slice(bytes);
            *word ^= u64::from_le_bytes(other);
        }
        Ok(())
    }
}

impl Drop for Parities {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// The parity of `len` bits of `words` from bit `first`: a word's part, or whole words.
#[inline]
pub(super) fn parity(words: &[u64], first: u32, len: u32) -> bool {
    let word = (first >> 6) as usize;
    if len < 64 {
        let part = words[word] >> (first & 63) & ((1 << len) - 1);
        return part.count_ones() & 1 == 1;
    }
    let sum = words[word..word + (len >> 6) as usize].iter().fold(0, |sum, word| sum ^ word);
    sum.count_ones() & 1 == 1
}

/// The same over the bits that `subset` has, or has not.
pub(super) fn parity_within(words: &[u64], subset: &[u64], inside: bool, first: u32, len: u32) -> bool {
    let turn = if inside { 0 } else { u64::MAX };
    let word = (first >> 6) as usize;
    if len < 64 {
        let part = (words[word] & (subset[word] ^ turn)) >> (first & 63) & ((1 << len) - 1);
        return part.count_ones() & 1 == 1;
    }
    let range = word..word + (len >> 6) as usize;
    let pairs = words[range.clone()].iter().zip(&subset[range]);
    pairs.fold(0, |sum, (word, subset)| sum ^ (word & (subset ^ turn))).count_ones() & 1 == 1
}
