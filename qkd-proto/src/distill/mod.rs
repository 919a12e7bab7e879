//! Photon records of one block become a secret key at both ends. In: a [`crate::optics`] batch and
//! the other end's messages. Out: a [`SecretKey`](key::SecretKey) or an
//! [`AbortReason`](abort::AbortReason). Always: a block that cannot be shown to be secret and equal
//! gives no bit.
//!
//! The steps, in order: [`sift`] (basis and intensity), [`estimate`] (errors of the test basis),
//! [`reconcile`] (an [`engine`]; [`polar`] codes), [`verify`] (a two-universal hash), [`finite_key`] (how long
//! the secret is), [`amplify`] (a Toeplitz hash). [`session`] is the state machine of one block at
//! one end, by a [`plan`]; [`job`] is the heavy work it hands out; [`message`] is what the ends say.

pub mod abort;
pub mod acceptance;
mod account;
pub mod amplify;
pub mod cascade;
pub mod choice;
pub mod engine;
pub mod engines;
pub mod estimate;
pub mod finite_key;
pub mod job;
pub mod key;
pub mod message;
#[cfg(any(test, feature = "sim"))]
pub mod noise;
pub mod plan;
pub mod polar;
mod receive;
pub mod reconcile;
pub mod report;
pub mod session;
pub mod sift;
pub mod simulate;
mod transcript;
mod transmit;
#[cfg(any(test, feature = "sim"))]
pub mod trial;
pub mod verify;
