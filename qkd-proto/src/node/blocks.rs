//! A link's blocks on their way: one is measured by the device while those before it are distilled,
//! each by a [`BlockSession`] of its own. How they end: [`super::block_end`].

use std::time::Duration;

use super::Node;
use super::block_end::abort_words;
use super::effect::{Action, PadPurpose};
use super::link::{BlockRun, Link, RUNS_MAX};
use super::message::{BlockFrame, UNNUMBERED};
use super::settings::DevicePlan;
use super::talk::{Place, Talk};
use super::timers::Timer;
use crate::distill::choice;
use crate::distill::finite_key::Epsilons;
use crate::distill::job::JobResult;
use crate::distill::key::SecretKey;
use crate::distill::plan::{BlockPlan, QBER_LIMIT, Role};
use crate::distill::session::{BlockEffect, BlockInput, BlockSession};
use crate::entropy::draw;
use crate::id::{BlockId, LinkId};
use crate::labels;
use crate::mac::{AuthTag, HashValue, PadStock, RunningHash, TAG_PAD_BYTES};
use crate::optics::PhotonBatch;
use crate::pool::message::PoolMessage;
use crate::pool::{Direction, LinkKeyPool};
use crate::quantity::Qber;
use crate::relay::message::LinkState;
use crate::secret::SecretBits;

/// How long a block may take from its start, beyond its own wall time.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(20);

