//! The libp2p behaviours of a node. In: the identity and the members. Out: one behaviour. Always:
//! who is not a member is refused before any other behaviour sees the connection.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode, WhitelistSubscriptionFilter};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{self, BucketInserts, Caching, StoreInserts};
use libp2p::swarm::NetworkBehaviour;
use libp2p::{StreamProtocol, identify};
use qkd_proto::labels;

use super::directory::VALUE_BYTES_MAX;
use super::peers::Peers;

/// Largest gossip message.
pub(super) const ADVERT_BYTES_MAX: usize = 16 << 10;
/// Longest directory query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// A record that its publisher does not renew is forgotten.
const RECORD_TTL: Duration = Duration::from_secs(15 * 60);
/// Nodes that keep a copy of a record.
const REPLICAS: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");

pub(super) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;
pub(super) type Kademlia = kad::Behaviour<MemoryStore>;

/// All behaviours; the guards come first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    members: allow_block_list::Behaviour<AllowedPeers>,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) kademlia: Kademlia,
    pub(super) streams: libp2p_stream::Behaviour,
}

impl Behaviour {
    /// Puts the behaviours together.
    pub(super) fn new(key: &Keypair, peers: &Peers) -> Result<Self, String> {
        let mut members = allow_block_list::Behaviour::default();
        for peer in peers.all() {
            members.allow_peer(*peer);
        }
        let identify = identify::Config::new(labels::IDENTIFY.into(), key.public()).with_hide_listen_addrs(true);
        Ok(Self {
            members,
            limits: connection_limits::Behaviour::new(limits()),
            identify: identify::Behaviour::new(identify.with_cache_size(0)),
            gossip: gossip(key)?,
            kademlia: kademlia(key, peers),
            streams: libp2p_stream::Behaviour::new(),
        })
    }
}

fn limits() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_established(Some(256))
        .with_max_established_per_peer(Some(2))
}

/// The one topic.
pub(super) fn topic() -> IdentTopic {
    IdentTopic::new(labels::TOPIC_ADVERTS)
}

fn gossip(key: &Keypair) -> Result<Gossip, String> {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_transmit_size(ADVERT_BYTES_MAX)
        .connection_handler_queue_len(256)
        .duplicate_cache_time(Duration::from_secs(120))
        // Adverts flood along links, whose ends are explicit peers; a mesh over passing directory
        // connections would only keep those alive.
        .mesh_outbound_min(0)
        .mesh_n_low(0)
        .mesh_n(0)
        .mesh_n_high(0)
        // Links are dialled by their own tasks.
        .check_explicit_peers_ticks(u64::MAX)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = WhitelistSubscriptionFilter(HashSet::from([topic().hash()]));
    let signed = MessageAuthenticity::Signed(key.clone());
    let mut gossip = Gossip::new_with_subscription_filter(signed, config, filter)?;
    gossip.subscribe(&topic()).map_err(|error| error.to_string())?;
    Ok(gossip)
}

fn kademlia(key: &Keypair, peers: &Peers) -> Kademlia {
    let own = key.public().to_peer_id();
    let store = MemoryStoreConfig {
        // One record per member: keys are checked against the roster.
        max_records: peers.all().count(),
        max_value_bytes: VALUE_BYTES_MAX,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut config = kad::Config::new(StreamProtocol::new(labels::KADEMLIA));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_replication_factor(REPLICAS)
        .set_record_ttl(Some(RECORD_TTL))
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_max_packet_size(2 * VALUE_BYTES_MAX)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_caching(Caching::Disabled)
        .set_periodic_bootstrap_interval(None);
    let mut kademlia = Kademlia::with_config(own, MemoryStore::with_config(own, store), config);
    kademlia.set_mode(Some(kad::Mode::Server));
    kademlia
}
