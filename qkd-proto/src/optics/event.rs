//! What a device saw of one block. In: the emulated devices' records, or a recording. Out: slots
//! with settings and bits, for distillation. Always: bits are wiped when dropped and never printed.

use std::fmt;

use zeroize::Zeroize;

use super::frame;
use super::photon::Basis;
use crate::bits::BitString;
use crate::entropy::SeededEntropy;
use crate::secret::SecretBits;

/// Which of the two mean photon numbers a pulse had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intensity {
    /// The brighter one.
    Signal,
    /// The weaker one.
    Decoy,
}

/// The transmitter's choices in one slot.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Mean photon number.
    pub intensity: Intensity,
    /// Basis.
    pub basis: Basis,
    /// Bit.
    pub bit: bool,
}

/// How the transmitter draws, afterwards, what it sent in slots from which nothing arrived.
///
/// INVARIANT: the draw is from the posterior `p_k (1 - S_k) / (1 - S)`; the prior instead would
/// bias the decoy statistics.
pub(super) struct LazySettings {
    pub(super) key: [u8; 32],
    pub(super) decoy: f64,
    pub(super) key_basis: f64,
}

impl LazySettings {
    /// The setting of `slot`: ChaCha20 under 24 key bytes and the slot number as a keyed function.
    fn setting(&self, slot: u64) -> Setting {
        let mut key = self.key;
        key[24..].copy_from_slice(&slot.to_le_bytes());
        let mut coins = SeededEntropy::new(key);
        let intensity = if coins.unit() < self.decoy { Intensity::Decoy } else { Intensity::Signal };
        let basis = if coins.unit() < self.key_basis { Basis::Key } else { Basis::Test };
        key.zeroize();
        Setting { intensity, basis, bit: coins.next_u64() & 1 == 1 }
    }
}

/// The transmitter's record of a block: its arrivals in order, two to three bytes each.
pub struct Emissions {
    pub(super) arrivals: Vec<u8>,
    pub(super) pulses: u64,
    pub(super) lazy: LazySettings,
}

impl Emissions {
    /// Pulses sent.
    pub fn pulses(&self) -> u64 {
        self.pulses
    }

    /// Reads settings in rising order of slots.
    pub(crate) fn reader(&self) -> EmissionReader<'_> {
        let mut reader = EmissionReader { rest: &self.arrivals, next: None, slot: 0, lazy: &self.lazy };
        reader.step();
        reader
    }
}

/// Packs an arrival for the record.
pub(super) fn pack_arrival(gap: u64, setting: Setting) -> u64 {
    let intensity = u64::from(setting.intensity == Intensity::Decoy);
    gap << 3 | intensity << 2 | u64::from(setting.basis == Basis::Test) << 1 | u64::from(setting.bit)
}

/// A pass over the transmitter's record.
pub(crate) struct EmissionReader<'a> {
    rest: &'a [u8],
    next: Option<(u64, Setting)>,
    slot: u64,
    lazy: &'a LazySettings,
}

impl EmissionReader<'_> {
    fn step(&mut self) {
        self.next = frame::read_number(&mut self.rest).map(|packed| {
            self.slot += packed >> 3;
            let intensity = if packed & 4 == 0 { Intensity::Signal } else { Intensity::Decoy };
            let basis = if packed & 2 == 0 { Basis::Key } else { Basis::Test };
            (self.slot, Setting { intensity, basis, bit: packed & 1 == 1 })
        });
    }

    /// What was sent in `slot`; slots must rise from call to call.
    pub(crate) fn setting(&mut self, slot: u64) -> Setting {
        while self.next.is_some_and(|(arrival, _)| arrival < slot) {
            self.step();
        }
        match self.next {
            Some((arrival, setting)) if arrival == slot => setting,
            _ => self.lazy.setting(slot),
        }
    }
}

impl Drop for Emissions {
    fn drop(&mut self) {
        self.arrivals.zeroize();
        self.lazy.key.zeroize();
    }
}

impl fmt::Debug for Emissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emissions({} pulses)", self.pulses)
    }
}

/// The receiver's record of a block: gaps between clicks (slots count from 1), bases (one =
/// test) and bits.
pub struct Detections {
    pub(crate) gaps: Vec<u8>,
    pub(crate) bases: BitString,
    pub(crate) bits: SecretBits,
}

impl Detections {
    /// Number of clicks.
    pub fn clicks(&self) -> usize {
        self.bases.len()
    }
}

impl fmt::Debug for Detections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detections({} clicks)", self.clicks())
    }
}
