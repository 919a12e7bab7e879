//! An eavesdropper on the quantum channel, for tests and demonstrations. In: photons. Out: photons
//! she prepared. Always: she measures like anybody else, once, and leaves errors behind.

use super::photon::{Basis, Channel, Photon};
use crate::entropy::SeededEntropy;

/// Measures a fraction of the photons and sends on what she saw.
pub struct InterceptResend {
    fraction: f64,
    key_basis_probability: f64,
    coins: SeededEntropy,
}

impl InterceptResend {
    /// Attacks `fraction` of the photons, in the key basis with `key_basis_probability`.
    pub fn new(fraction: f64, key_basis_probability: f64, seed: [u8; 32]) -> Self {
        Self { fraction, key_basis_probability, coins: SeededEntropy::new(seed) }
    }
}

impl Channel for InterceptResend {
    fn transit(&mut self, photon: Photon) -> Option<Photon> {
        if self.coins.unit() >= self.fraction {
            return Some(photon);
        }
        let basis = if self.coins.unit() < self.key_basis_probability { Basis::Key } else { Basis::Test };
        let seen = photon.measure(basis, &mut self.coins);
        Some(Photon::prepare(basis, seen))
    }
}
