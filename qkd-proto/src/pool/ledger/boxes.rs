//! Blocks between memory and disk: which have to be read back, which are opened, whose boxes are of no use any
//! more. Always: a block that is opened is in memory only.

use super::{BLOCK, Ledger};
use crate::pool::PAD_BLOCK_BYTES;
use crate::pool::record::RING_SLOTS;
use crate::secret::SecretBytes;

impl Ledger {
    /// Blocks below this are opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// True if all below the offset `to` is opened.
    pub fn is_open_to(&self, to: u64) -> bool {
        to.div_ceil(BLOCK) <= self.opened
    }

    /// Up to `most` blocks whose boxes on the disk are of no use any more: they are spent, and their keys gone.
    pub fn purge(&mut self, most: u64) -> std::ops::Range<u64> {
        // Slots of older blocks are other blocks' by now.
        let from = self.purged.max(self.held.saturating_sub(RING_SLOTS));
        self.purged = (self.next / BLOCK).min(self.opened).min(from + most).max(from);
        from..self.purged
    }

    /// Blocks in memory that an end of the process would lose: the open windows, holes left out.
    pub fn open_blocks(&self) -> impl Iterator<Item = (u64, &SecretBytes)> {
        self.blocks.range(self.next / BLOCK..self.opened.max(self.next / BLOCK)).map(|(index, bytes)| (*index, bytes))
    }

    /// Blocks on the way to the offset `to` that have to be read back from the disk first.
    pub fn unread(&self, to: u64) -> Vec<u64> {
        let wanted = self.opened.max(self.next / BLOCK)..to.div_ceil(BLOCK).min(self.held);
        wanted.filter(|index| !self.blocks.contains_key(index) && !self.is_hole(*index)).collect()
    }

    /// A block that was read back; without bytes it is lost, and a hole from now on.
    pub fn fill(&mut self, index: u64, bytes: Option<SecretBytes>) {
        match bytes.filter(|bytes| bytes.len() == PAD_BLOCK_BYTES) {
            Some(bytes) if index >= self.next / BLOCK && !self.is_hole(index) => drop(self.blocks.insert(index, bytes)),
            Some(_) => {}
            None => self.skip(index, index + 1),
        }
    }

    /// The blocks up to the offset `to` are in memory, and their keys gone.
    pub fn open_to(&mut self, to: u64) {
        self.opened = self.opened.max(to.div_ceil(BLOCK));
        self.drop_spent();
    }
}
