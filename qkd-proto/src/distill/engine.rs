//! What a reconciliation engine is: two machines that correct the receiver's key to the
//! transmitter's. In: a sifted key at each end, a design that both know. Out: equal frames, and what
//! was told in public. Always: the transmitter speaks first and answers; the receiver alone asks, so
//! a one-way engine is one that never asks; whatever the other end says ends in an
//! [`AbortReason`] at worst, within bounded memory and work.

use super::abort::AbortReason;
use super::key::ReconciledKey;
use crate::bits::BitString;
use crate::quantity::{BitCount, Qber};

/// What both ends know before they reconcile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// The error rate to be ready for: the test basis' own.
    pub qber: Qber,
    /// Public random bits, of the transmitter: permutations and hash keys come from here.
    pub seed: [u8; 32],
}

/// Bits about the key that each end told in public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// By the transmitter.
    pub transmitter: BitCount,
    /// By the receiver.
    pub receiver: BitCount,
}

/// What the receiver's machine wants after a message.
#[derive(Debug)]
pub enum Progress {
    /// Ask the transmitter.
    Ask(Vec<u8>),
    /// Nothing more: [`Corrector::finish`] has the key.
    Done,
}

/// The receiver's key after correction.
#[derive(Debug)]
pub struct Corrected {
    /// The frames that passed.
    pub key: ReconciledKey,
    /// Which frames passed.
    pub kept: BitString,
    /// Bits that were wrong in them, signal then decoy.
    pub errors: [u64; 2],
}

/// The transmitter's end of a reconciliation; it holds the sifted key.
pub trait Teller: Send {
    /// The first message.
    fn open(&mut self) -> Vec<u8>;
    /// The answer to a question of the receiver.
    ///
    /// # Errors
    /// If the question is malformed, out of turn, or asks for more than a key may give away.
    fn answer(&mut self, question: &[u8]) -> Result<Vec<u8>, AbortReason>;
    /// What was told so far, by both ends.
    fn told(&self) -> Told;
    /// The key without the frames that the receiver could not correct.
    ///
    /// # Errors
    /// If `kept` has another number of frames, or none is kept.
    fn finish(self: Box<Self>, kept: &BitString) -> Result<ReconciledKey, AbortReason>;
}

/// The receiver's end of a reconciliation; it holds the sifted key.
pub trait Corrector: Send {
    /// Takes a message of the transmitter.
    ///
    /// # Errors
    /// If it is malformed or not what was asked for.
    fn hear(&mut self, message: &[u8]) -> Result<Progress, AbortReason>;
    /// What was told so far, by both ends.
    fn told(&self) -> Told;
    /// The corrected key, once done.
    ///
    /// # Errors
    /// If no frame could be corrected.
    fn finish(self: Box<Self>) -> Result<Corrected, AbortReason>;
}
