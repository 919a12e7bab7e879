//! Which bytes of one direction are held, usable, reserved, spent. In: blocks and marks. Out:
//! ranges, once each.
//!
//! INVARIANT: `next` only rises, and every byte that was ever handed out lies below it and in no
//! `skipped` range; ranges there only shrink within a link session. So a byte is spent at most once.
//! Bytes at or above the acknowledged reservation, or in blocks that are not opened, are never handed out.
//!
//! Blocks lie on the disk under the chain's keys. Those of the open windows are opened: they are here only, and
//! the chain has moved past them. A few behind them are kept here as well, so that little is read back.

mod boxes;

use std::collections::BTreeMap;

use super::record::{BLOCK_INDEX_MAX, SideRecord};
use super::{LinkKey, PAD_BLOCK_BYTES};
use crate::secret::SecretBytes;

/// Ranges that may come late.
const SKIPPED_MAX: usize = 16;
/// Blocks behind the opened ones that are kept in memory.
const AHEAD_BLOCKS: u64 = 32;
const BLOCK: u64 = PAD_BLOCK_BYTES as u64;

/// One direction of a pool. All marks are byte offsets in the direction, blocks are dense indices.
#[derive(Default)]
pub struct Ledger {
    /// Blocks below this are durable here, or holes.
    held: u64,
    /// Blocks below this are durable at both ends, or holes.
    usable: u64,
    /// Ranges of blocks that one end lost: sorted, apart.
    holes: Vec<(u64, u64)>,
    /// Unspent blocks that are in memory.
    blocks: BTreeMap<u64, SecretBytes>,
    /// Blocks below this are opened: in memory, or spent, or holes.
    opened: u64,
    /// Blocks below this have no box on the disk any more.
    purged: u64,
    /// First byte not handed out.
    next: u64,
    /// Ranges below `next` that the neighbour's words about them may still ask for: its two streams
    /// overtake each other. Sorted, apart.
    skipped: Vec<(u64, u64)>,
    /// Bytes below this are reserved durably at this end.
    reserved: u64,
    /// The neighbour's record, as far as it has told.
    recorded: u64,
    /// Bytes below this are reserved durably at both ends, and the neighbour said so in this link session.
    acknowledged: u64,
}

/// Why bytes that the neighbour names were not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Below what was used already: a replay, or a neighbour that was rolled back.
    #[error("pad offset {offset} was used before (next is {next})")]
    Used {
        /// What it named.
        offset: u64,
        /// Lowest that may come.
        next: u64,
    },
    /// Beyond the reservation recorded here.
    #[error("pad offset {end} is beyond the reservation {reserved}")]
    NotReserved {
        /// End of what it named.
        end: u64,
        /// What is reserved.
        reserved: u64,
    },
    /// Not held here.
    #[error("pad block {0} is not held here")]
    NotHeld(u64),
}

impl Ledger {
    /// As recorded, without blocks in memory: what lies below `next` is spent or burnt, and `reserved` is
    /// recorded at both ends.
    pub fn restore(record: SideRecord, next: u64, reserved: u64) -> Self {
        let SideRecord { held, holes, purged } = record;
        Self { held, holes, next, reserved, purged, opened: next / BLOCK, ..Self::default() }
    }

    /// Its durable form.
    pub fn record(&self) -> SideRecord {
        SideRecord { held: self.held, holes: self.holes.clone(), purged: self.purged }
    }

    /// Blocks held so far: the next index.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The holes.
    pub fn holes(&self) -> &[(u64, u64)] {
        &self.holes
    }

    /// First byte not handed out.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// End of what is reserved durably at this end.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Bytes from `next` on that both ends hold, reserved or not.
    pub fn available(&self) -> u64 {
        let end = self.usable;
        let first = self.next / BLOCK;
        let lost: u64 = self.holes.iter().map(|&(from, to)| to.min(end).saturating_sub(from.max(first))).sum();
        let whole = end.saturating_sub(first).saturating_sub(lost) * BLOCK;
        let partly = if self.is_hole(first) || first >= end { 0 } else { self.next % BLOCK };
        whole.saturating_sub(partly)
    }

    /// Bytes held between `next` and the acknowledged reservation: those may be spent at once.
    pub fn ready(&self) -> u64 {
        self.held_between(self.next, self.acknowledged)
    }

