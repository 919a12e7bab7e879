//! The task that owns the swarm. In: commands and swarm events. Out: deliveries for the driver.
//! Always: it decides nothing about keys, and never waits for the driver: what cannot be queued
//! for it is dropped, and only adverts and directory answers are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::gossipsub::{self, MessageAcceptance};
use libp2p::kad::{self, InboundRequest};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm};
use qkd_proto::id::NodeId;
use qkd_proto::topology::{Roster, RosterLink};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::accept::{self, Door, Doors};
use super::behaviour::{ADVERT_BYTES_MAX, Behaviour, BehaviourEvent};
use super::directory::Directory;
use super::events::Delivery;
use super::frame::Channel;
use super::gossip::Adverts;
use super::link::{self, Link};
use super::peers::{self, Peers, PeersError};
use super::{NetworkError, NetworkEvent, NetworkSettings, address, swarm};

/// Answers and adverts that wait for room in the event channel, at most.
const OUTBOX_MAX: usize = 512;
/// Streams that wait for the task of their link, at most.
const ARRIVALS_MAX: usize = 6;
/// Longest wait for the first listening address, and for connections to close at the end.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection to a member that is no neighbour serves the directory and closes after this.
const PASSING_MAX: Duration = Duration::from_secs(20);
/// The roster's addresses are looked up again after this.
const LOOKUP_EVERY: Duration = Duration::from_secs(60);

/// What the handle and the tasks of links ask of the swarm.
pub(super) enum Command {
    PublishAdvert(Vec<u8>),
    PublishSaes(Vec<u8>),
    FindSaes(NodeId),
    /// Connects; `done` tells whether there is a connection.
    Dial {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        done: oneshot::Sender<bool>,
    },
    /// Closes every connection to the peer.
    Disconnect(PeerId),
    /// The peer's addresses, for the directory.
    Addresses(PeerId, Vec<Multiaddr>),
}

/// The swarm and all that belongs to it.
pub(super) struct Worker {
    swarm: Swarm<Behaviour>,
    events: mpsc::Sender<Delivery>,
    tasks: JoinSet<()>,
    neighbours: HashSet<PeerId>,
    waiting: HashMap<PeerId, Vec<oneshot::Sender<bool>>>,
    passing: HashMap<ConnectionId, Instant>,
    outbox: VecDeque<NetworkEvent>,
    adverts: Adverts,
    directory: Directory,
}

impl Worker {
    /// Builds the swarm and starts the tasks of links.
    pub(super) fn new(
        settings: &NetworkSettings,
        commands: mpsc::Sender<Command>,
        events: mpsc::Sender<Delivery>,
    ) -> Result<Self, NetworkError> {
        let key = peers::keypair(&settings.identity_seed)?;
        let (roster, node) = (&settings.roster, &settings.node);
        let peers = Arc::new(Peers::new(roster, node, key.public().to_peer_id())?);
        let swarm = swarm::build(key, &peers).map_err(NetworkError::Build)?;
        let directory = Directory::new(Arc::clone(&peers), node.clone(), Arc::clone(&settings.verify_saes));
        let mut worker = Self {
            swarm,
            events,
            tasks: JoinSet::new(),
            neighbours: HashSet::new(),
            waiting: HashMap::new(),
            passing: HashMap::new(),
            outbox: VecDeque::new(),
            adverts: Adverts::new(Arc::clone(&peers)),
            directory,
        };
        worker.start_links(roster, node, &peers, &commands)?;
        worker.tasks.spawn(look_up(Arc::clone(roster), node.clone(), peers, commands));
        Ok(worker)
    }

