//! Whole nodes in this process, from a topology to delivered keys. Every wait is bounded.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use qkd_proto::control::reply::{LinkReply, StatusReply};
use qkdctl::kme_client::KmeClient;
use qkdctl::net::{Net, NodePorts, RenderOptions, Topology, render};
use qkdd::config::Config;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// A rendered network whose nodes run.
pub(crate) struct Network {
    pub(crate) net: Net,
    pub(crate) dir: PathBuf,
    _folder: tempfile::TempDir,
    stop: CancellationToken,
    nodes: Vec<JoinHandle<()>>,
}

impl Network {
    pub(crate) fn start(topology: &str) -> Self {
        Self::start_with(topology, "")
    }

    /// Likewise, with more lines at the end of every node's configuration.
    pub(crate) fn start_with(topology: &str, more: &str) -> Self {
        let topology = Topology::parse(topology).expect("a topology");
        let folder = tempfile::Builder::new().prefix("q").tempdir().expect("a folder");
        let dir = folder.path().join("net");
        let ports = topology.nodes.iter().map(|_| free_ports()).collect();
        let test: toml::Table = "i_know = true\nfaults = true".parse().expect("TOML");
        let options = RenderOptions { ports, insecure_test: Some(test), ..RenderOptions::default() };
        let net = render(&topology, &dir, options).expect("a network");
        for node in net.nodes.iter().filter(|_| !more.is_empty()) {
            let text = std::fs::read_to_string(&node.config).expect("a configuration");
            std::fs::write(&node.config, format!("{text}\n{more}")).expect("a configuration");
        }
        let stop = CancellationToken::new();
        let start = |path: &PathBuf| {
            let config = Config::load(path).unwrap_or_else(|faults| panic!("{faults}"));
            let stop = stop.clone();
            tokio::spawn(async move { qkdd::daemon::run_until(config, stop).await.expect("a node") })
        };
        let nodes = net.nodes.iter().map(|node| start(&node.config)).collect();
        Self { net, dir, _folder: folder, stop, nodes }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        for node in self.nodes {
            node.await.expect("a node stops");
        }
    }

    /// What a node tells of itself, once it answers.
    pub(crate) async fn status(&self, node: usize) -> StatusReply {
        let started = Instant::now();
        loop {
            match qkdctl::client::ask(&self.net.nodes[node].control_socket, "/v1/status").await {
                Ok(status) => return status,
                Err(error) => assert!(started.elapsed() < WAIT, "{error}"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a link is as wanted, seen from a node.
    pub(crate) async fn link(&self, node: usize, name: &str, wanted: impl Fn(&LinkReply) -> bool) -> LinkReply {
        let started = Instant::now();
        loop {
            let status = self.status(node).await;
            let link = status.links.into_iter().find(|link| link.name == name).expect(name);
            if wanted(&link) {
                return link;
            }
            assert!(started.elapsed() < WAIT, "{link:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gets a key at `master` and fetches it at `slave`: its id, and that both are equal.
    pub(crate) async fn deliver(&self, master: &str, slave: &str) -> String {
        self.deliver_bytes(master, slave, 32).await
    }

    /// Likewise, with a key of so many bytes.
    pub(crate) async fn deliver_bytes(&self, master: &str, slave: &str, bytes: usize) -> String {
        let got = self.ask(master, slave, "enc_keys", json!({ "number": 1, "size": 8 * bytes })).await;
        let id = got["keys"][0]["key_ID"].as_str().expect("an id").to_owned();
        let fetched = self.ask(slave, master, "dec_keys", json!({ "key_IDs": [{ "key_ID": id }] })).await;
        assert!(got["keys"][0]["key"].as_str().is_some_and(|key| key.len() == bytes.div_ceil(3) * 4));
        assert_eq!(got["keys"], fetched["keys"]);
        id
    }

    async fn ask(&self, as_sae: &str, other: &str, method: &str, body: Value) -> Value {
        let client = KmeClient::of_net(&self.dir, as_sae).unwrap_or_else(|error| panic!("{error}"));
        let started = Instant::now();
        loop {
            let told = match client.exchange(other, method, Some(&body)).await {
                Ok((200, body)) => return serde_json::from_slice(&body).expect("JSON"),
                Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body)),
                Err(error) => error.to_string(),
            };
            assert!(started.elapsed() < WAIT, "{as_sae}: {told}");
            tokio::time::sleep(POLL).await;
        }
    }
}

pub(crate) fn free_ports() -> NodePorts {
    let listeners = [0; 3].map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [overlay, supply, metrics] = listeners.map(|listener| listener.local_addr().expect("a port").port());
    NodePorts { overlay, supply, metrics }
}
