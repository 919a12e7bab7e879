//! A range coder of uniform numbers. In: numbers, each below a bound that the reader will know. Out:
//! as many bits as they hold, and the numbers again. Always: a short text reads on as zeros.

/// A range below this takes in a byte more.
const LEAST: u64 = 1 << 24;

/// Writes numbers.
pub(super) struct RangeEncoder {
    bytes: Vec<u8>,
    low: u64,
    range: u64,
}

impl Default for RangeEncoder {
    fn default() -> Self {
        Self { bytes: Vec::new(), low: 0, range: 1 << 32 }
    }
}

impl RangeEncoder {
    /// Writes `number`, below `bound`; `bound` is at most 2^16.
    pub(super) fn put(&mut self, number: u32, bound: u32) {
        self.range /= u64::from(bound);
        self.low += self.range * u64::from(number);
        while self.range < LEAST {
            self.byte();
            self.range <<= 8;
        }
    }

    /// Moves the top byte of 32 out, with a carry into what is out already.
    fn byte(&mut self) {
        if self.low >> 32 > 0 {
            let mut places = self.bytes.iter_mut().rev();
            while let Some(place) = places.next()
                && !carry(place)
            {}
        }
        self.bytes.push((self.low >> 24) as u8);
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// The text.
    pub(super) fn finish(mut self) -> Vec<u8> {
        (0..4).for_each(|_| self.byte());
        self.bytes
    }
}

/// Adds one to a digit; true if nothing is carried on.
fn carry(place: &mut u8) -> bool {
    *place = place.wrapping_add(1);
    *place != 0
}

/// Reads numbers.
pub(super) struct RangeDecoder<'a> {
    rest: std::slice::Iter<'a, u8>,
    code: u64,
    range: u64,
}

impl<'a> RangeDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { rest: bytes.iter(), code: 0, range: 1 << 32 };
        (0..4).for_each(|_| decoder.byte());
        decoder
    }

    fn byte(&mut self) {
        self.code = self.code << 8 | u64::from(self.rest.next().copied().unwrap_or_default());
    }

    /// The next number, below `bound`.
    pub(super) fn get(&mut self, bound: u32) -> u32 {
        self.range /= u64::from(bound);
        let number = (self.code / self.range).min(u64::from(bound) - 1);
        self.code -= number * self.range;
        while self.range < LEAST {
            self.byte();
            self.range <<= 8;
        }
        number as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_in_as_many_bits_as_they_hold(
            pairs in proptest::collection::vec((1_u32..200).prop_flat_map(|bound| (0..bound, Just(bound))), 0..600)
        ) {
            let mut encoder = RangeEncoder::default();
            pairs.iter().for_each(|&(number, bound)| encoder.put(number, bound));
            let bytes = encoder.finish();
            let bits: f64 = pairs.iter().map(|&(_, bound)| f64::from(bound).log2()).sum();
            prop_assert!(bytes.len() as f64 <= bits / 8.0 + 5.0);
            let mut decoder = RangeDecoder::new(&bytes);
            prop_assert!(pairs.iter().all(|&(number, bound)| decoder.get(bound) == number));
        }
    }
}
