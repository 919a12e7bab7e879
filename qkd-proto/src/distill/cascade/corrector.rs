//! The receiver's machine. In: the transmitter's parities. Out: own parities of the same, as the
//! next question, until every frame is finished.

use super::super::abort::AbortReason;
use super::super::engine::{Corrected, Corrector, Progress, Told};
use super::flight::Flight;

/// The receiver's end.
pub(super) struct CascadeCorrector {
    flight: Flight,
    done: bool,
}

impl CascadeCorrector {
    /// Over frames that were not begun.
    pub(super) fn new(flight: Flight) -> Self {
        Self { flight, done: false }
    }
}

impl Corrector for CascadeCorrector {
    fn hear(&mut self, message: &[u8]) -> Result<Progress, AbortReason> {
        if self.done {
            return Err(AbortReason::Malformed("parities out of turn"));
        }
        let own = self.flight.ask_and_learn(message)?.to_message();
        self.done = self.flight.is_finished();
        Ok(if self.done { Progress::Done } else { Progress::Ask(own) })
    }

    fn told(&self) -> Told {
        self.flight.told()
    }

    fn finish(self: Box<Self>) -> Result<Corrected, AbortReason> {
        if !self.done {
            return Err(AbortReason::ReconciliationFailed);
        }
        let kept = self.flight.kept().clone();
        Ok(Corrected { key: self.flight.join(&kept)?, errors: self.flight.errors(), kept })
    }
}
