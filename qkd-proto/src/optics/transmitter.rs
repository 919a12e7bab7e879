//! The transmitter's emulated device: draws the pulses that will arrive, with geometric gaps, and
//! leaves the others to be drawn when somebody asks. In: a model, a seed, a block. Out: photon
//! frames, each with the record of its slots. Always: the same seed and block give the same record.

use zeroize::Zeroize;

use super::coins::Coins;
use super::eavesdropper::Attack;
use super::event::{Emissions, LazySettings, SETTING_BITS};
use super::frame::{self, Header, PHOTONS_PER_FRAME};
use super::model::LinkModel;
use crate::crypto;
use crate::id::BlockId;
use crate::kernel::arrivals::{self, Law};

/// Arrivals that are drawn at a time.
const BATCH: usize = 1 << 12;
/// Slots that no block reaches.
const BEYOND: u64 = 1 << 60;

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

    /// The same under an attack; the receiver must be under it too.
    #[must_use]
    pub fn under(mut self, attack: &Attack) -> Self {
        self.model = attack.at_transmitter(&self.model);
        self
    }

    /// Starts a block of `pulses` pulses (at most `preset::PULSES_MAX`).
    pub fn emit(&self, block: BlockId, pulses: u64) -> Emission {
        let mut coins = Coins::new(crypto::sha256(&[&self.seed, &block.0.to_be_bytes()]));
        let (arrival, pz) = (self.model.arrival(), self.model.pz_a);
        let [signal, decoy] = [0, 1].map(|k| self.model.ps[k] * arrival[k]);
        let missing = [0, 1].map(|k| self.model.ps[k] * (1.0 - arrival[k]));
        let settings = [signal * pz, signal * (1.0 - pz), decoy * pz, decoy * (1.0 - pz)];
        let key = coins.seed();
        Emission {
            // Where nothing arrives, settings are never asked for.
            law: Law::new(signal + decoy, if signal + decoy > 0.0 { settings } else { [1.0; 4] }),
            lazy: LazySettings::new(key, missing[1] / (missing[0] + missing[1]), pz),
            span_max: span_max(signal + decoy + 2.0 * self.model.p_dark),
            coins,
            pulses,
            slot: 0,
            drawn_to: 0,
            words: Vec::new(),
            drawn: Vec::new(),
            taken: 0,
            sequence: 0,
        }
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
    (((2 * PHOTONS_PER_FRAME) as f64 / clicks_per_slot) as u64).max(1)
}

/// One block on its way out.
pub struct Emission {
    coins: Coins,
    law: Law,
    lazy: LazySettings,
    span_max: u64,
    pulses: u64,
    /// Last slot of the frames so far.
    slot: u64,
    /// Slot of the last arrival that was drawn.
    drawn_to: u64,
    words: Vec<u64>,
    /// Arrivals drawn in advance: slots above settings; the first `taken` are in frames already.
    drawn: Vec<u64>,
    taken: usize,
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
        let (before, first_slot) = (self.slot, self.slot + 1);
        let end = self.pulses.min(self.slot.saturating_add(self.span_max));
        let arrivals = self.take_until(end);
        let full = arrivals.len() == PHOTONS_PER_FRAME;
        self.slot = arrivals.last().filter(|_| full).map_or(end, |last| last >> SETTING_BITS);
        let (span, last) = (self.slot - before, self.slot == self.pulses);
        let mut photons = photons(&arrivals, before);
        let frame = frame::write(Header { sequence: self.sequence, last, span }, &photons);
        photons.zeroize();
        self.sequence += 1;
        Some((frame, Emissions { arrivals, first_slot, last_slot: self.slot, last, lazy: self.lazy.share() }))
    }

    /// The next arrivals up to slot `end`, at most a frame's.
    fn take_until(&mut self, end: u64) -> Vec<u64> {
        let mut arrivals = Vec::with_capacity(PHOTONS_PER_FRAME);
        while arrivals.len() < PHOTONS_PER_FRAME {
            if self.taken == self.drawn.len() {
                self.draw();
            }
            let rest = &self.drawn[self.taken..];
            let rest = &rest[..rest.len().min(PHOTONS_PER_FRAME - arrivals.len())];
            let inside = rest.partition_point(|arrival| arrival >> SETTING_BITS <= end);
            arrivals.extend_from_slice(&rest[..inside]);
            self.taken += inside;
            if inside < rest.len() {
                break;
            }
        }
        arrivals
    }

    fn draw(&mut self) {
        self.coins.fill(&mut self.words, BATCH);
        arrivals::draw(self.coins.level(), &self.law, &self.words, &mut self.drawn);
        let mut slot = self.drawn_to;
        for arrival in &mut self.drawn {
            slot = slot.wrapping_add(*arrival >> SETTING_BITS).min(BEYOND);
            *arrival = slot << SETTING_BITS | *arrival & ((1 << SETTING_BITS) - 1);
        }
        (self.drawn_to, self.taken) = (slot, 0);
    }
}

/// What travels: gaps with basis and bit; the photon itself does not tell its intensity.
fn photons(arrivals: &[u64], before: u64) -> Vec<u64> {
    let mut last = before;
    let mut photons = Vec::with_capacity(arrivals.len());
    photons.extend(arrivals.iter().map(|arrival| {
        let slot = arrival >> SETTING_BITS;
        let gap = slot.wrapping_sub(last);
        last = slot;
        gap << frame::PHOTON_SYMBOL_BITS | arrival & 3
    }));
    photons
}

impl Drop for Emission {
    fn drop(&mut self) {
        self.words.zeroize();
        self.drawn.zeroize();
    }
}
