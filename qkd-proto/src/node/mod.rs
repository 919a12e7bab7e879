//! A node: the only place that knows all floors. In: [`Input`]s, one after the other. Out:
//! [`Effect`]s in order, and a deadline. Always: nothing leaves before the commit it names is
//! durable, and the same inputs with the same randomness give the same effects.

mod advertise;
mod block_end;
mod blocks;
mod deliveries;
mod deposits;
pub mod effect;
mod expiry;
mod explain;
pub mod gate;
mod grants;
mod hops;
pub mod input;
mod letters;
mod link;
mod link_session;
mod lock;
pub mod message;
mod origin;
mod outbox;
pub mod pad_records;
#[cfg(feature = "sim")]
pub mod planted;
mod requests;
mod reservations;
mod restore;
mod resume;
pub mod settings;
mod standing;
mod status;
mod stop;
mod talk;
mod target;
mod timers;
mod tombstones;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::control::reply::AlarmReply;
use crate::entropy::Entropy;
use crate::hybrid::HybridAnswer;
use crate::id::{CommitId, KeyId, LinkId, NodeId, RequestId, SessionId, StoreSequence, TransferId};
use crate::moment::{Moment, Now};
use crate::relay::adverts::AdvertBook;
use crate::relay::directory::Directory;
use crate::relay::session::EndSession;
use crate::relay::transfer::Transfer;
use crate::supply::message::{Refusal, SupplyAnswer};
use effect::{Action, Effect, Event, Lane};
use input::Input;
use link::Link;
use origin::OutSession;
use outbox::Outbox;
use requests::KeyRequest;
use settings::NodeSettings;
use standing::Witness;
use timers::{Timer, Timers};

pub use restore::{RestoreError, Stored};

/// Sessions kept per origin at a target.
const SESSIONS_PER_ORIGIN: usize = 4;

/// One node of the network (ITU-T Y.3800 "QKD node").
pub struct Node {
    settings: NodeSettings,
    entropy: Box<dyn Entropy>,
    now: Now,
    started: Moment,
    outbox: Outbox,
    timers: Timers,
    links: BTreeMap<LinkId, Link>,
    adverts: AdvertBook,
    advert_sequence: u64,
    directory: Directory,
    out_sessions: BTreeMap<NodeId, OutSession>,
    in_sessions: BTreeMap<NodeId, Vec<(SessionId, EndSession, HybridAnswer)>>,
    transfers: BTreeMap<TransferId, Transfer>,
    key_ids: BTreeMap<KeyId, (TransferId, usize)>,
    /// Transfers that are over, oldest first.
    tombstones: VecDeque<TransferId>,
    tombstones_max: usize,
    requests: BTreeMap<RequestId, KeyRequest>,
    last_look_up: Option<Moment>,
    /// Finished transfers whose keys no request claims.
    unclaimed: BTreeSet<TransferId>,
    delivery_poisoned: bool,
    locked: bool,
    last_delivery: Option<CommitId>,
    witness: Witness,
    stopping: bool,
    alarms: BTreeMap<(String, String), AlarmReply>,
    #[cfg(feature = "sim")]
    defects: Vec<planted::Defect>,
}

