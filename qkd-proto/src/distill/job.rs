//! The heavy steps of a block, as values that a worker thread can run. In: a step's data, by value.
//! Out: its result. Always: pure, the same job gives the same result; `Debug` names the step only.

use std::fmt;

use super::abort::AbortReason;
use super::engine::{Corrector, Design, Progress, Teller, Told};
use super::key::{ReconciledKey, SecretKey, SiftedKey, VerifiedKey};
use super::message::{EngineKind, EstimateMessage, ReportMessage, SiftMessage};
use super::sift::{DetectionSifter, EmissionSifter};
use super::{amplify, engines, verify};
use crate::bits::BitString;

/// A heavy step of a block.
#[derive(Debug)]
pub struct Job(pub(super) Work);

/// What a job gave.
#[derive(Debug)]
pub struct JobResult(pub(super) Product);

pub(super) enum Work {
    SiftEmissions(Box<EmissionSifter>, BitString),
    SiftDetections(Box<DetectionSifter>, SiftMessage),
    Open { key: SiftedKey, engine: EngineKind, design: Design },
    Answer { teller: Box<dyn Teller>, question: Vec<u8> },
    Begin { key: SiftedKey, engine: EngineKind, design: Design, words: Vec<u8>, hash_key: [u8; 16] },
    Hear { corrector: Box<dyn Corrector>, words: Vec<u8>, hash_key: [u8; 16] },
    Verify { teller: Box<dyn Teller>, report: ReportMessage, hash_key: [u8; 16] },
    Amplify { key: VerifiedKey, seed: [u8; 32], length: usize },
}

pub(super) enum Product {
    EmissionsSifted(Result<(SiftedKey, SiftMessage, [u64; 2]), AbortReason>),
    DetectionsSifted(Result<(SiftedKey, EstimateMessage), AbortReason>),
    Opened(Result<(Box<dyn Teller>, Vec<u8>), AbortReason>),
    Answered(Result<(Box<dyn Teller>, Vec<u8>), AbortReason>),
    Heard(Result<Heard, AbortReason>),
    Verified(Result<Verified, AbortReason>),
    Amplified(SecretKey),
}

/// What the receiver has after a word of the engine.
pub(super) enum Heard {
    /// A question.
    Ask(Box<dyn Corrector>, Vec<u8>),
    /// Its key.
    Done(Decoded),
}

/// The receiver's corrected key, with its verification hash.
pub(super) struct Decoded {
    pub(super) key: ReconciledKey,
    pub(super) kept: BitString,
    pub(super) errors: [u64; 2],
    pub(super) told: Told,
    pub(super) hash: [u8; 16],
}

/// The transmitter's verified key.
pub(super) struct Verified {
    pub(super) key: VerifiedKey,
    pub(super) counts: [u64; 2],
    pub(super) told: Told,
}

impl Job {
    /// Does the work.
    pub fn run(self) -> JobResult {
        JobResult(match self.0 {
            Work::SiftEmissions(sifter, bases) => Product::EmissionsSifted(sifter.finish(&bases)),
            Work::SiftDetections(sifter, kept) => Product::DetectionsSifted(sifter.finish(&kept)),
            Work::Open { key, engine, design } => {
                Product::Opened(engines::teller(engine, key, &design).map(|mut teller| {
                    let words = teller.open();
                    (teller, words)
                }))
            }
            Work::Answer { mut teller, question } => {
                Product::Answered(teller.answer(&question).map(|words| (teller, words)))
            }
            Work::Begin { key, engine, design, words, hash_key } => {
                let corrector = engines::corrector(engine, key, &design);
                Product::Heard(corrector.and_then(|corrector| hear(corrector, &words, hash_key)))
            }
            Work::Hear { corrector, words, hash_key } => Product::Heard(hear(corrector, &words, hash_key)),
            Work::Verify { teller, report, hash_key } => Product::Verified(verify(teller, &report, hash_key)),
            Work::Amplify { key, seed, length } => Product::Amplified(amplify::amplify(key, seed, length)),
        })
    }
}

fn hear(mut corrector: Box<dyn Corrector>, words: &[u8], hash_key: [u8; 16]) -> Result<Heard, AbortReason> {
    match corrector.hear(words)? {
        Progress::Ask(question) => Ok(Heard::Ask(corrector, question)),
        Progress::Done => {
            let told = corrector.told();
            let corrected = corrector.finish()?;
            let hash = verify::hash(&corrected.key, hash_key);
            let (key, kept, errors) = (corrected.key, corrected.kept, corrected.errors);
            Ok(Heard::Done(Decoded { key, kept, errors, told, hash }))
        }
    }
}

fn verify(teller: Box<dyn Teller>, report: &ReportMessage, hash_key: [u8; 16]) -> Result<Verified, AbortReason> {
    let told = teller.told();
    let key = teller.finish(&report.kept)?;
    let counts = key.counts;
    Ok(Verified { key: verify::check(key, hash_key, &report.hash)?, counts, told })
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SiftEmissions(..) | Self::SiftDetections(..) => "sift",
            Self::Open { .. } | Self::Answer { .. } => "tell",
            Self::Begin { .. } | Self::Hear { .. } => "correct",
            Self::Verify { .. } => "verify",
            Self::Amplify { .. } => "amplify",
        })
    }
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmissionsSifted(_) | Self::DetectionsSifted(_) => "sifted",
            Self::Opened(_) | Self::Answered(_) => "told",
            Self::Heard(_) => "heard",
            Self::Verified(_) => "verified",
            Self::Amplified(_) => "amplified",
        })
    }
}
