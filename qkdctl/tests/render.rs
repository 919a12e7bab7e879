//! Every topology and sample in the repository is rendered and loaded by the daemon's own code.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use qkdctl::net::{Net, RenderError, RenderOptions, Topology, issue_sae, render};
use qkdd::config::Config;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(repository().join(folder)).expect(folder).map(|file| file.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    assert!(!files.is_empty(), "{folder}");
    files
}

fn rendered(topology: &str) -> (tempfile::TempDir, PathBuf, Net) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = repository().join("testnet/topologies").join(topology);
    let out = dir.path().join("net");
    let net = render(&Topology::read(&path).expect(topology), &out, RenderOptions::default()).expect(topology);
    (dir, out, net)
}

#[test]
fn every_node_of_every_topology_loads() {
    for path in files("testnet/topologies") {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let (_dir, out, net) = rendered(&name);
        assert_eq!(Net::read(&out).expect("net.json"), net);
        for node in &net.nodes {
            let config = Config::load(&node.config).unwrap_or_else(|faults| panic!("{name}:\n{faults}"));
            qkdd::api::key_socket::KeySocket::check(&config.supply).expect("TLS files");
            assert_eq!(config.control_socket, node.control_socket);
            assert_eq!(config.roster.member(&config.node).map(|member| &member.address), Some(&node.overlay));
        }
    }
}

#[test]
fn samples_load_beside_a_rendered_node() {
    let (_dir, out, net) = rendered("line-of-four.toml");
    let home = out.join("nodes/alice");
    let alice = Config::load(&net.nodes[0].config).expect("alice");
    let key: String = alice.network_key.0.iter().map(|byte| format!("{byte:02x}")).collect();
    for path in files("configs") {
        let text = std::fs::read_to_string(&path).expect("a sample").replace(&"0".repeat(64), &key);
        let target = home.join("sample.toml");
        std::fs::write(&target, text).expect("a sample");
        Config::load(&target).unwrap_or_else(|faults| panic!("{faults}"));
    }
}

#[test]
fn secrets_are_private_and_nothing_is_overwritten() {
    let (_dir, out, _) = rendered("line-of-four.toml");
    let mode = |path: &str| std::fs::metadata(out.join(path)).expect(path).permissions().mode() & 0o777;
    for path in ["ca.key", "network.key", "nodes/alice/identity.key", "nodes/bob/kme.key", "saes/sae-bob/key.pem"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
    for path in [".", "nodes/alice", "nodes/alice/data", "nodes/alice/links", "saes/sae-bob"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    let psk = |node: &str| std::fs::read(out.join("nodes").join(node).join("links/alice-relay1.psk")).expect("a key");
    assert_eq!(psk("alice"), psk("relay1"));
    let again = repository().join("testnet/topologies/line-of-four.toml");
    let again = render(&Topology::read(&again).expect("a topology"), &out, RenderOptions::default());
    assert!(matches!(again, Err(RenderError::Exists(_))), "{again:?}");
    let sae = "sae-new".parse().expect("a name");
    assert!(issue_sae(&out, &sae).expect("a certificate").join("key.pem").exists());
    assert!(issue_sae(&out, &sae).is_err());
}

#[test]
fn every_link_option_of_a_topology_is_one_of_the_daemon() {
    let text = "name = 't'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n[[link]]\nends = ['a','b']\npreset = 'apd-1g'\n\
        length = '5km'\ndevice = 'simulated'\ndilution = 2\ncapacity = '1MiB'\nblock = '1Mibit'\neve = 0.1\n\
        clock = '2GHz'\nloss = '0.17dB/km'\nextra_loss = '1dB'\ndetector_efficiency = 0.5\ndark_probability = 1e-7\n\
        misalignment = 0.02\ndead_time = '30ns'\nafterpulse_probability = 0.02\nafterpulse_time = '50ns'\n\
        mu = [0.4, 0.1]\np = [0.5, 0.5]\nbasis_probability = 0.8\n";
    let dir = tempfile::tempdir().expect("a folder");
    let topology = Topology::parse(text).expect("a topology");
    let net = render(&topology, &dir.path().join("net"), RenderOptions::default()).expect("a network");
    let config = Config::load(&net.nodes[1].config).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.links[0].overrides.clock_hz, Some(2e9));
    assert_eq!(config.links[0].overrides.basis_probability, Some(0.8));
    assert_eq!((config.links[0].capacity_bytes, config.links[0].block_bits), (1 << 20, Some(1 << 20)));
}
