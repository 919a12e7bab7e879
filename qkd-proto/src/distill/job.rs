//! The heavy steps of a block, as values that a worker thread can run. In: a step's data, by value.
//! Out: its result. Always: pure, the same job gives the same result; `Debug` names the step only.

use std::fmt;

use super::abort::AbortReason;
use super::amplify;
use super::key::{ReconciledKey, SecretKey, SiftedKey, VerifiedKey};
use super::message::{DetectionsMessage, EstimateMessage, FrameSyndrome, ReportMessage, SiftMessage};
use super::{polar, reconcile};
use super::{sift, verify};
use crate::bits::BitString;
use crate::optics::event::{Detections, Emissions};

/// A heavy step of a block.
#[derive(Debug)]
pub struct Job(pub(super) Work);

/// What a job gave.
#[derive(Debug)]
pub struct JobResult(pub(super) Product);

pub(super) enum Work {
    SiftEmissions(Emissions, DetectionsMessage),
    SiftDetections(Detections, SiftMessage),
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
            Work::SiftEmissions(emissions, clicks) => {
                Product::EmissionsSifted(sift::sift_emissions(&emissions, &clicks))
            }
            Work::SiftDetections(detections, kept) => {
                Product::DetectionsSifted(sift::sift_detections(&detections, &kept))
            }
            Work::Encode { key, step, filter_key } => {
                let frames = polar::encode(&key, step, filter_key);
                Product::Encoded(key, frames)
            }
            Work::Decode { key, step, filter_key, frames, hash_key } => {
                let corrected = polar::decode(&key, step, filter_key, &frames);
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
