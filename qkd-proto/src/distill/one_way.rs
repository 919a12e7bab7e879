//! The one-way polar codes as an engine, frame by frame, without retries.

use super::abort::AbortReason;
use super::engine::{Corrected, Corrector, Design, Progress, Teller, Told};
use super::estimate;
use super::key::{ReconciledKey, SiftedKey};
use super::message::FrameSyndrome;
use super::reconcile::{self, Polar};
use crate::bits::BitString;
use crate::codec;
use crate::quantity::BitCount;

struct OneWay {
    key: SiftedKey,
    step: u8,
    filter: [u8; 16],
    told: u64,
    corrected: Option<Corrected>,
}

fn new(key: SiftedKey, design: &Design) -> OneWay {
    let mut filter = [0; 16];
    filter.copy_from_slice(&design.seed[..16]);
    OneWay { key, step: estimate::rate_step(design.qber), filter, told: 0, corrected: None }
}

pub(super) fn teller(key: SiftedKey, design: &Design) -> Result<Box<dyn Teller>, AbortReason> {
    Ok(Box::new(new(key, design)))
}

pub(super) fn corrector(key: SiftedKey, design: &Design) -> Result<Box<dyn Corrector>, AbortReason> {
    Ok(Box::new(new(key, design)))
}

impl Teller for OneWay {
    fn open(&mut self) -> Vec<u8> {
        let frames = reconcile::encode(&Polar, &self.key, self.step, self.filter);
        self.told = reconcile::leak(&frames);
        codec::encode(1, &frames)
    }
    fn answer(&mut self, _: &[u8]) -> Result<Vec<u8>, AbortReason> {
        Err(AbortReason::Malformed("question"))
    }
    fn told(&self) -> Told {
        Told { transmitter: BitCount(self.told), receiver: BitCount(0) }
    }
    fn finish(self: Box<Self>, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
        reconcile::keep(&self.key, kept)
    }
}

impl Corrector for OneWay {
    fn hear(&mut self, words: &[u8]) -> Result<Progress, AbortReason> {
        let frames: Vec<FrameSyndrome> =
            codec::decode(1, words, 1 << 26).map_err(|_| AbortReason::Malformed("words"))?;
        self.told = reconcile::leak(&frames);
        let (key, kept, errors) = reconcile::decode(&Polar, &self.key, self.step, self.filter, &frames)?;
        self.corrected = Some(Corrected { key, kept, errors });
        Ok(Progress::Done)
    }
    fn told(&self) -> Told {
        Told { transmitter: BitCount(self.told), receiver: BitCount(0) }
    }
    fn finish(self: Box<Self>) -> Result<Corrected, AbortReason> {
        self.corrected.ok_or(AbortReason::ReconciliationFailed)
    }
}
