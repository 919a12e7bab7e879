//! The directory of SAE rosters, over Kademlia. In: this node's signed roster, questions, what the
//! network stores here. Out: answers. Always: every value was verified against the member that the
//! key names; queries are bounded in number and time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{GetRecordOk, QueryId, QueryResult, Quorum, Record, RecordKey};
use libp2p::{Multiaddr, PeerId};
use qkd_proto::id::NodeId;
use qkd_proto::labels;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::behaviour::Kademlia;
use super::peers::Peers;
use super::{NetworkEvent, VerifySaes};

/// Largest SAE roster.
pub(super) const VALUE_BYTES_MAX: usize = 16 << 10;
/// This node's roster is published again after this.
const REPUBLISH: Duration = Duration::from_secs(60);
/// After a peer connects, and after a failure, it is published sooner.
const REPUBLISH_SOON: Duration = Duration::from_secs(2);
/// Questions under way, at most.
const SEARCHES_MAX: usize = 64;
/// Distinct values reported for one question, at most.
const VALUES_MAX: usize = 4;

struct Search {
    node: NodeId,
    values: Vec<Vec<u8>>,
}

/// The node's part in the directory.
pub(super) struct Directory {
    peers: Arc<Peers>,
    node: NodeId,
    verify: VerifySaes,
    own: Option<Vec<u8>>,
    publish_at: Instant,
    addresses: HashMap<PeerId, Vec<Multiaddr>>,
    searches: HashMap<QueryId, Search>,
    /// Answers for the driver, taken by the worker.
    pub(super) answers: VecDeque<NetworkEvent>,
}

fn key(node: &NodeId) -> RecordKey {
    RecordKey::new(&format!("{}{node}", labels::DIRECTORY_SAES))
}

impl Directory {
    pub(super) fn new(peers: Arc<Peers>, node: NodeId, verify: VerifySaes) -> Self {
        Self {
            peers,
            node,
            verify,
            own: None,
            publish_at: Instant::now(),
            addresses: HashMap::new(),
            searches: HashMap::new(),
            answers: VecDeque::new(),
        }
    }

    /// Takes the addresses of a member, in place of those known so far.
    pub(super) fn set_addresses(&mut self, kademlia: &mut Kademlia, peer: PeerId, addresses: Vec<Multiaddr>) {
        for old in self.addresses.remove(&peer).unwrap_or_default() {
            if !addresses.contains(&old) {
                kademlia.remove_address(&peer, &old);
            }
        }
        for address in &addresses {
            kademlia.add_address(&peer, address.clone());
        }
        self.addresses.insert(peer, addresses);
    }

    /// Kademlia forgets who was not reachable; a member stays worth a try.
    fn remind(&self, kademlia: &mut Kademlia) {
        for (peer, addresses) in &self.addresses {
            for address in addresses {
                kademlia.add_address(peer, address.clone());
            }
        }
    }

    /// Publishes this node's roster, now and from time to time.
    pub(super) fn publish(&mut self, kademlia: &mut Kademlia, bytes: Vec<u8>) {
        if bytes.len() > VALUE_BYTES_MAX {
            warn!(bytes = bytes.len(), limit = VALUE_BYTES_MAX, "SAE roster too large, not published");
            return;
        }
        self.own = Some(bytes);
        self.publish_now(kademlia);
    }

    fn publish_now(&mut self, kademlia: &mut Kademlia) {
        let Some(bytes) = &self.own else { return };
        self.publish_at = Instant::now() + REPUBLISH;
        self.remind(kademlia);
        let record = Record::new(key(&self.node), bytes.clone());
        if let Err(error) = kademlia.put_record(record, Quorum::One) {
            warn!(%error, "SAE roster not stored");
        }
    }

    /// Publishes again soon: there is a new peer, or the last time failed.
    pub(super) fn publish_soon(&mut self) {
        self.publish_at = self.publish_at.min(Instant::now() + REPUBLISH_SOON);
    }

    /// Publishes again if it is time to.
    pub(super) fn tick(&mut self, kademlia: &mut Kademlia) {
        if Instant::now() >= self.publish_at {
            self.publish_now(kademlia);
        }
    }

    /// Starts a question, unless it is under way.
    pub(super) fn find(&mut self, kademlia: &mut Kademlia, node: NodeId) {
        if self.searches.values().any(|search| search.node == node) {
            return;
        }
        if self.searches.len() >= SEARCHES_MAX || self.peers.peer(&node).is_none() {
            self.answers.push_back(NetworkEvent::Saes(node, None));
            return;
        }
        self.remind(kademlia);
        let query = kademlia.get_record(key(&node));
        self.searches.insert(query, Search { node, values: Vec::new() });
    }

    /// Takes a query's progress.
    pub(super) fn progress(&mut self, query: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => self.found(query, &found.record),
            QueryResult::PutRecord(Err(error)) => {
                debug!(%error, "SAE roster not replicated");
                self.publish_soon();
            }
            _ => {}
        }
        if last
            && let Some(search) = self.searches.remove(&query)
            && search.values.is_empty()
        {
            self.answers.push_back(NetworkEvent::Saes(search.node, None));
        }
    }

    fn found(&mut self, query: QueryId, record: &Record) {
        let Some(search) = self.searches.get_mut(&query) else { return };
        let known = search.values.len() >= VALUES_MAX || search.values.contains(&record.value);
        let legal = record.key == key(&search.node) && record.value.len() <= VALUE_BYTES_MAX;
        if known || !legal || !(self.verify)(&search.node, &record.value) {
            return;
        }
        search.values.push(record.value.clone());
        self.answers.push_back(NetworkEvent::Saes(search.node.clone(), Some(record.value.clone())));
    }

    /// Stores what a peer asks this node to store, if it is a member's own roster.
    pub(super) fn store(&mut self, kademlia: &mut Kademlia, mut record: Record) {
        let Some(node) = self.about(&record) else {
            debug!("Directory record refused");
            return;
        };
        // This node alone says what its own roster is.
        if node == self.node {
            return;
        }
        record.publisher = self.peers.peer(&node);
        if let Err(error) = kademlia.store_mut().put(record) {
            debug!(%error, "Directory record not stored");
        }
    }

    fn about(&self, record: &Record) -> Option<NodeId> {
        let key = std::str::from_utf8(record.key.as_ref()).ok()?;
        let node: NodeId = key.strip_prefix(labels::DIRECTORY_SAES)?.parse().ok()?;
        let legal = self.peers.peer(&node).is_some() && record.value.len() <= VALUE_BYTES_MAX;
        (legal && (self.verify)(&node, &record.value)).then_some(node)
    }
}
