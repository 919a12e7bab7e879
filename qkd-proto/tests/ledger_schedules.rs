//! The delivery ledger under concurrency: applications, a driver around a real node, and a committer run in
//! thousands of random schedules. In: requests for the same keys, for overlapping sets of them, a crash, a failed
//! write. Always: each key once, all keys of a request or none, the audit line on the disk before the answer. A
//! driver that ignores the gate is seen to break that.

use std::collections::BTreeMap;
use std::sync::Arc as Shared;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qkd_proto::crypto::IdentityKey;
use qkd_proto::entropy::SeededEntropy;
use qkd_proto::id::{BootId, CommitId, DataDirId, Incarnation, KeyId, RequestId, SaeId, StoreSequence};
use qkd_proto::moment::{Moment, Now, UnixMillis};
use qkd_proto::node::effect::{Action, Commit, Table};
use qkd_proto::node::gate::Gate;
use qkd_proto::node::input::Input;
use qkd_proto::node::settings::{NodeSettings, Standing};
use qkd_proto::node::{Node, Stored};
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{Refusal, SupplyAnswer, SupplyRequest};
use qkd_proto::topology::{Member, Roster};
use shuttle::rand::Rng;
use shuttle::scheduler::RandomScheduler;
use shuttle::sync::atomic::AtomicBool;
use shuttle::sync::mpsc::{Receiver, Sender, channel};
use shuttle::sync::{Arc, Mutex};
use shuttle::{Config, Runner, thread};

/// Keys of the transfer, and applications' requests at one time.
const KEYS: u32 = 4;
const TASKS: usize = 5;
const STACK_BYTES: usize = 1 << 20;

/// What is on stable storage.
#[derive(Default)]
struct Disk {
    transfers: BTreeMap<Vec<u8>, Vec<u8>>,
    audit: Vec<String>,
    sequence: u64,
}

impl Disk {
    fn write(&mut self, commit: Commit) {
        self.sequence += 1;
        for record in commit.records {
            match (record.table, record.value) {
                (Table::Transfers, Some(value)) => drop(self.transfers.insert(record.key, value.expose().to_vec())),
                (Table::Transfers, None) => drop(self.transfers.remove(&record.key)),
                (Table::Audit, Some(line)) => self.audit.push(String::from_utf8_lossy(line.expose()).into_owned()),
                (table, _) => panic!("no record of {table:?} belongs here"),
            }
        }
    }

    /// True if one line tells that all of `ids` were delivered to the slave.
    fn tells(&self, ids: &[KeyId]) -> bool {
        let of = |line: &&String| line.contains("\"slave\"") && ids.iter().all(|id| line.contains(&id.to_string()));
        self.audit.iter().any(|line| of(&line))
    }
}

/// What was seen over all schedules; outside of the schedules' sight.
#[derive(Default)]
struct Seen {
    delivered: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    failed: AtomicU64,
    broken: AtomicU64,
}

