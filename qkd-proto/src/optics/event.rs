//! What a device saw of one chunk of a block: the slots of one photon frame. In: the emulated
//! devices' records. Out: slots with settings and bits, for distillation. Always: the chunks of a
//! block cover every slot once, in order (slots count from 1); bits are wiped when dropped and never
//! printed.

use std::fmt;

use zeroize::Zeroize;

use super::coins::{limit, middle, upper};
use crate::bits::BitString;
use crate::kernel::Level;
use crate::kernel::stream::{self, LANES, WORDS};
use crate::secret::SecretBits;

/// Bits of a packed setting.
pub(super) const SETTING_BITS: u32 = 3;
/// In a packed setting: the decoy intensity.
pub(crate) const SETTING_DECOY: u64 = 4;
/// In a packed setting: the test basis.
pub(crate) const SETTING_TEST: u64 = 2;
/// In a packed setting: the bit.
pub(crate) const SETTING_BIT: u64 = 1;

/// How the transmitter draws, afterwards, what it sent in slots from which nothing arrived.
///
/// INVARIANT: the draw is from the posterior `p_k (1 - S_k) / (1 - S)`; the prior instead would
/// bias the decoy statistics.
pub(super) struct LazySettings {
    key: [u8; 32],
    decoy: u64,
    key_basis: u64,
}

impl LazySettings {
    pub(super) fn new(key: [u8; 32], decoy: f64, key_basis: f64) -> Self {
        Self { key, decoy: limit(decoy), key_basis: limit(key_basis) }
    }

    /// The same draws, for the next chunk.
    pub(super) fn share(&self) -> Self {
        Self { key: self.key, ..*self }
    }

    /// The packed settings of 16 slots: a keyed function of each slot's number.
    fn settings(&self, level: Level, slots: &[u64; LANES]) -> [u64; LANES] {
        let mut words = [0; WORDS];
        stream::blocks(level, &self.key, slots, &mut words);
        let settings = std::array::from_fn(|i| {
            let word = stream::word_of(&words, i);
            let decoy = if upper(word) < self.decoy { SETTING_DECOY } else { 0 };
            decoy | if middle(word) < self.key_basis { 0 } else { SETTING_TEST } | word & SETTING_BIT
        });
        words.zeroize();
        settings
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
    pub(crate) fn settings(&self, slots: &[u64]) -> Vec<u64> {
        let mut settings = vec![0; slots.len()];
        let mut empty = Vec::new();
        let slot_at = |index: usize| slots.get(index).copied().unwrap_or(u64::MAX);
        // One slot is read ahead, so that no step waits for memory.
        let (mut next, mut slot, mut ahead) = (0, slot_at(0), slot_at(1));
        for &arrival in &self.arrivals {
            let at = arrival >> SETTING_BITS;
            while slot < at {
                empty.push(next);
                next += 1;
                (slot, ahead) = (ahead, slot_at(next + 1));
            }
            // Without a branch: whether the receiver was live for this photon cannot be predicted.
            let Some(setting) = settings.get_mut(next) else { break };
            *setting = arrival & (SETTING_DECOY | SETTING_TEST | SETTING_BIT);
            let hit = slot == at;
            next = next.wrapping_add(usize::from(hit));
            slot = std::hint::select_unpredictable(hit, ahead, slot);
            ahead = slot_at(next.wrapping_add(1));
        }
        empty.extend(next..slots.len());
        self.draw_empty(slots, &empty, &mut settings);
        settings
    }

    fn draw_empty(&self, slots: &[u64], empty: &[usize], settings: &mut [u64]) {
        let level = Level::best();
        for some in empty.chunks(LANES) {
            let mut asked = [0; LANES];
            asked.iter_mut().zip(some).for_each(|(asked, &index)| *asked = slots[index]);
            let drawn = self.lazy.settings(level, &asked);
            drawn.iter().zip(some).for_each(|(drawn, &index)| settings[index] = *drawn);
        }
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