impl Node {
    /// Transmitter: starts the next block if the device is free and the pool has room.
    pub(super) fn start_block(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.in_session()) else { return };
        let held = |pool: &LinkKeyPool| pool.send().available().min(pool.receive().available());
        let coming = link.coming_bytes();
        let full = link.pool.as_ref().is_none_or(|pool| held(pool) + coming >= link.plan.capacity_bytes);
        let busy = link.measuring().is_some() || link.runs.len() >= RUNS_MAX || !link.to_offer.is_empty();
        // The receiver ends the bootstrap when it takes the first deposit: a tag made under it meanwhile would fail.
        let in_bootstrap = link.pool.as_ref().is_none_or(LinkKeyPool::is_bootstrap);
        let alone = link.runs.is_empty() && link.offer.is_none();
        if link.role != Role::Transmitter || busy || in_bootstrap && !alone || self.now.moment < link.next_block {
            return;
        }
        // An end in quarantine needs clean blocks, full pool or not; the neighbour's advert tells of its.
        let doubted = link.quarantine.is_some()
            || self.adverts.end(&link.peer, id).is_some_and(|end| end.state == LinkState::Talk);
        if full && !doubted {
            return;
        }
        let block = BlockId(link.last_block.0 + 1);
        link.last_block = block;
        let Some(hash_keys) = link.pool.as_ref().map(LinkKeyPool::hash_keys) else { return };
        self.send_pool(id, None, PoolMessage::BlockStart { block, hash_keys });
        self.measure(id, block, hash_keys);
    }

    /// Receiver: the transmitter starts a block. The device may still be at the end of the last one.
    pub(super) fn block_started(&mut self, id: &LinkId, block: BlockId, hash_keys: u32) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.role != Role::Receiver || block <= link.last_block || !link.is_of_session(block) {
            return self.drop_link(id, "a block started out of turn");
        }
        link.last_block = block;
        // The transmitter may give a block up before this end has heard of it.
        if let Some((given_up, _)) = link.announced.replace((block, hash_keys)) {
            link.talks.remove(&given_up);
        }
        link.start_talk(block);
        let oldest = link.runs.keys().next().copied().filter(|_| link.runs.len() >= RUNS_MAX);
        if let Some(oldest) = oldest {
            self.give_up(id, oldest, "the transmitter went on");
        }
        self.measure_announced(id);
    }

    /// Receiver: takes up the announced block once the device is free.
    pub(super) fn measure_announced(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.measuring().is_some() || !link.in_session() {
            return;
        }
        if let Some((block, hash_keys)) = link.announced.take() {
            self.measure(id, block, hash_keys);
        }
    }

    fn measure(&mut self, id: &LinkId, block: BlockId, hash_keys: u32) {
        let seed = draw(&mut *self.entropy);
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(hashes) = hashes_of(link, hash_keys) else {
            // The ends' pools do not belong together: only a new one helps.
            link.pool = None;
            return self.drop_link(id, &format!("hash keys {hash_keys} are not known here: the pool is discarded"));
        };
        let session = block_plan(link, block, seed).map(|plan| Box::new(BlockSession::new(link.role, plan, hashes)));
        link.runs.insert(block, BlockRun { session, measuring: true });
        link.start_talk(block);
        let opened = link.last_commit;
        self.outbox.act_after(opened, Action::Measure(id.clone(), block));
        let timeout = BLOCK_TIMEOUT + link.plan.block_time();
        self.timers.set(Timer::Block(id.clone(), block), self.now.moment + timeout);
    }

    /// This end's device has seen a part of the block.
    pub(super) fn photons(&mut self, id: &LinkId, block: BlockId, batch: PhotonBatch) {
        let last = batch.is_last();
        let Some(run) = self.links.get_mut(id).and_then(|link| link.runs.get_mut(&block)) else { return };
        run.measuring &= !last;
        self.drive(id, block, BlockInput::Photons(batch));
        if last {
            self.device_free(id);
        }
    }

    /// The device can take the next block.
    pub(super) fn device_free(&mut self, id: &LinkId) {
        self.measure_announced(id);
        self.start_block(id);
    }

    pub(super) fn block_bytes(&mut self, id: &LinkId, bytes: Vec<u8>) {
        let Some(frame) = BlockFrame::open(&bytes) else {
            return self.drop_link(id, "a distillation message has no block number");
        };
        let BlockFrame { block, number, heard, words } = frame;
        let link = self.links.get_mut(id).filter(|link| link.in_session());
        let Some(talk) = link.and_then(|link| link.talks.get_mut(&block)) else { return };
        if number == UNNUMBERED {
            if words == abort_words() {
                self.neighbour_gave_up(id, block);
            }
            return;
        }
        if talk.confirm(heard).is_err() {
            return self.drop_link(id, "the neighbour confirms what was never said");
        }
        if words.is_empty() {
            return;
        }
        match talk.hear(number, words.len()) {
            Place::Due => self.drive(id, block, BlockInput::Message(words.to_vec())),
            Place::Repeated => {}
            Place::Ahead => {
                self.tell_abort(id, block);
                self.neighbour_lacks(id, block, "a distillation message is missing");
            }
        }
        let talk = self.links.get_mut(id).and_then(|link| link.talks.get_mut(&block));
        if let Some(confirmation) = talk.and_then(Talk::confirmation) {
            self.outbox.act(Action::SendBlock(id.clone(), confirmation));
        }
    }

    /// Says something about a block, now or when the connection is back.
    fn say(&mut self, id: &LinkId, block: BlockId, words: Vec<u8>) {
        let talk = self.links.get_mut(id).and_then(|link| link.talks.get_mut(&block));
        if let Some(frame) = talk.and_then(|talk| talk.say(words)) {
            self.outbox.act(Action::SendBlock(id.clone(), frame));
        }
    }

    pub(super) fn job_done(&mut self, id: &LinkId, block: BlockId, result: JobResult) {
        self.drive(id, block, BlockInput::JobDone(result));
    }

    /// Secret bits of a device that makes them itself: nothing to distil.
    pub(super) fn device_key(&mut self, id: &LinkId, block: BlockId, bits: SecretBits) {
        if self.is_running(id, block) {
            self.block_gave(id, block, SecretKey::from_device(bits));
        }
    }

    pub(super) fn device_failed(&mut self, id: &LinkId, block: BlockId, why: &str) {
        if self.is_running(id, block) {
            self.tell_abort(id, block);
            self.give_up(id, block, why);
        }
    }

    pub(super) fn block_overdue(&mut self, id: &LinkId, block: BlockId) {
        if self.session(id, block).is_some() {
            self.drive(id, block, BlockInput::Timeout);
        } else if self.is_running(id, block) {
            self.tell_abort(id, block);
            self.give_up(id, block, "the device saw nothing in time");
        }
    }

    fn is_running(&self, id: &LinkId, block: BlockId) -> bool {
        self.links.get(id).is_some_and(|link| link.runs.contains_key(&block))
    }

    /// Feeds a block's session and performs what it wants.
    pub(super) fn drive(&mut self, id: &LinkId, block: BlockId, input: BlockInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(session) = self.session(id, block) else { return };
            session.handle(input);
            while let Some(effect) = self.session(id, block).and_then(BlockSession::next_effect) {
                match effect {
                    BlockEffect::Send(words) => self.say(id, block, words),
                    BlockEffect::Run(job) => self.outbox.act(Action::Run(id.clone(), block, job)),
                    BlockEffect::MakeTag(text) => match self.sign_block(id, &text) {
                        Some(tag) => inputs.push(BlockInput::OwnTag(tag)),
                        None => return self.no_pad_left(id, block),
                    },
                    BlockEffect::CheckTag(text, tag) => {
                        let valid = self.check_block(id, &text, &tag);
                        inputs.push(BlockInput::PeerTag { valid });
                    }
                    BlockEffect::Done(outcome) => return self.block_ended(id, block, *outcome),
                }
            }
        }
    }

    /// No block can be authenticated now. If none ever can, the link starts anew.
    fn no_pad_left(&mut self, id: &LinkId, block: BlockId) {
        self.tell_abort(id, block);
        self.give_up(id, block, "no pad is left to authenticate with");
        let left = self.links.get(id).and_then(|link| link.pool.as_ref()).map_or(0, |pool| pool.send().available());
        if left < TAG_PAD_BYTES as u64 {
            self.drop_link(id, "its pool is used up");
        }
    }

    fn session(&mut self, id: &LinkId, block: BlockId) -> Option<&mut BlockSession> {
        self.links.get_mut(id)?.runs.get_mut(&block)?.session.as_deref_mut()
    }

    fn sign_block(&mut self, id: &LinkId, text: &HashValue) -> Option<AuthTag> {
        let link = self.links.get_mut(id)?;
        let tag = link.pool.as_mut()?.sign(text)?;
        link.stats.spent_auth += TAG_PAD_BYTES as u64;
        if tag.stock == PadStock::Pool {
            self.note_use(id, tag.offset, TAG_PAD_BYTES as u64, PadPurpose::Authentication, &tag.tag.0);
            self.replenish(id);
        }
        Some(tag)
    }

    fn check_block(&mut self, id: &LinkId, text: &HashValue, tag: &AuthTag) -> bool {
        let pool = self.links.get_mut(id).and_then(|link| link.pool.as_mut());
        pool.is_some_and(|pool| pool.check(text, tag))
    }
}

