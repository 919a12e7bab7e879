//! Applications ask for keys. Answers leave once the delivery is durable at this end; a key that is
//! answered here is durable and assigned at the other end before.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Node;
use super::effect::Action;
use super::lock::LOCKED;
use super::origin::TransferPlan;
use super::timers::Timer;
use crate::entropy::draw;
use crate::id::{LinkId, NodeId, RequestId, SaeId, TransferId};
use crate::moment::Moment;
use crate::quantity::BitCount;
use crate::relay::hop;
use crate::relay::message::TRANSFER_BYTES_MAX;
use crate::relay::record::Assignment;
use crate::relay::route::{self, Demand};
use crate::relay::transfer::{Recipient, Transfer};
use crate::secret::SecretBytes;
use crate::supply::message::{
    KEY_SIZE_DEFAULT, KEY_SIZE_MAX, KEY_SIZE_MIN, KEYS_PER_REQUEST_MAX, Refusal, SupplyAnswer, SupplyRequest,
    SupplyStatus,
};

/// An application waits this long at most: the shortest default time-out of a client is 5 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// An SAE that the directory has not found by then is unknown.
const DIRECTORY_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often a request without a route looks for one.
const REQUEST_RETRY: Duration = Duration::from_millis(200);
/// Requests that wait at one time.
const REQUESTS_MAX: usize = 4096;

/// An `enc_keys` request on its way.
pub(super) struct KeyRequest {
    master: SaeId,
    slave: SaeId,
    number: usize,
    key_bytes: usize,
    target: Option<NodeId>,
    asked: Moment,
    claimed: Vec<(TransferId, usize)>,
    outstanding: BTreeSet<TransferId>,
    avoid: BTreeSet<LinkId>,
    obstacle: String,
}

impl KeyRequest {
    /// True if it cannot start before a session with `target` is ready.
    pub(super) fn waits_for_session(&self, target: &NodeId) -> bool {
        self.target.as_ref() == Some(target) && self.claimed.len() < self.number && self.outstanding.is_empty()
    }

    fn missing(&self, transfers: usize) -> usize {
        self.number.saturating_sub(self.claimed.len()).saturating_sub(transfers)
    }
}

