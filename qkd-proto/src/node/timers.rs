//! When a node wants to be woken, and what for.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{BlockId, LinkId, NodeId, RequestId, TransferId};
use crate::moment::Moment;

/// What a timer is for. One of each runs at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A handshake takes too long.
    Handshake(LinkId),
    /// A block takes too long.
    Block(LinkId, BlockId),
    /// The next block may start.
    NextBlock(LinkId),
    /// A reservation is not acknowledged.
    Reservation(LinkId),
    /// The node's own advert is due.
    Advert,
    /// Compare adverts with the neighbours.
    Digest,
    /// Tell the neighbours how far the store is.
    Heartbeat,
    /// Look SAE rosters up.
    Directory,
    /// A session offer is not answered.
    Session(NodeId),
    /// A transfer waits for the other end.
    Transfer(TransferId),
    /// An application waits.
    Request(RequestId),
}

/// Timers in order.
#[derive(Default)]
pub(super) struct Timers {
    due: BTreeSet<(Moment, Timer)>,
    set: BTreeMap<Timer, Moment>,
}

impl Timers {
    /// Sets or moves a timer.
    pub(super) fn set(&mut self, timer: Timer, at: Moment) {
        self.stop(&timer);
        self.due.insert((at, timer.clone()));
        self.set.insert(timer, at);
    }

    /// Sets a timer unless it is due earlier.
    pub(super) fn set_by(&mut self, timer: Timer, at: Moment) {
        if self.set.get(&timer).is_none_or(|&earlier| at < earlier) {
            self.set(timer, at);
        }
    }

    /// Forgets a timer.
    pub(super) fn stop(&mut self, timer: &Timer) {
        if let Some(at) = self.set.remove(timer) {
            self.due.remove(&(at, timer.clone()));
        }
    }

    /// When the first one is due.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.set.remove(&timer);
        Some(timer)
    }
}
