//! The receiver's end. In: a sifted key; the transmitter's syndromes and answers. Out: questions for
//! the frames that fail; at last the frames that passed their filter. Always: a frame that passed is
//! not touched again, and a frame that fails after the last answer is dropped.

use zeroize::Zeroizing;

use super::decode::Room;
use super::frozen::FrozenSet;
use super::message::{AnswerMessage, QuestionMessage, SyndromesMessage, from_bytes, to_bytes};
use super::plan::{self, Plan, QUESTIONS_MAX};
use super::syndrome::Reader;
use crate::bits::BitString;
use crate::distill::abort::AbortReason;
use crate::distill::engine::{Corrected, Corrector, Design, Progress, Told};
use crate::distill::key::SiftedKey;
use crate::distill::reconcile::{self, FILTER_BITS};
use crate::kernel::{Level, polar};
use crate::quantity::BitCount;

/// The receiver's machine.
pub(super) struct PolarCorrector {
    key: SiftedKey,
    filter_key: [u8; 16],
    plan: Plan,
    frames: Vec<Frame>,
    /// The frames as corrected so far, in their places.
    corrected: Zeroizing<Vec<u64>>,
    /// Messages heard: the syndromes and an answer a question.
    messages: usize,
    done: bool,
    told: Told,
}

/// What is known of a frame.
struct Frame {
    /// Frozen inputs told so far, in their places.
    frozen: Vec<u64>,
    filter: u32,
    passed: bool,
}

impl PolarCorrector {
    /// Takes the key.
    ///
    /// # Errors
    /// If it has no frame.
    pub(super) fn new(key: SiftedKey, design: &Design) -> Result<Self, AbortReason> {
        let plan = Plan::of(key.len(), design.qber);
        if plan.sizes.is_empty() {
            return Err(AbortReason::TooFewDetections(key.len() as u64));
        }
        Ok(Self {
            corrected: Zeroizing::new(reconcile::words(&key).to_vec()),
            key,
            filter_key: reconcile::filter_key(design),
            plan,
            frames: Vec::new(),
            messages: 0,
            done: false,
            told: Told::default(),
        })
    }

    /// Takes the first message.
    fn syndromes(&mut self, message: &[u8]) -> Result<(), AbortReason> {
        let message: SyndromesMessage = from_bytes(message, self.key.len(), "syndromes")?;
        let sizes = &self.plan.sizes;
        let frozen: usize = sizes.iter().map(|&log| self.plan.frozen(log, 0)).sum();
        let (filters, rest) = message.filters.as_chunks();
        if message.frozen.len() != frozen || filters.len() != sizes.len() || !rest.is_empty() {
            return Err(AbortReason::Malformed("syndromes"));
        }
        let mut reader = Reader::new(&message.frozen);
        for (&log, &filter) in sizes.iter().zip(filters) {
            let set = self.plan.set(log, 0);
            let mut frozen = vec![0; set.words()];
            reader.scatter(set.mask().iter().copied(), &mut frozen);
            self.frames.push(Frame { frozen, filter: u32::from_le_bytes(filter), passed: false });
        }
        self.count(frozen + sizes.len() * FILTER_BITS as usize);
        Ok(())
    }

    /// Takes an answer.
    fn answer(&mut self, message: &[u8]) -> Result<(), AbortReason> {
        let message: AnswerMessage = from_bytes(message, self.key.len(), "answer")?;
        let failed = self.plan.sizes.iter().zip(&mut self.frames).filter(|(_, frame)| !frame.passed);
        let failed: Vec<(u32, &mut Frame)> = failed.map(|(&log, frame)| (log, frame)).collect();
        let added = |log| self.plan.frozen(log, self.messages) - self.plan.frozen(log, self.messages - 1);
        let added: usize = failed.iter().map(|&(log, _)| added(log)).sum();
        if message.frozen.len() != added {
            return Err(AbortReason::Malformed("answer"));
        }
        let mut reader = Reader::new(&message.frozen);
        for (log, frame) in failed {
            let (before, after) = (self.plan.set(log, self.messages - 1), self.plan.set(log, self.messages));
            let added = after.mask().iter().zip(before.mask()).map(|(after, before)| after & !before);
            reader.scatter(added, &mut frame.frozen);
        }
        self.count(added);
        Ok(())
    }

