//! A locked node, and one whose audit log cannot be written, hand out no key: both say 503.

mod rig;

use std::fs;
use std::time::{Duration, Instant};

use qkd_proto::control::request::UnlockRequest;
use qkdctl::kme_client::KmeClient;
use rig::Network;
use serde_json::json;

const PAIR: &str = "name = 'pair'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n\
    [[link]]\nends = ['a', 'b']\ndevice = 'table'\nrate = '10Mbit/s'\nqber = 0.01\n\
    [[sae]]\nid = 'sae-a'\nnode = 'a'\n[[sae]]\nid = 'sae-b'\nnode = 'b'\n";

async fn asked(network: &Network, number: usize) -> (u16, String) {
    let client = KmeClient::of_net(&network.dir, "sae-a").unwrap_or_else(|error| panic!("{error}"));
    let body = json!({ "number": number });
    let (status, text) = client.exchange("sae-b", "enc_keys", Some(&body)).await.unwrap_or_else(|e| panic!("{e}"));
    (status, String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_node_hands_out_no_key() {
    let network = Network::start(PAIR);
    network.deliver("sae-a", "sae-b").await;
    let socket = &network.net.nodes[0].control_socket;
    qkdctl::client::order(socket, "/v1/lock", &json!({})).await.unwrap_or_else(|error| panic!("{error}"));
    let (status, text) = asked(&network, 1).await;
    assert!(status == 503 && text.contains("locked"), "{status} {text}");
    assert!(network.status(0).await.locked);
    let unlock = UnlockRequest { secret: None };
    qkdctl::client::order(socket, "/v1/unlock", &unlock).await.unwrap_or_else(|error| panic!("{error}"));
    // A new session with the other end is made on the way.
    network.deliver("sae-a", "sae-b").await;
    assert!(!network.status(0).await.locked);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_without_its_audit_line() {
    let network = Network::start_with(PAIR, "[audit]\nfile_size = \"4KiB\"\n");
    let data = network.net.nodes[0].config.parent().expect("a folder").join("data");
    network.deliver("sae-a", "sae-b").await;
    let began = Instant::now();
    // One request fills the file; the next cannot begin another, because its name is taken.
    fs::create_dir(data.join("audit-00000000000000000001.log")).expect("a folder");
    fs::write(data.join("audit-00000000000000000001.log/x"), "x").expect("a file");
    let refused = loop {
        let (status, text) = asked(&network, 100).await;
        if status == 503 && text.contains("the key ledger cannot be written") {
            break text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{status} {text}");
    };
    assert!(!refused.contains("\"key\":"), "{refused}");
    let status = network.status(0).await;
    assert!(status.alarms.iter().any(|alarm| alarm.code == "QKD-3002"), "{:?}", status.alarms);
    network.stop().await;
}
