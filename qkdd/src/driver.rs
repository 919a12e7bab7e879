//! The loop: what happened goes to the node, what the node wants done is done. In: events of the
//! network, the disk, devices, jobs and sockets. Out: effects, performed in order through the gate.
//! Always: own results come before new work, and nothing here decides anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qkd_proto::id::{CommitId, LinkId, RequestId};
use qkd_proto::moment::{Moment, Now, UnixMillis};
use qkd_proto::node::Node;
use qkd_proto::node::effect::{Action, Event};
use qkd_proto::node::gate::Gate;
use qkd_proto::node::input::Input;
use qkd_proto::supply::message::{Refusal, SupplyAnswer};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::api::handle::Question;
use crate::device::{Device, DeviceCommand};
use crate::fail_point::{self, Point};
use crate::faults::Faults;
use crate::guard::Guard;
use crate::jobs::Jobs;
use crate::network::{Network, NetworkEvent, NetworkEvents};
use crate::pad_ledger::PadLedger;
use crate::store::committer::{CommitResult, Committer, SubmitError, Work};

/// Sleeps no longer than this, so that a wrong deadline heals.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The clock that the node is told: monotonic since start, and wall time for records.
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Both times.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Now { moment: Moment(self.0.elapsed()), wall }
    }
}

/// Where inputs come from.
pub struct Sources {
    /// The overlay.
    pub network: NetworkEvents,
    /// The disk.
    pub commits: mpsc::Receiver<CommitResult>,
    /// Devices and jobs.
    pub inputs: mpsc::Receiver<Input>,
    /// Sockets.
    pub questions: mpsc::Receiver<Question>,
}

/// What performs effects.
pub struct Driver {
    /// Decides.
    pub node: Node,
    /// Tells the time.
    pub clock: Clock,
    /// The overlay.
    pub network: Network,
    /// The disk.
    pub committer: Committer,
    /// The devices.
    pub devices: BTreeMap<LinkId, Device>,
    /// Faults by order of an operator.
    pub faults: Faults,
    /// Keeps the master key.
    pub guard: Arc<Guard>,
    /// Does the heavy work.
    pub jobs: Jobs,
    /// The test ledger, if there is one.
    pub pad_ledger: Option<PadLedger>,
    /// Holds effects back.
    pub gate: Gate,
    /// Commits and reads that found the disk's queue full.
    pub backlog: VecDeque<Work>,
    /// Applications that wait.
    pub waiting: BTreeMap<RequestId, oneshot::Sender<SupplyAnswer>>,
    /// Number of the last request.
    pub last_request: u64,
}

