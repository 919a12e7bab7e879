//! The transmitter's emulated device: draws the pulses that will arrive, with geometric gaps, and
//! leaves the others to be drawn when somebody asks. In: a model, a seed, a block. Out: photon
//! frames, each with the record of its slots. Always: the same seed and block give the same record.

use zeroize::Zeroize;

use super::event::{Emissions, Intensity, LazySettings, SETTING_BITS, Setting};
use super::frame::{self, Header, PHOTONS_PER_FRAME};
use super::model::LinkModel;
use super::photon::Basis;
use crate::crypto;
use crate::entropy::{SeededEntropy, draw};
use crate::id::BlockId;

/// The emulated source of one link.
pub struct Transmitter {
    model: LinkModel,
    seed: [u8; 32],
}

impl Transmitter {
    /// A source with this model and seed; the receiver's seed must be another.
    pub fn new(model: LinkModel, seed: [u8; 32]) -> Self {
        Self { model, seed }
    }

    /// Starts a block of `pulses` pulses.
    pub fn emit(&self, block: BlockId, pulses: u64) -> Emission {
        let mut coins = SeededEntropy::new(crypto::sha256(&[&self.seed, &block.0.to_be_bytes()]));
        let arrival = self.model.arrival();
        let [signal, decoy] = [0, 1].map(|k| self.model.ps[k] * arrival[k]);
        let missing = [0, 1].map(|k| self.model.ps[k] * (1.0 - arrival[k]));
        let key = draw(&mut coins);
        let mut emission = Emission {
            gaps: Gaps::new(signal + decoy),
            decoy: decoy / (signal + decoy),
            lazy: LazySettings { key, decoy: missing[1] / (missing[0] + missing[1]), key_basis: self.model.pz_a },
            span_max: span_max(signal + decoy + 2.0 * self.model.p_dark),
            coins,
            pulses,
            slot: 0,
            next_arrival: 0,
            sequence: 0,
        };
        emission.draw_arrival();
        emission
    }
}

impl Drop for Transmitter {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Most slots of a frame: clicks per frame stay bounded where hardly anything but dark clicks comes.
fn span_max(clicks_per_slot: f64) -> u64 {
    // A float cast saturates: without any click, the whole block is one frame.
    ((2 * PHOTONS_PER_FRAME) as f64 / clicks_per_slot) as u64
}

/// One block on its way out.
pub struct Emission {
    coins: SeededEntropy,
    gaps: Gaps,
    decoy: f64,
    lazy: LazySettings,
    span_max: u64,
    pulses: u64,
    /// Last slot of the frames so far.
    slot: u64,
    next_arrival: u64,
    sequence: u32,
}

impl Emission {
    /// The next photon frame, with the record of exactly the slots from the frame before to its own
    /// last one; `None` after the last, which covers the block to its last pulse.
    ///
    /// The frame's bytes are for the device to seal: they tell bases and bits.
    pub fn next_frame(&mut self) -> Option<(Vec<u8>, Emissions)> {
        if self.slot >= self.pulses {
            return None;
        }
        let first_slot = self.slot + 1;
        let end = self.pulses.min(self.slot.saturating_add(self.span_max.max(1)));
        let (mut arrivals, mut photons) = (Vec::new(), Vec::with_capacity(PHOTONS_PER_FRAME));
        let mut last = self.slot;
        while self.next_arrival <= end && photons.len() < PHOTONS_PER_FRAME {
            let slot = self.next_arrival;
            let setting = u64::from(self.draw_setting().pack());
            arrivals.push(slot << SETTING_BITS | setting);
            // The photon itself does not tell its intensity.
            photons.push((slot - last) << 2 | setting & 3);
            last = slot;
            self.draw_arrival();
        }
        self.slot = if photons.len() < PHOTONS_PER_FRAME { end } else { last };
        let (span, is_last) = (self.slot + 1 - first_slot, self.slot == self.pulses);
        let frame = frame::write(Header { sequence: self.sequence, last: is_last, span }, &photons);
        photons.zeroize();
        self.sequence += 1;
        let lazy = self.lazy.share();
        Some((frame, Emissions { arrivals, first_slot, last_slot: self.slot, last: is_last, lazy }))
    }

    fn draw_arrival(&mut self) {
        self.next_arrival = self.next_arrival.saturating_add(self.gaps.draw(&mut self.coins));
    }

    fn draw_setting(&mut self) -> Setting {
        let intensity = if self.coins.unit() < self.decoy { Intensity::Decoy } else { Intensity::Signal };
        let basis = if self.coins.unit() < self.lazy.key_basis { Basis::Key } else { Basis::Test };
        Setting { intensity, basis, bit: self.coins.next_u64() & 1 == 1 }
    }
}

/// Gaps of a Bernoulli process: `1 + floor(ln U / ln(1 - p))`.
pub(super) struct Gaps {
    scale: f64,
}

impl Gaps {
    /// For events of this probability per slot.
    pub(super) fn new(probability: f64) -> Self {
        Self { scale: if probability > 0.0 { 1.0 / (-probability).ln_1p() } else { f64::NEG_INFINITY } }
    }

    /// Slots to the next event, at least one; beyond 2^53 means never.
    pub(super) fn draw(&self, coins: &mut SeededEntropy) -> u64 {
        let gap = (1.0 - coins.unit()).ln() * self.scale;
        // Zero times infinity, for an impossible event, is never too.
        if gap < 9e15 { 1 + gap as u64 } else { 1 << 60 }
    }
}
