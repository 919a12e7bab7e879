//! A link's blocks, one after the other: measured by the device, distilled by a
//! [`BlockSession`], deposited or given up.

use std::time::Duration;

use super::Node;
use super::effect::{Action, Event, PadPurpose};
use super::link::{BlockRun, CLEAN_BLOCKS, Link, LinkStats};
use super::message::{frame_block, open_block};
use super::settings::DevicePlan;
use super::timers::Timer;
use crate::codec;
use crate::distill::abort::AbortReason;
use crate::distill::job::JobResult;
use crate::distill::key::SecretKey;
use crate::distill::message::{AbortCode, BLOCK_MESSAGE_VERSION, BlockMessage};
use crate::distill::plan::{BlockPlan, QBER_LIMIT, Role};
use crate::distill::report::{BlockOutcome, BlockReport};
use crate::distill::session::{BlockEffect, BlockInput, BlockSession};
use crate::entropy::draw;
use crate::id::{BlockId, LinkId};
use crate::labels;
use crate::mac::{AuthTag, PadStock, TAG_PAD_BYTES};
use crate::optics::PhotonBatch;
use crate::pool::LinkKeyPool;
use crate::pool::message::PoolMessage;
use crate::quantity::Qber;
use crate::relay::message::LinkState;
use crate::secret::SecretBits;

/// How long a block may take from its start, beyond its own wall time.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// Failure probability of a block's secrecy.
const EPS_SEC: f64 = 1e-10;
/// Failure probability of a block's correctness.
const EPS_COR: f64 = 1e-15;
/// Pause after a block that gave nothing.
const ABORT_PAUSE: Duration = Duration::from_millis(500);
/// Clean blocks of a doubted link fill the pool up to this many times its capacity.
const OVERFULL: u64 = 4;
/// Words of a block that may come before the device has seen it.
const EARLY_WORDS_MAX: usize = 2;

