//! Everything that the two ends said about one block, in one order. In: messages. Out: the text of
//! a tag. Always: both ends' text is the same, and no other role, pair, link or block gives it.

use super::plan::{BlockPlan, Role};

/// The transcript of a block. It keeps every byte: hashing it first would make the tag computational.
pub(super) struct Transcript(Vec<u8>);

impl Transcript {
    /// Starts with who speaks about what.
    pub(super) fn new(plan: &BlockPlan) -> Self {
        let mut transcript = Self(Vec::new());
        for name in [plan.link.as_str(), plan.transmitter.as_str(), plan.receiver.as_str()] {
            transcript.part(name.as_bytes());
        }
        for number in [plan.block.0, plan.pulses] {
            transcript.part(&number.to_be_bytes());
        }
        transcript
    }

    /// Adds a message of `sender`.
    pub(super) fn add(&mut self, sender: Role, message: &[u8]) {
        self.0.push(sender.byte());
        self.part(message);
    }

    /// The text that `signer`'s tag is over.
    pub(super) fn text(&self, signer: Role) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.0.len() + 1);
        text.push(signer.byte());
        text.extend_from_slice(&self.0);
        text
    }

    /// The same, where it is wanted: it is a copy of megabytes.
    pub(super) fn text_if(&self, signer: Role, wanted: bool) -> Vec<u8> {
        if wanted { self.text(signer) } else { Vec::new() }
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}
