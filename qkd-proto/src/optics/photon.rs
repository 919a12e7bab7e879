//! Photons and the channel they pass. In: preparations. Out: one outcome each. Always: a photon is
//! measured once, because neither it nor a train of them is `Clone` or `Copy` (no-cloning as an
//! affine type).

use zeroize::Zeroize;

/// What a photon is prepared or measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Its bits make the key.
    Key,
    /// Its bits are disclosed to bound what an eavesdropper learnt.
    Test,
}

impl Basis {
    #[inline(always)]
    fn of(test: bool) -> Self {
        if test { Self::Test } else { Self::Key }
    }
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

    /// Measures: the prepared bit in the prepared basis, the coin in the other one.
    #[inline(always)]
    pub fn measure(self, basis: Basis, coin: bool) -> bool {
        if basis == self.basis { self.bit } else { coin }
    }
}

/// Photons that arrive one after the other, each in its slot.
pub struct Photons {
    /// Slot times 4, plus 2 for the test basis, plus the bit.
    items: Vec<u64>,
}

impl Photons {
    pub(super) fn new(items: Vec<u64>) -> Self {
        Self { items }
    }

    /// Number of photons.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True without any photon.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The slot of photon `index`; `None` beyond the last.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Option<u64> {
        Some(self.items.get(index)? >> 2)
    }

    /// Takes photon `index` out and puts what `exchange` makes of it in its place.
    pub fn exchange(&mut self, index: usize, exchange: impl FnOnce(Photon) -> Photon) {
        if let Some(item) = self.items.get_mut(index) {
            let sent = exchange(unpack(*item));
            *item = *item & !3 | u64::from(sent.basis == Basis::Test) << 1 | u64::from(sent.bit);
        }
    }

    /// All photons are lost.
    pub fn lose_all(&mut self) {
        self.items.zeroize();
    }

    /// The photons from `index` on with their slots, for a detector, which takes each once: the
    /// train itself is given up to it.
    #[inline(always)]
    pub(super) fn take_from(&mut self, index: usize) -> impl Iterator<Item = (u64, Photon)> {
        self.items.get(index..).unwrap_or_default().iter().map(|item| (item >> 2, unpack(*item)))
    }

    /// The emptied store, for the next train.
    pub(super) fn into_store(mut self) -> Vec<u64> {
        std::mem::take(&mut self.items)
    }
}

#[inline(always)]
fn unpack(item: u64) -> Photon {
    Photon::prepare(Basis::of(item & 2 != 0), item & 1 != 0)
}

impl Drop for Photons {
    fn drop(&mut self) {
        self.items.zeroize();
    }
}

/// What photons pass through between the two ends.
pub trait Channel: Send {
    /// Lets photons pass.
    fn transit(&mut self, photons: &mut Photons);
}