impl Seen {
    fn of(&self, count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn name(text: &str) -> SaeId {
    text.parse().expect("a name")
}

fn now() -> Now {
    Now { moment: Moment(Duration::from_secs(1)), wall: UnixMillis(1_700_000_000_000) }
}

fn node(disk: &Disk, run: u64) -> Node {
    let identity = IdentityKey::from_seed(&SecretBytes::new(vec![5; 32]));
    let member = Member { id: "n0".parse().expect("a name"), key: identity.public(), address: String::new() };
    let settings = NodeSettings {
        id: member.id.clone(),
        identity,
        roster: Roster { network: "one".into(), sequence: 1, nodes: vec![member], links: Vec::new() },
        incarnation: Incarnation(run),
        boot: BootId([run as u8; 16]),
        data_dir: DataDirId([1; 16]),
        sequence: StoreSequence(disk.sequence),
        standing: Standing::Anchored,
        key_lifetime: None,
        strict: false,
        links: Vec::new(),
        saes: vec![name("master"), name("slave")],
        self_pair: false,
    };
    let transfers = disk.transfers.iter().map(|(key, value)| (key.clone(), SecretBytes::copy_of(value))).collect();
    let stored = Stored { transfers, ..Stored::default() };
    Node::new(settings, stored, Box::new(SeededEntropy::from_number(run)), now()).expect("the disk is whole")
}

/// A transfer whose keys the master has, all durable.
fn keys_of_master(node: &mut Node, disk: &mut Disk) -> Vec<KeyId> {
    let (caller, slave) = (name("master"), name("slave"));
    let request = SupplyRequest::EncKeys { caller, slave, number: KEYS, size: None, additional: Vec::new() };
    node.handle(now(), Input::Supply(RequestId(0), request));
    let (mut gate, mut ids) = (Gate::default(), Vec::new());
    while let Some(effect) = node.next_effect() {
        let mut due: Vec<Action> = gate.admit(effect).into_iter().collect();
        while let Some(action) = due.pop() {
            match action {
                Action::Commit(commit) => {
                    let id = commit.id;
                    disk.write(commit);
                    due.extend(gate.durable(id));
                    node.handle(now(), Input::Committed(id, StoreSequence(disk.sequence)));
                }
                Action::Supply(_, SupplyAnswer::Keys(keys)) => ids = keys.iter().map(|key| key.id).collect(),
                _ => {}
            }
        }
    }
    assert_eq!(ids.len(), KEYS as usize, "a local pair always has keys");
    ids
}

enum ToDriver {
    Ask(RequestId, SupplyRequest, Sender<SupplyAnswer>),
    Durable(CommitId, u64),
    Failed(CommitId),
    /// The process is killed.
    Kill,
}

/// The loop around the node, as `qkdd` has it.
struct Driver {
    node: Node,
    gate: Gate,
    committer: Sender<Commit>,
    waiting: BTreeMap<RequestId, Sender<SupplyAnswer>>,
    ignores_gate: bool,
    power: Arc<AtomicBool>,
}

impl Driver {
    fn run(mut self, inbox: &Receiver<ToDriver>) {
        while let Ok(news) = inbox.recv() {
            let freed = match news {
                ToDriver::Kill => {
                    self.power.store(false, Ordering::SeqCst);
                    drop(self);
                    // What is said to a dead process is lost.
                    while inbox.recv().is_ok() {}
                    return;
                }
                ToDriver::Ask(id, request, answer) => {
                    self.waiting.insert(id, answer);
                    self.node.handle(now(), Input::Supply(id, request));
                    Vec::new()
                }
                ToDriver::Durable(commit, sequence) => {
                    let freed = self.gate.durable(commit);
                    self.node.handle(now(), Input::Committed(commit, StoreSequence(sequence)));
                    freed
                }
                ToDriver::Failed(commit) => {
                    for action in self.gate.failed(commit) {
                        if let Action::Supply(id, _) = action {
                            let refusal = Refusal::Unavailable("the key ledger cannot be written".into());
                            self.answer(id, SupplyAnswer::Refused(refusal));
                        }
                    }
                    self.node.handle(now(), Input::CommitFailed(commit));
                    Vec::new()
                }
            };
            freed.into_iter().for_each(|action| self.perform(action));
            while let Some(effect) = self.node.next_effect() {
                let due = if self.ignores_gate { Some(effect.action) } else { self.gate.admit(effect) };
                due.into_iter().for_each(|action| self.perform(action));
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Commit(commit) => drop(self.committer.send(commit)),
            Action::Supply(id, answer) => self.answer(id, answer),
            _ => {}
        }
    }

    fn answer(&mut self, id: RequestId, answer: SupplyAnswer) {
        let waiting = self.waiting.remove(&id).expect("one answer to each request");
        drop(waiting.send(answer));
    }
}

/// Writes groups of commits, in order; from the `fails`th on, none.
fn commit_all(
    inbox: &Receiver<Commit>,
    disk: &Mutex<Disk>,
    driver: &Sender<ToDriver>,
    power: &AtomicBool,
    fails: Option<usize>,
) {
    let mut count = 0;
    while let Ok(first) = inbox.recv() {
        let group: Vec<Commit> = std::iter::once(first).chain(std::iter::from_fn(|| inbox.try_recv().ok())).collect();
        for commit in group {
            if !power.load(Ordering::SeqCst) {
                return;
            }
            let id = commit.id;
            count += 1;
            let news = if fails.is_some_and(|at| count >= at) {
                ToDriver::Failed(id)
            } else {
                let mut disk = disk.lock().expect("no thread panics");
                disk.write(commit);
                ToDriver::Durable(id, disk.sequence)
            };
            if driver.send(news).is_err() {
                return;
            }
        }
    }
}

/// Which keys a task asks for: the same ones, overlapping sets, all.
fn wanted(task: usize, ids: &[KeyId]) -> Vec<KeyId> {
    match task {
        0 | 1 => ids[..1].to_vec(),
        2 => ids[..2].to_vec(),
        3 => ids[1..].to_vec(),
        _ => vec![ids[3], ids[0]],
    }
}

/// An application asks once, and checks what it gets.
fn ask(task: usize, run: u64, ids: &[KeyId], driver: &Sender<ToDriver>, disk: &Mutex<Disk>, seen: &Seen) -> Vec<KeyId> {
    let ids = wanted(task, ids);
    let (answer, answered) = channel();
    let request = SupplyRequest::DecKeys { caller: name("slave"), master: name("master"), ids: ids.clone() };
    let id = RequestId(run * 100 + task as u64);
    if driver.send(ToDriver::Ask(id, request, answer)).is_err() {
        return Vec::new();
    }
    match answered.recv() {
        Ok(SupplyAnswer::Keys(keys)) => {
            one_more(&seen.delivered);
            let all = keys.iter().map(|key| key.id).eq(ids.iter().copied());
            if !all || !disk.lock().expect("no thread panics").tells(&ids) {
                one_more(&seen.broken);
            }
            ids
        }
        Ok(SupplyAnswer::Refused(_)) => {
            one_more(&seen.refused);
            Vec::new()
        }
        Ok(SupplyAnswer::Status(_)) => panic!("nobody asked for a status"),
        Err(_) => {
            one_more(&seen.unanswered);
            Vec::new()
        }
    }
}

/// One process, from its disk to its end; gives what was delivered.
fn process(
    node: Node,
    run: u64,
    ids: &[KeyId],
    disk: &Arc<Mutex<Disk>>,
    plan: Plan,
    seen: &Shared<Seen>,
) -> Vec<KeyId> {
    let (to_driver, inbox) = channel();
    let (committer, commits) = channel();
    let power = Arc::new(AtomicBool::new(true));
    let driver = Driver {
        node,
        gate: Gate::default(),
        committer,
        waiting: BTreeMap::new(),
        ignores_gate: plan.ignores_gate,
        power: Arc::clone(&power),
    };
    let driver = thread::spawn(move || driver.run(&inbox));
    let (disk_of, news) = (Arc::clone(disk), to_driver.clone());
    let committer = thread::spawn(move || commit_all(&commits, &disk_of, &news, &power, plan.fails));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (ids, driver, disk, seen) = (ids.to_vec(), to_driver.clone(), Arc::clone(disk), Shared::clone(seen));
            thread::spawn(move || ask(task, run, &ids, &driver, &disk, &seen))
        })
        .collect();
    if plan.killed {
        drop(to_driver.send(ToDriver::Kill));
    }
    let delivered = tasks.into_iter().flat_map(|task| task.join().expect("no task panics")).collect();
    drop(to_driver.send(ToDriver::Kill));
    drop(to_driver);
    driver.join().expect("the driver never panics");
    committer.join().expect("the committer never panics");
    delivered
}

/// How one process goes.
#[derive(Clone, Copy)]
struct Plan {
    ignores_gate: bool,
    killed: bool,
    fails: Option<usize>,
}

/// One process that is killed, or whose disk fails, or neither; then another from the same disk.
fn schedule(ignores_gate: bool, seen: &Shared<Seen>) {
    let mut disk = Disk::default();
    let mut first = node(&disk, 1);
    let ids = keys_of_master(&mut first, &mut disk);
    let disk = Arc::new(Mutex::new(disk));
    let mut chance = shuttle::rand::thread_rng();
    let fails = chance.gen_bool(0.3).then(|| chance.gen_range(1..4));
    if fails.is_some() {
        one_more(&seen.failed);
    }
    let plan = Plan { ignores_gate, killed: chance.gen_bool(0.5), fails };
    let mut delivered = process(first, 1, &ids, &disk, plan, seen);
    let second = node(&disk.lock().expect("no thread panics"), 2);
    let plan = Plan { ignores_gate, killed: false, fails: None };
    delivered.extend(process(second, 2, &ids, &disk, plan, seen));
    let mut once = delivered.clone();
    once.sort_unstable();
    once.dedup();
    if once.len() != delivered.len() {
        one_more(&seen.broken);
    }
}

fn schedules(count: usize, ignores_gate: bool) -> Shared<Seen> {
    let seen = Shared::new(Seen::default());
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    let watched = Shared::clone(&seen);
    Runner::new(RandomScheduler::new_from_seed(1, count), config).run(move || schedule(ignores_gate, &watched));
    let counts = [&seen.delivered, &seen.refused, &seen.unanswered, &seen.failed, &seen.broken];
    let [delivered, refused, unanswered, failed, broken] = counts.map(|count| seen.of(count));
    println!(
        "{count} schedules, {failed} with a failing disk: {delivered} requests got keys, {refused} were refused, \
         {unanswered} had no answer, {broken} promises broken"
    );
    seen
}

fn keeps_its_promises(count: usize) {
    let seen = schedules(count, false);
    assert_eq!(seen.of(&seen.broken), 0);
    let real = [&seen.delivered, &seen.refused, &seen.unanswered, &seen.failed];
    assert!(real.iter().all(|count| seen.of(count) > 100), "the faults and the deliveries are real");
}

#[test]
fn keys_go_once_and_whole_in_every_schedule() {
    keeps_its_promises(1500);
}

#[test]
#[ignore = "the long form"]
fn keys_go_once_and_whole_in_ten_thousand_schedules() {
    keeps_its_promises(10_000);
}

#[test]
fn a_driver_that_ignores_the_gate_is_caught() {
    let seen = schedules(200, true);
    assert!(seen.of(&seen.broken) > 0);
}
