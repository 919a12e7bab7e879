//! Sifting: keep the clicks whose bases agree. In: chunks of the optics' records while the block
//! runs, and the other end's messages. Out: the sifted key, and what the test basis disclosed.
//! Always: a message that does not fit the own record is refused, and no key-basis bit leaves.
//!
//! The receiver announces where it clicked chunk by chunk, and its bases only after the last pulse
//! was received: positions say nothing of bases, but bases told while photons are under way would let
//! an eavesdropper choose her measurements by them. So an end keeps no photon of a chunk that both
//! ends are done with: the transmitter three bits a click, the receiver two.

use zeroize::Zeroize;

use super::abort::AbortReason;
use super::key::SiftedKey;
use super::message::{EstimateMessage, SiftMessage};
use crate::bits::BitString;
use crate::kernel::Level;
use crate::kernel::planes;
use crate::optics::event::{Detections, Emissions, SETTING_BIT, SETTING_DECOY, SETTING_TEST};
use crate::optics::frame::CLICKS_PER_CHUNK_MAX;
use crate::optics::gap_code;
use crate::secret::SecretBits;

/// The transmitter's share of sifting: learns its settings of the announced clicks.
pub struct EmissionSifter {
    pulses: u64,
    /// Last slot of the chunks so far.
    covered: u64,
    last_click: u64,
    decoys: Chunks,
    bases: Chunks,
    bits: Chunks,
}

impl EmissionSifter {
    /// For a block of `pulses` pulses.
    pub fn new(pulses: u64) -> Self {
        let [decoys, bases, bits] = [0; 3].map(|_: u8| Chunks::default());
        Self { pulses, covered: 0, last_click: 0, decoys, bases, bits }
    }

    /// Takes the next chunk and the receiver's announced clicks in it.
    ///
    /// # Errors
    /// If the clicks do not rise or lie outside the chunk, or the chunk is not the next one.
    pub fn clicks(&mut self, emissions: Emissions, gaps: &[u8]) -> Result<(), AbortReason> {
        let malformed = AbortReason::Malformed("clicks");
        if emissions.first_slot() != self.covered + 1 || emissions.last_slot() > self.pulses {
            return Err(malformed);
        }
        let mut slots = Vec::new();
        gap_code::decode(gaps, 0, CLICKS_PER_CHUNK_MAX, &mut slots).ok_or(malformed)?;
        let mut slot = self.last_click;
        for gap in &mut slots {
            slot = slot.saturating_add(*gap);
            *gap = slot;
        }
        // Slots rise: if the last is inside, all are.
        if slot > emissions.last_slot() {
            return Err(malformed);
        }
        if slots.first().is_some_and(|&slot| slot < emissions.first_slot()) {
            return Err(malformed);
        }
        let mut settings = emissions.settings(&slots);
        self.keep(&settings);
        settings.zeroize();
        self.last_click = slot;
        self.covered = emissions.last_slot();
        Ok(())
    }

    fn keep(&mut self, settings: &[u64]) {
        let level = Level::best();
        let column = |mask: u64| {
            let words = planes::plane(level, settings, mask.trailing_zeros());
            SecretBits::new(BitString::from_words(words, settings.len()))
        };
        self.decoys.push(column(SETTING_DECOY));
        self.bases.push(column(SETTING_TEST));
        self.bits.push(column(SETTING_BIT));
    }

    /// Number of clicks announced so far.
    pub fn announced(&self) -> usize {
        self.bits.len
    }

    /// The transmitter's key, its message, and the number of test bits per intensity, from the
    /// receiver's bases (one = test).
    ///
    /// # Errors
    /// If chunks are missing, or the bases do not match the clicks in number.
    pub fn finish(self, bases: &BitString) -> Result<(SiftedKey, SiftMessage, [u64; 2]), AbortReason> {
        if self.covered != self.pulses || bases.len() != self.bits.len {
            return Err(AbortReason::Malformed("bases"));
        }
        let own = self.bases.join();
        let keep = own.expose().zip_words(bases, |own, theirs| !(own ^ theirs));
        drop(own);
        let (decoys, bits) = (self.decoys.join(), self.bits.join());
        let decoy = decoys.expose().select(&keep);
        let test = bases.select(&keep);
        let bits = SecretBits::new(bits.expose().select(&keep));
        let test_bits = bits.expose().select(&test);
        let test_decoy = decoy.select(&test);
        let key = test.zip_words(&test, |test, _| !test);
        let sifted = SiftedKey { bits: SecretBits::new(bits.expose().select(&key)), decoy: decoy.select(&key) };
        let tested = test_decoy.count_ones() as u64;
        let counts = [test_bits.len() as u64 - tested, tested];
        Ok((sifted, SiftMessage { keep, decoy, test_bits }, counts))
    }
}

/// The receiver's share of sifting: keeps bases and bits of its clicks.
#[derive(Default)]
pub struct DetectionSifter {
    bases: Chunks,
    bits: Chunks,
}

impl DetectionSifter {
    /// For a block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a chunk; gives the clicks' positions to announce.
    pub fn detections(&mut self, detections: Detections) -> Vec<u8> {
        self.bases.push(SecretBits::new(detections.bases));
        self.bits.push(detections.bits);
        detections.gaps
    }

    /// Number of clicks so far.
    pub fn clicks(&self) -> usize {
        self.bits.len
    }

    /// The bases to announce (one = test): only after the block's last pulse was received.
    pub fn bases(&self) -> BitString {
        self.bases.joined()
    }

    /// The receiver's key, and what the test basis showed.
    ///
    /// # Errors
    /// If the message does not fit the clicks.
    pub fn finish(self, sift: &SiftMessage) -> Result<(SiftedKey, EstimateMessage), AbortReason> {
        let malformed = AbortReason::Malformed("sift");
        if sift.keep.len() != self.bits.len || sift.decoy.len() != sift.keep.count_ones() {
            return Err(malformed);
        }
        let test = self.bases.join().expose().select(&sift.keep);
        if sift.test_bits.len() != test.count_ones() {
            return Err(malformed);
        }
        let bits = SecretBits::new(self.bits.join().expose().select(&sift.keep));
        let (test_decoy, seen) = (sift.decoy.select(&test), bits.expose().select(&test));
        let wrong = seen.zip_words(&sift.test_bits, |seen, sent| seen ^ sent);
        let split = |all: &BitString| {
            let decoy = all.zip_words(&test_decoy, |all, decoy| all & decoy).count_ones() as u64;
            [all.count_ones() as u64 - decoy, decoy]
        };
        let all = wrong.zip_words(&wrong, |_, _| u64::MAX);
        let estimate = EstimateMessage { counts: split(&all), errors: split(&wrong) };
        let key = test.zip_words(&test, |test, _| !test);
        let sifted = SiftedKey { bits: SecretBits::new(bits.expose().select(&key)), decoy: sift.decoy.select(&key) };
        Ok((sifted, estimate))
    }
}

/// One bit of every click, in the pieces that came: a string that grew would leave copies behind.
#[derive(Default)]
struct Chunks {
    pieces: Vec<SecretBits>,
    len: usize,
}

impl Chunks {
    fn push(&mut self, bits: SecretBits) {
        self.len += bits.len();
        self.pieces.push(bits);
    }

    fn joined(&self) -> BitString {
        let mut whole = BitString::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| whole.append(piece.expose()));
        whole
    }

    fn join(self) -> SecretBits {
        SecretBits::new(self.joined())
    }
}
