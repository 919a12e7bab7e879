//! Is this node's store an older copy? In: what neighbours remember, the store's sequence. Out: keys of earlier
//! runs are handed out, or discarded. Always: pads do not depend on this alone (their marks are recorded at
//! both ends before use); what a rolled-back delivery ledger could repeat is bounded by one heartbeat, and by
//! nothing in strict mode, where an answer waits until a neighbour remembers it.

use std::time::Duration;

use super::Node;
use super::effect::{Action, Event};
use super::link::Phase;
use super::settings::Standing;
use super::timers::Timer;
use crate::id::{CommitId, LinkId, Nonce, RequestId, StoreSequence};
use crate::pool::Testimony;
use crate::pool::message::{PoolMessage, Sequences};
use crate::relay::transfer::Transfer;
use crate::supply::message::SupplyAnswer;

/// Neighbours hear of new deliveries this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A heartbeat waits this long for its commit.
const HEARTBEAT_RETRY: Duration = Duration::from_millis(50);

/// What is known of the store, and which answers wait for a neighbour to know it too.
pub(super) struct Witness {
    pub(super) standing: Standing,
    /// Keys of earlier runs may be handed out.
    pub(super) confirmed: bool,
    /// The newest sequence that is durable.
    pub(super) sequence: StoreSequence,
    /// The delivery that the next heartbeat tells of, once its commit is durable.
    news: Option<CommitId>,
    /// Strict mode: answers whose commit is open.
    open: Vec<(CommitId, RequestId, SupplyAnswer)>,
    /// Strict mode: answers that no neighbour remembers yet.
    durable: Vec<(StoreSequence, RequestId, SupplyAnswer)>,
}

impl Witness {
    pub(super) fn new(standing: Standing, sequence: StoreSequence) -> Self {
        let confirmed = standing != Standing::Unconfirmed;
        Self { standing, confirmed, sequence, news: None, open: Vec::new(), durable: Vec::new() }
    }
}

impl Node {
    /// The last commit of a link, and how far this node's records are once it is durable: to be said after it
    /// alone. With an older sequence, a disk from just before that write would fit what the neighbour remembers.
    pub(super) fn sequences_after(&self, id: &LinkId) -> (Option<CommitId>, Sequences) {
        let link = self.links.get(id);
        let marks = link.map_or(0, |link| link.marks.sequence);
        (link.and_then(|link| link.last_commit), Sequences { marks, ..self.sequences(id) })
    }

    /// How far this node's durable records are.
    pub(super) fn sequences(&self, id: &LinkId) -> Sequences {
        let marks = self.links.get(id).map_or(0, |link| link.durable.sequence);
        Sequences { marks, store: self.witness.sequence }
    }

    /// True if this end of a link is sure of what it remembers of the neighbour.
    pub(super) fn vouches(&self, id: &LinkId) -> bool {
        self.witness.standing == Standing::Anchored || self.links.get(id).is_some_and(|link| link.live)
    }

    /// At a start: what this end knows of its own store, before a neighbour says anything.
    pub(super) fn judge_own_store(&mut self) {
        if self.witness.standing == Standing::RolledBack {
            let text = "an older copy of the data directory was put back: pools and undelivered keys are discarded";
            self.alarm("QKD-2203", "store", text);
            self.discard_older_keys();
            // Nothing is left that an older copy could tell wrongly.
            self.outbox.act_after(self.last_delivery, Action::VouchForStore);
        }
        // Nobody could tell.
        self.witness.confirmed |= self.links.is_empty();
    }

    /// What a neighbour remembers of this node.
    pub(super) fn testimony(&mut self, id: &LinkId, testimony: Testimony) {
        match testimony {
            Testimony::None => {}
            Testimony::Fits { sure } => {
                if sure && self.witness.standing == Standing::Unconfirmed {
                    self.witness.standing = Standing::Anchored;
                    self.outbox.act(Action::VouchForStore);
                }
                if !std::mem::replace(&mut self.witness.confirmed, true) {
                    self.log(Event::Link(id.clone(), "the neighbour confirms that this store is the newest".into()));
                }
            }
            Testimony::Contradicts(why) => {
                self.alarm("QKD-2203", id.as_str(), &format!("{why}: undelivered keys of earlier runs are discarded"));
                self.discard_older_keys();
            }
        }
    }

