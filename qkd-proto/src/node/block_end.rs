//! How a link's blocks end: their key goes to the pool, or they are given up with a reason; after
//! what an eavesdropper causes, the link has to prove itself first.

use std::time::Duration;

use super::Node;
use super::effect::{Action, Event};
use super::link::{CLEAN_BLOCKS, LinkStats, Phase};
use super::talk;
use super::timers::Timer;
use crate::codec;
use crate::distill::abort::AbortReason;
use crate::distill::key::SecretKey;
use crate::distill::message::{AbortCode, BLOCK_MESSAGE_VERSION, BlockMessage};
use crate::distill::plan::Role;
use crate::distill::report::{BlockOutcome, BlockReport};
use crate::id::{BlockId, LinkId};
use crate::quantity::BitCount;

/// Pause after a block that gave nothing.
const ABORT_PAUSE: Duration = Duration::from_millis(500);
/// Clean blocks of a doubted link fill the pool up to this many times its capacity.
const OVERFULL: u64 = 4;
/// Keys that wait for their deposit to be offered; beyond, the unanswered offer is given up.
const TO_OFFER_MAX: usize = 2;

impl Node {
    pub(super) fn block_ended(&mut self, id: &LinkId, block: BlockId, outcome: BlockOutcome) {
        let Some(link) = self.links.get_mut(id) else { return };
        let text = summary(&outcome.report);
        link.stats.sifted += outcome.report.sifted.0;
        link.stats.report = Some(outcome.report);
        link.stats.last_block = Some((block, outcome.result.as_ref().err().map(ToString::to_string)));
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
    pub(super) fn block_gave(&mut self, id: &LinkId, block: BlockId, key: SecretKey) {
        self.forget_run(id, block);
        self.one_more_clean(id, key.len());
        let Some(link) = self.links.get_mut(id) else { return };
        let Some(pool) = &mut link.pool else { return };
        let overfull = OVERFULL * link.plan.capacity_bytes;
        let in_session = matches!(link.phase, Phase::Session { .. });
        if link.role == Role::Transmitter && pool.send().available().min(pool.receive().available()) >= overfull {
            // A block that only had to show that the link is clean.
            link.talks.remove(&block);
            self.pause(id);
            return;
        }
        pool.distilled(block, key);
        match (link.role, link.offer) {
            // Offers wait for the connection.
            (Role::Transmitter, _) if !in_session => link.to_offer.push_back(block),
            (Role::Transmitter, Some(_)) if link.to_offer.len() < TO_OFFER_MAX => link.to_offer.push_back(block),
            (Role::Transmitter, _) => self.offer_deposit(id, block),
            (Role::Receiver, Some(offer)) if offer.block == block => self.take_deposit(id, offer),
            (Role::Receiver, _) => {}
        }
        self.device_free(id);
    }

    /// Counts a clean block; enough of them end a quarantine.
    fn one_more_clean(&mut self, id: &LinkId, secret: BitCount) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.stats.secret += secret.0;
        link.stats.last_secret = secret.0;
        link.stats.blocks_ok += 1;
        let clean = link.quarantine.map(|clean| clean + 1);
        link.quarantine = clean.filter(|&clean| clean < CLEAN_BLOCKS);
        if clean == Some(CLEAN_BLOCKS) {
            self.clear_alarm("QKD-2101", id.as_str());
            self.log(Event::Link(id.clone(), format!("back from quarantine after {CLEAN_BLOCKS} clean blocks")));
            self.advertise_soon(Duration::ZERO);
        }
    }

    /// A block gives nothing.
    pub(super) fn give_up(&mut self, id: &LinkId, block: BlockId, why: &str) {
        self.forget_run(id, block);
        let Some(link) = self.links.get_mut(id) else { return };
        link.talks.remove(&block);
        let LinkStats { blocks_aborted, last_abort, .. } = &mut link.stats;
        *blocks_aborted += 1;
        *last_abort = Some(why.to_owned());
        let waiting = link.offer.filter(|offer| link.role == Role::Receiver && offer.block == block);
        self.log(Event::BlockAborted(id.clone(), block, why.to_owned()));
        if let Some(offer) = waiting {
            self.take_deposit(id, offer);
        }
        self.pause(id);
        self.measure_announced(id);
    }

    fn forget_run(&mut self, id: &LinkId, block: BlockId) {
        self.timers.stop(&Timer::Block(id.clone(), block));
        if let Some(link) = self.links.get_mut(id) {
            link.runs.remove(&block);
        }
    }

    /// Transmitter: no block starts for a while, so that a link that fails does not spin.
    fn pause(&mut self, id: &LinkId) {
        let until = self.now.moment + ABORT_PAUSE;
        if let Some(link) = self.links.get_mut(id) {
            link.next_block = until;
        }
        self.timers.set(Timer::NextBlock(id.clone()), until);
    }

    /// Tells the neighbour that a block was given up; it would wait for the whole time-out. Without a
    /// connection it hears of it when it wants to go on.
    pub(super) fn tell_abort(&mut self, id: &LinkId, block: BlockId) {
        if self.links.get(id).is_some_and(super::link::Link::in_session) {
            self.outbox.act(Action::SendBlock(id.clone(), talk::unnumbered(block, &abort_words())));
        }
    }

    /// Somebody may listen: the link carries no key until it has been clean for a while.
    fn quarantine(&mut self, id: &LinkId, reason: &AbortReason) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.quarantine = Some(0);
        self.alarm("QKD-2101", id.as_str(), &format!("in quarantine: {reason}"));
        self.advertise_soon(Duration::ZERO);
    }
}

/// What tells the neighbour that a block was given up outside its session.
pub(super) fn abort_words() -> Vec<u8> {
    codec::encode(BLOCK_MESSAGE_VERSION, &BlockMessage::Abort { code: AbortCode::Timeout })
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
    let rule = report
        .account
        .as_ref()
        .map_or(String::new(), |account| format!(" ({}, {})", account.formula, account.acceptance.name()));
    format!(
        "sifted {}, QBER {qber}, {} f_EC {f_ec:.2}, leak {}, secret {}{rule}",
        report.sifted, report.engine, report.leak, report.secret
    )
}
