//! The receiver's own steps of a block session. In: its clicks, what jobs gave and the transmitter
//! said. Out: messages and jobs. Always: no basis is told before the last pulse was received; a length
//! other than the one it computes itself is refused.

use super::abort::AbortReason;
use super::engine::Design;
use super::job::{Decoded, Heard, Work};
use super::key::{ReconciledKey, SiftedKey};
use super::message::{AmplifyMessage, BlockMessage, EstimateMessage, ReconcileMessage, ReportMessage};
use super::session::{BlockSession, State, bytes_of};
use super::sift::DetectionSifter;
use super::verify;
use crate::codec::Bytes;
use crate::entropy::draw;
use crate::optics::event::Detections;
use crate::quantity::Qber;

impl BlockSession {
    /// Tells where it clicked; after the last pulse, in which bases.
    pub(super) fn detected(&mut self, mut sifter: Box<DetectionSifter>, chunk: Detections) {
        let last = chunk.is_last();
        let gaps = Bytes::from(sifter.detections(chunk));
        self.send(&BlockMessage::Clicks { gaps });
        if last {
            self.send(&BlockMessage::Bases { bases: sifter.bases() });
            self.state = State::Sift(sifter);
        } else {
            self.state = State::Detecting(sifter);
        }
    }

    /// Tells the errors of the test basis.
    pub(super) fn detections_sifted(&mut self, key: SiftedKey, estimate: EstimateMessage) -> Result<(), AbortReason> {
        self.enough(&key)?;
        self.send(&BlockMessage::Estimate { body: estimate });
        let qber = self.accept_estimate(estimate)?;
        self.state = State::Reconcile(key, qber);
        Ok(())
    }

    /// The transmitter's engine speaks first.
    pub(super) fn reconcile(
        &mut self,
        key: SiftedKey,
        qber: Qber,
        message: ReconcileMessage,
    ) -> Result<(), AbortReason> {
        let seed = bytes_of(&message.seed, "reconcile")?;
        self.hash_key = draw(&mut self.coins);
        self.report.engine = message.engine.name();
        self.run(Work::Begin {
            key,
            engine: message.engine,
            design: Design { qber, seed },
            words: message.words.into_vec(),
            hash_key: self.hash_key,
        });
        Ok(())
    }

    /// The engine asks, or is done.
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Ask(corrector, question) => {
                self.send(&BlockMessage::Question { words: Bytes::from(question) });
                self.state = State::Correcting(corrector);
            }
            Heard::Done(decoded) => self.decoded(decoded),
        }
    }

    /// Reports what it could correct.
    fn decoded(&mut self, decoded: Decoded) {
        self.charge(decoded.told);
        self.reported = decoded.errors;
        let report = ReportMessage {
            kept: decoded.kept,
            errors: decoded.errors,
            hash_key: Bytes::from(self.hash_key.to_vec()),
            hash: Bytes::from(decoded.hash.to_vec()),
        };
        self.send(&BlockMessage::Report { body: report });
        self.state = State::Amplify(decoded.key);
    }

    /// The transmitter found the hashes equal. The length must be the one that both ends
    /// can compute.
    pub(super) fn amplify_asked(&mut self, key: ReconciledKey, amplify: AmplifyMessage) -> Result<(), AbortReason> {
        if self.length(key.counts)? != amplify.length {
            return Err(AbortReason::Malformed("amplify: the ends do not charge or count alike"));
        }
        self.state = State::FirstTag(verify::accept(key), amplify);
        Ok(())
    }
}
