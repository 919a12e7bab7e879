//! Photons are emitted, travel and are detected. In: a link's physical model and randomness.
//! Out: what each end's device saw of a block, as a [`PhotonBatch`]. Always: the receiver's batch
//! holds outcomes only; the transmitter's batch answers for every slot.

/// Stub.
#[derive(Debug)]
pub struct PhotonBatch;
