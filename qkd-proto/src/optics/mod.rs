//! Photons are emitted, travel and are detected (emulated; only detected events are drawn). In: a
//! link's physical model and randomness. Out: what each end's device saw of a block, chunk by
//! chunk, each a [`PhotonBatch`]. Always: the receiver's chunks hold outcomes only; the
//! transmitter's answer for every slot; no end holds a whole block of photons.
//!
//! The emulation has no physical security: whoever reads the photon frames reads the bits. The
//! daemon's device seals them like any other traffic.

pub mod catalogue;
mod coins;
mod detector;
pub mod eavesdropper;
pub mod event;
pub mod frame;
pub(crate) mod gap_code;
pub mod model;
pub mod photon;
pub mod preset;
pub mod rates;
pub mod receiver;
pub mod seeded;
pub mod table;
pub mod transmitter;

use event::{Detections, Emissions};

/// What one end's device saw of one chunk of a block.
#[derive(Debug)]
pub enum PhotonBatch {
    /// The transmitter's: what was sent in every slot.
    Emissions(Emissions),
    /// The receiver's: where it clicked, in which basis, with which bit.
    Detections(Detections),
}

impl PhotonBatch {
    /// True for the block's last chunk.
    pub fn is_last(&self) -> bool {
        match self {
            Self::Emissions(chunk) => chunk.is_last(),
            Self::Detections(chunk) => chunk.is_last(),
        }
    }
}
