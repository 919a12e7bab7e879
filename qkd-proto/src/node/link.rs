//! One end of one link, as the node keeps it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::effect::{Lane, Record, Table};
use super::message::SESSION_BLOCK_BITS;
use super::outbox::Outbox;
use super::pad_records;
use super::reservations::{Owed, Reading};
use super::settings::LinkPlan;
use super::talk::Talk;
use crate::crypto::{PublicKey, Signature};
use crate::distill::choice::Circumstances;
use crate::distill::plan::Role;
use crate::distill::report::BlockReport;
use crate::distill::session::BlockSession;
use crate::id::{BlockId, CommitId, NodeId, Nonce};
use crate::moment::Moment;
use crate::pool::handshake::Handshake;
use crate::pool::message::{DepositOffer, Sequences};
use crate::pool::record::MarksRecord;
use crate::pool::{Direction, LinkKeyPool, PadBlocks, PadChain, Window};
use crate::relay::message::LinkState;
use crate::topology::RosterLink;

/// Clean blocks that end a quarantine.
pub(super) const CLEAN_BLOCKS: u32 = 3;

/// Where a link is between unplugged and in use.
pub(super) enum Phase {
    /// No connection.
    Down,
    /// Connected; the ends introduce themselves.
    Greeting(Box<Handshake>),
    /// A link session runs.
    Session {
        /// This end's half of its name.
        own: Nonce,
        /// The neighbour's half.
        peer: Nonce,
    },
}

/// Blocks on their way at one time: one at the device, the others in distillation.
pub(super) const RUNS_MAX: usize = 3;

/// Blocks that are talked about at one time; beyond, the oldest that nothing waits for is forgotten.
const TALKS_MAX: usize = 16;

/// A block on its way.
pub(super) struct BlockRun {
    /// None where the device makes the key itself.
    pub(super) session: Option<Box<BlockSession>>,
    /// The device is at it.
    pub(super) measuring: bool,
}

/// Numbers for the operator.
#[derive(Default)]
pub(super) struct LinkStats {
    pub(super) report: Option<BlockReport>,
    /// The block of the report, and why it gave no key.
    pub(super) last_block: Option<(BlockId, Option<String>)>,
    /// Sifted bits of all blocks, key or not.
    pub(super) sifted: u64,
    /// Secret bits of the last block that gave some.
    pub(super) last_secret: u64,
    /// Secret bits of all blocks.
    pub(super) secret: u64,
    pub(super) blocks_ok: u64,
    pub(super) blocks_aborted: u64,
    pub(super) last_abort: Option<String>,
    pub(super) spent_relay: u64,
    pub(super) spent_auth: u64,
}

/// One end of a link.
pub(super) struct Link {
    pub(super) roster: RosterLink,
    pub(super) plan: LinkPlan,
    pub(super) role: Role,
    pub(super) peer: NodeId,
    pub(super) peer_key: PublicKey,
    pub(super) phase: Phase,
    pub(super) pool: Option<LinkKeyPool>,
    pub(super) marks: MarksRecord,
    /// Its marks as they are on stable storage.
    pub(super) durable: MarksRecord,
    /// Marks on their way there.
    pub(super) written: VecDeque<(CommitId, MarksRecord)>,
    pub(super) certificate: Option<[Signature; 2]>,
    pub(super) runs: BTreeMap<BlockId, BlockRun>,
    /// What is said about each block, from its start until its deposit is settled.
    pub(super) talks: BTreeMap<BlockId, Talk>,
    pub(super) last_block: BlockId,
    /// Receiver: a block that the transmitter started while the device was at the one before, and its
    /// hash keys.
    pub(super) announced: Option<(BlockId, u32)>,
    /// When the reservation that is under way was asked for.
    pub(super) asked: Option<Moment>,
    /// The quickest answer of the neighbour in this session: its round trip, and a write to its disk.
    pub(super) round_trip: Option<Duration>,
    /// Transmitter: no block starts before.
    pub(super) next_block: Moment,
    /// Transmitter: blocks whose keys wait for the offer before them to be answered.
    pub(super) to_offer: VecDeque<BlockId>,
    /// Transmitter: a deposit that the neighbour has not answered. Receiver: one that waits for the key.
    pub(super) offer: Option<DepositOffer>,
    /// Clean blocks so far, if the link is in quarantine.
    pub(super) quarantine: Option<u32>,
    pub(super) last_commit: Option<CommitId>,
    /// Pad blocks that are being read back from the disk.
    pub(super) reading: Option<Reading>,
    /// The neighbour's reservation that waits for them.
    pub(super) owed: Option<Owed>,
    /// How fast the own direction is spent.
    pub(super) window: Window,
    /// This process was in a session with the neighbour: what it remembers of it is no older copy.
    pub(super) live: bool,
    pub(super) stats: LinkStats,
    /// A commit failed: out of use until a restart.
    pub(super) poisoned: bool,
}

impl Link {
    /// The direction that this end sends in.
    pub(super) fn own_direction(&self) -> Direction {
        match self.role {
            Role::Transmitter => Direction::Forward,
            Role::Receiver => Direction::Reverse,
        }
    }

