//! The frames of a key on their way through the rounds: what both ends' machines have in common. In:
//! a key, the other end's parities. Out: own parities, and which frames passed. Always: at most
//! `IN_FLIGHT` frames at once, about 80 KiB each; the next frame starts when one is finished;
//! both ends walk the same schedule, so that a message is parities and nothing else.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::super::abort::AbortReason;
use super::super::engine::{Design, Told};
use super::super::key::{ReconciledKey, SiftedKey};
use super::frame::Frame;
use super::frames::{self, Place};
use super::order::Plan;
use super::parities::Parities;
use super::tuning::Tuning;
use crate::bits::BitString;
use crate::quantity::BitCount;

/// Frames at work at once.
const IN_FLIGHT: usize = 64;

/// One end's frames.
pub(super) struct Flight {
    key: SiftedKey,
    design: Design,
    tuning: Tuning,
    places: Vec<Place>,
    next: usize,
    active: Vec<(usize, Frame)>,
    plans: BTreeMap<u32, Plan>,
    own: Parities,
    compared: u64,
    kept: BitString,
    /// The receiver's frames after correction; empty at the transmitter's end.
    corrected: Option<Zeroizing<Vec<u64>>>,
}

impl Flight {
    /// All frames of `key`, none begun. The receiver's end corrects.
    pub(super) fn new(key: SiftedKey, design: &Design, tuning: Tuning, corrects: bool) -> Self {
        let places = frames::cut(key.len());
        let words = if corrects { places.iter().map(Place::words).sum() } else { 0 };
        Self {
            kept: BitString::zeros(places.len()),
            corrected: corrects.then(|| Zeroizing::new(vec![0; words])),
            key,
            design: *design,
            tuning,
            places,
            next: 0,
            active: Vec::new(),
            plans: BTreeMap::new(),
            own: Parities::default(),
            compared: 0,
        }
    }

    /// Begins; gives own parities of the first round.
    pub(super) fn open(&mut self) -> &Parities {
        self.begin_frames();
        self.ask_from(0);
        &self.own
    }

    /// The transmitter's round: takes the receiver's parities of what was asked, and gives own parities
    /// of what is asked next; nothing once all frames are finished.
    ///
    /// # Errors
    /// If there are more or fewer than were asked for.
    pub(super) fn learn_then_ask(&mut self, message: &[u8]) -> Result<&Parities, AbortReason> {
        self.own.check(message)?;
        let asked = std::mem::take(&mut self.own);
        let mut next = asked.differences(message, 0);
        // A frame is visited once a round: all of them do not fit into a near cache.
        for (frame, work) in &mut self.active {
            if let Some(plan) = self.plans.get_mut(&self.places[*frame].log) {
                work.learn(plan, &mut next, self.corrected.is_some());
                work.ask(plan, &mut self.own);
            }
        }
        self.compared += self.own.len() as u64;
        self.retire_frames();
        let old = self.active.len();
        self.begin_frames();
        self.ask_from(old);
        Ok(&self.own)
    }

    /// The receiver's round: asks, and takes the transmitter's parities of the same; gives own
    /// parities.
    ///
    /// # Errors
    /// If there are more or fewer than were asked for; nothing can be done with the frames then.
    pub(super) fn ask_and_learn(&mut self, message: &[u8]) -> Result<&Parities, AbortReason> {
        self.own.clear();
        self.begin_frames();
        for (frame, work) in &mut self.active {
            if let Some(plan) = self.plans.get_mut(&self.places[*frame].log) {
                let before = self.own.len();
                work.ask(plan, &mut self.own);
                work.learn(plan, self.own.differences(message, before), self.corrected.is_some());
            }
        }
        self.own.check(message)?;
        self.compared += self.own.len() as u64;
        self.retire_frames();
        Ok(&self.own)
    }

    /// Asks in the frames at work from the `first` on.
    fn ask_from(&mut self, first: usize) {
        let before = self.own.len();
        for (frame, work) in &mut self.active[first..] {
            if let Some(plan) = self.plans.get_mut(&self.places[*frame].log) {
                work.ask(plan, &mut self.own);
            }
        }
        self.compared += (self.own.len() - before) as u64;
    }

    fn begin_frames(&mut self) {
        while self.active.len() < IN_FLIGHT && self.next < self.places.len() {
            let place = self.places[self.next];
            let plan = self
                .plans
                .entry(place.log)
                .or_insert_with(|| Plan::new(place.log, self.tuning.first_block(self.design.qber), self.design.seed));
            let words = &self.key.bits.expose().words()[place.range()];
            self.active.push((self.next, Frame::new(plan, words)));
            self.next += 1;
        }
    }

    fn retire_frames(&mut self) {
        for (frame, work) in &self.active {
            let Some(passed) = work.passed() else { continue };
            self.kept.set(*frame, passed);
            if let Some(corrected) = &mut self.corrected {
                corrected[self.places[*frame].range()]
                    .iter_mut()
                    .zip(work.bits())
                    .for_each(|(word, bits)| *word = bits);
            }
        }
        self.active.retain(|(_, work)| work.passed().is_none());
    }

    /// True if no frame is left to work on.
    pub(super) fn is_finished(&self) -> bool {
        self.active.is_empty() && self.next == self.places.len()
    }

    /// One bit of each end per parity compared.
    pub(super) fn told(&self) -> Told {
        Told { transmitter: BitCount(self.compared), receiver: BitCount(self.compared) }
    }

    /// Which frames passed.
    pub(super) fn kept(&self) -> &BitString {
        &self.kept
    }

    /// The kept frames, corrected at the receiver's end.
    ///
    /// # Errors
    /// If `kept` has another number of frames, or none is kept.
    pub(super) fn join(&self, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
        let own = self.key.bits.expose().words();
        let words = self.corrected.as_ref().map_or(own, |corrected| corrected);
        frames::join(&self.places, words, &self.key.decoy, kept)
    }

    /// Bits corrected in the kept frames, signal then decoy.
    pub(super) fn errors(&self) -> [u64; 2] {
        let own = self.key.bits.expose().words();
        let words = self.corrected.as_ref().map_or(own, |corrected| corrected);
        let mut errors = [0; 2];
        for (place, _) in self.places.iter().zip(self.kept.iter()).filter(|(_, kept)| *kept) {
            for word in place.range() {
                let (differs, decoy) = (own[word] ^ words[word], self.key.decoy.words()[word]);
                errors[0] += u64::from((differs & !decoy).count_ones());
                errors[1] += u64::from((differs & decoy).count_ones());
            }
        }
        errors
    }
}
