//! The stages of a link as pieces of work that a bench can time. In: sizes, rates, seeds. Out: what
//! was processed. Always: no clock here; the work is the real code's, on the caller's thread.

use crate::bits::BitString;
use crate::distill::amplify;
use crate::distill::engine::{Corrector, Design, Teller, Told};
use crate::distill::engines;
use crate::distill::key::VerifiedKey;
use crate::distill::message::EngineKind;
use crate::distill::{noise, trial};
use crate::id::BlockId;
use crate::optics::model::LinkModel;
use crate::optics::receiver::Receiver;
use crate::optics::transmitter::Transmitter;
use crate::quantity::{BitCount, Qber};

/// One reconciliation, both ends on one thread.
pub struct Reconciliation {
    teller: Box<dyn Teller>,
    corrector: Option<Box<dyn Corrector>>,
    bits: usize,
    words: Vec<u8>,
}

/// What a reconciliation came to.
#[derive(Debug, Clone, Copy)]
pub struct Reconciled {
    /// Bits of the key.
    pub bits: BitCount,
    /// Told in public by each end.
    pub told: Told,
    /// Frames of the key.
    pub frames: usize,
    /// Frames that could not be corrected.
    pub failed: usize,
    /// Questions that the receiver asked.
    pub questions: u32,
}

impl Reconciliation {
    /// Keys of `bits` bits that differ at `qber`.
    ///
    /// # Panics
    /// If the key is too short for the engine.
    pub fn new(engine: EngineKind, bits: usize, qber: Qber, seed: u64) -> Self {
        let (ours, theirs) = noise::keys(bits, qber, seed);
        let mut design = Design { qber, seed: [0; 32] };
        design.seed[..8].copy_from_slice(&seed.to_le_bytes());
        let teller = engines::teller(engine, ours, &design).expect("a key of at least one frame");
        let corrector = engines::corrector(engine, theirs, &design).expect("a key of at least one frame");
        Self { teller, corrector: Some(corrector), bits, words: Vec::new() }
    }

    /// The transmitter's first word: of a one-way engine, all its work.
    pub fn open(&mut self) {
        self.words = self.teller.open();
    }

    /// Everything after that: the receiver's work, and the transmitter's answers.
    ///
    /// # Panics
    /// If the ends do not understand each other, or it was done before.
    pub fn correct(&mut self) -> Reconciled {
        let mut corrector = self.corrector.take().expect("corrected once");
        let opening = std::mem::take(&mut self.words);
        let questions = trial::talk(&mut *self.teller, &mut *corrector, opening).expect("honest words");
        let told = corrector.told();
        assert_eq!(told, self.teller.told(), "both ends count alike");
        let kept = corrector.finish().map_or_else(|_| BitString::default(), |corrected| corrected.kept);
        let (frames, failed) = (kept.len(), kept.len() - kept.count_ones());
        Reconciled { bits: BitCount(self.bits as u64), told, frames, failed, questions }
    }
}

/// What the emulator did.
#[derive(Debug, Clone, Copy)]
pub struct Emulated {
    /// Photons drawn, framed and sent on.
    pub photons: u64,
    /// Clicks registered.
    pub clicks: u64,
}

/// Draws, frames, and measures the photons of `pulses` pulses.
///
/// # Panics
/// If the emulated devices refuse each other's frames: a defect.
pub fn emulate(model: &LinkModel, pulses: u64) -> Emulated {
    let mut emission = Transmitter::new(model.clone(), [1; 32]).emit(BlockId(1), pulses);
    let mut reception = Receiver::new(model.clone(), [2; 32]).receive(BlockId(1), pulses);
    let mut emulated = Emulated { photons: 0, clicks: 0 };
    while let Some((frame, chunk)) = emission.next_frame() {
        emulated.photons += chunk.arrivals() as u64;
        emulated.clicks += reception.accept(&frame).expect("an honest frame").clicks() as u64;
    }
    emulated
}

/// A key to amplify.
pub struct Amplification(VerifiedKey);

impl Amplification {
    /// A key of `bits` random bits.
    pub fn new(bits: usize) -> Self {
        Self(noise::verified(bits, 1))
    }

    /// Hashes it to `length` bits.
    pub fn run(self, length: usize) -> BitCount {
        amplify::amplify(self.0, [3; 32], length).len()
    }
}
