//! Where randomness comes from: given from outside, so that a seed repeats any run.

use chacha20::{
    ChaCha20Rng,
    rand_core::{Rng, SeedableRng},
};

/// A source of unpredictable bytes.
pub trait Entropy: Send {
    /// Fills `out` with fresh bytes.
    fn fill(&mut self, out: &mut [u8]);
}

/// Draws an array of fresh bytes.
pub fn draw<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// A ChaCha20 stream from a seed: the emulated physics, public expansion of a seed, and tests.
pub struct SeededEntropy(ChaCha20Rng);

impl SeededEntropy {
    /// The stream of this 256-bit seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// The stream of a small number, for tests and simulations.
    pub fn from_number(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::new(bytes)
    }

    /// A uniform number of 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A uniform number below `bound` (the bias is below 2^-32 for bounds below 2^32).
    ///
    /// # Panics
    /// If `bound` is zero: the caller's bug.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no member");
        self.next_u64() % bound
    }

    /// A uniform number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_stream() {
        let (mut a, mut b) = (SeededEntropy::from_number(7), SeededEntropy::from_number(7));
        assert_eq!(draw::<40>(&mut a), draw::<40>(&mut b));
        assert_ne!(draw::<40>(&mut SeededEntropy::from_number(8)), draw::<40>(&mut a));
    }
}
