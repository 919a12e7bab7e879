//! A link's blocks over a lost connection: they wait for it to come back, and go on where they were. In:
//! the loss, the next agreement, the neighbour's word on each block. Out: what was not heard, said
//! again. Always: only a live neighbour's blocks go on (the same process, the same pool); a block that
//! only one end knows is given up; what a protocol fault ends is dropped. When in doubt, discard.

use super::Node;
use super::block_end::abort_words;
use super::effect::Action;
use super::settings::DevicePlan;
use super::talk::Talk;
use super::timers::Timer;
use crate::distill::plan::Role;
use crate::distill::session::BlockInput;
use crate::id::{BlockId, CommitId, LinkId};
use crate::pool::LinkKeyPool;
use crate::pool::handshake::Agreement;
use crate::pool::message::PoolMessage;

impl Node {
    /// The connection is lost: what can wait for the next one does, its time-outs running.
    pub(super) fn suspend_blocks(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        // Tags under the bootstrap's pads do not outlive the session: the pool goes on without them.
        if link.pool.as_ref().is_none_or(LinkKeyPool::is_bootstrap) {
            return self.drop_blocks(id);
        }
        // Other devices than photons make their bits from the session's secret: no other session has them.
        let photons = matches!(link.plan.device, DevicePlan::Simulated { .. });
        let lost = |(block, run): (&BlockId, &super::link::BlockRun)| {
            (run.session.is_none() || run.measuring && !photons).then_some(*block)
        };
        let lost: Vec<BlockId> = link.runs.iter().filter_map(lost).collect();
        let announced = link.announced.take_if(|_| !photons).map(|(block, _)| block);
        lost.into_iter().chain(announced).for_each(|block| self.drop_block(id, block));
        if let Some(link) = self.links.get_mut(id) {
            link.talks.values_mut().for_each(Talk::suspend);
        }
    }

    /// All blocks on their way are lost.
    pub(super) fn drop_blocks(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let runs = std::mem::take(&mut link.runs);
        link.talks.clear();
        link.announced = None;
        link.to_offer.clear();
        runs.into_keys().for_each(|block| self.timers.stop(&Timer::Block(id.clone(), block)));
    }

    fn drop_block(&mut self, id: &LinkId, block: BlockId) {
        self.timers.stop(&Timer::Block(id.clone(), block));
        if let Some(link) = self.links.get_mut(id) {
            link.runs.remove(&block);
            link.talks.remove(&block);
        }
    }

    /// True if the blocks of the lost connection go on in the session that was just agreed on.
    pub(super) fn blocks_go_on(&self, id: &LinkId, agreement: &Agreement) -> bool {
        let Some(link) = self.links.get(id) else { return false };
        let same_process = link
            .marks
            .peer
            .is_some_and(|known| (known.boot, known.data_dir) == (agreement.peer.boot, agreement.peer.data_dir));
        same_process && agreement.resume.is_some() && link.pool.is_some() && !link.talks.is_empty()
    }

    /// The session runs: the neighbour hears which blocks this end knows, and how far. `again` is the
    /// block of a deposit that the neighbour never saw. What `after` still held back of the old session
    /// comes before, so that a stale offer is never taken for a new one.
    pub(super) fn resume_blocks(&mut self, id: &LinkId, again: Option<BlockId>, after: CommitId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if let Some(block) = again {
            link.to_offer.push_front(block);
        }
        if link.role == Role::Transmitter {
            // Deposits that the lost session settled.
            let (runs, to_offer) = (&link.runs, &link.to_offer);
            link.talks.retain(|block, _| runs.contains_key(block) || to_offer.contains(block));
        }
        let known: Vec<(BlockId, u32)> = link.talks.iter().map(|(block, talk)| (*block, talk.heard())).collect();
        for (block, heard) in known {
            self.send_pool(id, Some(after), PoolMessage::BlockResume { block, heard });
        }
    }

    /// The neighbour goes on with a block of the lost connection, of which it has taken `heard` messages.
    pub(super) fn block_resumed(&mut self, id: &LinkId, block: BlockId, heard: u32) {
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(talk) = link.talks.get_mut(&block) else { return self.tell_abort(id, block) };
        let Ok(frames) = talk.resume(heard) else {
            return self.drop_link(id, "the neighbour goes on with a block where none can");
        };
        let Some(frames) = frames else {
            self.tell_abort(id, block);
            return self.neighbour_lacks(id, block, "more was said than was kept");
        };
        let measuring = link.runs.get(&block).is_some_and(|run| run.measuring);
        let opened = link.last_commit;
        for frame in frames {
            self.outbox.act(Action::SendBlock(id.clone(), frame));
        }
        if measuring {
            self.outbox.act_after(opened, Action::MeasureOn(id.clone(), block));
        }
        self.measure_announced(id);
    }

    /// The neighbour said out of turn that it gave a block up, or that it never knew it.
    pub(super) fn neighbour_gave_up(&mut self, id: &LinkId, block: BlockId) {
        let has_session =
            self.links.get(id).and_then(|link| link.runs.get(&block)).is_some_and(|run| run.session.is_some());
        if has_session {
            self.drive(id, block, BlockInput::Message(abort_words()));
        } else {
            self.neighbour_lacks(id, block, "the neighbour gave it up");
        }
    }

    /// A block goes no further, in whatever state it is here.
    pub(super) fn neighbour_lacks(&mut self, id: &LinkId, block: BlockId, why: &str) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.runs.contains_key(&block) {
            return self.give_up(id, block, why);
        }
        link.talks.remove(&block);
        link.announced.take_if(|(announced, _)| *announced == block);
        link.to_offer.retain(|waiting| *waiting != block);
        if let Some(offer) = link.offer.filter(|offer| link.role == Role::Transmitter && offer.block == block) {
            self.block_refused(id, &offer);
        }
    }
}
