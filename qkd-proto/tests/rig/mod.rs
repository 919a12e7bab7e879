//! Real nodes in a line, driven by hand: disks that are as fast as the test wants, wires that a test
//! may read, cut and speak on.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use qkd_proto::control::reply::LinkReply;
use qkd_proto::crypto::{self, IdentityKey};
use qkd_proto::distill::plan::Distillation;
use qkd_proto::entropy::SeededEntropy;
use qkd_proto::id::{BlockId, BootId, DataDirId, Incarnation, LinkId, NodeId, PoolId, RequestId, SaeId, StoreSequence};
use qkd_proto::moment::{Moment, Now, UnixMillis};
use qkd_proto::node::effect::{Action, Commit, Table};
use qkd_proto::node::gate::Gate;
use qkd_proto::node::input::Input;
use qkd_proto::node::settings::{DevicePlan, LinkPlan, NodeSettings, Standing};
use qkd_proto::node::{Node, Stored};
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::preset::Preset;
use qkd_proto::optics::receiver::Receiver;
use qkd_proto::optics::table;
use qkd_proto::optics::transmitter::Transmitter;
use qkd_proto::pool::record::{self, MarksRecord};
use qkd_proto::pool::{Direction, PadPlace};
use qkd_proto::quantity::BitCount;
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{SupplyAnswer, SupplyRequest};
use qkd_proto::topology::{Member, Roster, RosterLink};

pub(crate) struct Site {
    pub(crate) node: Option<Node>,
    gate: Gate,
    pub(crate) disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(crate) writing: VecDeque<Commit>,
    pub(crate) slow_disk: bool,
    pub(crate) sequence: u64,
    pub(crate) run: u64,
    saes: Option<Vec<u8>>,
}

/// A use of pad: first byte, end, digest of what left.
type PadRange = (u64, u64, [u8; 16]);

impl Site {
    fn read(&self, keys: Vec<Vec<u8>>) -> Vec<(Vec<u8>, Option<SecretBytes>)> {
        let find = |key: Vec<u8>| {
            let found = self.seen(&key);
            (key, found)
        };
        keys.into_iter().map(find).collect()
    }

    /// A pad block as the store sees it: what is being written included.
    fn seen(&self, key: &[u8]) -> Option<SecretBytes> {
        let writing = self.writing.iter().rev().flat_map(|commit| commit.records.iter().rev());
        let mut written = writing.filter(|record| record.table == Table::Pads && record.key == key);
        let on_disk = || self.disk.get(&(Table::Pads, key.to_vec())).map(|value| SecretBytes::copy_of(value));
        match written.next() {
            Some(record) => record.value.as_ref().map(|value| SecretBytes::copy_of(value.expose())),
            None => on_disk(),
        }
    }
}

pub(crate) struct Rig {
    pub(crate) clock: Duration,
    pub(crate) roster: Roster,
    pub(crate) sites: Vec<Site>,
    queue: VecDeque<(usize, Input)>,
    pub(crate) connected: BTreeSet<usize>,
    device: BTreeMap<(usize, usize), SecretBytes>,
    /// Link messages that left, in order: sender, link, bytes.
    pub(crate) said: Vec<(usize, usize, Vec<u8>)>,
    pads: BTreeMap<(LinkId, PoolId, bool), Vec<PadRange>>,
    pub(crate) answers: BTreeMap<RequestId, SupplyAnswer>,
    pub(crate) log: Vec<String>,
    asked: u64,
    pub(crate) device_fails: bool,
    /// How long keys of nodes that start from now on wait.
    pub(crate) key_lifetime: Option<Duration>,
    /// Links have emulated optics instead of rate tables; frames of blocks under way.
    optics: bool,
    frames: BTreeMap<(usize, BlockId), Vec<Vec<u8>>>,
    /// What devices had not yet seen when their connection was lost.
    paused: Vec<(usize, Input)>,
    /// Share of the pulses that an eavesdropper intercepts and resends.
    pub(crate) eve: f64,
    /// Changes what leaves: sender, bytes.
    #[allow(clippy::type_complexity, reason = "a test's hook")]
    pub(crate) alter: Option<Box<dyn FnMut(usize, &mut Vec<u8>) -> bool>>,
    /// Stands in a link's distillation stream: sender, bytes; gives what arrives, each with where.
    #[allow(clippy::type_complexity, reason = "a test's hook")]
    pub(crate) intercept: Option<Box<dyn FnMut(usize, Vec<u8>) -> Vec<(usize, Vec<u8>)>>>,
    /// Bytes of pad that a link keeps for each direction.
    capacity_bytes: u64,
}