impl Node {
    pub(super) fn supply(&mut self, id: RequestId, request: SupplyRequest) {
        let answer = match request {
            _ if self.delivery_poisoned => Err(Refusal::Unavailable("the key ledger cannot be written".into())),
            _ if self.locked => Err(Refusal::Unavailable(LOCKED.into())),
            SupplyRequest::Status { caller, slave } => self.supply_status(&caller, &slave).map(Some),
            SupplyRequest::EncKeys { caller, slave, number, size, additional } => {
                self.enc_keys(id, caller, slave, number, size, &additional).map(|()| None)
            }
            SupplyRequest::DecKeys { caller, master, ids } => self.dec_keys(id, &caller, &master, &ids).map(|()| None),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(answer)) => self.outbox.act(Action::Supply(id, answer)),
            Err(refusal) => self.outbox.act(Action::Supply(id, SupplyAnswer::Refused(refusal))),
        }
    }

    fn enc_keys(
        &mut self,
        id: RequestId,
        master: SaeId,
        slave: SaeId,
        number: u32,
        size: Option<BitCount>,
        additional: &[SaeId],
    ) -> Result<(), Refusal> {
        let number = number as usize;
        let size = size.unwrap_or(KEY_SIZE_DEFAULT);
        if !additional.is_empty() {
            return Err(bad(format!("{} additional_slave_SAE_IDs are over max_SAE_ID_count of 0", additional.len())));
        }
        if number == 0 || number > KEYS_PER_REQUEST_MAX {
            return Err(bad(format!(
                "number {number} is not between 1 and max_key_per_request of {KEYS_PER_REQUEST_MAX}"
            )));
        }
        if !size.0.is_multiple_of(8) {
            return Err(bad("size shall be a multiple of 8"));
        }
        if size < KEY_SIZE_MIN || size > KEY_SIZE_MAX {
            let (low, high) = (KEY_SIZE_MIN.0, KEY_SIZE_MAX.0);
            return Err(bad(format!("size {} is not between min_key_size {low} and max_key_size {high}", size.0)));
        }
        if slave == master && !self.settings.self_pair {
            return Err(bad("the slave SAE is the calling SAE"));
        }
        if self.requests.len() >= REQUESTS_MAX {
            return Err(Refusal::Unavailable(format!("{REQUESTS_MAX} requests wait already")));
        }
        let key_bytes = size.whole_bytes() as usize;
        let target = self.node_of(&slave);
        if target.is_none() {
            self.look_up_saes_now();
        }
        let claimed = self.claim(&master, &slave, key_bytes, number);
        let request = KeyRequest {
            master,
            slave,
            number,
            key_bytes,
            target,
            asked: self.now.moment,
            claimed,
            outstanding: BTreeSet::new(),
            avoid: BTreeSet::new(),
            obstacle: "no route with enough key".into(),
        };
        self.requests.insert(id, request);
        self.pursue(id);
        Ok(())
    }

    fn node_of(&self, sae: &SaeId) -> Option<NodeId> {
        if self.settings.saes.contains(sae) {
            return Some(self.settings.id.clone());
        }
        self.directory.node_of(sae).cloned()
    }

    /// Asks for every node's SAEs, but not more often than it helps: an application can cause it.
    fn look_up_saes_now(&mut self) {
        if self.last_look_up.is_some_and(|last| self.now.moment.since(last) < REQUEST_RETRY) {
            return;
        }
        self.last_look_up = Some(self.now.moment);
        let own = &self.settings.id;
        for node in self.settings.roster.nodes.iter().map(|member| &member.id).filter(|node| *node != own) {
            self.outbox.act(Action::FindSaes(node.clone()));
        }
    }

    /// Takes waiting keys that no other request claims.
    fn claim(&mut self, master: &SaeId, slave: &SaeId, key_bytes: usize, number: usize) -> Vec<(TransferId, usize)> {
        let fits = |transfer: &&Transfer| {
            let pair = transfer.assignment().map(|to| (&to.master, &to.slave));
            let known = !self.is_in_doubt(transfer);
            pair == Some((master, slave)) && transfer.key_bytes() == key_bytes && known
        };
        let transfers = self.unclaimed.iter().filter_map(|id| self.transfers.get(id)).filter(fits);
        let keys =
            transfers.flat_map(|transfer| transfer.waiting(Recipient::Master).map(|index| (transfer.id(), index)));
        let claimed: Vec<_> = keys.take(number).collect();
        for (id, _) in &claimed {
            self.unclaimed.remove(id);
        }
        claimed
    }

    /// Takes a request one step further: keys at hand are delivered, missing ones are carried.
    fn pursue(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        self.timers.set(Timer::Request(id), self.now.moment + REQUEST_RETRY);
        if request.missing(0) == 0 {
            return self.deliver(id);
        }
        match request.target.clone() {
            None => {}
            Some(target) if target == self.settings.id => self.make_local(id),
            Some(target) if request.outstanding.is_empty() => self.carry(id, &target),
            Some(_) => {}
        }
    }

    /// Both applications are here: the keys never leave the node.
    fn make_local(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let (count, length) = (request.missing(0), request.key_bytes);
        let keys = (0..count).map(|_| {
            let mut key = vec![0; length];
            self.entropy.fill(&mut key);
            SecretBytes::new(key)
        });
        let keys = keys.collect();
        let to = u32::try_from(count).unwrap_or(u32::MAX);
        let assignment = Assignment { from: 0, to, master: request.master.clone(), slave: request.slave.clone() };
        let transfer = TransferId(draw(&mut *self.entropy));
        let seed = SecretBytes::copy_of(&draw::<32>(&mut *self.entropy));
        let (node, run, wall) = (self.settings.id.clone(), self.settings.incarnation, self.now.wall);
        request.claimed.extend((0..count).map(|index| (transfer, index)));
        self.keep(Transfer::local(transfer, node, keys, seed, assignment, run, wall));
        self.deliver(id);
    }

    /// Starts the transfers that a request lacks.
    fn carry(&mut self, id: RequestId, target: &NodeId) {
        if self.ready_session(target).is_none() {
            return self.obstacle(id, "the target's node does not answer");
        }
        while let Some(request) = self.requests.get(&id) {
            let on_way: usize =
                request.outstanding.iter().filter_map(|id| self.transfers.get(id)).map(Transfer::count).sum();
            let missing = request.missing(on_way);
            if missing == 0 {
                return;
            }
            let count = missing.min(TRANSFER_BYTES_MAX / request.key_bytes).max(1);
            let demand = Demand {
                level_kib: Some((hop::pad_bytes(count * request.key_bytes + 16) / 1024).max(1)),
                avoid: request.avoid.clone(),
            };
            let plan = TransferPlan {
                target: target.clone(),
                master: request.master.clone(),
                slave: request.slave.clone(),
                count,
                key_bytes: request.key_bytes,
            };
            let route = route::find(&self.settings.roster, &self.adverts, &self.settings.id, target, &demand);
            let started = route.ok_or_else(|| (None, String::from("no route with enough key"))).and_then(|route| {
                self.begin(plan, route).map_err(|(link, why)| (Some(link.clone()), format!("link {link}: {why}")))
            });
            let Some(request) = self.requests.get_mut(&id) else { return };
            match started {
                Ok(transfer) => {
                    request.outstanding.insert(transfer);
                }
                Err((Some(link), why)) => {
                    request.avoid.insert(link);
                    request.obstacle = why;
                }
                Err((None, why)) => {
                    if request.avoid.is_empty() {
                        request.obstacle = why;
                    }
                    request.avoid.clear();
                    return;
                }
            }
        }
    }

    fn obstacle(&mut self, id: RequestId, why: &str) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.obstacle = why.into();
        }
    }

    pub(super) fn requests_that_wait_for_directory(&mut self) {
        let waiting: Vec<(RequestId, SaeId)> = self
            .requests
            .iter()
            .filter(|(_, request)| request.target.is_none())
            .map(|(id, request)| (*id, request.slave.clone()))
            .collect();
        for (id, slave) in waiting {
            let target = self.node_of(&slave);
            if let Some(request) = self.requests.get_mut(&id).filter(|_| target.is_some()) {
                request.target = target;
                self.pursue(id);
            }
        }
    }

    pub(super) fn requests_that_wait_for_session(&mut self, target: &NodeId) {
        let waiting: Vec<RequestId> =
            self.requests.iter().filter(|(_, request)| request.waits_for_session(target)).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.pursue(id));
    }

    fn request_of(&mut self, transfer: TransferId) -> Option<(RequestId, &mut KeyRequest)> {
        let found = self.requests.iter_mut().find(|(_, request)| request.outstanding.contains(&transfer));
        found.map(|(id, request)| (*id, request))
    }

    /// A transfer is relayed: its request goes on, or its keys wait for one.
    pub(super) fn transfer_arrived(&mut self, transfer: TransferId) {
        let count = self.transfers.get(&transfer).map_or(0, Transfer::count);
        let Some((id, request)) = self.request_of(transfer) else {
            self.unclaimed.insert(transfer);
            return;
        };
        request.outstanding.remove(&transfer);
        request.claimed.extend((0..count).map(|index| (transfer, index)));
        self.pursue(id);
    }

    /// A transfer is voided: its request tries another way.
    pub(super) fn transfer_failed(&mut self, transfer: TransferId, suspects: &[LinkId]) {
        let Some((id, request)) = self.request_of(transfer) else { return };
        request.outstanding.remove(&transfer);
        request.avoid.extend(suspects.iter().cloned());
        request.obstacle = "the transfer failed on its way".into();
        self.pursue(id);
    }

    pub(super) fn request_overdue(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        let waited = self.now.moment.since(request.asked);
        if request.target.is_none() && waited >= DIRECTORY_TIMEOUT {
            let refusal = bad(format!("slave SAE {} is not known in this network", request.slave));
            return self.refuse(id, refusal);
        }
        if waited >= REQUEST_TIMEOUT {
            let refusal = Refusal::Unavailable(format!("no key now: {}", request.obstacle));
            return self.refuse(id, refusal);
        }
        self.pursue(id);
    }

    /// Gives a request up. What it claimed waits for the next one.
    fn refuse(&mut self, id: RequestId, refusal: Refusal) {
        self.timers.stop(&Timer::Request(id));
        if let Some(request) = self.requests.remove(&id) {
            self.unclaimed.extend(request.claimed.into_iter().map(|(transfer, _)| transfer));
            self.outbox.act(Action::Supply(id, SupplyAnswer::Refused(refusal)));
        }
    }

    pub(super) fn refuse_all(&mut self, why: &str) {
        for id in self.requests.keys().copied().collect::<Vec<_>>() {
            self.refuse(id, Refusal::Unavailable(why.into()));
        }
    }

    /// All keys of a request are here: marked delivered, then handed out.
    fn deliver(&mut self, id: RequestId) {
        self.timers.stop(&Timer::Request(id));
        let Some(request) = self.requests.remove(&id) else { return };
        let left: Vec<TransferId> = request.claimed.iter().map(|(transfer, _)| *transfer).collect();
        self.hand_out(id, Recipient::Master, &request.master, &request.slave, &request.claimed);
        self.unclaimed.extend(left.into_iter().filter(|transfer| {
            self.transfers.get(transfer).is_some_and(|transfer| transfer.waiting(Recipient::Master).next().is_some())
        }));
    }

    fn supply_status(&mut self, caller: &SaeId, slave: &SaeId) -> Result<SupplyAnswer, Refusal> {
        let Some(target) = self.node_of(slave) else {
            self.look_up_saes_now();
            return Err(bad(format!("slave SAE {slave} is not known in this network")));
        };
        let unclaimed = self.unclaimed.iter().filter_map(|id| self.transfers.get(id));
        let theirs = unclaimed
            .filter(|transfer| transfer.assignment().is_some_and(|to| to.master == *caller && to.slave == *slave));
        let waiting: usize = theirs.map(|transfer| transfer.waiting(Recipient::Master).count()).sum();
        let stored_key_count = waiting as u64 + self.keys_on_route(&target);
        let capacity = self.links.values().map(|link| link.plan.capacity_bytes).min().unwrap_or(0);
        let max_key_count = (capacity / KEY_SIZE_DEFAULT.whole_bytes()).max(stored_key_count);
        let source = self.settings.id.clone();
        Ok(SupplyAnswer::Status(SupplyStatus { source, target, stored_key_count, max_key_count }))
    }

    /// Keys of default size that the best route could carry now: the minimum along it.
    fn keys_on_route(&self, target: &NodeId) -> u64 {
        if *target == self.settings.id {
            return 0;
        }
        let demand = Demand { level_kib: Some(1), avoid: BTreeSet::new() };
        let Some(route) = route::find(&self.settings.roster, &self.adverts, &self.settings.id, target, &demand) else {
            return 0;
        };
        let level = |(node, link)| self.adverts.end(node, link).map_or(0, |end| 1024 << end.level);
        let least = route.nodes.iter().zip(&route.links).map(level).min().unwrap_or(0);
        least / hop::pad_bytes(KEY_SIZE_DEFAULT.whole_bytes() as usize + 16)
    }
}

pub(super) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::BadRequest(message.into())
}