    /// Keys of earlier runs may have been delivered by a newer state of this node: they are lost.
    pub(super) fn discard_older_keys(&mut self) {
        self.witness.confirmed = true;
        let run = self.settings.incarnation;
        let older = self.transfers.values().filter(|transfer| transfer.incarnation() < run && !transfer.is_over());
        for id in older.map(Transfer::id).collect::<Vec<_>>() {
            if let Some(transfer) = self.transfers.get_mut(&id) {
                transfer.lose_keys();
            }
            self.timers.stop(&Timer::Transfer(id));
            self.unclaimed.remove(&id);
            self.commit_transfer(id);
        }
    }

    /// True if the keys of a transfer may not be handed out yet.
    pub(super) fn is_in_doubt(&self, transfer: &Transfer) -> bool {
        !self.witness.confirmed && transfer.incarnation() < self.settings.incarnation
    }

    /// A delivery is on its way to the disk: neighbours shall remember it.
    pub(super) fn news_for_neighbours(&mut self) {
        self.timers.set_by(Timer::Heartbeat, self.now.moment + HEARTBEAT);
    }

    /// Tells the neighbours how far this node's records are. Under load some delivery is always on its way to
    /// the disk: this waits for the one that was newest when it was due, and the next heartbeat has the rest.
    pub(super) fn heartbeat(&mut self) {
        self.witness.news = self.witness.news.or(self.last_delivery);
        if self.witness.news.is_some_and(|commit| self.outbox.is_open(commit)) {
            return self.timers.set(Timer::Heartbeat, self.now.moment + HEARTBEAT_RETRY);
        }
        let told = self.witness.news.take();
        for id in self.links.keys().cloned().collect::<Vec<_>>() {
            let Some(Phase::Session { own, .. }) = self.links.get(&id).map(|link| &link.phase) else { continue };
            let (nonce, records) = (*own, self.sequences(&id));
            self.send_pool(&id, None, PoolMessage::Heartbeat { nonce, records });
        }
        if !self.witness.durable.is_empty() || self.last_delivery > told {
            self.timers.set(Timer::Heartbeat, self.now.moment + HEARTBEAT);
        }
    }

    /// The neighbour tells how far its records are.
    pub(super) fn heartbeat_heard(&mut self, id: &LinkId, nonce: Nonce, records: Sequences) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !matches!(link.phase, Phase::Session { peer, .. } if peer == nonce) {
            return;
        }
        let before = link.marks.peer;
        link.remember(records);
        if link.marks.peer != before {
            link.commit_marks(Vec::new(), &mut self.outbox);
        }
        let (after, own) = self.sequences_after(id);
        self.send_pool(id, after, PoolMessage::HeartbeatAck { nonce, records, own });
    }

    /// A neighbour remembers how far this node's records were.
    pub(super) fn heartbeat_remembered(&mut self, id: &LinkId, nonce: Nonce, records: Sequences, theirs: Sequences) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !matches!(link.phase, Phase::Session { own, .. } if own == nonce) {
            return;
        }
        link.remember(theirs);
        let waiting = std::mem::take(&mut self.witness.durable);
        let (known, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(at, ..)| *at <= records.store);
        self.witness.durable = waiting;
        known.into_iter().for_each(|(_, request, answer)| self.outbox.act(Action::Supply(request, answer)));
    }

    /// Answers once `commit` is durable; in strict mode, once a neighbour knows of it.
    pub(super) fn answer_after(&mut self, commit: CommitId, request: RequestId, answer: SupplyAnswer) {
        if self.settings.strict && !self.links.is_empty() {
            self.witness.open.push((commit, request, answer));
        } else {
            self.outbox.act_after(Some(commit), Action::Supply(request, answer));
        }
    }

    /// The store is one step further.
    pub(super) fn store_reached(&mut self, commit: CommitId, sequence: StoreSequence) {
        self.witness.sequence = self.witness.sequence.max(sequence);
        let open = std::mem::take(&mut self.witness.open);
        let (durable, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|(of, ..)| *of <= commit);
        self.witness.open = open;
        if !durable.is_empty() {
            let sequence = self.witness.sequence;
            self.witness.durable.extend(durable.into_iter().map(|(_, request, answer)| (sequence, request, answer)));
            self.timers.set_by(Timer::Heartbeat, self.now.moment);
        }
    }

    /// Strict mode: answers whose commit failed are refused; their keys are burnt.
    pub(super) fn forget_open_answers(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.witness.open).into_iter().map(|(_, request, _)| request).collect()
    }
}
