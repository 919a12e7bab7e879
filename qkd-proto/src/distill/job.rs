//! The heavy steps of a block, as values that a worker thread can run. In: a step's data, by value.
//! Out: its result. Always: pure, the same job gives the same result; `Debug` names the step only.

use std::fmt;

use super::abort::AbortReason;
use super::amplify;
use super::key::{ReconciledKey, SecretKey, SiftedKey, VerifiedKey};
use super::message::{DetectionsMessage, EstimateMessage, FrameSyndrome, ReportMessage, SiftMessage};
use super::reconcile::{self, Polar};
use super::sift::{DetectionSifter, EmissionSifter};
use super::verify;
use crate::bits::BitString;
use crate::optics::event::Emissions;

/// A heavy step of a block.
#[derive(Debug)]
pub struct Job(pub(super) Work);

/// What a job gave.
#[derive(Debug)]
pub struct JobResult(pub(super) Product);

pub(super) enum Work {
    SiftEmissions(EmissionSifter, Vec<Emissions>, DetectionsMessage),
    SiftDetections(DetectionSifter, SiftMessage),
    Encode { key: SiftedKey, step: u8, filter_key: [u8; 16] },
    Decode { key: SiftedKey, step: u8, filter_key: [u8; 16], frames: Vec<FrameSyndrome>, hash_key: [u8; 16] },
    Verify { key: SiftedKey, report: ReportMessage, hash_key: [u8; 16] },
    Amplify { key: VerifiedKey, seed: [u8; 32], length: usize },
}

pub(super) enum Product {
    EmissionsSifted(Result<(SiftedKey, SiftMessage, [u64; 2]), AbortReason>),
    DetectionsSifted(Result<(SiftedKey, EstimateMessage), AbortReason>),
    Encoded(SiftedKey, Vec<FrameSyndrome>),
    Decoded(Result<Decoded, AbortReason>),
    Verified(Result<(VerifiedKey, [u64; 2]), AbortReason>),
    Amplified(SecretKey),
}

pub(super) struct Decoded {
    pub(super) key: ReconciledKey,
    pub(super) kept: BitString,
    pub(super) errors: [u64; 2],
    pub(super) hash: [u8; 16],
}

impl Job {
    /// Does the work.
    pub fn run(self) -> JobResult {
        JobResult(match self.0 {
            Work::SiftEmissions(sifter, chunks, clicks) => {
                Product::EmissionsSifted(sift_emissions(sifter, chunks, &clicks))
            }
            Work::SiftDetections(sifter, kept) => Product::DetectionsSifted(sifter.finish(&kept)),
            Work::Encode { key, step, filter_key } => {
                let frames = reconcile::encode(&Polar, &key, step, filter_key);
                Product::Encoded(key, frames)
            }
            Work::Decode { key, step, filter_key, frames, hash_key } => {
                let corrected = reconcile::decode(&Polar, &key, step, filter_key, &frames);
                Product::Decoded(corrected.map(|(key, kept, errors)| {
                    let hash = verify::hash(&key, hash_key);
                    Decoded { key, kept, errors, hash }
                }))
            }
            Work::Verify { key, report, hash_key } => {
                let kept = reconcile::keep(&key, &report.kept);
                Product::Verified(kept.and_then(|key| {
                    let counts = key.counts;
                    Ok((verify::check(key, hash_key, &report.hash)?, counts))
                }))
            }
            Work::Amplify { key, seed, length } => Product::Amplified(amplify::amplify(key, seed, length)),
        })
    }
}

fn sift_emissions(
    mut sifter: EmissionSifter,
    chunks: Vec<Emissions>,
    clicks: &DetectionsMessage,
) -> Result<(SiftedKey, SiftMessage, [u64; 2]), AbortReason> {
    if chunks.len() != clicks.gaps.len() {
        return Err(AbortReason::Malformed("detections"));
    }
    for (emissions, gaps) in chunks.into_iter().zip(&clicks.gaps) {
        sifter.clicks(emissions, gaps.as_slice())?;
    }
    sifter.finish(&clicks.bases)
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SiftEmissions(..) | Self::SiftDetections(..) => "sift",
            Self::Encode { .. } => "encode",
            Self::Decode { .. } => "decode",
            Self::Verify { .. } => "verify",
            Self::Amplify { .. } => "amplify",
        })
    }
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmissionsSifted(_) | Self::DetectionsSifted(_) => "sifted",
            Self::Encoded(..) => "encoded",
            Self::Decoded(_) => "decoded",
            Self::Verified(_) => "verified",
            Self::Amplified(_) => "amplified",
        })
    }
}