    fn start_links(
        &mut self,
        roster: &Roster,
        node: &NodeId,
        peers: &Peers,
        commands: &mpsc::Sender<Command>,
    ) -> Result<(), NetworkError> {
        let mut doors = Doors::new();
        for roster_link in roster.links_of(node) {
            let link = self.link(roster, node, peers, roster_link, commands)?;
            self.neighbours.insert(link.peer);
            if roster_link.far_end(node).is_some_and(|far_end| node < far_end) {
                let control = self.swarm.behaviour().streams.new_control();
                self.tasks.spawn(link::dial(link, control));
            } else {
                let (arrivals, queue) = mpsc::channel(ARRIVALS_MAX);
                doors.insert(link.id.clone(), Door { peer: link.peer, arrivals });
                self.tasks.spawn(link::accept(link, queue));
            }
        }
        self.open_doors(doors)
    }

    fn link(
        &self,
        roster: &Roster,
        node: &NodeId,
        peers: &Peers,
        link: &RosterLink,
        commands: &mpsc::Sender<Command>,
    ) -> Result<Link, NetworkError> {
        let far_end = link.far_end(node).and_then(|far_end| roster.member(far_end));
        let found = far_end.and_then(|member| Some((member, peers.peer(&member.id)?)));
        let (member, peer) = found.ok_or_else(|| PeersError::NotAMember(node.clone()))?;
        Ok(Link {
            id: link.id.clone(),
            peer,
            address: member.address.clone(),
            events: self.events.clone(),
            commands: commands.clone(),
        })
    }

    fn open_doors(&mut self, doors: Doors) -> Result<(), NetworkError> {
        let doors = Arc::new(doors);
        for channel in Channel::ALL {
            let mut control = self.swarm.behaviour().streams.new_control();
            let incoming =
                control.accept(channel.protocol()).map_err(|error| NetworkError::Build(error.to_string()))?;
            self.tasks.spawn(accept::run(channel, incoming, Arc::clone(&doors)));
        }
        Ok(())
    }

    /// Listens, and tells the address that was bound.
    pub(super) async fn listen(&mut self, listen: &str) -> Result<SocketAddr, NetworkError> {
        let failed = |reason: String| NetworkError::Listen { address: listen.to_owned(), reason };
        let found = address::resolve(listen).await.map_err(|error| failed(error.to_string()))?;
        let wanted = *found.first().ok_or_else(|| failed("no such host".into()))?;
        self.swarm.listen_on(address::tcp(&wanted)).map_err(|error| failed(error.to_string()))?;
        match timeout(LISTEN_TIMEOUT, self.first_address()).await {
            Ok(Ok(bound)) => Ok(SocketAddr::new(wanted.ip(), bound.port())),
            Ok(Err(reason)) => Err(failed(reason)),
            Err(_) => Err(failed("not ready in time".into())),
        }
    }

