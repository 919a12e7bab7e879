//! The transmitter's end. In: a sifted key; later the receiver's questions. Out: syndromes and filter
//! hashes; more frozen bits of the frames that failed. Always: a frame climbs its ladder step by step,
//! so what it tells grows by the difference of two nested sets and is bounded by the last.

use zeroize::Zeroizing;

use super::message::{AnswerMessage, QuestionMessage, SyndromesMessage, from_bytes, to_bytes};
use super::plan::{Plan, QUESTIONS_MAX};
use super::syndrome::Writer;
use crate::bits::BitString;
use crate::codec::Bytes;
use crate::distill::abort::AbortReason;
use crate::distill::engine::{Design, Teller, Told};
use crate::distill::key::{ReconciledKey, SiftedKey};
use crate::distill::reconcile::{self, FILTER_BITS};
use crate::kernel::{Level, polar};
use crate::quantity::BitCount;

/// The transmitter's machine.
pub(super) struct PolarTeller {
    key: SiftedKey,
    filter_key: [u8; 16],
    plan: Plan,
    /// Frames that may still ask.
    failed: BitString,
    /// Messages told: the syndromes and an answer a question.
    messages: usize,
    told: Told,
}

impl PolarTeller {
    /// Takes the key.
    ///
    /// # Errors
    /// If it has no frame.
    pub(super) fn new(key: SiftedKey, design: &Design) -> Result<Self, AbortReason> {
        let plan = Plan::of(key.len(), design.qber);
        if plan.sizes.is_empty() {
            return Err(AbortReason::TooFewDetections(key.len() as u64));
        }
        let failed = plan.sizes.iter().map(|_| true).collect();
        let filter_key = reconcile::filter_key(design);
        Ok(Self { key, filter_key, plan, failed, messages: 0, told: Told::default() })
    }

    /// The inputs of the transform of frame `i`.
    fn inputs(&self, i: usize) -> Zeroizing<Vec<u64>> {
        let mut inputs = Zeroizing::new(reconcile::words(&self.key)[self.plan.words(i)].to_vec());
        polar::transform(Level::best(), &mut inputs);
        inputs
    }

    /// Counts one more message that told these bits, and one flag a frame.
    fn count(&mut self, told: usize) {
        self.messages += 1;
        self.told.transmitter = BitCount(self.told.transmitter.0 + told as u64);
        self.told.receiver = BitCount(self.told.receiver.0 + self.plan.sizes.len() as u64);
    }
}

impl Teller for PolarTeller {
    fn open(&mut self) -> Vec<u8> {
        let sizes = &self.plan.sizes;
        let mut writer = Writer::with_capacity(sizes.iter().map(|&log| self.plan.frozen(log, 0)).sum());
        let mut filters = Vec::new();
        for (i, &log) in sizes.iter().enumerate() {
            let set = self.plan.set(log, 0);
            writer.gather(&self.inputs(i), set.mask().iter().copied());
            let frame = &reconcile::words(&self.key)[self.plan.words(i)];
            filters.extend(reconcile::filter(self.filter_key, frame).to_le_bytes());
        }
        let frozen = writer.finish();
        if self.messages == 0 {
            self.count(frozen.len() + sizes.len() * FILTER_BITS as usize);
        }
        to_bytes(&SyndromesMessage { frozen, filters: Bytes::from(filters) })
    }

    fn answer(&mut self, question: &[u8]) -> Result<Vec<u8>, AbortReason> {
        let question: QuestionMessage = from_bytes(question, self.key.len(), "question")?;
        let new = |(failed, before): (bool, bool)| failed && !before;
        let fits = question.failed.len() == self.failed.len()
            && question.failed.count_ones() > 0
            && !question.failed.iter().zip(self.failed.iter()).any(new);
        if !fits || !(1..=QUESTIONS_MAX).contains(&self.messages) {
            return Err(AbortReason::Malformed("question"));
        }
        let mut writer = Writer::default();
        for (i, _) in question.failed.iter().enumerate().filter(|(_, failed)| *failed) {
            let log = self.plan.sizes[i];
            let (before, after) = (self.plan.set(log, self.messages - 1), self.plan.set(log, self.messages));
            let added = after.mask().iter().zip(before.mask()).map(|(after, before)| after & !before);
            writer.gather(&self.inputs(i), added);
        }
        let frozen = writer.finish();
        self.count(frozen.len());
        self.failed = question.failed;
        Ok(to_bytes(&AnswerMessage { frozen }))
    }

    fn told(&self) -> Told {
        self.told
    }

    fn finish(self: Box<Self>, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
        reconcile::keep(&self.key, kept)
    }
}