pub(crate) fn name(i: usize) -> NodeId {
    format!("n{i}").parse().expect("a name")
}

pub(crate) fn sae(i: usize) -> SaeId {
    format!("sae-{i}").parse().expect("a name")
}

pub(crate) fn identity(i: usize) -> IdentityKey {
    IdentityKey::from_seed(&SecretBytes::new(crypto::sha256(&[b"rig", &[i as u8]]).to_vec()))
}

impl Rig {
    /// `count` nodes; links join `pairs`, transmitter first.
    pub(crate) fn new(count: usize, pairs: &[(usize, usize)]) -> Self {
        Self::with(count, pairs, false, 64 << 10)
    }

    /// As `new`, over emulated optics.
    pub(crate) fn optical(count: usize, pairs: &[(usize, usize)]) -> Self {
        Self::with(count, pairs, true, 64 << 10)
    }

    /// As `optical`, with pools that a few blocks fill.
    pub(crate) fn optical_small(count: usize, pairs: &[(usize, usize)]) -> Self {
        Self::with(count, pairs, true, 16 << 10)
    }

    fn with(count: usize, pairs: &[(usize, usize)], optics: bool, capacity_bytes: u64) -> Self {
        let member = |i| Member { id: name(i), key: identity(i).public(), address: String::new() };
        let link = |&(a, b): &(usize, usize)| RosterLink {
            id: format!("n{a}-n{b}").parse().expect("a name"),
            transmitter: name(a),
            receiver: name(b),
        };
        let roster = Roster {
            network: "rig".into(),
            sequence: 1,
            nodes: (0..count).map(member).collect(),
            links: pairs.iter().map(link).collect(),
        };
        let site = |_| Site {
            node: None,
            gate: Gate::default(),
            disk: BTreeMap::new(),
            writing: VecDeque::new(),
            slow_disk: false,
            sequence: 0,
            run: 0,
            saes: None,
        };
        let mut rig = Self {
            clock: Duration::ZERO,
            roster,
            sites: (0..count).map(site).collect(),
            queue: VecDeque::new(),
            connected: BTreeSet::new(),
            device: BTreeMap::new(),
            said: Vec::new(),
            pads: BTreeMap::new(),
            answers: BTreeMap::new(),
            log: Vec::new(),
            asked: 0,
            device_fails: false,
            key_lifetime: None,
            optics,
            frames: BTreeMap::new(),
            paused: Vec::new(),
            eve: 0.0,
            alter: None,
            intercept: None,
            capacity_bytes,
        };
        (0..count).for_each(|i| rig.start(i));
        (0..pairs.len()).for_each(|link| rig.connect(link));
        rig.run_for(Duration::from_secs(3));
        rig
    }

    pub(crate) fn line(count: usize) -> Self {
        let pairs: Vec<_> = (1..count).map(|i| (i - 1, i)).collect();
        Self::new(count, &pairs)
    }

    pub(crate) fn now(&self) -> Now {
        Now { moment: Moment(self.clock), wall: UnixMillis(1_700_000_000_000 + self.clock.as_millis() as u64) }
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.sites[at].run += 1;
        self.start_as(at, self.sites[at].run, at as u8);
    }

