//! Effects of simulated nodes are performed: what the daemon's driver does, on virtual time.

use std::time::Duration;

use super::scenario::Planted;
use super::world::{Event, World};
use crate::id::{BlockId, LinkId};
use crate::node::effect::{Action, Commit};
use crate::node::input::Input;
use crate::optics::table;
use crate::quantity::BitCount;

/// Time of a block.
const BLOCK: Duration = Duration::from_millis(80);
/// Secret bits of a block: two pad blocks and a rest.
const BLOCK_BITS: BitCount = BitCount(80_000);

impl World {
    /// Performs what a node wants done.
    pub(super) fn drain(&mut self, at: usize) {
        loop {
            let site = &mut self.sites[at];
            let Some(mut effect) = site.node.as_mut().and_then(crate::node::Node::next_effect) else { break };
            if self.scenario.planted == Some(Planted::NoBarrier) {
                effect.after = None;
            }
            if let Some(action) = site.gate.admit(effect) {
                self.perform(at, action);
            }
        }
        self.wake(at);
    }

    fn wake(&mut self, at: usize) {
        let site = &mut self.sites[at];
        let Some(deadline) = site.node.as_ref().and_then(crate::node::Node::deadline) else { return };
        if site.waking.is_none_or(|waking| deadline < waking) {
            site.waking = Some(deadline);
            let run = site.run;
            self.at(deadline.since(self.clock), Event::Wake { node: at, run });
        }
    }

    pub(super) fn perform(&mut self, at: usize, action: Action) {
        match action {
            Action::Commit(commit) => self.write(at, commit),
            // The simulated disks have no such witness.
            Action::VouchForStore => {}
            Action::ReadPads(link, keys) => {
                let (run, waiting) = (self.sites[at].run, self.sites[at].disk.writing.len() as u32);
                self.at(self.scenario.sync * (waiting + 1), Event::Read { node: at, run, link, keys });
            }
            Action::SendLink(link, bytes) => self.send(at, &link, |link| Input::LinkBytes(link, bytes)),
            Action::SendBlock(link, bytes) => self.send(at, &link, |link| Input::BlockBytes(link, bytes)),
            Action::DropLink(link) => {
                if let Some(wire) = self.wire(&link) {
                    self.note(format_args!("drop {link} by {at}"));
                    self.disconnect(wire);
                }
            }
            Action::Advert(bytes) => self.spread(at, &bytes),
            Action::PublishSaes(bytes) => self.sites[at].saes_record = Some(bytes),
            Action::FindSaes(node) => self.find_saes(at, &node),
            Action::OpenDevice(link, secret) => {
                if let Some(wire) = self.wire(&link) {
                    let side = self.side(wire, at);
                    self.wires[wire].device[side] = Some(secret);
                }
            }
            Action::CloseDevice(link) => {
                if let Some(wire) = self.wire(&link) {
                    let side = self.side(wire, at);
                    self.wires[wire].device[side] = None;
                }
            }
            Action::Measure(link, block) => self.measure(at, link, block),
            Action::MeasureOn(link, block) => {
                let (run, why) = (self.sites[at].run, "a rate table does not go on".into());
                let input = Input::DeviceFailed(link, block, why);
                self.at(Duration::ZERO, Event::Input { node: at, run, input });
            }
            Action::Run(link, block, job) => {
                let (run, input) = (self.sites[at].run, Input::JobDone(link, block, job.run()));
                self.at(Duration::ZERO, Event::Input { node: at, run, input });
            }
            Action::Supply(request, answer) => self.answered(at, request, answer),
            Action::NotePadUse(note) => {
                self.note(format_args!("pad {} {} {}+{}", note.link, note.forward, note.offset, note.length));
                self.ledger.pad(&note);
            }
            Action::Log(event) => self.note(format_args!("{at} {event:?}")),
        }
    }

    fn write(&mut self, at: usize, commit: Commit) {
        // One committer writes commits one after the other.
        let waiting = self.sites[at].disk.writing.len() as u32;
        self.sites[at].disk.writing.push(commit);
        let after = self.scenario.sync * (waiting + 1);
        let run = self.sites[at].run;
        self.at(after, Event::Durable { node: at, run });
    }

    fn wire(&self, link: &LinkId) -> Option<usize> {
        self.wires.iter().position(|wire| wire.id == *link)
    }

    fn side(&self, wire: usize, at: usize) -> usize {
        usize::from(self.wires[wire].ends[0] != at)
    }

    fn send(&mut self, at: usize, link: &LinkId, input: impl FnOnce(LinkId) -> Input) {
        if let Some(wire) = self.wire(link) {
            self.send_over(at, wire, input(link.clone()));
        }
    }

    fn spread(&mut self, at: usize, bytes: &[u8]) {
        for node in self.reachable(at) {
            if self.dice.unit() >= self.scenario.advert_loss || self.faults_are_over() {
                let (after, run) = (self.about(Duration::from_millis(20)), self.sites[node].run);
                self.at(after, Event::Input { node, run, input: Input::Advert(bytes.to_vec()) });
            }
        }
    }

    fn find_saes(&mut self, at: usize, wanted: &crate::id::NodeId) {
        let Some(place) = self.sites.iter().position(|site| site.name == *wanted) else { return };
        let record = self.sites[place].saes_record.clone().filter(|_| self.reachable(at).contains(&place));
        let run = self.sites[at].run;
        let after = self.about(Duration::from_millis(15));
        self.at(after, Event::Input { node: at, run, input: Input::Saes(wanted.clone(), record) });
    }

    /// A rate-table device gives both ends the same bits; sometimes one end fails.
    fn measure(&mut self, at: usize, link: LinkId, block: BlockId) {
        let Some(wire) = self.wire(&link) else { return };
        let side = self.side(wire, at);
        let Some(secret) = &self.wires[wire].device[side] else { return };
        let bits = table::block_bits(secret, &link, block, BLOCK_BITS);
        let fails = !self.faults_are_over() && self.dice.unit() < 0.02;
        let input = if fails {
            Input::DeviceFailed(link, block, "the simulated device failed".into())
        } else {
            Input::DeviceKey(link, block, bits)
        };
        let (after, epoch) = (BLOCK + self.about(Duration::from_millis(5)), self.wires[wire].epoch);
        self.at(after, Event::OverLink { to: at, link: wire, epoch, input });
    }
}
