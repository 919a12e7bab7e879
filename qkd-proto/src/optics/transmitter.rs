//! The transmitter's emulated device: draws the pulses that will arrive, with geometric gaps, and
//! leaves the others to be drawn when somebody asks. In: a model, a seed, a block. Out: photon
//! frames, then the record of the block. Always: the same seed and block give the same record.

use zeroize::Zeroize;

use super::PhotonBatch;
use super::event::{self, Emissions, Intensity, LazySettings, Setting};
use super::frame;
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
        Emission {
            gaps: Gaps::new(signal + decoy),
            decoy: decoy / (signal + decoy),
            lazy: LazySettings { key, decoy: missing[1] / (missing[0] + missing[1]), key_basis: self.model.pz_a },
            coins,
            pulses,
            slot: 0,
            sequence: 0,
            ended: false,
            arrivals: Vec::new(),
        }
    }
}

impl Drop for Transmitter {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// One block on its way out.
pub struct Emission {
    coins: SeededEntropy,
    gaps: Gaps,
    decoy: f64,
    lazy: LazySettings,
    pulses: u64,
    slot: u64,
    sequence: u32,
    ended: bool,
    arrivals: Vec<u8>,
}

impl Emission {
    /// The next photon frame, at most [`frame::PHOTONS_PER_FRAME`] photons; `None` after the last.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut body = Vec::new();
        for _ in 0..frame::PHOTONS_PER_FRAME {
            let gap = self.gaps.draw(&mut self.coins);
            // Slots count from 1 here, so that the block's last slot is `pulses`.
            if gap > self.pulses - self.slot {
                self.ended = true;
                break;
            }
            self.slot += gap;
            let setting = self.draw_setting();
            let packed = event::pack_arrival(gap, setting);
            frame::write_number(&mut self.arrivals, packed);
            // The photon itself does not tell its intensity.
            frame::write_number(&mut body, packed >> 3 << 2 | packed & 3);
        }
        let mut bytes = frame::header(self.sequence, self.ended);
        bytes.append(&mut body);
        self.sequence += 1;
        Some(bytes)
    }

    fn draw_setting(&mut self) -> Setting {
        let intensity = if self.coins.unit() < self.decoy { Intensity::Decoy } else { Intensity::Signal };
        let basis = if self.coins.unit() < self.lazy.key_basis { Basis::Key } else { Basis::Test };
        Setting { intensity, basis, bit: self.coins.next_u64() & 1 == 1 }
    }

    /// The record of the block, once every frame was taken.
    pub fn finish(mut self) -> PhotonBatch {
        while self.next_frame().is_some() {}
        PhotonBatch::Emissions(Emissions { arrivals: self.arrivals, pulses: self.pulses, lazy: self.lazy })
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
