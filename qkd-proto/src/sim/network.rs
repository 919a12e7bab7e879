//! Wires: connections come and go, messages take time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::world::{Event, World};
use crate::node::input::Input;

/// Mean time between a wire being whole and both ends knowing it.
const CONNECT: Duration = Duration::from_millis(60);
/// Mean delay of a message.
const DELAY: Duration = Duration::from_millis(4);

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Input { node, run, input } if self.sites[node].run == run => self.feed(node, input),
            Event::OverLink { to, link, epoch, input } if self.wires[link].epoch == epoch => self.feed(to, input),
            Event::Durable { node, run } if self.sites[node].run == run => {
                if let Some(commit) = self.sites[node].disk.writing.first().map(|commit| commit.id) {
                    self.sites[node].disk.finish_oldest();
                    self.durable(node, commit);
                }
            }
            Event::Wake { node, run } if self.sites[node].run == run => {
                self.sites[node].waking = None;
                self.feed(node, Input::Timer);
            }
            Event::Read { node, run, link, keys } if self.sites[node].run == run => {
                let found = self.sites[node].disk.pads(keys);
                self.feed(node, Input::PadsRead(link, found));
            }
            Event::Input { .. }
            | Event::OverLink { .. }
            | Event::Durable { .. }
            | Event::Read { .. }
            | Event::Wake { .. } => {}
            Event::Connect { link } => self.connect(link),
            Event::Crash => self.crash(),
            Event::Restart { node } => self.start(node),
            Event::Snapshot => self.snapshot(),
            Event::PutBack { node } => self.put_back(node),
            Event::Cut => self.cut(),
            Event::Heal { link } => {
                self.wires[link].cut = false;
                self.try_connect(link);
            }
            Event::User => self.user(),
            Event::Fetch(fetch) => self.fetch(fetch),
        }
    }

    /// A wire that is whole connects after a while.
    pub(super) fn try_connect(&mut self, link: usize) {
        let after = self.about(CONNECT);
        self.at(after, Event::Connect { link });
    }

    fn connect(&mut self, link: usize) {
        let wire = &self.wires[link];
        let both = wire.ends.iter().all(|&end| self.sites[end].node.is_some());
        if wire.connected || wire.cut || !both {
            return;
        }
        let wire = &mut self.wires[link];
        wire.connected = true;
        wire.epoch += 1;
        wire.arrival = [self.clock; 2];
        let (id, epoch, ends) = (wire.id.clone(), wire.epoch, wire.ends);
        for to in ends {
            let after = self.about(Duration::from_millis(2));
            self.at(after, Event::OverLink { to, link, epoch, input: Input::LinkUp(id.clone()) });
        }
        // What is said waits until the other end is connected too.
        self.wires[link].arrival = [self.clock + Duration::from_millis(10); 2];
    }

    /// Breaks a connection; each end notices for itself, and it is made anew if the wire is whole.
    pub(super) fn disconnect(&mut self, link: usize) {
        let wire = &mut self.wires[link];
        if !wire.connected {
            return;
        }
        wire.connected = false;
        wire.epoch += 1;
        wire.device = [None, None];
        let (id, ends) = (wire.id.clone(), wire.ends);
        for to in ends {
            let run = self.sites[to].run;
            self.at(Duration::ZERO, Event::Input { node: to, run, input: Input::LinkDown(id.clone()) });
        }
        let after = self.about(Duration::from_millis(200));
        self.at(after, Event::Connect { link });
    }

    /// Sends over a link's stream: in order, unless the connection breaks.
    pub(super) fn send_over(&mut self, from: usize, link: usize, input: Input) {
        if !self.wires[link].connected {
            return;
        }
        if !self.faults_are_over() && self.dice.unit() < self.scenario.reset {
            self.note(format_args!("reset {link}"));
            return self.disconnect(link);
        }
        let after = self.about(DELAY);
        let wire = &mut self.wires[link];
        let side = usize::from(wire.ends[0] != from);
        let arrival = (self.clock + after).max(wire.arrival[side]);
        wire.arrival[side] = arrival;
        let (to, epoch) = (wire.ends[1 - side], wire.epoch);
        self.at(arrival.since(self.clock), Event::OverLink { to, link, epoch, input });
    }

    /// The sites that `from` reaches over connected wires, itself excluded.
    pub(super) fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::from([from]);
        let mut frontier = vec![from];
        while let Some(at) = frontier.pop() {
            let ends = self.wires.iter().filter(|wire| wire.connected && wire.ends.contains(&at));
            let next: Vec<usize> = ends.flat_map(|wire| wire.ends).filter(|end| reached.insert(*end)).collect();
            frontier.extend(next);
        }
        reached.remove(&from);
        reached
    }
}
