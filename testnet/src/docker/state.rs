//! What is known of a network in Docker between two commands. In: a topology. Out: a folder with
//! `testnet.json` and the rendered network. Always: nodes dial each other by container name, and
//! applications reach them on the host's loopback.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use qkd_proto::id::NodeId;
use qkdctl::net::{Net, NodePorts, RenderOptions, Topology, render};
use serde::{Deserialize, Serialize};

use crate::error::Failed;
use crate::ports;
use crate::scenario::has_eve;

/// The file of a network's state.
const FILE: &str = "testnet.json";

/// A network.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Name for the container engine, of its project and its image.
    pub(super) project: String,
    /// Name of the network.
    pub(super) network: String,
    /// One service per node, in the topology's order.
    pub(super) services: Vec<Service>,
}

/// A container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Service {
    /// Its name, which others dial.
    pub(super) name: String,
    /// Its node.
    pub(super) node: String,
    /// Port for applications, the same inside and on the host.
    pub(super) supply_port: u16,
    /// Whether one of its links has an eavesdropper, so that its node reports an alarm.
    pub(super) tapped: bool,
}

impl State {
    /// Renders a network and notes it.
    pub(super) fn create(dir: &Path, mut topology: Topology) -> Result<Self, Failed> {
        if dir.join(FILE).exists() {
            return Err(Failed::new(format!("{} holds a network: take it down first (docker down)", dir.display())));
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| Failed::file(dir, error))?;
        let ports = ports::free(topology.nodes.len())?;
        for (i, node) in topology.nodes.iter_mut().enumerate() {
            node.host = Some(service_name(&node.name, i));
        }
        let options = RenderOptions {
            ports: ports.clone(),
            supply_names: vec!["localhost".into(), "127.0.0.1".into()],
            ..RenderOptions::default()
        };
        let state = Self::of(dir, &topology, &ports);
        let file = dir.join(FILE);
        let text = serde_json::to_vec_pretty(&state).map_err(|error| Failed::file(&file, error))?;
        let mut net = render(&topology, &dir.join("net"), options)?;
        publish(&mut net, &dir.join("net").join("net.json"), &ports)?;
        std::fs::write(&file, text).map_err(|error| Failed::file(&file, error))?;
        Ok(state)
    }

    /// The network of an earlier [`State::create`].
    pub(super) fn read(dir: &Path) -> Result<Self, Failed> {
        let file = dir.join(FILE);
        let text = std::fs::read(&file)
            .map_err(|error| Failed::new(format!("no network in {}: {error}: run docker up", dir.display())))?;
        serde_json::from_slice(&text).map_err(|error| Failed::file(&file, error))
    }

    fn of(dir: &Path, topology: &Topology, ports: &[NodePorts]) -> Self {
        let folder = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_lowercase();
        let folder: String = folder.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let services = topology.nodes.iter().zip(ports).map(|(node, ports)| Service {
            name: node.host.clone().unwrap_or_default(),
            node: node.name.to_string(),
            supply_port: ports.supply,
            tapped: topology.links.iter().any(|link| has_eve(link) && link.ends.contains(&node.name)),
        });
        Self { project: format!("qkdd-{folder}"), network: topology.name.clone(), services: services.collect() }
    }
}

/// The node's name where it can be a host name.
fn service_name(node: &NodeId, i: usize) -> String {
    let name = node.as_str();
    let is_host = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let inner = !name.starts_with('-') && !name.ends_with('-') && name.len() < 64;
    if is_host && inner { name.to_owned() } else { format!("node{i}") }
}

/// Lets `net.json` tell where the host reaches the nodes.
fn publish(net: &mut Net, file: &Path, ports: &[NodePorts]) -> Result<(), Failed> {
    for (node, ports) in net.nodes.iter_mut().zip(ports) {
        node.supply_url = format!("https://127.0.0.1:{}", ports.supply);
    }
    let text = serde_json::to_vec_pretty(net).map_err(|error| Failed::file(file, error))?;
    std::fs::write(file, text).map_err(|error| Failed::file(file, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_can_be_read_back_and_dials_containers() {
        let dir = tempfile::tempdir().expect("a folder");
        let text =
            "name='t'\n[[node]]\nname='a'\n[[node]]\nname='B@x'\n[[link]]\nends=['a','B@x']\nlength='1km'\neve=0.5\n";
        let created = State::create(dir.path(), Topology::parse(text).expect("a topology")).expect("a state");
        let read = State::read(dir.path()).expect("a state");
        assert_eq!(format!("{created:?}"), format!("{read:?}"));
        assert_eq!(read.services.iter().map(|service| service.name.as_str()).collect::<Vec<_>>(), ["a", "node1"]);
        assert!(read.services.iter().all(|service| service.tapped));
        let net = Net::read(&dir.path().join("net")).expect("net.json");
        assert!(
            net.nodes[1].overlay.starts_with("node1:") && net.nodes[1].supply_url.starts_with("https://127.0.0.1:")
        );
        let again = State::create(dir.path(), Topology::parse(text).expect("a topology")).expect_err("a refusal");
        assert!(again.to_string().contains("take it down first"));
    }
}
