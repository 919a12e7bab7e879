//! A packed bit string for values that are public: masks, parities, disclosed bits. In: bits or
//! words. Out: bits, slices, sums. Always: unused bits of the last word are zero.

use serde::{Deserialize, Serialize};

use crate::kernel::select;

/// A string of bits, 64 to a word, first bit lowest.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, serde_bytes::ByteBuf)", into = "(u64, serde_bytes::ByteBuf)")]
pub struct BitString {
    words: Vec<u64>,
    len: usize,
}

impl BitString {
    /// An empty string with room for `bits`.
    pub fn with_capacity(bits: usize) -> Self {
        Self { words: Vec::with_capacity(bits.div_ceil(64)), len: 0 }
    }

    /// A string of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// Takes `len` bits from `words`; words beyond are dropped, missing ones are zero.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if let Some(last) = words.last_mut()
            && !len.is_multiple_of(64)
        {
            *last &= (1 << (len % 64)) - 1;
        }
        Self { words, len }
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without any bit.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packed words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The packed words, to change in place; bits beyond [`Self::len`] must stay zero.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Bit `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`]: the caller's bug.
    pub fn get(&self, i: usize) -> bool {
        assert!(i < self.len, "bit {i} of {}", self.len);
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    /// Sets bit `i`.
    ///
    /// # Panics
    /// If `i` is not below [`Self::len`]: the caller's bug.
    pub fn set(&mut self, i: usize, bit: bool) {
        assert!(i < self.len, "bit {i} of {}", self.len);
        let mask = 1 << (i % 64);
        if bit { self.words[i / 64] |= mask } else { self.words[i / 64] &= !mask }
    }

    /// Appends one bit.
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.words[self.len / 64] |= u64::from(bit) << (self.len % 64);
        self.len += 1;
    }

    /// Appends all bits of `other`.
    pub fn append(&mut self, other: &Self) {
        let shift = self.len % 64;
        self.words.reserve(other.words.len());
        for &word in &other.words {
            if shift == 0 {
                self.words.push(word);
            } else {
                if let Some(last) = self.words.last_mut() {
                    *last |= word << shift;
                }
                self.words.push(word >> (64 - shift));
            }
        }
        self.len += other.len;
        self.words.truncate(self.len.div_ceil(64));
    }

    /// The words of both strings joined by `join`, 64 bits at a time.
    ///
    /// # Panics
    /// If the lengths differ: the caller's bug.
    pub fn zip_words(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(self.len, other.len, "strings that are joined are of one length");
        let mut words = Vec::with_capacity(self.words.len());
        words.extend(self.words.iter().zip(&other.words).map(|(a, b)| join(*a, *b)));
        Self::from_words(words, self.len)
    }

    /// The bits at the places where `mask` has a one.
    ///
    /// # Panics
    /// If the lengths differ: the caller's bug.
    pub fn select(&self, mask: &Self) -> Self {
        assert_eq!(self.len, mask.len, "a mask is as long as what it selects from");
        let len = mask.count_ones();
        let mut words = vec![0; len.div_ceil(64)];
        select::select(&self.words, &mask.words, &mut words);
        Self { words, len }
    }

    /// Number of ones.
    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The bits in order.
    pub fn iter(&self) -> impl Iterator<Item = bool> + '_ {
        (0..self.len).map(|i| self.words[i / 64] >> (i % 64) & 1 == 1)
    }

    /// The bits as bytes, first bit lowest, the last byte filled with zeros.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(self.len.div_ceil(8));
        bytes
    }

    /// The first `len` bits of `bytes`; missing bytes are zero.
    pub fn from_bytes(bytes: &[u8], len: usize) -> Self {
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        Self::from_words(words.collect(), len)
    }
}

impl std::fmt::Debug for BitString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BitString({} bits)", self.len)
    }
}

impl FromIterator<bool> for BitString {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut string = Self::default();
        bits.into_iter().for_each(|bit| string.push(bit));
        string
    }
}

impl From<BitString> for (u64, serde_bytes::ByteBuf) {
    fn from(string: BitString) -> Self {
        (string.len as u64, serde_bytes::ByteBuf::from(string.to_bytes()))
    }
}

impl TryFrom<(u64, serde_bytes::ByteBuf)> for BitString {
    type Error = &'static str;

    fn try_from((len, bytes): (u64, serde_bytes::ByteBuf)) -> Result<Self, Self::Error> {
        if len.div_ceil(8) != bytes.len() as u64 {
            return Err("a bit string's length differs from its bytes");
        }
        let len = usize::try_from(len).map_err(|_| "a bit string is too long")?;
        let string = Self::from_bytes(&bytes, len);
        if string.to_bytes() != *bytes {
            return Err("a bit string has bits beyond its length");
        }
        Ok(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn joins_and_selects_like_vectors(
            a in proptest::collection::vec(any::<(bool, bool)>(), 0..300),
            b in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let (bits, mask): (BitString, BitString) = (a.iter().map(|x| x.0).collect(), a.iter().map(|x| x.1).collect());
            let mut joined = bits.clone();
            joined.append(&b.iter().copied().collect());
            prop_assert!(joined.iter().eq(a.iter().map(|x| x.0).chain(b)));
            prop_assert_eq!(BitString::from_words(joined.words.clone(), joined.len), joined);
            let selected = bits.select(&mask);
            prop_assert!(selected.iter().eq(a.iter().filter(|x| x.1).map(|x| x.0)));
            prop_assert_eq!(BitString::from_words(selected.words.clone(), selected.len), selected);
            let sum: BitString = a.iter().map(|x| x.0 ^ x.1).collect();
            prop_assert_eq!(bits.zip_words(&mask, |a, b| a ^ b), sum);
        }

        #[test]
        fn pushes_and_reads_like_a_vector(bits in proptest::collection::vec(any::<bool>(), 0..300)) {
            let string: BitString = bits.iter().copied().collect();
            prop_assert_eq!(string.iter().collect::<Vec<_>>(), bits.clone());
            prop_assert_eq!(string.count_ones(), bits.iter().filter(|&&b| b).count());
            prop_assert_eq!(BitString::from_bytes(&string.to_bytes(), string.len()), string);
        }
    }

    #[test]
    fn refuses_stray_bits_and_wrong_lengths() {
        let stray = serde_bytes::ByteBuf::from(vec![0b100]);
        assert!(BitString::try_from((2, stray.clone())).is_err());
        assert!(BitString::try_from((9, stray)).is_err());
    }
}
