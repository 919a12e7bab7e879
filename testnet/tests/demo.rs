//! The demo as a user runs it: real daemons, no root, no Docker.

use std::process::{Command, Output};

use serde_json::{Value, json};

fn testnet(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testnet"));
    // `cargo test --workspace` has just built the daemon; what is missing is built even so.
    command.env("QKDD_TESTNET_KEEP_BINARIES", "1");
    command.args(arguments).output().expect("testnet runs")
}

fn demo(arguments: &[&str]) -> Value {
    let run = testnet(&[&["demo", "--output", "json"], arguments].concat());
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn check_key(shown: &Value, nodes: usize) {
    assert_eq!((&shown["schema"], &shown["ok"], &shown["nodes"]), (&json!(1), &json!(true), &json!(nodes)));
    let key = &shown["keys"][0];
    assert_eq!((&key["equal"], &key["hybrid"]), (&json!(true), &json!(true)));
    assert_eq!(key["initiator_sha256"], key["target_sha256"]);
    assert_eq!(key["initiator_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(key["key_id"].as_str().map(str::len), Some(36));
    assert!(key["latency_ms"].is_number() && shown["elapsed_ms"].is_number());
    assert!(shown["memory_mib"].as_u64().is_some_and(|mib| mib > 0));
}

#[test]
fn three_nodes_deliver_a_key_from_end_to_end() {
    let shown = demo(&["--nodes", "3"]);
    check_key(&shown, 3);
    let key = &shown["keys"][0];
    assert_eq!(key["routes"], json!([["alice", "relay1", "bob"]]));
    assert_eq!(key["cost"].as_array().map(Vec::len), Some(2));
    assert!(key["cost"][0]["relay_bytes"].as_u64().is_some_and(|bytes| bytes >= 32));
    for link in shown["links"].as_array().expect("links") {
        assert_eq!((&link["device"], &link["state"]), (&json!("simulated"), &json!("up")), "{link}");
        assert!(link["qber"].as_f64().is_some_and(|qber| (0.001..0.06).contains(&qber)), "{link}");
        assert!(link["skr_bps"].as_f64().is_some_and(|rate| rate > 0.0), "{link}");
        assert!(link["store_bytes"].is_u64() && link["dilution"].is_number());
    }
}

#[test]
fn the_key_avoids_a_link_with_an_eavesdropper() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/eve-ring.toml");
    let shown = demo(&["--topology", topology]);
    check_key(&shown, 5);
    assert_eq!(shown["keys"][0]["routes"], json!([["n1", "n5", "n4", "n3", "n2"]]));
    let links = shown["links"].as_array().expect("links");
    let tapped = links.iter().find(|link| link["name"] == "n1-n2").expect("the link");
    assert_eq!(tapped["state"], "quarantine");
    assert_eq!((&tapped["store_bytes"], &tapped["blocks_ok"]), (&json!(0), &json!(0)));
    assert!(tapped["qber"].as_f64().is_some_and(|qber| qber > 0.08), "{tapped}");
}

#[test]
fn bad_usage_and_failure_have_their_codes() {
    assert_eq!(testnet(&["demo", "--nodes", "1"]).status.code(), Some(2));
    assert_eq!(testnet(&["deep", "T99"]).status.code(), Some(2));
    let missing = testnet(&["demo", "--topology", "/no/such/file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/file"));
}