    /// Starts with this run number and boot.
    pub(crate) fn start_as(&mut self, at: usize, run: u64, salt: u8) {
        let device = match self.optics {
            false => DevicePlan::Table { rate_bps: 1e6, qber: Some(0.02), schedule: None },
            true => DevicePlan::Simulated { model: Preset::Lab.model(), pulses: Preset::Lab.pulses() },
        };
        let plan = |link: &RosterLink| LinkPlan {
            link: link.id.clone(),
            psk: SecretBytes::new(vec![7; 32]),
            device: device.clone(),
            dilution: 1.0,
            distillation: Distillation::default(),
            capacity_bytes: self.capacity_bytes,
            faults: Vec::new(),
        };
        let mut boot = [salt; 16];
        boot[0] = run as u8;
        let settings = NodeSettings {
            id: name(at),
            identity: identity(at),
            roster: self.roster.clone(),
            incarnation: Incarnation(run),
            boot: BootId(boot),
            data_dir: DataDirId([at as u8; 16]),
            sequence: StoreSequence(self.sites[at].sequence),
            standing: Standing::Anchored,
            strict: false,
            key_lifetime: self.key_lifetime,
            links: self.roster.links_of(&name(at)).map(plan).collect(),
            saes: vec![sae(at)],
            self_pair: false,
        };
        let table = |wanted| {
            let records = self.sites[at].disk.iter().filter(|((table, _), _)| *table == wanted);
            records.map(|((_, key), value)| (key.clone(), SecretBytes::copy_of(value))).collect()
        };
        let stored =
            Stored { pools: table(Table::Pools), marks: table(Table::Marks), transfers: table(Table::Transfers) };
        let entropy = Box::new(SeededEntropy::from_number(run << 16 | (at as u64) << 8 | u64::from(salt)));
        let node = Node::new(settings, stored, entropy, self.now()).expect("the disk is whole");
        self.sites[at].node = Some(node);
        self.sites[at].gate = Gate::default();
        self.drain(at);
    }

    /// Pad blocks on a site's disk that are not opened yet, by direction (forward is true) and index.
    pub(crate) fn closed_pads(&self, at: usize, link: usize) -> BTreeMap<(bool, u64), Vec<u8>> {
        let (id, disk) = (self.link_id(link), &self.sites[at].disk);
        let Some(marks) = disk.get(&(Table::Marks, id.as_str().as_bytes().to_vec())) else { return BTreeMap::new() };
        let (marks, mut chains) = MarksRecord::decode(&SecretBytes::copy_of(marks)).expect("a mark");
        let Some(pool) = marks.pool else { return BTreeMap::new() };
        let mut pads = BTreeMap::new();
        for direction in [Direction::Forward, Direction::Reverse] {
            for index in 0..500 {
                let place = (Table::Pads, record::pad_key(&id, direction, index));
                let sealed = disk.get(&place).map(|sealed| SecretBytes::copy_of(sealed));
                let place = PadPlace { pool, direction, index };
                if let Some(bits) = sealed.and_then(|sealed| chains[direction.index()].open(place, &sealed)) {
                    pads.insert((direction == Direction::Forward, index), bits.expose().to_vec());
                }
            }
        }
        pads
    }

    /// Power is gone: what was not durable is lost.
    pub(crate) fn crash(&mut self, at: usize) {
        self.sites[at].node = None;
        self.sites[at].writing.clear();
        let links: Vec<usize> = self.connected.iter().copied().filter(|&link| self.ends(link).contains(&at)).collect();
        links.into_iter().for_each(|link| self.disconnect(link));
        self.queue.retain(|(to, _)| *to != at);
    }

    pub(crate) fn ends(&self, link: usize) -> [usize; 2] {
        let place = |node: &NodeId| (0..self.sites.len()).find(|&i| name(i) == *node).expect("a node of the rig");
        let link = &self.roster.links[link];
        [place(&link.transmitter), place(&link.receiver)]
    }