impl Node {
    /// Transmitter: starts the next block if the pool has room.
    pub(super) fn start_block(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.in_session()) else { return };
        let room = |pool: &LinkKeyPool| pool.send().available().min(pool.receive().available());
        let full = link.pool.as_ref().is_none_or(|pool| room(pool) >= link.plan.capacity_bytes);
        if link.role != Role::Transmitter || link.run.is_some() || link.offer.is_some() {
            return;
        }
        // An end in quarantine needs clean blocks, full pool or not; the neighbour's advert tells of its.
        let doubted = link.quarantine.is_some()
            || self.adverts.end(&link.peer, id).is_some_and(|end| end.state == LinkState::Talk);
        if full && !doubted {
            return;
        }
        let block = BlockId(link.last_block.0 + 1);
        self.send_pool(id, None, PoolMessage::BlockStart { block });
        self.measure(id, block);
    }

    /// Receiver: the transmitter starts a block.
    pub(super) fn block_started(&mut self, id: &LinkId, block: BlockId) {
        let Some(link) = self.links.get(id) else { return };
        if link.role != Role::Receiver || block <= link.last_block || !link.is_of_session(block) {
            return self.drop_link(id, "a block started out of turn");
        }
        if let Some(old) = link.run.as_ref().map(|run| run.block) {
            self.give_up(id, old, "the transmitter went on");
        }
        self.measure(id, block);
    }

    fn measure(&mut self, id: &LinkId, block: BlockId) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.last_block = block;
        link.run = Some(BlockRun { block, session: None, early: Vec::new() });
        let opened = link.last_commit;
        self.outbox.act_after(opened, Action::Measure(id.clone(), block));
        let timeout = BLOCK_TIMEOUT + link.plan.block_time();
        self.timers.set(Timer::Block(id.clone()), self.now.moment + timeout);
    }

    /// This end's device has seen a chunk of the block: distillation starts, or goes on.
    pub(super) fn photons(&mut self, id: &LinkId, block: BlockId, batch: PhotonBatch) {
        let seed = draw(&mut *self.entropy);
        let Some((link, early)) = self.running(id, block) else { return };
        let Some(plan) = block_plan(link, block, seed) else { return };
        let role = link.role;
        if let Some(run) = &mut link.run
            && run.session.is_none()
        {
            run.session = Some(Box::new(BlockSession::new(role, plan)));
        }
        self.drive(id, BlockInput::Photons(batch));
        for words in early {
            self.drive(id, BlockInput::Message(words));
        }
    }

    /// The running block `block`, and the words that came early.
    fn running(&mut self, id: &LinkId, block: BlockId) -> Option<(&mut Link, Vec<Vec<u8>>)> {
        let link = self.links.get_mut(id)?;
        let run = link.run.as_mut().filter(|run| run.block == block)?;
        let early = std::mem::take(&mut run.early);
        Some((link, early))
    }

    pub(super) fn block_bytes(&mut self, id: &LinkId, bytes: Vec<u8>) {
        let Some((block, words)) = open_block(bytes) else {
            return self.drop_link(id, "a distillation message has no block number");
        };
        let Some(run) = self.links.get_mut(id).and_then(|link| link.run.as_mut()) else { return };
        if run.block != block {
            return;
        }
        if run.session.is_some() {
            self.drive(id, BlockInput::Message(words));
        } else if words == abort_words() {
            self.give_up(id, block, "the neighbour's device gave up");
        } else if run.early.len() < EARLY_WORDS_MAX {
            run.early.push(words);
        }
    }

    pub(super) fn job_done(&mut self, id: &LinkId, block: BlockId, result: JobResult) {
        if self.running_block(id) == Some(block) {
            self.drive(id, BlockInput::JobDone(result));
        }
    }

    /// Secret bits of a device that makes them itself: nothing to distil.
    pub(super) fn device_key(&mut self, id: &LinkId, block: BlockId, bits: SecretBits) {
        if self.running_block(id) == Some(block) {
            self.block_gave(id, block, SecretKey::from_device(bits));
        }
    }

    pub(super) fn device_failed(&mut self, id: &LinkId, block: BlockId, why: &str) {
        if self.running_block(id) == Some(block) {
            self.give_up(id, block, why);
        }
    }

    pub(super) fn block_overdue(&mut self, id: &LinkId) {
        let has_session =
            self.links.get(id).and_then(|link| link.run.as_ref()).is_some_and(|run| run.session.is_some());
        if has_session {
            self.drive(id, BlockInput::Timeout);
        } else if let Some(block) = self.running_block(id) {
            self.give_up(id, block, "the device saw nothing in time");
        }
    }

    fn running_block(&self, id: &LinkId) -> Option<BlockId> {
        Some(self.links.get(id)?.run.as_ref()?.block)
    }

    /// Feeds the block session and performs what it wants.
    fn drive(&mut self, id: &LinkId, input: BlockInput) {
        let Some(block) = self.running_block(id) else { return };
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(session) = self.session(id) else { return };
            session.handle(input);
            while let Some(effect) = self.session(id).and_then(BlockSession::next_effect) {
                match effect {
                    BlockEffect::Send(words) => {
                        self.outbox.act(Action::SendBlock(id.clone(), frame_block(block, &words)));
                    }
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
        self.give_up(id, block, "no pad is left to authenticate with");
        let left = self.links.get(id).and_then(|link| link.pool.as_ref()).map_or(0, |pool| pool.send().available());
        if left < TAG_PAD_BYTES as u64 {
            self.drop_link(id, "its pool is used up");
        }
    }

    fn session(&mut self, id: &LinkId) -> Option<&mut BlockSession> {
        self.links.get_mut(id)?.run.as_mut()?.session.as_deref_mut()
    }

    fn sign_block(&mut self, id: &LinkId, text: &[u8]) -> Option<AuthTag> {
        let link = self.links.get_mut(id)?;
        let label = label_of(link.role);
        let tag = link.pool.as_mut()?.sign(label, text)?;
        link.stats.spent_auth += TAG_PAD_BYTES as u64;
        if tag.stock == PadStock::Pool {
            self.note_use(id, tag.offset, TAG_PAD_BYTES as u64, PadPurpose::Authentication, &tag.tag.0);
            self.replenish(id);
        }
        Some(tag)
    }

    fn check_block(&mut self, id: &LinkId, text: &[u8], tag: &AuthTag) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let label = label_of(link.role.other());
        link.pool.as_mut().is_some_and(|pool| pool.check(label, text, tag))
    }

    fn block_ended(&mut self, id: &LinkId, block: BlockId, outcome: BlockOutcome) {
        let Some(link) = self.links.get_mut(id) else { return };
        let text = summary(&outcome.report);
        link.stats.report = Some(outcome.report);
        match outcome.result {
            Ok(key) => {
                self.log(Event::BlockDone(id.clone(), block, text));
                self.block_gave(id, block, key);
            }
            Err(reason) => {
                if is_suspicious(&reason) {
                    self.quarantine(id, &reason);
                }
                self.give_up(id, block, &reason.to_string());
            }
        }
    }

    /// A block gave key: it goes to the pool.
    fn block_gave(&mut self, id: &LinkId, block: BlockId, key: SecretKey) {
        self.timers.stop(&Timer::Block(id.clone()));
        let Some(link) = self.links.get_mut(id) else { return };
        link.run = None;
        link.stats.blocks_ok += 1;
        let clean = link.quarantine.map(|clean| clean + 1);
        link.quarantine = clean.filter(|&clean| clean < CLEAN_BLOCKS);
        if clean == Some(CLEAN_BLOCKS) {
            self.clear_alarm("QKD-2101", id.as_str());
            self.log(Event::Link(id.clone(), format!("back from quarantine after {CLEAN_BLOCKS} clean blocks")));
            self.advertise_soon(Duration::ZERO);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(pool) = &mut link.pool else { return };
        let overfull = OVERFULL * link.plan.capacity_bytes;
        if link.role == Role::Transmitter && pool.send().available().min(pool.receive().available()) >= overfull {
            // A block that only had to show that the link is clean.
            self.timers.set(Timer::NextBlock(id.clone()), self.now.moment + ABORT_PAUSE);
            return;
        }
        pool.distilled(block, key);
        match (link.role, link.offer) {
            (Role::Transmitter, _) => self.offer_deposit(id, block),
            (Role::Receiver, Some(offer)) if offer.block == block => self.take_deposit(id, offer),
            (Role::Receiver, _) => {}
        }
    }

    /// A block gives nothing.
    fn give_up(&mut self, id: &LinkId, block: BlockId, why: &str) {
        self.timers.stop(&Timer::Block(id.clone()));
        let Some(link) = self.links.get_mut(id) else { return };
        if link.run.take().is_some_and(|run| run.session.is_none()) {
            // No session has told the neighbour: it would wait for the whole time-out.
            self.outbox.act(Action::SendBlock(id.clone(), frame_block(block, &abort_words())));
        }
        let LinkStats { blocks_aborted, last_abort, .. } = &mut link.stats;
        *blocks_aborted += 1;
        *last_abort = Some(why.to_owned());
        let waiting = link.offer.filter(|_| link.role == Role::Receiver);
        self.log(Event::BlockAborted(id.clone(), block, why.to_owned()));
        if let Some(offer) = waiting {
            self.take_deposit(id, offer);
        }
        self.timers.set(Timer::NextBlock(id.clone()), self.now.moment + ABORT_PAUSE);
    }

    /// Somebody may listen: the link carries no key until it has been clean for a while.
    fn quarantine(&mut self, id: &LinkId, reason: &AbortReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.quarantine = Some(0);
        self.alarm("QKD-2101", id.as_str(), &format!("in quarantine: {reason}"));
        self.advertise_soon(Duration::ZERO);
    }
}

/// What tells the neighbour that a block was given up before it had a session.
fn abort_words() -> Vec<u8> {
    codec::encode(BLOCK_MESSAGE_VERSION, &BlockMessage::Abort { code: AbortCode::Timeout })
}

fn label_of(role: Role) -> &'static str {
    match role {
        Role::Transmitter => labels::tag::BLOCK_TRANSMITTER,
        Role::Receiver => labels::tag::BLOCK_RECEIVER,
    }
}

