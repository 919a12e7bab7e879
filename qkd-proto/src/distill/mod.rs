//! Photon records of one block become a secret key at both ends. In: a [`crate::optics`] batch and
//! the other end's messages. Out: a [`SecretKey`] or an [`AbortReason`]. Always: a block that cannot
//! be shown to be secret and equal gives no bit.
pub mod job;
