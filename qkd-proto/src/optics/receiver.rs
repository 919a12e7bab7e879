//! The receiver's emulated device: adds dark clicks, afterpulses, dead time, its own basis and
//! misalignment to the photons that come. In: a model, a seed, photon frames in order. Out: the
//! clicks of each frame's slots. Always: hostile frames end in an error, and a chunk holds outcomes
//! only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use zeroize::Zeroize;

use super::eavesdropper::InterceptResend;
use super::event::Detections;
use super::frame::{self, FrameError};
use super::gap_code;
use super::model::LinkModel;
use super::photon::{Basis, Channel, Fibre, Photon};
use super::transmitter::Gaps;
use crate::crypto;
use crate::entropy::{SeededEntropy, draw};
use crate::id::BlockId;
use crate::secret::SecretBits;

/// The emulated detectors of one link.
pub struct Receiver {
    model: LinkModel,
    seed: [u8; 32],
}

impl Receiver {
    /// Detectors with this model and seed; the transmitter's seed must be another.
    pub fn new(model: LinkModel, seed: [u8; 32]) -> Self {
        Self { model, seed }
    }

    /// Starts a block of `pulses` pulses through the model's own channel (with its eavesdropper).
    pub fn receive(&self, block: BlockId, pulses: u64) -> Reception {
        let seed = crypto::sha256(&[&self.seed, b"eavesdropper", &block.0.to_be_bytes()]);
        let channel: Box<dyn Channel> = if self.model.eve_ir > 0.0 {
            Box::new(InterceptResend::new(self.model.eve_ir, self.model.eve_key_basis, seed))
        } else {
            Box::new(Fibre)
        };
        self.receive_through(channel, block, pulses)
    }

