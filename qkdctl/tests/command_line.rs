//! The binary against real sockets: a rendered network, with a fake node behind its key socket.

use std::process::{Command, Output};

use qkd_proto::id::KeyId;
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{Refusal, SuppliedKey, SupplyAnswer, SupplyRequest};
use qkdctl::net::{NodePorts, RenderOptions, Topology, render};
use qkdd::api::control_socket::ControlSocket;
use qkdd::api::handle::{NodeHandle, Question};
use qkdd::api::key_socket::{KeySocket, KeySocketOptions};
use qkdd::config::Config;

fn qkdctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qkdctl")).args(arguments).output().expect("qkdctl runs")
}

fn free_ports() -> NodePorts {
    let listeners = [0; 3].map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [overlay, supply, metrics] = listeners.map(|listener| listener.local_addr().expect("a port").port());
    NodePorts { overlay, supply, metrics }
}

fn answer(request: &SupplyRequest) -> SupplyAnswer {
    match request {
        SupplyRequest::EncKeys { .. } => SupplyAnswer::Keys(vec![SuppliedKey {
            id: KeyId::from_random([7; 16]),
            key: SecretBytes::new(vec![1; 32]),
        }]),
        _ => SupplyAnswer::Refused(Refusal::not_found()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_status_over_real_sockets() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("net");
    let text = "name='t'\n[[node]]\nname='a'\n[[node]]\nname='b'\n[[link]]\nends=['a','b']\nlength='1km'\n\
        [[sae]]\nid='sae-a'\nnode='a'\n[[sae]]\nid='sae-b'\nnode='b'\n";
    let options = RenderOptions { ports: vec![free_ports(), free_ports()], ..RenderOptions::default() };
    let net = render(&Topology::parse(text).expect("a topology"), &out, options).expect("a network");
    let config = Config::load(&net.nodes[0].config).expect("a configuration");
    let (node, mut questions) = NodeHandle::new(4);
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            if let Question::Supply(request, reply) = question {
                let _ = reply.send(answer(&request));
            }
        }
    });
    let options = KeySocketOptions::default();
    let _keys = KeySocket::start(&config.supply, &config.saes, options, node.clone()).await.expect("a key socket");
    let folder = out.to_str().expect("UTF-8");
    let as_sae = ["--net", folder, "--as", "sae-a", "--output", "json"];
    let got = qkdctl(&[&["key", "get", "--slave", "sae-b"], &as_sae[..]].concat());
    let shown = String::from_utf8_lossy(&got.stdout);
    assert_eq!(got.status.code(), Some(0), "{}", String::from_utf8_lossy(&got.stderr));
    assert!(shown.contains(r#""schema":1"#) && shown.contains("sha256") && !shown.contains("AQEB"), "{shown}");
    let got = qkdctl(&[&["key", "get", "--slave", "sae-b", "--reveal"], &as_sae[..]].concat());
    assert!(String::from_utf8_lossy(&got.stdout).contains("AQEB"));
    let id = KeyId::from_random([1; 16]).to_string();
    let refused = qkdctl(&[&["key", "fetch", "--master", "sae-b", "--id", &id], &as_sae[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not found on KME"));
    let down = qkdctl(&["key", "get", "--slave", "sae-a", "--net", folder, "--as", "sae-b"]);
    assert_eq!(down.status.code(), Some(3), "nobody listens at b");
    let socket = config.control_socket.to_str().expect("UTF-8");
    assert_eq!(qkdctl(&["--socket", socket, "status"]).status.code(), Some(3));
    let _control = ControlSocket::start(&config.control_socket, node).expect("a control socket");
    assert_eq!(qkdctl(&["--socket", socket, "health"]).status.code(), Some(4), "the fake node tells no status");
    assert_eq!(qkdctl(&["key", "get", "--slave", "x"]).status.code(), Some(2));
}
