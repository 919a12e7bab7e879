//! Faults: nodes crash, stop cleanly or are rolled back; links are cut.

use std::time::Duration;

use super::world::{Event, World};
use crate::moment::Moment;
use crate::node::input::Input;

/// Mean time between a copy of a disk and its return.
const COPY_AGE: Duration = Duration::from_millis(1500);
/// Mean time that a node is down.
const DOWN: Duration = Duration::from_millis(500);

impl World {
    pub(super) fn plan_faults(&mut self) {
        self.at(Duration::from_millis(500), Event::User);
        for (mean, event) in [
            (self.scenario.crash_every, Event::Crash),
            (self.scenario.cut_every, Event::Cut),
            (self.scenario.rollback_every, Event::Snapshot),
        ] {
            if let Some(mean) = mean {
                let after = self.about(mean);
                self.at(after, event);
            }
        }
    }

    pub(super) fn faults_are_over(&self) -> bool {
        self.clock >= Moment(self.scenario.faults)
    }

    pub(super) fn crash(&mut self) {
        let Some(mean) = self.scenario.crash_every.filter(|_| !self.faults_are_over()) else { return };
        let at = self.dice.below(self.sites.len() as u64) as usize;
        if self.dice.unit() < self.scenario.clean_stops {
            self.stop(at);
        } else {
            self.kill(at);
        }
        let after = self.about(mean);
        self.at(after, Event::Crash);
    }

    /// Kills a node, which starts again after a while; false if it was down.
    fn kill(&mut self, at: usize) -> bool {
        if self.sites[at].node.take().is_none() {
            return false;
        }
        self.crashes += 1;
        self.note(format_args!("crash {at}"));
        self.sites[at].disk.crash(&mut self.dice);
        self.take_down(at);
        true
    }

    /// Stops a node as an operator does: its last commits become durable.
    fn stop(&mut self, at: usize) {
        if self.sites[at].node.is_none() {
            return;
        }
        self.note(format_args!("stop {at}"));
        self.feed(at, Input::Stop);
        while let Some(commit) = self.sites[at].disk.writing.first().map(|commit| commit.id) {
            self.sites[at].disk.finish_oldest();
            self.durable(at, commit);
        }
        self.sites[at].node = None;
        self.take_down(at);
    }

    fn take_down(&mut self, at: usize) {
        self.sites[at].run += 1;
        self.users.forget_questions_to(at);
        let wires = (0..self.wires.len()).filter(|&wire| self.wires[wire].ends.contains(&at));
        wires.collect::<Vec<_>>().into_iter().for_each(|wire| self.disconnect(wire));
        let down = self.about(DOWN);
        self.at(down, Event::Restart { node: at });
    }

    /// Somebody copies a disk, and will put it back.
    pub(super) fn snapshot(&mut self) {
        let Some(mean) = self.scenario.rollback_every.filter(|_| !self.faults_are_over()) else { return };
        let at = self.dice.below(self.sites.len() as u64) as usize;
        let apart = self.scenario.rollbacks_apart;
        let alone = apart.is_zero()
            || self.sites.iter().all(|site| site.copy.is_none())
                && self.last_put_back.is_none_or(|last| self.clock.since(last) > apart);
        if alone && self.sites[at].node.is_some() && self.sites[at].copy.is_none() {
            self.note(format_args!("copy of {at}"));
            self.sites[at].copy = Some(self.sites[at].disk.copy());
            let age = self.about(COPY_AGE);
            self.at(age, Event::PutBack { node: at });
        }
        let after = self.about(mean);
        self.at(after, Event::Snapshot);
    }

    pub(super) fn put_back(&mut self, at: usize) {
        let Some(copy) = self.sites[at].copy.take() else { return };
        if self.kill(at) {
            self.note(format_args!("{at} is rolled back"));
            self.rollbacks += 1;
            self.last_put_back = Some(self.clock);
            self.sites[at].disk = copy;
        }
    }

    pub(super) fn cut(&mut self) {
        let Some(mean) = self.scenario.cut_every.filter(|_| !self.faults_are_over()) else { return };
        let link = self.dice.below(self.wires.len() as u64) as usize;
        self.note(format_args!("cut {link}"));
        self.wires[link].cut = true;
        self.disconnect(link);
        let (healed, next) = (self.about(Duration::from_secs(1)), self.about(mean));
        self.at(healed, Event::Heal { link });
        self.at(next, Event::Cut);
    }
}
