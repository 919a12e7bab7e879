//! What the two ends of a link say about one block, numbered, so that it goes on over a lost
//! connection. In: words to say, frames of the neighbour. Out: frames. Always: each end takes every
//! message once and in order; what the neighbour has not confirmed is kept, byte for byte, to be said
//! again: nothing is ever signed a second time.

use std::collections::VecDeque;

use super::message::{BlockFrame, UNNUMBERED};
use crate::id::BlockId;

/// Unconfirmed bytes kept of a block; beyond, a lost connection costs the block.
const KEPT_BYTES_MAX: usize = 24 << 20;
/// Unconfirmed messages kept of a block; beyond, a lost connection costs the block.
const KEPT_MESSAGES_MAX: usize = 256;
/// Bytes heard that are confirmed if nothing is to be said.
const CONFIRM_BYTES: usize = 256 << 10;
/// Messages heard that are confirmed if nothing is to be said.
const CONFIRM_MESSAGES: u32 = 32;

/// One end's part of the talk about a block.
pub(super) struct Talk {
    block: BlockId,
    /// Messages that the neighbour has confirmed.
    confirmed: u32,
    /// What was said since, oldest first.
    kept: VecDeque<Vec<u8>>,
    kept_bytes: usize,
    /// Some of it was too much to keep.
    gaps: bool,
    /// Messages said.
    said: u32,
    /// Messages of the neighbour that were taken.
    heard: u32,
    /// Of these, what it has not been told of: messages and bytes.
    owed: (u32, usize),
    /// The neighbour follows: what is said may leave at once.
    live: bool,
}

/// What a number says about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one.
    Due,
    /// It was taken before.
    Repeated,
    /// One before it is missing.
    Ahead,
}

/// The neighbour claims to have heard what was never said, or less than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FalseClaim;

impl Talk {
    /// A talk that starts with the block.
    pub(super) fn new(block: BlockId) -> Self {
        let kept = VecDeque::new();
        Self { block, confirmed: 0, kept, kept_bytes: 0, gaps: false, said: 0, heard: 0, owed: (0, 0), live: true }
    }

    /// Messages of the neighbour that were taken.
    pub(super) fn heard(&self) -> u32 {
        self.heard
    }

    /// True unless the talk waits for the neighbour to come back.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Says `words`: the frame, if it may leave now.
    pub(super) fn say(&mut self, words: Vec<u8>) -> Option<Vec<u8>> {
        let frame = self.live.then(|| self.frame(self.said, &words));
        self.said = self.said.saturating_add(1);
        self.kept_bytes += words.len();
        self.kept.push_back(words);
        if self.kept.len() > KEPT_MESSAGES_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            self.gaps = true;
        }
        if self.gaps {
            (self.kept, self.kept_bytes) = (VecDeque::new(), 0);
        }
        frame
    }

    /// The neighbour has taken `heard` messages.
    ///
    /// # Errors
    /// If that cannot be.
    pub(super) fn confirm(&mut self, heard: u32) -> Result<(), FalseClaim> {
        if heard < self.confirmed || heard > self.said {
            return Err(FalseClaim);
        }
        for _ in self.confirmed..heard {
            self.kept_bytes -= self.kept.pop_front().map_or(0, |words| words.len());
        }
        self.confirmed = heard;
        if heard == self.said {
            self.gaps = false;
        }
        Ok(())
    }

    /// A message of this number and length has come.
    pub(super) fn hear(&mut self, number: u32, length: usize) -> Place {
        if number != self.heard {
            return if number < self.heard { Place::Repeated } else { Place::Ahead };
        }
        self.heard = self.heard.saturating_add(1);
        self.owed = (self.owed.0 + 1, self.owed.1 + length);
        Place::Due
    }

    /// A frame that confirms only, if one is due.
    pub(super) fn confirmation(&mut self) -> Option<Vec<u8>> {
        let due = self.owed.0 >= CONFIRM_MESSAGES || self.owed.1 >= CONFIRM_BYTES;
        (due && self.live).then(|| self.frame(self.said, &[]))
    }

    /// The connection is lost.
    pub(super) fn suspend(&mut self) {
        self.live = false;
    }

    /// The neighbour is back and has taken `heard` messages: the frames of the rest; none if they were
    /// not kept.
    ///
    /// # Errors
    /// If that cannot be.
    pub(super) fn resume(&mut self, heard: u32) -> Result<Option<Vec<Vec<u8>>>, FalseClaim> {
        if self.live {
            return Err(FalseClaim);
        }
        self.confirm(heard)?;
        if self.gaps {
            return Ok(None);
        }
        self.live = true;
        let kept = std::mem::take(&mut self.kept);
        let frames = (self.confirmed..).zip(&kept).map(|(number, words)| self.frame(number, words)).collect();
        self.kept = kept;
        Ok(Some(frames))
    }

    fn frame(&mut self, number: u32, words: &[u8]) -> Vec<u8> {
        self.owed = (0, 0);
        BlockFrame { block: self.block, number, heard: self.heard, words }.encode()
    }
}

