//! What a device saw of one chunk of a block: the slots of one photon frame. In: the emulated
//! devices' records. Out: slots with settings and bits, for distillation. Always: the chunks of a
//! block cover every slot once, in order (slots count from 1); bits are wiped when dropped and never
//! printed.

use std::fmt;

use zeroize::Zeroize;

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

/// Bits of a packed setting.
pub(super) const SETTING_BITS: u32 = 3;
/// In a packed setting: the decoy intensity.
pub(crate) const SETTING_DECOY: u8 = 4;
/// In a packed setting: the test basis.
pub(crate) const SETTING_TEST: u8 = 2;
/// In a packed setting: the bit.
pub(crate) const SETTING_BIT: u8 = 1;

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

impl Setting {
    pub(super) fn pack(self) -> u8 {
        let mask = |set, mask| if set { mask } else { 0 };
        let intensity = mask(self.intensity == Intensity::Decoy, SETTING_DECOY);
        intensity | mask(self.basis == Basis::Test, SETTING_TEST) | mask(self.bit, SETTING_BIT)
    }
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
    /// The same draws, for the next chunk.
    pub(super) fn share(&self) -> Self {
        Self { key: self.key, ..*self }
    }

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

impl Drop for LazySettings {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The transmitter's record of a chunk: what it sent in each of its slots.
pub struct Emissions {
    /// Slots from which a photon arrives, rising, each above its packed setting.
    pub(super) arrivals: Vec<u64>,
    pub(super) first_slot: u64,
    pub(super) last_slot: u64,
    pub(super) last: bool,
    pub(super) lazy: LazySettings,
}

impl Emissions {
    /// The chunk's first slot.
    pub fn first_slot(&self) -> u64 {
        self.first_slot
    }

    /// The chunk's last slot.
    pub fn last_slot(&self) -> u64 {
        self.last_slot
    }

    /// True for the block's last chunk.
    pub fn is_last(&self) -> bool {
        self.last
    }

    /// Number of slots from which a photon arrives, if the channel lets it pass.
    pub fn arrivals(&self) -> usize {
        self.arrivals.len()
    }

    /// The packed settings of `slots`, which rise and lie inside the chunk.
    pub(crate) fn settings(&self, slots: &[u64]) -> Vec<u8> {
        let mut settings = vec![0; slots.len()];
        let mut empty = Vec::new();
        let mut next = 0;
        for &arrival in &self.arrivals {
            while next < slots.len() && slots[next] < arrival >> SETTING_BITS {
                empty.push(next);
                next += 1;
            }
            // Without a branch: whether the receiver was live for this photon cannot be predicted.
            let Some(&slot) = slots.get(next) else { break };
            settings[next] = arrival as u8 & (SETTING_DECOY | SETTING_TEST | SETTING_BIT);
            next += usize::from(slot == arrival >> SETTING_BITS);
        }
        empty.extend(next..slots.len());
        for index in empty {
            settings[index] = self.lazy.setting(slots[index]).pack();
        }
        settings
    }
}

impl Drop for Emissions {
    fn drop(&mut self) {
        self.arrivals.zeroize();
    }
}

impl fmt::Debug for Emissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Emissions(slots {} to {})", self.first_slot, self.last_slot)
    }
}

/// The receiver's record of a chunk: gaps between clicks, bases (one = test) and bits.
pub struct Detections {
    /// In the form of `gap_code`; the first gap is from the click before, of whatever chunk (from
    /// slot 0 without one).
    pub(crate) gaps: Vec<u8>,
    pub(crate) bases: BitString,
    pub(crate) bits: SecretBits,
    pub(super) first_slot: u64,
    pub(super) last_slot: u64,
    pub(super) last: bool,
}

impl Detections {
    /// Number of clicks.
    pub fn clicks(&self) -> usize {
        self.bases.len()
    }

    /// The chunk's first slot.
    pub fn first_slot(&self) -> u64 {
        self.first_slot
    }

    /// The chunk's last slot.
    pub fn last_slot(&self) -> u64 {
        self.last_slot
    }

    /// True for the block's last chunk.
    pub fn is_last(&self) -> bool {
        self.last
    }
}

impl fmt::Debug for Detections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detections({} clicks, slots {} to {})", self.clicks(), self.first_slot, self.last_slot)
    }
}
