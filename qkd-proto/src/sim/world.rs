//! The simulated world: nodes, wires, clock and dice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Verdict;
use super::disk::Disk;
use super::ledger::{Ledger, Violation};
use super::scenario::{Planted, Scenario};
use super::users::Users;
use crate::crypto::IdentityKey;
use crate::distill::plan::Distillation;
use crate::entropy::{SeededEntropy, draw};
use crate::id::{BootId, CommitId, DataDirId, Incarnation, LinkId, NodeId};
use crate::moment::{Moment, Now, UnixMillis};
use crate::node::Node;
use crate::node::gate::Gate;
use crate::node::input::Input;
use crate::node::planted::Defect;
use crate::node::settings::{DevicePlan, LinkPlan, NodeSettings, Standing};
use crate::secret::SecretBytes;
use crate::topology::{Member, Roster, RosterLink};

/// Something that will happen.
pub(super) enum Event {
    /// To a node, if it still runs as then.
    Input {
        node: usize,
        run: u64,
        input: Input,
    },
    /// Over a link, if the connection still is the same.
    OverLink {
        to: usize,
        link: usize,
        epoch: u64,
        input: Input,
    },
    /// A node's oldest commit is durable.
    Durable {
        node: usize,
        run: u64,
    },
    /// A node's disk has pad blocks.
    Read {
        node: usize,
        run: u64,
        link: LinkId,
        keys: Vec<Vec<u8>>,
    },
    /// A node's timers.
    Wake {
        node: usize,
        run: u64,
    },
    /// Both ends notice that they are connected, if they are.
    Connect {
        link: usize,
    },
    /// Faults.
    Crash,
    Restart {
        node: usize,
    },
    Snapshot,
    PutBack {
        node: usize,
    },
    Cut,
    Heal {
        link: usize,
    },
    /// An application does its next thing.
    User,
    Fetch(super::users::Fetch),
}

/// A node and what surrounds it.
pub(super) struct Site {
    pub(super) name: NodeId,
    pub(super) node: Option<Node>,
    pub(super) gate: Gate,
    pub(super) disk: Disk,
    /// A copy of the disk that will be put back.
    pub(super) copy: Option<Disk>,
    /// Rises at every start and end.
    pub(super) run: u64,
    pub(super) data_dir: DataDirId,
    pub(super) saes_record: Option<Vec<u8>>,
    pub(super) waking: Option<Moment>,
}

/// A link's wire.
pub(super) struct Wire {
    pub(super) id: LinkId,
    pub(super) ends: [usize; 2],
    pub(super) connected: bool,
    pub(super) cut: bool,
    pub(super) epoch: u64,
    /// When the last message in each direction arrives: streams keep their order.
    pub(super) arrival: [Moment; 2],
    /// Secret of the present session's device, by end.
    pub(super) device: [Option<SecretBytes>; 2],
}