impl Node {
    /// Takes what happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        if self.stopping && !matches!(input, Input::Committed(..) | Input::CommitFailed(_)) {
            return;
        }
        match input {
            Input::LinkUp(link) => self.link_up(&link),
            Input::LinkDown(link) => self.link_broken(&link),
            Input::LinkBytes(link, bytes) => self.link_bytes(&link, &bytes),
            Input::BlockBytes(link, bytes) => self.block_bytes(&link, bytes),
            Input::Advert(bytes) => self.advert_heard(&bytes),
            Input::Saes(node, bytes) => self.saes_found(&node, bytes.as_deref()),
            Input::Photons(link, block, batch) => self.photons(&link, block, batch),
            Input::DeviceKey(link, block, bits) => self.device_key(&link, block, bits),
            Input::DeviceFailed(link, block, why) => self.device_failed(&link, block, &why),
            Input::JobDone(link, block, result) => self.job_done(&link, block, result),
            Input::Committed(commit, sequence) => self.committed_durably(commit, sequence),
            Input::PadsRead(link, found) => self.pads_read(&link, &found),
            Input::CommitFailed(commit) => self.commit_failed(commit),
            Input::Faults(link, faults) => self.faults(&link, faults),
            Input::Supply(request, question) => self.supply(request, question),
            Input::Stop => self.stop(),
            Input::Lock => self.lock(),
            Input::Unlock => self.unlock(),
            Input::Timer => {}
        }
        while let Some(timer) = self.timers.take_due(self.now.moment) {
            self.timer(timer);
        }
    }

    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.outbox.next()
    }

    /// When to call with [`Input::Timer`] if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        self.timers.deadline()
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Handshake(link) => self.hang_up(&link, "the handshake takes too long"),
            Timer::Block(link, block) => self.block_overdue(&link, block),
            Timer::NextBlock(link) => self.start_block(&link),
            Timer::Reservation(link) => self.ask_reservation(&link),
            Timer::Advert => self.advertise(),
            Timer::Digest => self.compare_adverts(),
            Timer::Expiry => self.expire(),
            Timer::Heartbeat => self.heartbeat(),
            Timer::Directory => self.look_up_saes(),
            Timer::Session(peer) => self.session_overdue(&peer),
            Timer::Transfer(transfer) => self.transfer_overdue(transfer),
            Timer::Request(request) => self.request_overdue(request),
        }
    }

    fn committed_durably(&mut self, commit: CommitId, sequence: StoreSequence) {
        self.store_reached(commit, sequence);
        if let Some(Lane::Link(id)) = self.outbox.durable(commit)
            && let Some(link) = self.links.get_mut(&id)
        {
            link.committed(commit);
        }
    }

    /// A commit failed: its lane is out of use until a restart reads what the disk has.
    fn commit_failed(&mut self, commit: CommitId) {
        match self.outbox.failed(commit) {
            Some(Lane::Link(link)) => {
                self.alarm("QKD-3001", link.as_str(), "the disk failed: this link is out of use until a restart");
                if let Some(link) = self.links.get_mut(&link) {
                    link.poisoned = true;
                }
                self.drop_link(&link, "a commit failed");
            }
            Some(Lane::Delivery) => {
                self.alarm("QKD-3002", "delivery", "the disk failed: no key is delivered until a restart");
                self.delivery_poisoned = true;
                for request in self.forget_open_answers() {
                    let refusal = Refusal::Unavailable("the key ledger cannot be written".into());
                    self.outbox.act(Action::Supply(request, SupplyAnswer::Refused(refusal)));
                }
                self.refuse_all("the key ledger cannot be written");
            }
            None => {}
        }
    }

    /// Somebody ordered a fault: it is never taken for the world's.
    fn faults(&mut self, id: &LinkId, faults: Vec<String>) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.plan.faults.clone_from(&faults);
        if faults.is_empty() {
            self.clear_alarm("QKD-2102", id.as_str());
            self.log(Event::Link(id.clone(), "is free of injected faults".into()));
        } else {
            self.alarm("QKD-2102", id.as_str(), &format!("injected fault: {}", faults.join("; ")));
        }
    }

    fn log(&mut self, event: Event) {
        self.outbox.act(Action::Log(event));
    }

    fn alarm(&mut self, code: &str, about: &str, text: &str) {
        let alarm = AlarmReply { code: code.into(), about: about.into(), text: text.into() };
        let known = self.alarms.insert((code.into(), about.into()), alarm);
        if known.is_none_or(|known| known.text != text) {
            self.log(Event::Alarm(format!("{code} {about}: {text}")));
        }
    }

    fn clear_alarm(&mut self, code: &str, about: &str) {
        self.alarms.remove(&(code.to_owned(), about.to_owned()));
    }
}
