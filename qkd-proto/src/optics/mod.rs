//! Photons are emitted, travel and are detected (emulated; only detected events are drawn). In: a
//! link's physical model and randomness. Out: what each end's device saw of a block, as a
//! [`PhotonBatch`]. Always: the receiver's batch holds outcomes only; the transmitter's batch
//! answers for every slot.
//!
//! The emulation has no physical security: whoever reads the photon frames reads the bits. The
//! daemon's device seals them like any other traffic.

pub mod eavesdropper;
pub mod event;
pub mod frame;
pub mod model;
pub mod photon;
pub mod preset;
pub mod receiver;
pub mod table;
pub mod transmitter;

use event::{Detections, Emissions};

/// What one end's device saw of a block.
#[derive(Debug)]
pub enum PhotonBatch {
    /// The transmitter's: what was sent in every slot.
    Emissions(Emissions),
    /// The receiver's: where it clicked, in which basis, with which bit.
    Detections(Detections),
}