fn block_plan(link: &Link, block: BlockId, seed: [u8; 32]) -> Option<BlockPlan> {
    let DevicePlan::Simulated { model, pulses } = &link.plan.device else { return None };
    Some(BlockPlan {
        link: link.roster.id.clone(),
        transmitter: link.roster.transmitter.clone(),
        receiver: link.roster.receiver.clone(),
        block,
        model: model.clone(),
        pulses: *pulses,
        eps_sec: EPS_SEC,
        eps_cor: EPS_COR,
        qber_limit: Qber::try_from(QBER_LIMIT).unwrap_or_default(),
        entropy: seed,
    })
}

/// True for what an eavesdropper causes: such a link must prove itself before it carries key.
fn is_suspicious(reason: &AbortReason) -> bool {
    matches!(
        reason.code(),
        AbortCode::QberOverLimit | AbortCode::NoKey | AbortCode::ReconciliationFailed | AbortCode::AuthenticationFailed
    )
}

/// Secret bits per second of link time.
pub(super) fn secret_rate_bps(report: &BlockReport) -> f64 {
    let seconds = report.link_time.as_secs_f64();
    if seconds > 0.0 { report.secret.0 as f64 / seconds } else { 0.0 }
}

/// A block in one line, for the log.
fn summary(report: &BlockReport) -> String {
    let qber = report.qber.or(report.qber_test).unwrap_or_default();
    let f_ec = report.f_ec.unwrap_or_default();
    format!(
        "sifted {}, QBER {qber}, f_EC {f_ec:.2}, leak {}, secret {} ({}, {})",
        report.sifted, report.leak, report.secret, report.formula, report.acceptance
    )
}
