//! The receiver's own steps of a block session. In: what jobs gave and the transmitter said. Out:
//! messages and jobs. Always: a rate or a length other than the one it computes itself is refused.

use super::abort::AbortReason;
use super::job::{Decoded, Work};
use super::key::{ReconciledKey, SiftedKey};
use super::message::{AmplifyMessage, BlockMessage, EstimateMessage, ReportMessage, SyndromesMessage};
use super::session::{BlockSession, State, bytes_16};
use super::{reconcile, verify};
use crate::codec::Bytes;
use crate::entropy::draw;
use crate::quantity::BitCount;

impl BlockSession {
    /// Tells the errors of the test basis.
    pub(super) fn detections_sifted(&mut self, key: SiftedKey, estimate: EstimateMessage) -> Result<(), AbortReason> {
        self.enough(&key)?;
        self.send(&BlockMessage::Estimate { body: estimate });
        let step = self.accept_estimate(estimate)?;
        self.state = State::Syndromes(key, step);
        Ok(())
    }

    /// Corrects its key. The rate must be the one that both ends can compute.
    pub(super) fn syndromes(&mut self, key: SiftedKey, step: u8, message: SyndromesMessage) -> Result<(), AbortReason> {
        if message.rate_step != step {
            return Err(AbortReason::Malformed("syndromes"));
        }
        let filter_key = bytes_16(&message.filter_key, "syndromes")?;
        self.report.leak = BitCount(reconcile::leak(&message.frames) + verify::HASH_BITS);
        self.hash_key = draw(&mut self.coins);
        self.run(Work::Decode { key, step, filter_key, frames: message.frames, hash_key: self.hash_key });
        Ok(())
    }

    /// Reports what it could correct.
    pub(super) fn decoded(&mut self, decoded: Decoded) {
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
            return Err(AbortReason::Malformed("amplify"));
        }
        self.state = State::FirstTag(verify::accept(key), amplify);
        Ok(())
    }
}