    /// A block begins to be talked about.
    pub(super) fn start_talk(&mut self, block: BlockId) {
        let needed = |of: &BlockId| self.runs.contains_key(of) || self.to_offer.contains(of);
        let idle = self.talks.keys().find(|of| !needed(of)).copied();
        if let Some(idle) = idle.filter(|_| self.talks.len() >= TALKS_MAX) {
            self.talks.remove(&idle);
        }
        self.talks.entry(block).or_insert_with(|| Talk::new(block));
    }

    /// The block that the device is at.
    pub(super) fn measuring(&self) -> Option<BlockId> {
        self.runs.iter().find(|(_, run)| run.measuring).map(|(block, _)| *block)
    }

    /// Bytes for each direction that the blocks on their way will give, if they give as much as the last.
    pub(super) fn coming_bytes(&self) -> u64 {
        let waiting = self.runs.len() + self.to_offer.len() + usize::from(self.offer.is_some());
        self.stats.last_secret / 16 * waiting as u64
    }

    /// What the choice of an engine rests on.
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances {
            configured: self.plan.distillation.engine,
            leak: self.plan.distillation.leak,
            round_trip: self.round_trip,
            qber: self.stats.report.as_ref().and_then(|report| report.qber_test),
            block_time: self.plan.block_time(),
        }
    }

    /// The neighbour answered a reservation that was asked for at `asked`.
    pub(super) fn heard_back(&mut self, now: Moment) {
        let Some(asked) = self.asked.take() else { return };
        let took = now.since(asked);
        self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
    }

    /// True while a link session runs.
    pub(super) fn in_session(&self) -> bool {
        matches!(self.phase, Phase::Session { .. }) && !self.poisoned
    }

    /// What this end allows.
    pub(super) fn state(&self) -> LinkState {
        let has_pad = self.pool.as_ref().is_some_and(|pool| pool.send().available() > 0);
        match (self.in_session(), self.quarantine) {
            (false, _) => LinkState::Down,
            (true, None) if has_pad => LinkState::Up,
            (true, _) => LinkState::Talk,
        }
    }

    /// The record of its marks, one write further.
    fn next_marks(&mut self) -> Record {
        self.marks.sequence += 1;
        let none = [PadChain::default(), PadChain::default()];
        let chains = self.pool.as_ref().map_or(&none, LinkKeyPool::chains);
        Record { table: Table::Marks, key: self.key(), value: Some(self.marks.encode(chains)) }
    }

    /// How far the neighbour says its records are.
    pub(super) fn remember(&mut self, records: Sequences) {
        if let Some(peer) = &mut self.marks.peer {
            peer.mark_sequence = peer.mark_sequence.max(records.marks);
            peer.store_sequence = peer.store_sequence.max(records.store);
        }
    }

    /// Makes `records` and then its marks, one write further, durable: a crash burns what is reserved.
    pub(super) fn commit_marks(&mut self, records: Vec<Record>, outbox: &mut Outbox) -> CommitId {
        self.marks = self.marks.running();
        self.commit_exact_marks(records, outbox)
    }

    /// As [`Self::commit_marks`], for a clean stop: nothing is burnt.
    pub(super) fn commit_exact_marks(&mut self, mut records: Vec<Record>, outbox: &mut Outbox) -> CommitId {
        records.push(self.next_marks());
        let commit = outbox.commit(Lane::Link(self.roster.id.clone()), records);
        self.written.push_back((commit, self.marks));
        self.last_commit = Some(commit);
        commit
    }

    /// `commit` is durable, and with it all marks written no later.
    pub(super) fn committed(&mut self, commit: CommitId) {
        while let Some((_, marks)) = self.written.pop_front_if(|(of, _)| *of <= commit) {
            self.durable = marks;
        }
    }

    /// True if `block` was started in this link session.
    pub(super) fn is_of_session(&self, block: BlockId) -> bool {
        block.0 >> SESSION_BLOCK_BITS == self.last_block.0 >> SESSION_BLOCK_BITS
    }

    /// True if `block` is of this link session, or goes on in it: stale news of an older one says nothing.
    pub(super) fn is_current(&self, block: BlockId) -> bool {
        self.is_of_session(block) || self.talks.get(&block).is_some_and(Talk::is_live)
    }

    /// The record of its pool.
    pub(super) fn pool_record(&self) -> Option<Record> {
        let value = self.pool.as_ref()?.record().encode();
        Some(Record { table: Table::Pools, key: self.key(), value: Some(value) })
    }

    /// Records of a deposit: its pad blocks, the ends of boxes that are of no use any more, the pool.
    pub(super) fn deposit_records(&mut self, pads: PadBlocks) -> Vec<Record> {
        let ends = self.pool.as_mut().map(|pool| pad_records::ends(&self.roster.id, pool)).unwrap_or_default();
        ends.into_iter().chain(self.pad_records(pads)).chain(self.pool_record()).collect()
    }

    /// Records of pad blocks in their boxes.
    pub(super) fn pad_records(&self, pads: PadBlocks) -> Vec<Record> {
        pad_records::boxes(&self.roster.id, pads)
    }

    fn key(&self) -> Vec<u8> {
        self.roster.id.as_str().as_bytes().to_vec()
    }
}