/// Everything.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) dice: SeededEntropy,
    pub(super) clock: Moment,
    pub(super) queue: BTreeMap<(Moment, u64), Event>,
    pub(super) next_event: u64,
    pub(super) roster: Roster,
    pub(super) sites: Vec<Site>,
    pub(super) wires: Vec<Wire>,
    pub(super) users: Users,
    pub(super) ledger: Ledger,
    pub(super) crashes: usize,
    pub(super) rollbacks: usize,
    pub(super) last_put_back: Option<Moment>,
    pub(super) trace: String,
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut dice = SeededEntropy::from_number(seed);
        let roster = roster(scenario, &mut dice);
        let mut site = |member: &Member| Site {
            name: member.id.clone(),
            node: None,
            gate: Gate::default(),
            disk: Disk::default(),
            copy: None,
            run: 0,
            data_dir: DataDirId(draw(&mut dice)),
            saes_record: None,
            waking: None,
        };
        let sites: Vec<Site> = roster.nodes.iter().map(&mut site).collect();
        let place = |node: &NodeId| sites.iter().position(|site| site.name == *node).unwrap_or_default();
        let wire = |link: &RosterLink| Wire {
            id: link.id.clone(),
            ends: [place(&link.transmitter), place(&link.receiver)],
            connected: false,
            cut: false,
            epoch: 0,
            arrival: [Moment::default(); 2],
            device: [None, None],
        };
        let wires = roster.links.iter().map(wire).collect();
        let mut world = Self {
            scenario: scenario.clone(),
            dice,
            clock: Moment::default(),
            queue: BTreeMap::new(),
            next_event: 0,
            roster,
            sites,
            wires,
            users: Users::default(),
            ledger: Ledger::default(),
            crashes: 0,
            rollbacks: 0,
            last_put_back: None,
            trace: String::new(),
        };
        (0..world.sites.len()).for_each(|node| world.start(node));
        world.plan_faults();
        world
    }

    pub(super) fn at(&mut self, after: Duration, event: Event) {
        self.next_event += 1;
        self.queue.insert((self.clock + after, self.next_event), event);
    }

    pub(super) fn now(&self) -> Now {
        Now { moment: self.clock, wall: UnixMillis(1_700_000_000_000 + self.clock.0.as_millis() as u64) }
    }

    /// A random time with this mean, never zero.
    pub(super) fn about(&mut self, mean: Duration) -> Duration {
        let factor = -(1.0 - self.dice.unit()).ln();
        mean.mul_f64(factor.clamp(0.01, 5.0))
    }

    pub(super) fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{:>10} {line}", self.clock.0.as_micros());
    }

    /// Starts a node from its disk.
    pub(super) fn start(&mut self, at: usize) {
        let entropy = Box::new(SeededEntropy::new(draw(&mut self.dice)));
        let boot = BootId(draw(&mut self.dice));
        let now = self.now();
        let settings = self.settings(at, boot);
        let site = &mut self.sites[at];
        site.gate = Gate::default();
        site.waking = None;
        match Node::new(settings, site.disk.read(), entropy, now) {
            Err(error) => self.ledger.violations.push(Violation::NoRestart(error.to_string())),
            Ok(mut node) => {
                match self.scenario.planted {
                    Some(Planted::PadReuse) => node.plant(Defect::ReusePads),
                    Some(Planted::NoNeighbourMark) => {
                        node.plant(Defect::DeafToRollback);
                        node.plant(Defect::SpendUnacknowledged);
                    }
                    Some(Planted::DeafToRollback) => node.plant(Defect::DeafToRollback),
                    Some(Planted::NoBarrier) | None => {}
                }
                site.node = Some(node);
                self.note(format_args!("start {at}"));
                self.drain(at);
                (0..self.wires.len()).for_each(|wire| self.try_connect(wire));
            }
        }
    }

    fn settings(&mut self, at: usize, boot: BootId) -> NodeSettings {
        let site = &mut self.sites[at];
        site.run += 1;
        site.disk.incarnation += 1;
        let plan = |link: &RosterLink| LinkPlan {
            link: link.id.clone(),
            psk: SecretBytes::new(crypto_seed(link.id.as_str()).to_vec()),
            device: DevicePlan::Table { rate_bps: 1e6, qber: Some(0.02), schedule: None },
            dilution: 1.0,
            capacity_bytes: 64 << 10,
            distillation: Distillation::default(),
            faults: Vec::new(),
        };
        NodeSettings {
            id: site.name.clone(),
            identity: identity(&site.name),
            roster: self.roster.clone(),
            incarnation: Incarnation(site.disk.incarnation),
            boot,
            data_dir: site.data_dir,
            sequence: site.disk.sequence,
            standing: Standing::Unconfirmed,
            strict: self.scenario.strict,
            key_lifetime: None,
            links: self.roster.links_of(&site.name).map(plan).collect(),
            saes: vec![sae_of(&site.name)],
            self_pair: false,
        }
    }

    pub(super) fn feed(&mut self, at: usize, input: Input) {
        let now = self.now();
        if let Some(node) = &mut self.sites[at].node {
            node.handle(now, input);
            self.drain(at);
        }
    }

    /// Tells a node that a commit is durable, after doing what waited for it.
    pub(super) fn durable(&mut self, at: usize, commit: CommitId) {
        let freed = self.sites[at].gate.durable(commit);
        freed.into_iter().for_each(|action| self.perform(at, action));
        let sequence = self.sites[at].disk.sequence;
        self.feed(at, Input::Committed(commit, sequence));
    }

    pub(super) fn run(&mut self) {
        let end = Moment(self.scenario.faults + self.scenario.quiet);
        while let Some(((time, _), event)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.clock = time;
            self.happen(event);
        }
        self.settle();
    }

    pub(super) fn verdict(self) -> Verdict {
        let (keys_delivered, keys_completed) = self.ledger.counts();
        Verdict {
            violations: self.ledger.violations,
            keys_delivered,
            keys_completed,
            keys_after_faults: self.users.after_faults,
            crashes: self.crashes,
            rollbacks: self.rollbacks,
            pad_uses: self.ledger.pad_uses,
            trace: self.trace,
        }
    }
}

/// The SAE of a node.
pub(super) fn sae_of(node: &NodeId) -> crate::id::SaeId {
    format!("sae-{node}").parse().expect("a node's name with four letters is a name")
}

fn crypto_seed(text: &str) -> [u8; 32] {
    crate::crypto::sha256(&[b"simulated secret", text.as_bytes()])
}

fn identity(node: &NodeId) -> IdentityKey {
    IdentityKey::from_seed(&SecretBytes::new(crypto_seed(node.as_str()).to_vec()))
}

/// A ring with random chords.
fn roster(scenario: &Scenario, dice: &mut SeededEntropy) -> Roster {
    let name = |i: usize| -> NodeId { format!("n{i:02}").parse().expect("a letter and digits are a name") };
    let member = |i| Member { id: name(i), key: identity(&name(i)).public(), address: String::new() };
    let count = scenario.nodes;
    let mut pairs: Vec<(usize, usize)> = (0..count).map(|i| (i, (i + 1) % count)).collect();
    while pairs.len() < count + scenario.chords {
        let (a, b) = (dice.below(count as u64) as usize, dice.below(count as u64) as usize);
        if a != b && !pairs.contains(&(a, b)) && !pairs.contains(&(b, a)) {
            pairs.push((a, b));
        }
    }
    let link = |(a, b): (usize, usize)| RosterLink {
        id: format!("{}-{}", name(a), name(b)).parse().expect("two names and a dash are a name"),
        transmitter: name(a),
        receiver: name(b),
    };
    Roster {
        network: "sim".into(),
        sequence: 1,
        nodes: (0..count).map(member).collect(),
        links: pairs.into_iter().map(link).collect(),
    }
}
