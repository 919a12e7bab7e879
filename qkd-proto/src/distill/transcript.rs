//! Everything that the two ends said about one block, in one order. In: messages. Out: the hashes
//! that the two tags hide. Always: both ends' text is the same, and no other role, pair, link or
//! block gives it; the text itself is not kept.

use super::abort::AbortReason;
use super::plan::{BlockPlan, Role};
use crate::mac::{HashValue, RunningHash};

/// The two running hashes of a block's transcript, one for each signer, until that one signs.
pub(super) struct Transcript([Option<RunningHash>; 2]);

impl Transcript {
    /// Starts with who speaks about what; the transmitter's hash is first.
    pub(super) fn new(plan: &BlockPlan, hashes: [RunningHash; 2]) -> Self {
        let mut transcript = Self(hashes.map(Some));
        for signer in [Role::Transmitter, Role::Receiver] {
            if let Some(hash) = transcript.hash_of(signer) {
                hash.update(&[signer.byte()]);
            }
        }
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
        self.0.iter_mut().flatten().for_each(|hash| hash.update(&[sender.byte()]));
        self.part(message);
    }

    /// The hash of what was said so far, for `signer`'s one tag.
    ///
    /// # Errors
    /// If it was asked for before.
    pub(super) fn finish(&mut self, signer: Role) -> Result<HashValue, AbortReason> {
        let hash = self.0[usize::from(signer == Role::Receiver)].take();
        hash.map(RunningHash::finish).ok_or(AbortReason::Malformed("second tag"))
    }

    fn hash_of(&mut self, signer: Role) -> Option<&mut RunningHash> {
        self.0[usize::from(signer == Role::Receiver)].as_mut()
    }

    fn part(&mut self, bytes: &[u8]) {
        for hash in self.0.iter_mut().flatten() {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}
