//! The receiver's emulated device. In: a model, a seed, photon frames in order. Out: the clicks of
//! each frame's slots. Always: hostile frames end in an error, and a chunk holds outcomes only.

use zeroize::Zeroize;

use super::coins::Coins;
use super::detector::Detectors;
use super::eavesdropper::{Attack, InterceptResend};
use super::event::Detections;
use super::frame::{self, FrameError};
use super::gap_code;
use super::model::LinkModel;
use super::photon::{Channel, Photons};
use crate::bits::BitString;
use crate::crypto;
use crate::id::BlockId;
use crate::kernel::Level;
use crate::kernel::planes;
use crate::secret::SecretBits;

/// The emulated detectors of one link.
pub struct Receiver {
    model: LinkModel,
    attack: Attack,
    seed: [u8; 32],
}

impl Receiver {
    /// Detectors with this model and seed; the transmitter's seed must be another.
    pub fn new(model: LinkModel, seed: [u8; 32]) -> Self {
        Self { model, attack: Attack::default(), seed }
    }

    /// The same under an attack; the transmitter must be under it too.
    #[must_use]
    pub fn under(mut self, attack: &Attack) -> Self {
        self.attack = attack.clone();
        self
    }

    /// Starts a block of `pulses` pulses through the model's own channel and the attack.
    pub fn receive(&self, block: BlockId, pulses: u64) -> Reception {
        let seed = crypto::sha256(&[&self.seed, b"eavesdropper", &block.0.to_be_bytes()]);
        let (mut seeds, mut channels) = (Coins::new(seed), Vec::<Box<dyn Channel>>::new());
        let (model, attack) = (&self.model, &self.attack);
        if model.eve_ir > 0.0 {
            channels.push(Box::new(InterceptResend::new(model.eve_ir, model.eve_key_basis, None, seeds.seed())));
        }
        if attack.intercept > 0.0 {
            let resend = InterceptResend::new(attack.intercept, attack.key_basis, attack.burst, seeds.seed());
            channels.push(Box::new(resend));
        }
        self.receive_through(channels, block, pulses)
    }

    /// Starts a block through other channels, one after the other.
    pub fn receive_through(&self, channels: Vec<Box<dyn Channel>>, block: BlockId, pulses: u64) -> Reception {
        let seed = crypto::sha256(&[&self.seed, &block.0.to_be_bytes()]);
        let p_dark = self.attack.apply(&self.model).p_dark;
        let e_mis = (self.model.e_mis + self.attack.misalignment).min(0.5);
        let model = LinkModel { p_dark, e_mis, ..self.model.clone() };
        Reception {
            detectors: Detectors::new(&model, seed),
            model,
            attack: self.attack.clone(),
            channels,
            level: Level::best(),
            pulses,
            slot: 0,
            due: Some(0),
            sequence: 0,
            last_click: 0,
            store: Vec::new(),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// One block coming in.
pub struct Reception {
    model: LinkModel,
    attack: Attack,
    channels: Vec<Box<dyn Channel>>,
    detectors: Detectors,
    level: Level,
    pulses: u64,
    /// Last slot of the frames so far.
    slot: u64,
    /// Number of the frame that is due; `None` after the last, and after one that was refused.
    due: Option<u32>,
    sequence: u32,
    last_click: u64,
    /// Room for a frame's photons.
    store: Vec<u64>,
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
        let (first_slot, end) = (self.slot + 1, self.slot + header.span);
        let mut photons = self.open(body, end)?;
        if self.attack.cut {
            photons.lose_all();
        }
        self.channels.iter_mut().for_each(|channel| channel.transit(&mut photons));
        if let Some(drift) = self.attack.drift {
            // The middle of a frame stands for all of it: alignment drifts slowly.
            self.detectors.misalign(self.model.e_mis + drift.at(self.slot + header.span / 2));
        }
        self.slot = end;
        self.sequence = header.sequence.checked_add(1).ok_or(FrameError::Malformed)?;
        self.due = if header.last { None } else { Some(self.sequence) };
        Ok(self.measure(photons, first_slot, header.last))
    }

    /// True once the last frame was taken.
    pub fn is_complete(&self) -> bool {
        self.slot == self.pulses
    }

    /// A frame's photons, with slots in place of gaps.
    fn open(&mut self, body: &[u8], end: u64) -> Result<Photons, FrameError> {
        let mut items = std::mem::take(&mut self.store);
        frame::read_photons(body, &mut items)?;
        let mut slot = self.slot;
        // Slots rise: if the last is inside, all are.
        for item in &mut items {
            slot = slot.saturating_add(*item >> 2);
            *item = slot << 2 | *item & 3;
        }
        if slot > end {
            items.zeroize();
            return Err(FrameError::Malformed);
        }
        Ok(Photons::new(items))
    }

    fn measure(&mut self, mut photons: Photons, first_slot: u64, last: bool) -> Detections {
        let clicks = self.detectors.sweep(&mut photons, self.slot);
        self.store = photons.into_store();
        let plane = |clicks: &[u64], bit| BitString::from_words(planes::plane(self.level, clicks, bit), clicks.len());
        let (bases, bits) = (plane(clicks, 1), SecretBits::new(plane(clicks, 0)));
        let mut last_click = self.last_click;
        for click in clicks.iter_mut() {
            let slot = *click >> 2;
            *click = slot - last_click;
            last_click = slot;
        }
        self.last_click = last_click;
        let mut gaps = Vec::new();
        gap_code::encode(&mut gaps, clicks, 0);
        Detections { gaps, bases, bits, first_slot, last_slot: self.slot, last }
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.store.zeroize();
    }
}
