//! The transmitter's own steps of a block session. In: what jobs gave and the receiver said. Out:
//! messages, jobs, and the tag to make. Always: it alone fixes the length, after the hashes agreed.

use super::abort::AbortReason;
use super::job::Work;
use super::key::{SiftedKey, VerifiedKey};
use super::message::{AmplifyMessage, BlockMessage, EstimateMessage, FrameSyndrome, SiftMessage, SyndromesMessage};
use super::session::{BlockEffect, BlockSession, State, Tagged};
use super::{estimate, reconcile, verify};
use crate::codec::Bytes;
use crate::entropy::draw;
use crate::quantity::BitCount;

impl BlockSession {
    /// Tells what counts.
    pub(super) fn emissions_sifted(
        &mut self,
        key: SiftedKey,
        sift: SiftMessage,
        tested: [u64; 2],
    ) -> Result<(), AbortReason> {
        self.enough(&key)?;
        self.send(&BlockMessage::Sift { body: sift });
        self.state = State::Estimate(key, tested);
        Ok(())
    }

    /// Chooses the rate and encodes.
    pub(super) fn estimated(
        &mut self,
        key: SiftedKey,
        tested: [u64; 2],
        estimate: EstimateMessage,
    ) -> Result<(), AbortReason> {
        if estimate.counts != tested {
            return Err(AbortReason::Malformed("estimate"));
        }
        let step = self.accept_estimate(estimate)?;
        self.hash_key = draw(&mut self.coins);
        self.run(Work::Encode { key, step, filter_key: self.hash_key });
        Ok(())
    }

    /// Sends what corrects the receiver's key.
    pub(super) fn encoded(&mut self, key: SiftedKey, frames: Vec<FrameSyndrome>) {
        self.report.leak = BitCount(reconcile::leak(&frames) + verify::HASH_BITS);
        let filter_key = Bytes::from(self.hash_key.to_vec());
        let rate_step = estimate::rate_step(self.report.qber_test.unwrap_or_default());
        self.send(&BlockMessage::Syndromes { body: SyndromesMessage { rate_step, filter_key, frames } });
        self.state = State::Report(key);
    }

    /// Fixes the length and signs.
    pub(super) fn verified(&mut self, key: VerifiedKey, counts: [u64; 2]) -> Result<(), AbortReason> {
        let length = self.length(counts)?;
        let seed: [u8; 32] = draw(&mut self.coins);
        let amplify = AmplifyMessage { seed: Bytes::from(seed.to_vec()), length };
        self.send(&BlockMessage::Amplify { body: amplify.clone() });
        self.effects.push_back(BlockEffect::MakeTag(self.transcript.text(self.role)));
        self.state = State::OwnTag(Tagged::ByTransmitter(key, amplify));
        Ok(())
    }
}