    /// Counts one more message that told these bits, and one flag a frame.
    fn count(&mut self, told: usize) {
        self.messages += 1;
        self.told.transmitter = BitCount(self.told.transmitter.0 + told as u64);
        self.told.receiver = BitCount(self.told.receiver.0 + self.frames.len() as u64);
    }

    /// Decodes all frames that have not passed, as many at once as there are of a size.
    fn attempt(&mut self) {
        let failed: Vec<usize> = (0..self.frames.len()).filter(|&i| !self.frames[i].passed).collect();
        let (mut rest, mut room) = (failed.as_slice(), Room::default());
        while let Some(&first) = rest.first() {
            let log = self.plan.sizes[first];
            let same = rest.iter().take_while(|&&i| self.plan.sizes[i] == log).count();
            let lanes_log = plan::lanes_log(same, log);
            let (batch, next) = rest.split_at(1 << lanes_log);
            self.batch(&self.plan.set(log, self.messages - 1), lanes_log, batch, &mut room);
            rest = next;
        }
    }

    /// Decodes these frames together.
    fn batch(&mut self, set: &FrozenSet, lanes_log: u32, batch: &[usize], room: &mut Room) {
        let noisy = reconcile::words(&self.key);
        let mut words = Zeroizing::new(Vec::with_capacity(batch.len() * set.words()));
        for &i in batch {
            words.extend_from_slice(&noisy[self.plan.words(i)]);
        }
        let frozen = batch.iter().map(|&i| self.frames[i].frozen.as_slice());
        correct(set, lanes_log, frozen, &mut words, room);
        for (frame, &i) in words.chunks_exact(set.words()).zip(batch) {
            if reconcile::filter(self.filter_key, frame) == self.frames[i].filter {
                self.corrected[self.plan.words(i)].copy_from_slice(frame);
                self.frames[i].passed = true;
                self.frames[i].frozen = Vec::new();
            }
        }
    }

    fn kept(&self) -> BitString {
        self.frames.iter().map(|frame| frame.passed).collect()
    }
}

impl Corrector for PolarCorrector {
    fn hear(&mut self, message: &[u8]) -> Result<Progress, AbortReason> {
        match (self.done, self.messages) {
            (true, _) => return Err(AbortReason::Malformed("answer")),
            (false, 0) => self.syndromes(message)?,
            (false, _) => self.answer(message)?,
        }
        self.attempt();
        let failed: BitString = self.frames.iter().map(|frame| !frame.passed).collect();
        self.done = failed.count_ones() == 0 || self.messages > QUESTIONS_MAX;
        Ok(if self.done { Progress::Done } else { Progress::Ask(to_bytes(&QuestionMessage { failed })) })
    }

    fn told(&self) -> Told {
        self.told
    }

    fn finish(self: Box<Self>) -> Result<Corrected, AbortReason> {
        let kept = self.kept();
        let errors = reconcile::errors(&self.key, &self.corrected, &kept);
        let key = reconcile::join(&self.corrected, &self.key, &kept)?;
        Ok(Corrected { key, kept, errors })
    }
}

/// Corrects noisy frames in place, by their frozen inputs in their places.
pub(super) fn correct<'a>(
    set: &FrozenSet,
    lanes_log: u32,
    frozen: impl Iterator<Item = &'a [u64]>,
    noisy: &mut [u64],
    room: &mut Room,
) {
    let level = Level::best();
    let mut coset = Zeroizing::new(Vec::with_capacity(noisy.len()));
    frozen.for_each(|frame| coset.extend_from_slice(frame));
    coset.chunks_exact_mut(set.words()).for_each(|frame| polar::transform(level, frame));
    // Less a word of the coset, the frame is a word of the code whose frozen inputs are zero.
    noisy.iter_mut().zip(&*coset).for_each(|(a, b)| *a ^= b);
    room.decode(level, set, lanes_log, noisy);
    noisy.iter_mut().zip(&*coset).for_each(|(a, b)| *a ^= b);
}
