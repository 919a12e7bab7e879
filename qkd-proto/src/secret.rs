//! Secret values. In: fresh bits. Out: nothing but through `expose`. Always: they cannot be cloned,
//! printed or serialised, and are wiped when dropped.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::bits::BitString;

/// Secret bits in packed form, for distillation.
pub struct SecretBits(BitString);

impl SecretBits {
    /// Takes the bits over.
    pub fn new(bits: BitString) -> Self {
        Self(bits)
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any bit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bits themselves. The one way in: every caller is listed in `tests/floors.rs`.
    pub fn expose(&self) -> &BitString {
        &self.0
    }

    /// The whole bytes of the string; up to seven bits at its end are dropped.
    pub fn into_bytes(self) -> SecretBytes {
        let mut bytes = self.0.to_bytes();
        bytes.truncate(self.0.len() / 8);
        SecretBytes::new(bytes)
    }
}

impl Drop for SecretBits {
    fn drop(&mut self) {
        self.0.words_mut().zeroize();
    }
}

impl fmt::Debug for SecretBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBits({} bits)", self.len())
    }
}

/// Secret bytes: pads, keys, seeds.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// Takes the bytes over. A vector with spare room is copied once and wiped.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let exact = bytes.as_slice().into();
        bytes.zeroize();
        Self(exact)
    }

    /// A copy of `bytes`, for callers whose own copy is wiped by its owner.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes themselves. The one way in: every caller is listed in `tests/floors.rs`.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Cuts into the first `at` bytes and the rest.
    ///
    /// # Panics
    /// If `at` is beyond the end: the caller's bug.
    pub fn split_at(self, at: usize) -> (Self, Self) {
        let (head, tail) = self.0.split_at(at);
        (Self::copy_of(head), Self::copy_of(tail))
    }

    /// This followed by `more`.
    pub fn join(self, more: &Self) -> Self {
        let mut whole = Vec::with_capacity(self.len() + more.len());
        whole.extend_from_slice(&self.0);
        whole.extend_from_slice(&more.0);
        Self::new(whole)
    }

    /// The sum (exclusive or) with `pad`.
    ///
    /// # Panics
    /// If the lengths differ: `zip` would stop at the shorter one and leave bits in the clear.
    pub fn xor(&self, pad: &[u8]) -> Self {
        assert_eq!(self.len(), pad.len(), "a pad is exactly as long as what it hides");
        Self::new(self.0.iter().zip(pad).map(|(bit, pad)| bit ^ pad).collect())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_lengths_only() {
        assert_eq!(format!("{:?}", SecretBytes::new(vec![7; 3])), "SecretBytes(3 bytes)");
        assert_eq!(format!("{:?}", SecretBits::new(BitString::zeros(9))), "SecretBits(9 bits)");
    }

    #[test]
    #[should_panic(expected = "exactly as long")]
    fn xor_refuses_a_short_pad() {
        let _ = SecretBytes::new(vec![1, 2]).xor(&[1]);
    }
}