    pub(crate) fn link_id(&self, link: usize) -> LinkId {
        self.roster.links[link].id.clone()
    }

    pub(crate) fn connect(&mut self, link: usize) {
        let ends = self.ends(link);
        if ends.iter().all(|&end| self.sites[end].node.is_some()) && self.connected.insert(link) {
            ends.into_iter().for_each(|end| self.queue.push_back((end, Input::LinkUp(self.link_id(link)))));
        }
    }

    pub(crate) fn disconnect(&mut self, link: usize) {
        if self.connected.remove(&link) {
            let id = self.link_id(link);
            let of_link = |input: &Input| matches!(input, Input::LinkBytes(of, _) | Input::BlockBytes(of, _) | Input::DeviceKey(of, ..) if *of == id);
            self.queue.retain(|(_, input)| !of_link(input));
            let of_device = |(_, input): &(usize, Input)| matches!(input, Input::Photons(of, ..) if *of == id);
            let (unseen, queue): (VecDeque<_>, _) = std::mem::take(&mut self.queue).into_iter().partition(of_device);
            self.queue = queue;
            self.paused.extend(unseen);
            self.device.retain(|(_, of), _| *of != link);
            self.ends(link).into_iter().for_each(|end| self.queue.push_back((end, Input::LinkDown(id.clone()))));
        }
    }

