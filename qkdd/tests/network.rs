//! The overlay over real loopback TCP: links, adverts, directory, restarts, and members or
//! strangers that misbehave. Every wait is bounded.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Control;
use qkd_proto::crypto::IdentityKey;
use qkd_proto::id::{LinkId, NodeId};
use qkd_proto::labels;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{Member, Roster, RosterLink};
use qkdd::network::{LinkGone, Network, NetworkError, NetworkEvent, NetworkEvents, NetworkSettings};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const WAIT: Duration = Duration::from_secs(15);
/// Long enough for several attempts to open a link.
const QUIET: Duration = Duration::from_millis(1500);
const STREAMS: [&str; 3] = [labels::STREAM_LINK, labels::STREAM_BLOCK, labels::STREAM_PHOTONS];

#[tokio::test(flavor = "multi_thread")]
async fn a_line_carries_bytes_of_all_kinds_in_order() {
    let mut nodes = line_of_four().await;
    let name = link("b-c");
    for i in 0..100_u32 {
        let bytes = i.to_be_bytes().to_vec();
        nodes[1].network.send_link(&name, bytes.clone());
        nodes[1].network.send_block(&name, bytes.clone());
        nodes[1].network.send_photons(&name, bytes).await.expect("the link is up");
    }
    let mut seen: HashMap<u8, u32> = HashMap::new();
    while seen.values().sum::<u32>() < 300 {
        let (kind, name, bytes) = match nodes[2].next().await {
            NetworkEvent::LinkBytes(name, bytes) => (0, name, bytes),
            NetworkEvent::BlockBytes(name, bytes) => (1, name, bytes),
            NetworkEvent::PhotonBytes(name, bytes) => (2, name, bytes),
            other => panic!("unexpected {other:?}"),
        };
        let count = seen.entry(kind).or_default();
        assert_eq!((name, bytes), (link("b-c"), count.to_be_bytes().to_vec()));
        *count += 1;
    }
    let large = vec![7; 8 << 20];
    nodes[2].network.send_block(&name, large.clone());
    nodes[1].wait_for(&NetworkEvent::BlockBytes(name, large)).await;
    assert_eq!(nodes[1].network.send_photons(&link("c-d"), vec![1]).await, Err(LinkGone));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advert_floods_the_line() {
    let mut nodes = line_of_four().await;
    let wanted = NetworkEvent::Advert { from: node("a"), bytes: b"advert".to_vec() };
    for _ in 0..50 {
        // Subscriptions travel apart from links, so the first adverts may be lost.
        nodes[0].network.publish_advert(b"advert".to_vec());
        if let Ok(Some(event)) = timeout(Duration::from_millis(300), nodes[3].events.recv()).await {
            assert_eq!(event, wanted);
            return stop_all(nodes).await;
        }
    }
    panic!("the advert did not arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sae_roster_is_found_from_the_other_end() {
    let mut nodes = line_of_four().await;
    nodes[0].network.publish_saes(b"a: sae-1".to_vec());
    let wanted = NetworkEvent::Saes(node("a"), Some(b"a: sae-1".to_vec()));
    for attempt in 0.. {
        assert!(attempt < 20, "the roster was not found");
        nodes[3].network.find_saes(node("a"));
        if nodes[3].next().await == wanted {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    for name in ["b", "nobody"] {
        nodes[3].network.find_saes(node(name));
        nodes[3].wait_for(&NetworkEvent::Saes(node(name), None)).await;
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_that_its_node_did_not_sign_is_not_found() {
    let mut nodes = line_of_four().await;
    nodes[0].network.publish_saes(b"forged".to_vec());
    sleep(Duration::from_millis(500)).await;
    nodes[3].network.find_saes(node("a"));
    assert_eq!(nodes[3].next().await, NetworkEvent::Saes(node("a"), None));
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_back_after_either_end_restarts() {
    let roster = roster(&["a", "b"], &[("a-b", "a", "b")]);
    let mut a = start("a", &roster).await;
    sleep(Duration::from_millis(300)).await;
    let mut b = start("b", &roster).await;
    a.up("a-b").await;
    b.up("a-b").await;
    for _ in 0..2 {
        timeout(WAIT, b.network.stop()).await.expect("stops in time");
        while timeout(WAIT, b.events.recv()).await.expect("ends in time").is_some() {}
        assert_eq!(a.next().await, NetworkEvent::LinkDown(link("a-b")));
        b = start("b", &roster).await;
        // Long enough for the new session to be up before its `LinkUp` is taken.
        sleep(QUIET).await;
        a.network.send_link(&link("a-b"), b"meant for the old session".to_vec());
        assert_eq!(a.next().await, NetworkEvent::LinkUp(link("a-b")));
        assert_eq!(b.next().await, NetworkEvent::LinkUp(link("a-b")));
        a.network.send_link(&link("a-b"), b"new".to_vec());
        assert_eq!(b.next().await, NetworkEvent::LinkBytes(link("a-b"), b"new".to_vec()));
    }
    timeout(WAIT, a.network.stop()).await.expect("stops in time");
    assert_eq!(b.next().await, NetworkEvent::LinkDown(link("a-b")));
    let mut a = start("a", &roster).await;
    a.up("a-b").await;
    b.up("a-b").await;
    stop_all(vec![a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_link_and_an_oversize_frame_cost_one_session() {
    let roster = roster(&["a", "b"], &[("one", "a", "b"), ("two", "b", "a")]);
    let (mut a, mut b) = (start("a", &roster).await, start("b", &roster).await);
    a.all_up(&["one", "two"]).await;
    b.all_up(&["one", "two"]).await;
    b.network.drop_link(&link("one"));
    for running in [&mut a, &mut b] {
        assert_eq!(running.next().await, NetworkEvent::LinkDown(link("one")));
        assert_eq!(running.next().await, NetworkEvent::LinkUp(link("one")));
    }
    a.network.send_link(&link("two"), vec![0; 1 << 20]);
    for running in [&mut a, &mut b] {
        assert_eq!(running.next().await, NetworkEvent::LinkDown(link("two")));
        assert_eq!(running.next().await, NetworkEvent::LinkUp(link("two")));
    }
    assert_eq!(a.network.refused_count(), 1);
    stop_all(vec![a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_no_further_than_the_handshake() {
    let closed = roster(&["a", "b"], &[("a-b", "a", "b")]);
    let mut b = start("b", &closed).await;
    let mut open = closed.clone();
    open.nodes.push(member("X"));
    open.links.push(roster_link("X-b", "X", "b"));
    let mut stranger = start("X", &open).await;
    stranger.network.publish_advert(b"hello".to_vec());
    stranger.network.publish_saes(b"X: sae".to_vec());
    tokio::join!(stranger.is_quiet(), b.is_quiet());
    let outside = NetworkSettings { roster: Arc::new(closed), ..settings("X", &open) };
    assert!(matches!(Network::start(outside).await, Err(NetworkError::Peers(_))));
    stop_all(vec![stranger, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_the_other_end_does_not_know_stays_down() {
    let known = roster(&["a", "b", "c"], &[("x", "b", "c")]);
    let mut claimed = known.clone();
    claimed.links = vec![roster_link("x", "a", "b"), roster_link("ghost", "a", "b")];
    let (mut a, mut b) = (start("a", &claimed).await, start("b", &known).await);
    tokio::join!(a.is_quiet(), b.is_quiet());
    stop_all(vec![a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_a_member_costs_it_its_link_only() {
    let roster = roster(&["a", "b", "c"], &[("a-b", "a", "b"), ("b-c", "b", "c")]);
    let (mut b, mut c) = (start("b", &roster).await, start("c", &roster).await);
    b.up("b-c").await;
    c.up("b-c").await;
    let mut rogue = Rogue::connect("a", &b).await;
    for opening in [vec![0xff; 64], frame(b"short"), greeting(1, "b-c"), greeting(1, "a/b")] {
        let mut stream = rogue.open(STREAMS[0], &opening).await;
        let mut answer = Vec::new();
        let _ = timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("is closed in time");
        assert!(answer.is_empty());
    }
    let mut streams = rogue.open_link("a-b").await;
    assert_eq!(b.next().await, NetworkEvent::LinkUp(link("a-b")));
    write(&mut streams[0], &frame(b"fine")).await;
    assert_eq!(b.next().await, NetworkEvent::LinkBytes(link("a-b"), b"fine".to_vec()));
    write(&mut streams[1], &u32::MAX.to_be_bytes()).await;
    assert_eq!(b.next().await, NetworkEvent::LinkDown(link("a-b")));
    b.network.send_link(&link("b-c"), b"still here".to_vec());
    assert_eq!(c.next().await, NetworkEvent::LinkBytes(link("b-c"), b"still here".to_vec()));
    stop_all(vec![b, c]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_neighbour_is_taken_for_dead() {
    let roster = roster(&["a", "b"], &[("a-b", "a", "b")]);
    let mut b = start("b", &roster).await;
    let mut rogue = Rogue::connect("a", &b).await;
    let mut streams = rogue.open_link("a-b").await;
    b.up("a-b").await;
    b.down("a-b").await;
    let mut rest = Vec::new();
    let _ = timeout(WAIT, streams[0].read_to_end(&mut rest)).await.expect("is closed in time");
    assert!(rest.len() >= 8 && rest.iter().all(|&byte| byte == 0), "keep-alives and nothing else");
    stop_all(vec![b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_over_a_frozen_path_comes_back_on_a_new_connection() {
    let mut roster = roster(&["a", "b"], &[("a-b", "a", "b")]);
    let mut b = start("b", &roster).await;
    let (path, freeze) = freezing_path(b.bound).await;
    roster.nodes[1].address = path.to_string();
    let mut a = start("a", &roster).await;
    a.up("a-b").await;
    b.up("a-b").await;
    freeze.send_replace(true);
    // Leaves data under way on the old connection, as much as its windows take.
    let (network, name) = (a.network.clone(), link("a-b"));
    tokio::spawn(async move { while network.send_photons(&name, vec![0; 1 << 20]).await.is_ok() {} });
    for running in [&mut a, &mut b] {
        assert_eq!(running.next().await, NetworkEvent::LinkDown(link("a-b")));
    }
    freeze.send_replace(false);
    for running in [&mut a, &mut b] {
        let up = timeout(2 * WAIT, running.events.recv()).await.expect("comes back in time");
        assert_eq!(up, Some(NetworkEvent::LinkUp(link("a-b"))));
    }
    stop_all(vec![a, b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_attempt_replaces_the_session() {
    let roster = roster(&["a", "b"], &[("a-b", "a", "b")]);
    let mut b = start("b", &roster).await;
    let mut rogue = Rogue::connect("a", &b).await;
    let _old = rogue.open_link("a-b").await;
    b.up("a-b").await;
    let mut new = rogue.open_link("a-b").await;
    assert_eq!(b.next().await, NetworkEvent::LinkDown(link("a-b")));
    assert_eq!(b.next().await, NetworkEvent::LinkUp(link("a-b")));
    write(&mut new[2], &frame(b"photons")).await;
    assert_eq!(b.next().await, NetworkEvent::PhotonBytes(link("a-b"), b"photons".to_vec()));
    stop_all(vec![b]).await;
}

/// A TCP path to `to`. Connections that see `true` on the switch are frozen for good: open, and mute.
async fn freezing_path(to: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let (switch, state) = watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let path = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut state = state.clone();
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await.expect("connects");
                let carried = tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => true,
                    _ = state.wait_for(|frozen| *frozen) => false,
                };
                if !carried {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (path, switch)
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn link(name: &str) -> LinkId {
    name.parse().expect("a name")
}

fn seed(name: &str) -> SecretBytes {
    SecretBytes::new(vec![name.as_bytes()[0]; 32])
}

fn member(name: &str) -> Member {
    // The port is free now; what listens on it later sets SO_REUSEADDR.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    Member { id: node(name), key: IdentityKey::from_seed(&seed(name)).public(), address }
}

fn roster_link(name: &str, transmitter: &str, receiver: &str) -> RosterLink {
    RosterLink { id: link(name), transmitter: node(transmitter), receiver: node(receiver) }
}

fn roster(members: &[&str], links: &[(&str, &str, &str)]) -> Roster {
    let nodes = members.iter().map(|name| member(name)).collect();
    let links = links.iter().map(|(name, a, b)| roster_link(name, a, b)).collect();
    Roster { network: "test".into(), sequence: 1, nodes, links }
}

fn settings(name: &str, roster: &Roster) -> NetworkSettings {
    NetworkSettings {
        identity_seed: seed(name),
        listen: roster.member(&node(name)).expect("a member").address.clone(),
        node: node(name),
        roster: Arc::new(roster.clone()),
        // Stands for the signature: a value begins with the name of its node.
        verify_saes: Arc::new(|node, bytes| bytes.starts_with(node.as_str().as_bytes())),
    }
}

struct Running {
    network: Network,
    events: NetworkEvents,
    bound: SocketAddr,
}

async fn start(name: &str, roster: &Roster) -> Running {
    let started = timeout(WAIT, Network::start(settings(name, roster))).await.expect("starts in time");
    let (network, events, bound) = started.expect("starts");
    Running { network, events, bound }
}

impl Running {
    async fn next(&mut self) -> NetworkEvent {
        timeout(WAIT, self.events.recv()).await.expect("an event in time").expect("the overlay runs")
    }

    async fn wait_for(&mut self, wanted: &NetworkEvent) {
        while self.next().await != *wanted {}
    }

    async fn is_quiet(&mut self) {
        let event = timeout(QUIET, self.events.recv()).await;
        // The stranger's own questions are not asked, so nothing at all is due.
        assert!(event.is_err(), "unexpected {event:?}");
    }

    async fn up(&mut self, name: &str) {
        self.wait_for(&NetworkEvent::LinkUp(link(name))).await;
    }

    async fn down(&mut self, name: &str) {
        self.wait_for(&NetworkEvent::LinkDown(link(name))).await;
    }

    async fn all_up(&mut self, names: &[&str]) {
        let mut left: Vec<LinkId> = names.iter().map(|name| link(name)).collect();
        while !left.is_empty() {
            if let NetworkEvent::LinkUp(name) = self.next().await {
                left.retain(|link| *link != name);
            }
        }
    }
}

async fn line_of_four() -> Vec<Running> {
    let roster = roster(&["a", "b", "c", "d"], &[("a-b", "a", "b"), ("b-c", "c", "b"), ("c-d", "c", "d")]);
    let mut nodes = Vec::new();
    for name in ["a", "b", "c", "d"] {
        nodes.push(start(name, &roster).await);
    }
    for (running, links) in nodes.iter_mut().zip([&["a-b"][..], &["a-b", "b-c"], &["b-c", "c-d"], &["c-d"]]) {
        running.all_up(links).await;
    }
    nodes
}

async fn stop_all(nodes: Vec<Running>) {
    for running in nodes {
        timeout(WAIT, running.network.stop()).await.expect("stops in time");
    }
}

/// A member that speaks libp2p but not our manners.
struct Rogue {
    control: Control,
    peer: PeerId,
    attempt: u64,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Rogue {
    async fn connect(name: &str, to: &Running) -> Self {
        let key = Keypair::ed25519_from_bytes(seed(name).expose().to_vec()).expect("a seed");
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("a transport")
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .expect("a behaviour")
            .with_swarm_config(|config| config.with_idle_connection_timeout(WAIT))
            .build();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}", to.bound.port()).parse().expect("an address");
        swarm.dial(address).expect("dials");
        let peer = loop {
            let event = timeout(WAIT, swarm.select_next_some()).await.expect("connects in time");
            if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event {
                break peer_id;
            }
        };
        let control = swarm.behaviour().new_control();
        let driver = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { control, peer, attempt: 1, driver }
    }

    async fn open(&mut self, protocol: &'static str, opening: &[u8]) -> Stream {
        let open = self.control.open_stream(self.peer, StreamProtocol::new(protocol));
        let mut stream = timeout(WAIT, open).await.expect("opens in time").expect("opens");
        write(&mut stream, opening).await;
        stream
    }

    async fn open_link(&mut self, name: &str) -> Vec<Stream> {
        self.attempt += 1;
        let opening = greeting(self.attempt, name);
        let mut streams = Vec::new();
        for protocol in STREAMS {
            streams.push(self.open(protocol, &opening).await);
        }
        streams
    }
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("writes");
    stream.flush().await.expect("writes");
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a length");
    [&length.to_be_bytes(), body].concat()
}

fn greeting(attempt: u64, link: &str) -> Vec<u8> {
    frame(&[&attempt.to_be_bytes(), link.as_bytes()].concat())
}