/// The running hashes of a block's two tags, the transmitter's first.
fn hashes_of(link: &Link, generation: u32) -> Option<[RunningHash; 2]> {
    let pool = link.pool.as_ref()?;
    let hash = |signer, label| pool.hash(generation, signer, label);
    Some([
        hash(Direction::Forward, labels::tag::BLOCK_TRANSMITTER)?,
        hash(Direction::Reverse, labels::tag::BLOCK_RECEIVER)?,
    ])
}

/// The plan of a block; `None` where the device makes the key itself.
fn block_plan(link: &Link, block: BlockId, seed: [u8; 32]) -> Option<BlockPlan> {
    let (DevicePlan::Simulated { model, pulses } | DevicePlan::Seeded { model, pulses }) = &link.plan.device else {
        return None;
    };
    Some(BlockPlan {
        link: link.roster.id.clone(),
        transmitter: link.roster.transmitter.clone(),
        receiver: link.roster.receiver.clone(),
        block,
        model: model.clone(),
        pulses: *pulses,
        eps_sec: Epsilons::OF_LINKS.secrecy,
        eps_cor: Epsilons::OF_LINKS.correctness,
        qber_limit: Qber::try_from(QBER_LIMIT).unwrap_or_default(),
        engine: choice::choose(&link.circumstances()),
        leak: link.plan.distillation.leak,
        formula: link.plan.distillation.formula,
        acceptance: link.plan.distillation.acceptance,
        entropy: seed,
    })
}
