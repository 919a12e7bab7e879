//! The transmitter's own steps of a block session. In: its records, what jobs gave and the receiver
//! said. Out: messages, jobs, and the tag to make. Always: it alone fixes the length, after the
//! hashes agreed.

use super::abort::AbortReason;
use super::engine::{Design, Teller};
use super::job::{Verified, Work};
use super::key::SiftedKey;
use super::message::{AmplifyMessage, BlockMessage, EstimateMessage, ReconcileMessage, SiftMessage};
use super::session::{BlockEffect, BlockSession, State, Tagged};
use super::sift::EmissionSifter;
use crate::codec::Bytes;
use crate::entropy::draw;
use crate::optics::event::Emissions;

impl BlockSession {
    /// The clicks of the oldest chunk of records came back.
    pub(super) fn clicked(&mut self, mut sifter: Box<EmissionSifter>, gaps: &[u8]) -> Result<(), AbortReason> {
        let Some(chunk) = self.emissions.pop_front() else {
            return Err(AbortReason::Malformed("clicks before their pulses"));
        };
        self.all_clicked = chunk.is_last();
        sifter.clicks(chunk, gaps)?;
        self.state = State::Emitting(sifter);
        Ok(())
    }

    /// Records of pulses that were sent; their clicks come back.
    pub(super) fn emitted(&mut self, chunk: Emissions) {
        self.emissions.push_back(chunk);
    }

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

    /// Chooses the design and starts its engine.
    pub(super) fn estimated(
        &mut self,
        key: SiftedKey,
        tested: [u64; 2],
        estimate: EstimateMessage,
    ) -> Result<(), AbortReason> {
        if estimate.counts != tested {
            return Err(AbortReason::Malformed("estimate"));
        }
        let qber = self.accept_estimate(estimate)?;
        self.seed = draw(&mut self.coins);
        self.run(Work::Open { key, engine: self.plan.engine, design: Design { qber, seed: self.seed } });
        Ok(())
    }

    /// The engine's first word is ready.
    pub(super) fn opened(&mut self, teller: Box<dyn Teller>, words: Vec<u8>) {
        let seed = Bytes::from(self.seed.to_vec());
        let body = ReconcileMessage { engine: self.plan.engine, seed, words: Bytes::from(words) };
        self.send(&BlockMessage::Reconcile { body });
        self.state = State::Telling(teller);
    }

    /// An answer is ready.
    pub(super) fn answered(&mut self, teller: Box<dyn Teller>, words: Vec<u8>) {
        self.send(&BlockMessage::Answer { words: Bytes::from(words) });
        self.state = State::Telling(teller);
    }

    /// Fixes the length and signs.
    pub(super) fn verified(&mut self, verified: Verified) -> Result<(), AbortReason> {
        self.charge(verified.told);
        let length = self.length(verified.counts)?;
        let seed: [u8; 32] = draw(&mut self.coins);
        let amplify = AmplifyMessage { seed: Bytes::from(seed.to_vec()), length };
        self.send(&BlockMessage::Amplify { body: amplify.clone() });
        let text = self.transcript.finish(self.role)?;
        self.effects.push_back(BlockEffect::MakeTag(text));
        self.state = State::OwnTag(Tagged::ByTransmitter(verified.key, amplify));
        Ok(())
    }
}
