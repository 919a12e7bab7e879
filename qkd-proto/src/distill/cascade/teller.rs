//! The transmitter's machine. In: the receiver's parities. Out: own parities of the next round.

use super::super::abort::AbortReason;
use super::super::engine::{Teller, Told};
use super::super::key::ReconciledKey;
use super::flight::Flight;
use crate::bits::BitString;

/// The transmitter's end.
pub(super) struct CascadeTeller {
    flight: Flight,
    opened: bool,
}

impl CascadeTeller {
    /// Over frames that were not begun.
    pub(super) fn new(flight: Flight) -> Self {
        Self { flight, opened: false }
    }
}

impl Teller for CascadeTeller {
    fn open(&mut self) -> Vec<u8> {
        self.opened = true;
        self.flight.open().to_message()
    }

    fn answer(&mut self, question: &[u8]) -> Result<Vec<u8>, AbortReason> {
        if !self.opened || self.flight.is_finished() {
            return Err(AbortReason::Malformed("question out of turn"));
        }
        let answer = self.flight.learn_then_ask(question)?.to_message();
        // A receiver that sees the end as well does not ask.
        if self.flight.is_finished() {
            return Err(AbortReason::Malformed("question out of turn"));
        }
        Ok(answer)
    }

    fn told(&self) -> Told {
        self.flight.told()
    }

    fn finish(self: Box<Self>, kept: &BitString) -> Result<ReconciledKey, AbortReason> {
        self.flight.join(kept)
    }
}