    /// Unspent blocks held, as ranges: sorted, apart.
    pub fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs = Vec::new();
        let mut from = self.next / BLOCK;
        for &(hole, end) in self.holes.iter().chain([&(self.held, self.held)]) {
            if from < hole {
                runs.push((from, hole));
            }
            from = from.max(end);
        }
        runs
    }

    fn held_between(&self, from: u64, to: u64) -> u64 {
        let blocks = self.blocks.range(from / BLOCK..to.max(from).div_ceil(BLOCK)).map(|(index, _)| *index);
        blocks.map(|index| ((index + 1) * BLOCK).min(to).saturating_sub((index * BLOCK).max(from))).sum()
    }

    /// Block `index` is deposited; its bytes are kept here if they are soon needed.
    pub fn hold(&mut self, index: u64, bytes: SecretBytes) {
        if index >= BLOCK_INDEX_MAX {
            return;
        }
        self.held = self.held.max(index + 1);
        let soon = index < self.opened.max(self.next / BLOCK) + AHEAD_BLOCKS;
        if soon && (index + 1) * BLOCK > self.next && !self.is_hole(index) && bytes.len() == PAD_BLOCK_BYTES {
            self.blocks.insert(index, bytes);
        }
    }

    /// Both ends hold all blocks below `end`.
    pub fn confirm(&mut self, end: u64) {
        self.usable = self.usable.max(end.min(self.held));
    }

    /// Makes the blocks from `from` to `to` a hole.
    pub fn skip(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        self.held = self.held.max(to);
        self.blocks.retain(|index, _| !(from..to).contains(index));
        self.holes.push((from, to));
        self.holes.sort_unstable();
        let spent = self.next / BLOCK;
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.holes.len());
        for &(from, to) in self.holes.iter().filter(|hole| hole.1 > spent) {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        self.holes = merged;
    }

    /// Where the next reservation should end, if one is due: enough is usable, too little is ready.
    pub fn wants_reservation(&self, window: u64) -> Option<u64> {
        if self.acknowledged != self.reserved || self.ready() >= window {
            return None;
        }
        // Holes have no bytes: a window that lay in one would never be used up.
        let from = self.reserved.max(self.next);
        let (mut end, mut gained) = (from, 0);
        for index in (from / BLOCK..self.usable.max(from / BLOCK)).filter(|index| !self.is_hole(*index)) {
            end = (index + 1) * BLOCK;
            gained += end - from.max(index * BLOCK);
            if gained >= window {
                break;
            }
        }
        (end > self.reserved).then_some(end)
    }

    /// This end's record says `to`.
    pub fn reserve(&mut self, to: u64) {
        self.reserved = self.reserved.max(to);
    }

    /// The neighbour's record says `to` too.
    pub fn acknowledge(&mut self, to: u64) {
        self.acknowledged = self.acknowledged.max(to.min(self.reserved));
        self.recorded = self.recorded.max(self.acknowledged);
    }

    /// A new link session: the neighbour accepts nothing below `floor`, and its record says `recorded`. Nothing
    /// is spent before it has said so once more in this session.
    pub fn resume_at(&mut self, floor: u64, recorded: u64) {
        self.next = self.next.max(floor);
        self.reserved = self.reserved.max(floor);
        self.recorded = recorded.min(self.reserved);
        self.acknowledged = self.acknowledged.min(self.next);
        self.drop_spent();
    }

    /// A reservation that the neighbour has not acknowledged in this session: from what it has recorded, to.
    pub fn pending_reservation(&self) -> Option<(u64, u64)> {
        (self.acknowledged < self.reserved).then_some((self.recorded, self.reserved))
    }

    /// End of what both ends have reserved.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Hands out `length` bytes in one piece, stepping over holes.
    pub fn spend(&mut self, length: u64) -> Option<LinkKey> {
        let start = self.start_of_piece(length)?;
        if start + length > self.acknowledged.min(self.usable.min(self.opened) * BLOCK) {
            return None;
        }
        Some(self.take(start, length))
    }

    /// Gives up to `length` bytes away, in whole blocks: they are never handed out here. A begun block is burnt.
    pub fn give(&mut self, length: u64) -> Option<LinkKey> {
        let first = self.next.div_ceil(BLOCK);
        let end = (self.acknowledged / BLOCK).min(self.usable).min(self.opened);
        let held = (first..end).take_while(|index| self.blocks.contains_key(index)).count() as u64;
        let blocks = held.min(length / BLOCK);
        (blocks > 0).then(|| self.take(first * BLOCK, blocks * BLOCK))
    }

    /// Hands out the `length` bytes at `offset`, which the neighbour allocated.
    ///
    /// # Errors
    /// Used before, not reserved, or not held.
    pub fn accept(&mut self, offset: u64, length: u64) -> Result<LinkKey, AcceptError> {
        let late = self.admit(offset, length)?;
        let bytes = self.copy(offset, length);
        self.use_up(late, offset, offset + length);
        Ok(LinkKey { offset, bytes })
    }

    /// Lets words prove themselves with the `length` bytes at `offset`, which are gone if they do; none if they
    /// do not. Where their bytes lie is a claim as well, and a forged one must not burn what lies before: a
    /// failure takes no bytes with it but the very next.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn accept_proven<T>(
        &mut self,
        offset: u64,
        length: u64,
        prove: impl FnOnce(LinkKey) -> Option<T>,
    ) -> Result<Option<T>, AcceptError> {
        let late = self.admit(offset, length)?;
        let proven = prove(LinkKey { offset, bytes: self.copy(offset, length) });
        if proven.is_some() || offset == self.next {
            self.use_up(late, offset, offset + length);
        }
        Ok(proven)
    }

    /// The range from `offset` to `end`, in the skipped range `late` if in any, is used.
    fn use_up(&mut self, late: Option<usize>, offset: u64, end: u64) {
        match late {
            Some(place) => {
                let (from, to) = self.skipped.remove(place);
                let rest = [(from, offset), (end, to)].into_iter().filter(|range| range.0 < range.1);
                self.skipped.splice(place..place, rest);
            }
            None if offset > self.next => self.skipped.push((self.next, offset)),
            None => {}
        }
        let oldest = self.skipped.len().saturating_sub(SKIPPED_MAX);
        self.skipped.drain(..oldest);
        self.next = self.next.max(end);
        self.drop_spent();
    }

    /// Checks that the neighbour may name this range; gives the place of the skipped range it lies in, if any.
    fn admit(&self, offset: u64, length: u64) -> Result<Option<usize>, AcceptError> {
        let end = offset.saturating_add(length);
        let late = self.skipped.iter().position(|&(from, to)| from <= offset && end <= to);
        if offset < self.next && late.is_none() {
            return Err(AcceptError::Used { offset, next: self.next });
        }
        if end > self.reserved.min(self.opened * BLOCK) {
            return Err(AcceptError::NotReserved { end, reserved: self.reserved });
        }
        let mut blocks = offset / BLOCK..end.div_ceil(BLOCK);
        match blocks.find(|index| !self.blocks.contains_key(index)) {
            Some(missing) => Err(AcceptError::NotHeld(missing)),
            None => Ok(late),
        }
    }

    /// A new link session: what was skipped will not come any more.
    pub fn forget_skipped(&mut self) {
        self.skipped.clear();
        self.drop_spent();
    }

    /// A defect for the simulator's self-test: what was handed out from `offset` on may be again.
    #[cfg(feature = "sim")]
    pub(crate) fn plant_rewind(&mut self, offset: u64) {
        if self.blocks.contains_key(&(offset / BLOCK)) {
            self.next = offset;
        }
    }

    fn is_hole(&self, block: u64) -> bool {
        self.holes.iter().any(|&(from, to)| (from..to).contains(&block))
    }

    /// The lowest start of `length` bytes that no hole or missing block interrupts.
    fn start_of_piece(&self, length: u64) -> Option<u64> {
        let mut start = self.next;
        loop {
            let blocks = start / BLOCK..(start + length).div_ceil(BLOCK);
            match blocks.rev().find(|index| !self.blocks.contains_key(index)) {
                None => return Some(start),
                Some(missing) if !self.is_hole(missing) => return None,
                Some(missing) => start = (missing + 1) * BLOCK,
            }
        }
    }

    /// Copies the range out and moves `next` behind it. The range is held.
    fn take(&mut self, start: u64, length: u64) -> LinkKey {
        let bytes = self.copy(start, length);
        self.next = self.next.max(start + length);
        self.drop_spent();
        LinkKey { offset: start, bytes }
    }

    fn copy(&self, start: u64, length: u64) -> SecretBytes {
        let mut bytes = Vec::with_capacity(length as usize);
        let (mut at, end) = (start, start + length);
        while at < end {
            let block = &self.blocks[&(at / BLOCK)];
            let from = (at % BLOCK) as usize;
            let to = PAD_BLOCK_BYTES.min(from + (end - at) as usize);
            bytes.extend_from_slice(&block.expose()[from..to]);
            at += (to - from) as u64;
        }
        SecretBytes::new(bytes)
    }

    fn drop_spent(&mut self) {
        let spent = self.skipped.first().map_or(self.next, |range| range.0) / BLOCK;
        while self.blocks.first_key_value().is_some_and(|(index, _)| *index < spent) {
            self.blocks.pop_first();
        }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { held, usable, next, opened, reserved, acknowledged, holes, .. } = self;
        write!(
            f,
            "{{held {held} usable {usable} next {next} opened {opened} reserved {reserved} acked {acknowledged} \
             holes {holes:?}}}"
        )
    }
}