/// What is said of a block out of turn, without a talk: that it was given up.
pub(super) fn unnumbered(block: BlockId, words: &[u8]) -> Vec<u8> {
    BlockFrame { block, number: UNNUMBERED, heard: 0, words }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes a frame at `to`, as the node does.
    fn take(to: &mut Talk, frame: &[u8], taken: &mut Vec<Vec<u8>>) {
        let frame = BlockFrame::open(frame).unwrap();
        to.confirm(frame.heard).unwrap();
        if !frame.words.is_empty() && to.hear(frame.number, frame.words.len()) == Place::Due {
            taken.push(frame.words.to_vec());
        }
    }

    proptest! {
        /// Two ends speak over a wire that breaks again and again: each hears all, once, in order.
        #[test]
        fn all_is_heard_once_and_in_order(steps in proptest::collection::vec((0..6u8, any::<bool>()), 1..200)) {
            let mut ends = [Talk::new(BlockId(7)), Talk::new(BlockId(7))];
            let (mut said, mut taken) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
            let mut wires: [VecDeque<Vec<u8>>; 2] = Default::default();
            for (step, from) in steps {
                let (from, to) = (usize::from(from), usize::from(!from));
                match step {
                    0 | 1 => {
                        let words = vec![said[from].len() as u8, 1];
                        said[from].push(words.clone());
                        wires[to].extend(ends[from].say(words));
                    }
                    2..=4 => {
                        let Some(frame) = wires[to].pop_front() else { continue };
                        take(&mut ends[to], &frame, &mut taken[to]);
                        wires[from].extend(ends[to].confirmation());
                    }
                    _ => {
                        wires = Default::default();
                        ends.iter_mut().for_each(Talk::suspend);
                        let heard = [ends[0].heard(), ends[1].heard()];
                        wires[1].extend(ends[0].resume(heard[1]).unwrap().unwrap());
                        wires[0].extend(ends[1].resume(heard[0]).unwrap().unwrap());
                    }
                }
            }
            for to in 0..2 {
                while let Some(frame) = wires[to].pop_front() {
                    take(&mut ends[to], &frame, &mut taken[to]);
                }
                prop_assert_eq!(&taken[to], &said[1 - to]);
            }
        }
    }

    #[test]
    fn false_claims_are_refused() {
        let mut talk = Talk::new(BlockId(1));
        talk.say(vec![1]);
        talk.say(vec![2]);
        assert_eq!(talk.confirm(3), Err(FalseClaim), "never said");
        assert_eq!(talk.confirm(1), Ok(()));
        assert_eq!(talk.confirm(0), Err(FalseClaim), "less than before");
        assert_eq!(talk.resume(1), Err(FalseClaim), "the connection holds");
        talk.suspend();
        assert_eq!(talk.resume(3), Err(FalseClaim));
        assert!(talk.say(vec![3]).is_none(), "it waits");
        assert_eq!(talk.resume(1).map(|frames| frames.map(|frames| frames.len())), Ok(Some(2)));
    }

    #[test]
    fn what_is_too_much_to_keep_is_not_kept() {
        let mut talk = Talk::new(BlockId(1));
        (0..=KEPT_MESSAGES_MAX).for_each(|_| assert!(talk.say(vec![1]).is_some()));
        assert_eq!(talk.confirm(7), Ok(()));
        talk.suspend();
        assert_eq!(talk.resume(9), Ok(None));
        talk.live = true;
        assert_eq!(talk.confirm(KEPT_MESSAGES_MAX as u32 + 1), Ok(()), "all is confirmed");
        talk.say(vec![2]);
        talk.suspend();
        assert!(matches!(talk.resume(KEPT_MESSAGES_MAX as u32 + 1), Ok(Some(frames)) if frames.len() == 1));
    }
}