impl Driver {
    /// Runs until told to stop, then gives back what must be stopped in order.
    pub async fn run(mut self, mut sources: Sources, stop: CancellationToken) -> Self {
        self.drain();
        loop {
            let sleep = self.sleep();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.feed(Input::Stop);
                    self.empty_backlog(&mut sources).await;
                    return self;
                }
                Some(result) = sources.commits.recv() => self.commit_ended(result),
                Some(input) = sources.inputs.recv() => self.feed(input),
                Some(question) = sources.questions.recv() => self.answer(question),
                Some(event) = sources.network.recv() => self.network_event(event),
                () = tokio::time::sleep(sleep) => self.timer(),
            }
        }
    }

    /// Hands all that waits to the disk.
    async fn empty_backlog(&mut self, sources: &mut Sources) {
        while !self.backlog.is_empty() {
            match sources.commits.recv().await {
                Some(result) => self.commit_ended(result),
                None => return,
            }
        }
    }

    fn sleep(&self) -> Duration {
        let now = self.clock.now().moment;
        let deadline = self.node.deadline().map_or(SLEEP_MAX, |deadline| deadline.since(now).min(SLEEP_MAX));
        self.faults.rest().map_or(deadline, |rest| rest.min(deadline))
    }

    fn timer(&mut self) {
        for input in self.faults.end(&self.devices) {
            self.feed(input);
        }
        self.feed(Input::Timer);
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.clock.now(), input);
        self.drain();
    }

    /// Performs what the node wants done.
    fn drain(&mut self) {
        while let Some(effect) = self.node.next_effect() {
            if let Some(action) = self.gate.admit(effect) {
                self.perform(action);
            }
        }
    }

    fn commit_ended(&mut self, result: CommitResult) {
        match result {
            CommitResult::Committed(commit, sequence) => {
                fail_point::pass(Point::CommitHeard);
                for action in self.gate.durable(commit) {
                    self.perform(action);
                }
                self.feed(Input::Committed(commit, sequence));
            }
            CommitResult::CommitFailed(commit) => self.commit_failed(commit),
            CommitResult::PadsRead(link, found) => self.feed(Input::PadsRead(link, found)),
        }
        while let Some(work) = self.backlog.pop_front() {
            if !self.submit(work) {
                break;
            }
        }
    }

    fn commit_failed(&mut self, commit: CommitId) {
        for action in self.gate.failed(commit) {
            // The keys of the answer are burnt: they may or may not be marked on the disk.
            if let Action::Supply(request, _) = action {
                let refusal = Refusal::Unavailable("the key ledger cannot be written".into());
                self.perform(Action::Supply(request, SupplyAnswer::Refused(refusal)));
            }
        }
        self.feed(Input::CommitFailed(commit));
    }

    fn network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::LinkUp(link) => self.feed(Input::LinkUp(link)),
            NetworkEvent::LinkDown(link) => self.feed(Input::LinkDown(link)),
            NetworkEvent::LinkBytes(link, bytes) => self.feed(Input::LinkBytes(link, bytes)),
            NetworkEvent::BlockBytes(link, bytes) => self.feed(Input::BlockBytes(link, bytes)),
            NetworkEvent::PhotonBytes(link, bytes) => self.tell_device(&link, DeviceCommand::Photons(bytes)),
            NetworkEvent::Advert { bytes, .. } => self.feed(Input::Advert(bytes)),
            NetworkEvent::Saes(node, bytes) => self.feed(Input::Saes(node, bytes)),
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Supply(request, reply) => {
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.waiting.insert(id, reply);
                self.feed(Input::Supply(id, request));
            }
            Question::Status(reply) => {
                let mut status = self.node.status(self.clock.now().moment, env!("CARGO_PKG_VERSION"));
                for (reply, device) in status.links.iter_mut().filter_map(|reply| {
                    let device = self.devices.get(&reply.name.parse::<LinkId>().ok()?)?;
                    Some((reply, device))
                }) {
                    reply.next_pass_s = device.next_pass_s();
                }
                // An asker that left needs no answer.
                let _ = reply.send(status);
            }
            Question::Explain(link, reply) => {
                let _ = reply.send(self.node.explain(&link));
            }
            Question::Guard(reply) => {
                let _ = reply.send(self.guard.clone());
            }
            Question::Lock(reply) => {
                self.feed(Input::Lock);
                let _ = reply.send(());
            }
            Question::Unlock(_, reply) => {
                self.feed(Input::Unlock);
                let _ = reply.send(());
            }
            Question::Key(id, reply) => {
                let _ = reply.send(self.node.key(&id));
            }
            Question::Fault(order, reply) => {
                let done = self.faults.order(&order, &self.devices).map(|input| self.feed(input));
                let _ = reply.send(done);
            }
        }
    }

    fn perform(&mut self, action: Action) {
        pass_before(&action);
        match action {
            Action::Commit(commit) => self.give_to_disk(Work::Commit(commit)),
            Action::VouchForStore => self.give_to_disk(Work::Vouch),
            Action::ReadPads(link, keys) => self.give_to_disk(Work::Read(link, keys)),
            Action::SendLink(link, bytes) => self.network.send_link(&link, bytes),
            Action::SendBlock(link, bytes) => self.network.send_block(&link, bytes),
            Action::DropLink(link) => self.network.drop_link(&link),
            Action::Advert(bytes) => self.network.publish_advert(bytes),
            Action::PublishSaes(bytes) => self.network.publish_saes(bytes),
            Action::FindSaes(node) => self.network.find_saes(node),
            Action::OpenDevice(link, secret) => self.tell_device(&link, DeviceCommand::Open(secret)),
            Action::CloseDevice(link) => self.tell_device(&link, DeviceCommand::Close),
            Action::Measure(link, block) => self.tell_device(&link, DeviceCommand::Measure(block)),
            Action::MeasureOn(link, block) => self.tell_device(&link, DeviceCommand::GoOn(block)),
            Action::Run(link, block, job) => self.jobs.submit(link, block, job),
            Action::Supply(request, answer) => {
                if let Some(reply) = self.waiting.remove(&request) {
                    // The key is spent either way: a lost answer is a lost key.
                    let _ = reply.send(answer);
                }
            }
            Action::NotePadUse(note) => {
                if let Some(ledger) = &mut self.pad_ledger {
                    ledger.note(&note);
                }
            }
            Action::Log(event) => log(&event),
        }
    }

    /// Keeps the order of what waits for the disk.
    fn give_to_disk(&mut self, work: Work) {
        if self.backlog.is_empty() {
            self.submit(work);
        } else {
            self.backlog.push_back(work);
        }
    }

    /// Hands work to the disk; false if it must wait.
    fn submit(&mut self, work: Work) -> bool {
        fail_point::pass(Point::CommitSubmitted);
        match self.committer.submit(work) {
            Ok(()) => true,
            Err(SubmitError::Full(work)) => {
                self.backlog.push_front(work);
                false
            }
            Err(SubmitError::Stopped(work)) => {
                match work {
                    Work::Commit(commit) => self.commit_failed(commit.id),
                    Work::Read(link, keys) => {
                        let none = keys.into_iter().map(|key| (key, None)).collect();
                        self.feed(Input::PadsRead(link, none));
                    }
                    Work::Vouch => {}
                }
                true
            }
        }
    }

    fn tell_device(&mut self, link: &LinkId, command: DeviceCommand) {
        let Some(device) = self.devices.get(link) else { return };
        if !device.tell(command) {
            tracing::warn!(%link, "The device cannot keep up: the link is dropped");
            self.network.drop_link(link);
        }
    }
}

/// Where a test may stop the process: before an effect leaves.
fn pass_before(action: &Action) {
    match action {
        Action::SendLink(..) => fail_point::pass(Point::LinkSend),
        Action::Supply(..) => fail_point::pass(Point::AnswerLeaves),
        Action::NotePadUse(..) => fail_point::pass(Point::PadNoted),
        _ => {}
    }
}

fn log(event: &Event) {
    match event {
        Event::Link(link, news) => tracing::info!(%link, "Link {news}"),
        Event::BlockDone(link, block, report) => tracing::info!(%link, block = block.0, "Block distilled: {report}"),
        Event::BlockAborted(link, block, why) => tracing::warn!(%link, block = block.0, "Block gave no key: {why}"),
        Event::Transfer(news) => tracing::info!("Transfer: {news}"),
        Event::Alarm(text) => tracing::warn!("Alarm {text}"),
    }
}