    /// Starts a block through another channel.
    pub fn receive_through(&self, channel: Box<dyn Channel>, block: BlockId, pulses: u64) -> Reception {
        let mut coins = SeededEntropy::new(crypto::sha256(&[&self.seed, &block.0.to_be_bytes()]));
        let dark = Gaps::new(self.model.p_dark);
        let next_dark = [0; 2].map(|_: u8| dark.draw(&mut coins));
        let dead_slots = (self.model.dead_s * self.model.rate_hz).round();
        Reception {
            background: Background { dark, next_dark, afterpulses: BinaryHeap::new() },
            dead_slots: if self.model.dead_s > 0.0 { (dead_slots as u64).max(1) } else { 0 },
            afterpulse_slots: (self.model.tau_ap_s * self.model.rate_hz).max(1e-9),
            model: self.model.clone(),
            channel,
            coins: SeededEntropy::new(draw(&mut coins)),
            pulses,
            slot: 0,
            free_at: 0,
            due: Some(0),
            sequence: 0,
            last_click: 0,
            clicks: Vec::new(),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Clicks without a photon, in order of slots (which count from 1).
struct Background {
    dark: Gaps,
    next_dark: [u64; 2],
    afterpulses: BinaryHeap<Reverse<u64>>,
}

impl Background {
    /// The next slot with a background click.
    fn next(&self) -> u64 {
        let afterpulse = self.afterpulses.peek().map_or(u64::MAX, |slot| slot.0);
        self.next_dark[0].min(self.next_dark[1]).min(afterpulse)
    }

    /// Which detectors click in `slot`, and on to the clicks after it.
    fn take(&mut self, slot: u64, coins: &mut SeededEntropy) -> [bool; 2] {
        let mut clicks = [false; 2];
        for (next, click) in self.next_dark.iter_mut().zip(&mut clicks) {
            if *next == slot {
                *click = true;
                *next = next.saturating_add(self.dark.draw(coins));
            }
        }
        while self.afterpulses.peek().is_some_and(|next| next.0 == slot) {
            self.afterpulses.pop();
            clicks[usize::from(coins.next_u64() & 1 == 1)] = true;
        }
        clicks
    }
}

/// One block coming in.
pub struct Reception {
    model: LinkModel,
    channel: Box<dyn Channel>,
    coins: SeededEntropy,
    background: Background,
    dead_slots: u64,
    afterpulse_slots: f64,
    pulses: u64,
    /// Last slot of the frames so far.
    slot: u64,
    free_at: u64,
    /// Number of the frame that is due; `None` after the last, and after one that was refused.
    due: Option<u32>,
    sequence: u32,
    last_click: u64,
    /// Clicks of the frame at hand: slot, basis, bit.
    clicks: Vec<u64>,
}

impl Reception {
    /// Takes the next photon frame and gives the clicks of exactly its slots.
    ///
    /// # Errors
    /// If it is not the due one, malformed, or beyond the block; the block is lost then.
    pub fn accept(&mut self, bytes: &[u8]) -> Result<Detections, FrameError> {
        let (header, body) = frame::read_header(bytes)?;
        if self.due != Some(header.sequence) {
            return Err(FrameError::Sequence { found: header.sequence, expected: self.sequence });
        }
        self.due = None;
        let left = self.pulses - self.slot;
        if header.span > left {
            return Err(FrameError::BeyondBlock);
        }
        // The last frame, and no other, covers the rest.
        if header.last != (header.span == left) {
            return Err(FrameError::Malformed);
        }
        let first_slot = self.slot + 1;
        self.measure(body, self.slot + header.span)?;
        self.sequence = header.sequence.checked_add(1).ok_or(FrameError::Malformed)?;
        self.due = if header.last { None } else { Some(self.sequence) };
        Ok(self.chunk(first_slot, header.last))
    }

    /// True once the last frame was taken.
    pub fn is_complete(&self) -> bool {
        self.slot == self.pulses
    }

    fn measure(&mut self, body: &[u8], end: u64) -> Result<(), FrameError> {
        let mut photons = Vec::new();
        frame::read_photons(body, &mut photons)?;
        let mut slot = self.slot;
        for packed in photons {
            let gap = packed >> 2;
            if gap > end - slot {
                return Err(FrameError::Malformed);
            }
            slot += gap;
            self.background_until(slot);
            let basis = if packed & 2 == 0 { Basis::Key } else { Basis::Test };
            let photon = self.channel.transit(Photon::prepare(basis, packed & 1 == 1));
            let clicks = self.background.take(slot, &mut self.coins);
            self.detect(slot, photon, clicks);
        }
        self.background_until(end + 1);
        self.slot = end;
        Ok(())
    }

    fn chunk(&mut self, first_slot: u64, last: bool) -> Detections {
        let bases = self.clicks.iter().map(|click| click & 2 != 0).collect();
        let bits = SecretBits::new(self.clicks.iter().map(|click| click & 1 != 0).collect());
        for click in &mut self.clicks {
            let slot = *click >> 2;
            *click = slot - self.last_click;
            self.last_click = slot;
        }
        let mut gaps = Vec::new();
        gap_code::encode(&mut gaps, &self.clicks, 0);
        self.clicks.clear();
        Detections { gaps, bases, bits, first_slot, last_slot: self.slot, last }
    }

    /// Background clicks in slots below `limit`.
    fn background_until(&mut self, limit: u64) {
        while self.background.next() < limit {
            let slot = self.background.next();
            let clicks = self.background.take(slot, &mut self.coins);
            self.detect(slot, None, clicks);
        }
    }

    fn detect(&mut self, slot: u64, photon: Option<Photon>, mut clicks: [bool; 2]) {
        if slot < self.free_at || self.clicks.len() >= frame::CLICKS_PER_CHUNK_MAX {
            return;
        }
        let basis = if self.coins.unit() < self.model.pz_b { Basis::Key } else { Basis::Test };
        if let Some(photon) = photon {
            let flip = self.coins.unit() < self.model.e_mis;
            clicks[usize::from(photon.measure(basis, &mut self.coins) != flip)] = true;
        }
        let bit = match clicks {
            [false, false] => return,
            [true, true] => self.coins.next_u64() & 1 == 1,
            [_, one] => one,
        };
        self.clicks.push(slot << 2 | u64::from(basis == Basis::Test) << 1 | u64::from(bit));
        self.free_at = slot + self.dead_slots + 1;
        if self.coins.unit() < self.model.p_ap {
            let delay = -(1.0 - self.coins.unit()).ln() * self.afterpulse_slots;
            self.background.afterpulses.push(Reverse(self.free_at + delay as u64));
        }
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.clicks.zeroize();
    }
}
