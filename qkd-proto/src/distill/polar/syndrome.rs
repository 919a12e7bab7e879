//! Frozen inputs of frames as one packed string, and back. In: words of inputs and masks of what is
//! told. Out: the told bits, first frame first. Always: a reader never reads beyond its string.

use crate::bits::BitString;

/// Collects told bits.
#[derive(Default)]
pub(super) struct Writer {
    words: Vec<u64>,
    len: usize,
}

impl Writer {
    /// Room for so many bits.
    pub(super) fn with_capacity(bits: usize) -> Self {
        Self { words: Vec::with_capacity(bits / 64 + 2), len: 0 }
    }

    /// Appends the bits of `words` that the mask names.
    pub(super) fn gather(&mut self, words: &[u64], mask: impl Iterator<Item = u64>) {
        for (&word, mask) in words.iter().zip(mask) {
            self.push(extract(word, mask), mask.count_ones() as usize);
        }
    }

    fn push(&mut self, bits: u64, count: usize) {
        if count == 0 {
            return;
        }
        let used = self.len % 64;
        if used == 0 {
            self.words.push(bits);
        } else {
            if let Some(last) = self.words.last_mut() {
                *last |= bits << used;
            }
            if used + count > 64 {
                self.words.push(bits >> (64 - used));
            }
        }
        self.len += count;
    }

    /// The string.
    pub(super) fn finish(self) -> BitString {
        BitString::from_words(self.words, self.len)
    }
}

/// Hands told bits out.
pub(super) struct Reader<'a> {
    words: &'a [u64],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bits: &'a BitString) -> Self {
        Self { words: bits.words(), at: 0 }
    }

    /// Puts the next bits into the places of `words` that the mask names; those must be zero.
    pub(super) fn scatter(&mut self, mask: impl Iterator<Item = u64>, words: &mut [u64]) {
        for (word, mask) in words.iter_mut().zip(mask) {
            *word |= deposit(self.next(), mask);
            self.at += mask.count_ones() as usize;
        }
    }

    /// The next 64 bits; zeros beyond the end.
    fn next(&self) -> u64 {
        let word = |i: usize| self.words.get(i).copied().unwrap_or_default();
        let (first, used) = (self.at / 64, self.at % 64);
        if used == 0 { word(first) } else { word(first) >> used | word(first + 1) << (64 - used) }
    }
}

/// The bits of `word` that `mask` names, moved together.
fn extract(word: u64, mask: u64) -> u64 {
    if mask == u64::MAX {
        return word;
    }
    let (mut rest, mut out, mut place) = (mask, 0, 0);
    while rest != 0 {
        out |= (word >> rest.trailing_zeros() & 1) << place;
        place += 1;
        rest &= rest - 1;
    }
    out
}

/// Undoes [`extract`]: the lowest bits of `bits` in the places that `mask` names.
fn deposit(bits: u64, mask: u64) -> u64 {
    if mask == u64::MAX {
        return bits;
    }
    let (mut rest, mut out, mut bits) = (mask, 0, bits);
    while rest != 0 {
        out |= (bits & 1) << rest.trailing_zeros();
        bits >>= 1;
        rest &= rest - 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn told_bits_come_back_in_their_places(pairs in proptest::collection::vec(any::<(u64, u64, u8)>(), 0..40)) {
            let words: Vec<u64> = pairs.iter().map(|&(word, ..)| word).collect();
            // All frozen, none frozen and sparse masks are what frames are made of.
            let masks = pairs.iter().map(|&(_, mask, kind)| match kind % 4 {
                0 => u64::MAX,
                1 => 0,
                2 => mask & mask >> 7,
                _ => mask,
            });
            let mut writer = Writer::default();
            writer.gather(&words, masks.clone());
            let told = writer.finish();
            let bits: usize = masks.clone().map(|mask| mask.count_ones() as usize).sum();
            prop_assert_eq!(told.len(), bits);
            let mut back = vec![0; words.len()];
            Reader::new(&told).scatter(masks.clone(), &mut back);
            prop_assert!(words.iter().zip(masks).zip(back).all(|((word, mask), back)| word & mask == back));
        }
    }
}
