//! The forms of a block's key, one type a step. In: bits of the step before. Out: bits for the step
//! after, by value. Always: none can be cloned or printed, and each is wiped when dropped.

use crate::bits::BitString;
use crate::quantity::BitCount;
use crate::secret::SecretBits;

/// Key-basis bits of both ends' equal slots; the ends' strings still differ.
#[derive(Debug)]
pub struct SiftedKey {
    pub(super) bits: SecretBits,
    /// One = decoy.
    pub(super) decoy: BitString,
}

impl SiftedKey {
    /// Number of bits.
    pub fn len(&self) -> usize {
        self.bits.len()
    }

    /// True without any bit.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Bits and errors against the other end's key, per intensity: for tests that hold both ends.
    ///
    /// # Panics
    /// If the keys differ in length: they are not of one block.
    pub fn compare(&self, other: &Self) -> ([u64; 2], [u64; 2]) {
        assert_eq!(self.len(), other.len(), "both keys are of one block");
        let (mut counts, mut errors) = ([0; 2], [0; 2]);
        let bits = self.bits.expose().iter().zip(other.bits.expose().iter());
        for ((a, b), decoy) in bits.zip(self.decoy.iter()) {
            counts[usize::from(decoy)] += 1;
            errors[usize::from(decoy)] += u64::from(a != b);
        }
        (counts, errors)
    }
}

/// Frames that are believed to be equal at both ends.
#[derive(Debug)]
pub struct ReconciledKey {
    pub(super) bits: SecretBits,
    /// Bits of each intensity, signal then decoy.
    pub(super) counts: [u64; 2],
}

/// Bits that are equal at both ends, but for a probability of eps_cor.
#[derive(Debug)]
pub struct VerifiedKey {
    pub(super) bits: SecretBits,
}

/// Bits that nobody else knows, but for eps_sec.
#[derive(Debug)]
pub struct SecretKey(SecretBits);

impl SecretKey {
    /// What amplification gave.
    pub(super) fn amplified(bits: SecretBits) -> Self {
        Self(bits)
    }

    /// Bits of a device that distils by itself (rate table, ETSI 014 modules).
    pub fn from_device(bits: SecretBits) -> Self {
        Self(bits)
    }

    /// Its length.
    pub fn len(&self) -> BitCount {
        BitCount(self.0.len() as u64)
    }

    /// True without any bit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bits, for the link's pool.
    pub fn into_bits(self) -> SecretBits {
        self.0
    }
}