    pub(crate) fn feed(&mut self, at: usize, input: Input) {
        let now = self.now();
        if let Some(node) = &mut self.sites[at].node {
            node.handle(now, input);
            self.drain(at);
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(effect) = self.sites[at].node.as_mut().and_then(Node::next_effect) {
            if let Some(action) = self.sites[at].gate.admit(effect) {
                self.perform(at, action);
            }
        }
    }

    /// The oldest commit of a site is durable.
    pub(crate) fn sync(&mut self, at: usize) -> bool {
        let Some(commit) = self.sites[at].writing.pop_front() else { return false };
        self.sites[at].sequence += u64::from(commit.records.iter().any(|record| record.table != Table::Marks));
        for record in commit.records {
            let place = (record.table, record.key);
            match record.value {
                Some(value) => self.sites[at].disk.insert(place, value.expose().to_vec()),
                None => self.sites[at].disk.remove(&place),
            };
        }
        let freed = self.sites[at].gate.durable(commit.id);
        freed.into_iter().for_each(|action| self.perform(at, action));
        let sequence = StoreSequence(self.sites[at].sequence);
        self.feed(at, Input::Committed(commit.id, sequence));
        true
    }

    /// The oldest commit of a site fails.
    pub(crate) fn fail_commit(&mut self, at: usize) -> bool {
        let Some(commit) = self.sites[at].writing.pop_front() else { return false };
        drop(self.sites[at].gate.failed(commit.id));
        self.feed(at, Input::CommitFailed(commit.id));
        true
    }

    fn perform(&mut self, at: usize, action: Action) {
        let link_of =
            |rig: &Self, id: &LinkId| rig.roster.links.iter().position(|link| link.id == *id).expect("a link");
        match action {
            Action::Commit(commit) => self.sites[at].writing.push_back(commit),
            Action::VouchForStore => {}
            Action::ReadPads(link, keys) => {
                let found = self.sites[at].read(keys);
                self.feed(at, Input::PadsRead(link, found));
            }
            Action::SendLink(id, mut bytes) => {
                let link = link_of(self, &id);
                if !self.connected.contains(&link) {
                    return;
                }
                let mut alter = self.alter.take();
                let keep = alter.as_mut().is_none_or(|alter| alter(at, &mut bytes));
                self.alter = alter;
                self.said.push((at, link, bytes.clone()));
                if keep {
                    let to = self.ends(link).into_iter().find(|&end| end != at).expect("two ends");
                    self.queue.push_back((to, Input::LinkBytes(id, bytes)));
                }
            }
            Action::SendBlock(id, bytes) => self.send_block(at, id, bytes),
            Action::DropLink(id) => {
                let link = link_of(self, &id);
                self.log.push(format!("{at} drops {id}"));
                self.disconnect(link);
            }
            Action::Advert(bytes) => {
                for to in (0..self.sites.len()).filter(|&to| to != at) {
                    self.queue.push_back((to, Input::Advert(bytes.clone())));
                }
            }
            Action::PublishSaes(bytes) => self.sites[at].saes = Some(bytes),
            Action::FindSaes(node) => {
                let place = (0..self.sites.len()).find(|&i| name(i) == node).expect("a node of the rig");
                self.queue.push_back((at, Input::Saes(node, self.sites[place].saes.clone())));
            }
            Action::OpenDevice(id, secret) => {
                let link = link_of(self, &id);
                self.device.insert((at, link), secret);
            }
            Action::CloseDevice(id) => {
                let link = link_of(self, &id);
                self.device.remove(&(at, link));
            }
            Action::Measure(id, block) => {
                let link = link_of(self, &id);
                if self.optics {
                    self.measure(at, link, id, block);
                } else {
                    self.look_up(at, link, id, block);
                }
            }
            Action::MeasureOn(id, block) => self.measure_on(at, &id, block),
            Action::Run(id, block, job) => self.queue.push_back((at, Input::JobDone(id, block, job.run()))),
            Action::Supply(id, answer) => {
                assert!(self.answers.insert(id, answer).is_none(), "two answers to one request");
            }
            Action::NotePadUse(note) => {
                let uses = self.pads.entry((note.link.clone(), note.pool, note.forward)).or_default();
                let (start, end) = (note.offset, note.offset + note.length);
                let twice = uses.iter().any(|&(s, e, digest)| s < end && start < e && digest != note.digest);
                assert!(!twice, "pad of {} used twice at {start}", note.link);
                uses.push((start, end, note.digest));
            }
            Action::Log(event) => self.log.push(format!("{at} {event:?}")),
        }
    }

    fn send_block(&mut self, at: usize, id: LinkId, bytes: Vec<u8>) {
        let link = self.roster.links.iter().position(|link| link.id == id).expect("a link");
        let to = self.ends(link).into_iter().find(|&end| end != at).expect("two ends");
        let mut intercept = self.intercept.take();
        let arriving = match &mut intercept {
            Some(hook) => hook(at, bytes),
            None => vec![(to, bytes)],
        };
        self.intercept = intercept;
        if !self.connected.contains(&link) {
            return;
        }
        self.queue.extend(arriving.into_iter().map(|(to, bytes)| (to, Input::BlockBytes(id.clone(), bytes))));
    }

    /// Lets everything happen that can happen now.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.step() {
                return;
            }
        }
        panic!("it never ends: {:?}", &self.log[self.log.len() - 20..]);
    }

    /// Lets one thing happen; false if nothing can.
    pub(crate) fn step(&mut self) -> bool {
        if (0..self.sites.len()).any(|at| !self.sites[at].slow_disk && self.sync(at)) {
            return true;
        }
        let Some((to, input)) = self.queue.pop_front() else { return false };
        self.feed(to, input);
        true
    }

    /// Time passes; broken links are dialled again.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.clock + span;
        while self.clock < end {
            self.settle();
            (0..self.roster.links.len()).for_each(|link| self.connect(link));
            self.settle();
            self.clock += Duration::from_millis(50);
            (0..self.sites.len()).for_each(|at| self.feed(at, Input::Timer));
        }
        self.settle();
    }

    /// The rate-table device: the bits of the session's secret.
    fn look_up(&mut self, at: usize, link: usize, id: LinkId, block: BlockId) {
        let Some(secret) = self.device.get(&(at, link)) else { return };
        let bits = table::block_bits(secret, &id, block, BitCount(80_000));
        let input = if self.device_fails {
            Input::DeviceFailed(id, block, "told to".into())
        } else {
            Input::DeviceKey(id, block, bits)
        };
        self.queue.push_back((at, input));
    }

    /// The transmitter's device sends a whole block at once; the receiver's measures it.
    fn measure(&mut self, at: usize, link: usize, id: LinkId, block: BlockId) {
        let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
        let chunks: Vec<PhotonBatch> = if self.ends(link)[0] == at {
            let mut emission = Transmitter::new(model, [1; 32]).emit(block, pulses);
            let (frames, chunks): (Vec<_>, Vec<_>) = std::iter::from_fn(|| emission.next_frame()).unzip();
            self.frames.insert((link, block), frames);
            chunks.into_iter().map(PhotonBatch::Emissions).collect()
        } else {
            let optics = Receiver::new(LinkModel { eve_ir: self.eve, ..model }, [2; 32]);
            let mut reception = optics.receive(block, pulses);
            let frames = self.frames.remove(&(link, block)).expect("the transmitter measures first");
            frames.iter().map(|frame| PhotonBatch::Detections(reception.accept(frame).expect("in turn"))).collect()
        };
        let chunks = chunks.into_iter().map(|chunk| (at, Input::Photons(id.clone(), block, chunk)));
        self.queue.extend(chunks);
    }

    /// A device goes on with what it had not yet seen of a block.
    fn measure_on(&mut self, at: usize, id: &LinkId, block: BlockId) {
        let of_block = |(of, input): &mut (usize, Input)| {
            *of == at && matches!(input, Input::Photons(link, of, _) if link == id && *of == block)
        };
        self.queue.extend(self.paused.extract_if(.., of_block));
    }

    pub(crate) fn ask(&mut self, at: usize, request: SupplyRequest) -> RequestId {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.feed(at, Input::Supply(id, request));
        id
    }

    pub(crate) fn enc(&mut self, master: usize, slave: usize, number: u32) -> RequestId {
        let request =
            SupplyRequest::EncKeys { caller: sae(master), slave: sae(slave), number, size: None, additional: vec![] };
        self.ask(master, request)
    }

    pub(crate) fn dec(&mut self, master: usize, slave: usize, ids: Vec<qkd_proto::id::KeyId>) -> RequestId {
        self.ask(slave, SupplyRequest::DecKeys { caller: sae(slave), master: sae(master), ids })
    }

    /// A key goes from master to slave; true if it did, and both have the same bits.
    pub(crate) fn one_key(&mut self, master: usize, slave: usize) -> bool {
        let id = self.enc(master, slave, 1);
        self.run_for(Duration::from_secs(5));
        let Some(SupplyAnswer::Keys(keys)) = self.answers.remove(&id) else { return false };
        let fetch = self.dec(master, slave, vec![keys[0].id]);
        self.run_for(Duration::from_millis(200));
        match self.answers.remove(&fetch) {
            Some(SupplyAnswer::Keys(fetched)) => {
                assert_eq!(fetched[0].key.expose(), keys[0].key.expose());
                true
            }
            other => panic!("the slave cannot get {:?}: {other:?}", keys[0].id),
        }
    }

    pub(crate) fn logged(&self, text: &str) -> bool {
        self.log.iter().any(|line| line.contains(text))
    }

    /// What `at` says of a link.
    pub(crate) fn link_status(&self, at: usize, link: usize) -> LinkReply {
        let status = self.sites[at].node.as_ref().expect("it runs").status(Moment(self.clock), "test");
        let name = self.link_id(link).to_string();
        status.links.into_iter().find(|link| link.name == name).expect("its link")
    }

    pub(crate) fn link_state(&self, at: usize, link: usize) -> String {
        self.link_status(at, link).state
    }

    pub(crate) fn stored(&self, at: usize, link: usize) -> (u64, u64) {
        let link = self.link_status(at, link);
        (link.store_bytes, link.store_peer_bytes)
    }
}