    async fn first_address(&mut self) -> Result<SocketAddr, String> {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    return address::socket(&address).ok_or_else(|| format!("{address} is not TCP"));
                }
                SwarmEvent::ListenerError { error, .. } => return Err(error.to_string()),
                SwarmEvent::ListenerClosed { reason: Err(error), .. } => return Err(error.to_string()),
                other => self.on_event(other),
            }
        }
    }

    /// Works until `stop`, then closes all.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = self.events.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = commands.recv() => self.on_command(command),
                event = self.swarm.select_next_some() => self.on_event(event),
                permit = events.reserve(), if !self.outbox.is_empty() => {
                    let Ok(permit) = permit else { break };
                    if let Some(event) = self.outbox.pop_front() {
                        permit.send(Delivery::Event(event));
                    }
                }
                _ = ticks.tick() => self.on_tick(),
            }
            self.take_answers();
        }
        self.close().await;
    }

    async fn close(mut self) {
        self.tasks.shutdown().await;
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let _ = timeout(CLOSE_TIMEOUT, async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        })
        .await;
    }

    fn take_answers(&mut self) {
        while let Some(answer) = self.directory.answers.pop_front() {
            self.tell(answer);
        }
    }

    fn tell(&mut self, event: NetworkEvent) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(event);
        } else {
            warn!(?event, "The driver is behind, event discarded");
        }
    }

    fn on_command(&mut self, command: Command) {
        let behaviour = self.swarm.behaviour_mut();
        match command {
            Command::PublishAdvert(bytes) if bytes.len() >= ADVERT_BYTES_MAX => {
                warn!(bytes = bytes.len(), "Advert too large, not published");
            }
            Command::PublishAdvert(bytes) => self.adverts.publish(&mut behaviour.gossip, bytes),
            Command::PublishSaes(bytes) => self.directory.publish(&mut behaviour.kademlia, bytes),
            Command::FindSaes(node) => self.directory.find(&mut behaviour.kademlia, node),
            Command::Addresses(peer, addresses) => {
                self.directory.set_addresses(&mut behaviour.kademlia, peer, addresses);
            }
            Command::Dial { peer, addresses, done } => self.dial(peer, addresses, done),
            Command::Disconnect(peer) => {
                info!(%peer, "Peer does not answer, connection closed");
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, done: oneshot::Sender<bool>) {
        if self.swarm.is_connected(&peer) {
            let _ = done.send(true);
            return;
        }
        let waiting = self.waiting.entry(peer).or_default();
        waiting.retain(|done| !done.is_closed());
        waiting.push(done);
        let condition = PeerCondition::DisconnectedAndNotDialing;
        let options = DialOpts::peer_id(peer).addresses(addresses).condition(condition).build();
        match self.swarm.dial(options) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {}
            Err(error) => {
                debug!(%peer, %error, "Dial failed at once");
                self.answer_dial(&peer, false);
            }
        }
    }

    fn answer_dial(&mut self, peer: &PeerId, connected: bool) {
        for done in self.waiting.remove(peer).unwrap_or_default() {
            let _ = done.send(connected);
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kademlia(event)) => self.on_kademlia(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                self.on_connected(peer_id, connection_id);
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.passing.remove(&connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                debug!(%peer, %error, "Outgoing connection failed");
                let connected = self.swarm.is_connected(&peer);
                self.answer_dial(&peer, connected);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => debug!(%error, "Incoming connection refused"),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.neighbours.contains(&peer) {
            self.swarm.behaviour_mut().gossip.add_explicit_peer(&peer);
        } else {
            self.passing.insert(connection, Instant::now());
        }
        self.directory.publish_soon();
        self.answer_dial(&peer, true);
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Subscribed { .. } => {
                self.adverts.peer_listens(&mut self.swarm.behaviour_mut().gossip);
            }
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let (mut verdict, author) = self.adverts.judge(&message);
                if self.outbox.len() >= OUTBOX_MAX {
                    verdict = MessageAcceptance::Ignore;
                } else if let Some(from) = author {
                    self.tell(NetworkEvent::Advert { from, bytes: message.data });
                }
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(&message_id, &propagation_source, verdict);
            }
            _ => {}
        }
    }

    fn on_kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { record: Some(record), .. } } => {
                self.directory.store(&mut self.swarm.behaviour_mut().kademlia, record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                self.directory.progress(id, result, step.last);
            }
            _ => {}
        }
    }

    fn on_tick(&mut self) {
        self.adverts.tick();
        self.directory.tick(&mut self.swarm.behaviour_mut().kademlia);
        let over = self.passing.extract_if(|_, since| since.elapsed() >= PASSING_MAX);
        for (connection, _) in over {
            self.swarm.close_connection(connection);
        }
    }
}

/// Looks up the members' addresses, again and again: names may move.
async fn look_up(roster: Arc<Roster>, node: NodeId, peers: Arc<Peers>, commands: mpsc::Sender<Command>) {
    loop {
        for member in roster.nodes.iter().filter(|member| member.id != node) {
            let Some(peer) = peers.peer(&member.id) else { continue };
            let Ok(found) = address::resolve(&member.address).await else { continue };
            let addresses = found.iter().map(address::tcp).collect();
            if commands.send(Command::Addresses(peer, addresses)).await.is_err() {
                return;
            }
        }
        sleep(LOOKUP_EVERY).await;
    }
}
