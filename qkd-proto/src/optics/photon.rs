//! One photon and the channel it passes. In: a preparation. Out: one outcome. Always: a photon is
//! measured once, because it is neither `Clone` nor `Copy` (no-cloning as an affine type).

use crate::entropy::SeededEntropy;

/// What a photon is prepared or measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Its bits make the key.
    Key,
    /// Its bits are disclosed to bound what an eavesdropper learnt.
    Test,
}

/// A photon on its way; what it carries shows only in a measurement.
pub struct Photon {
    basis: Basis,
    bit: bool,
}

impl Photon {
    /// Prepares a photon.
    pub fn prepare(basis: Basis, bit: bool) -> Self {
        Self { basis, bit }
    }

    /// Measures: the prepared bit in the prepared basis, a coin in the other one.
    pub fn measure(self, basis: Basis, coins: &mut SeededEntropy) -> bool {
        if basis == self.basis { self.bit } else { coins.next_u64() & 1 == 1 }
    }
}

/// What photons pass through between the two ends.
pub trait Channel: Send {
    /// Lets one photon pass; `None` if it is lost.
    fn transit(&mut self, photon: Photon) -> Option<Photon>;
}

/// An honest fibre: its loss is already in the gaps between arrivals.
pub struct Fibre;

impl Channel for Fibre {
    fn transit(&mut self, photon: Photon) -> Option<Photon> {
        Some(photon)
    }
}
