//! Two emulated devices over a real overlay whose link breaks again and again: the block goes on, every
//! photon frame is measured once, in order, and each connection has a secret of its own.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qkd_proto::crypto::{self, IdentityKey};
use qkd_proto::id::{BlockId, LinkId, NodeId};
use qkd_proto::node::input::Input;
use qkd_proto::optics::PhotonBatch;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{Member, Roster, RosterLink};
use qkdd::config::{DeviceSettings, LinkSettings};
use qkdd::device::{Device, DeviceCommand, DeviceSetup};
use qkdd::network::{Network, NetworkEvent, NetworkEvents, NetworkSettings};
use tokio::sync::mpsc;
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(30);
const BLOCK: BlockId = BlockId(7 << 32 | 1);

fn link() -> LinkId {
    "a-b".parse().expect("a name")
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

fn seed(name: &str) -> SecretBytes {
    SecretBytes::new(vec![name.as_bytes()[0]; 32])
}

/// The secret of a connection, by its number.
fn secret(number: &[u8]) -> SecretBytes {
    SecretBytes::new(crypto::sha256(&[b"connection", number]).to_vec())
}

fn settings() -> LinkSettings {
    LinkSettings {
        name: link(),
        psk_path: PathBuf::new(),
        psk: SecretBytes::new(vec![7; 32]),
        device: DeviceSettings::Simulated,
        preset: "lab".into(),
        length_km: 1.0,
        overrides: Default::default(),
        distillation: Default::default(),
        dilution: 20.0,
        capacity_bytes: 1 << 20,
        block_bits: None,
        eve: 0.0,
    }
}

/// One end: its overlay and its device, with as much of a node as a device needs.
struct End {
    network: Network,
    events: NetworkEvents,
    device: Device,
    inputs: mpsc::Receiver<Input>,
    connection: u64,
    /// The device was told of the block.
    started: bool,
    /// First and last slots of the chunks so far.
    chunks: Vec<(u64, u64)>,
    done: bool,
}

impl End {
    async fn start(name: &str, roster: &Roster) -> Self {
        let settings_of_node = NetworkSettings {
            identity_seed: seed(name),
            listen: roster.member(&node(name)).expect("a member").address.clone(),
            node: node(name),
            roster: Arc::new(roster.clone()),
            verify_saes: Arc::new(|_, _| true),
        };
        let (network, events, _) = Network::start(settings_of_node).await.expect("starts");
        let (sender, inputs) = mpsc::channel(64);
        let setup = DeviceSetup::new(&settings(), name == "a", Some(5)).expect("a device");
        let device = Device::start(setup, sender, network.clone()).expect("a thread");
        Self { network, events, device, inputs, connection: 0, started: false, chunks: Vec::new(), done: false }
    }

    fn tell(&self, command: DeviceCommand) {
        assert!(self.device.tell(command), "the device keeps up");
    }

    /// Both ends agreed on a connection: the device goes on, or begins.
    fn agreed(&mut self, number: &[u8]) {
        self.tell(DeviceCommand::Open(secret(number)));
        if !self.done {
            let go_on = std::mem::replace(&mut self.started, true);
            self.tell(if go_on { DeviceCommand::GoOn(BLOCK) } else { DeviceCommand::Measure(BLOCK) });
        }
    }

    /// The dialling end `speaks` first.
    fn heard(&mut self, event: NetworkEvent, speaks: bool) {
        match event {
            NetworkEvent::LinkUp(_) => {
                self.connection += 1;
                if speaks {
                    self.network.send_link(&link(), self.connection.to_be_bytes().to_vec());
                }
            }
            NetworkEvent::LinkBytes(_, number) => {
                if !speaks {
                    self.network.send_link(&link(), number.clone());
                }
                if !speaks || number == self.connection.to_be_bytes() {
                    self.agreed(&number);
                }
            }
            NetworkEvent::LinkDown(_) => self.tell(DeviceCommand::Close),
            NetworkEvent::PhotonBytes(_, bytes) => self.tell(DeviceCommand::Photons(bytes)),
            _ => {}
        }
    }

    fn saw(&mut self, input: Input) {
        let Input::Photons(_, BLOCK, batch) = input else { panic!("{input:?}") };
        self.done |= batch.is_last();
        self.chunks.push(match &batch {
            PhotonBatch::Emissions(chunk) => (chunk.first_slot(), chunk.last_slot()),
            PhotonBatch::Detections(chunk) => (chunk.first_slot(), chunk.last_slot()),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_goes_on_over_broken_connections() {
    let member = |name: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        Member { id: node(name), key: IdentityKey::from_seed(&seed(name)).public(), address }
    };
    let links = vec![RosterLink { id: link(), transmitter: node("a"), receiver: node("b") }];
    let roster = Roster { network: "test".into(), sequence: 1, nodes: vec![member("a"), member("b")], links };
    let (mut a, mut b) = (End::start("a", &roster).await, End::start("b", &roster).await);
    // The link breaks when the receiver has seen so many chunks, and when the transmitter has sent all.
    let mut cuts: VecDeque<usize> = [0, 1, 2, 9, 20, 21].into();
    let mut last_cut = true;
    while !(a.done && b.done) {
        let step = async {
            tokio::select! {
                Some(event) = a.events.recv() => a.heard(event, true),
                Some(event) = b.events.recv() => b.heard(event, false),
                Some(input) = a.inputs.recv() => a.saw(input),
                Some(input) = b.inputs.recv() => b.saw(input),
            }
        };
        timeout(WAIT, step).await.unwrap_or_else(|_| panic!("{} sent, {} seen", a.chunks.len(), b.chunks.len()));
        let cut = cuts.pop_front_if(|cut| !a.chunks.is_empty() && b.chunks.len() >= *cut).is_some();
        if cut || a.done && !b.done && std::mem::take(&mut last_cut) {
            a.network.drop_link(&link());
        }
    }
    assert!(cuts.is_empty() && a.connection > 6, "{cuts:?} {}", a.connection);
    assert_eq!(a.chunks, b.chunks, "every frame was measured once, in order");
    assert!(a.chunks.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0) && a.chunks[0].0 == 1);
    for end in [a, b] {
        end.network.stop().await;
        drop(end.events);
        drop(end.inputs);
        tokio::task::spawn_blocking(|| end.device.stop()).await.expect("stops");
    }
}
