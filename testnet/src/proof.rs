//! The proof. In: what was measured. Out: lines for people as they become known, or one JSON value.
//! Always: "EQUAL" is said of equal hashes only, and "emulated" wherever photons are.

use std::time::{Duration, Instant};

use qkd_proto::control::reply::{KeyReply, LinkReply, SCHEMA};
use qkdctl::cli::Output;
use qkdctl::net::Net;
use serde_json::{Value, json};

use crate::delivery::Delivery;
use crate::scenario::Scenario;

/// Column of the times.
const WIDTH: usize = 78;
/// Digits of a hash that people see.
const SHOWN: usize = 16;

/// Everything that was measured.
pub(crate) struct Proof {
    /// How many daemons ran.
    pub(crate) nodes: usize,
    /// The links, as their transmitters tell.
    pub(crate) links: Vec<LinkReply>,
    /// The key at both ends.
    pub(crate) delivery: Delivery,
    /// Which way it came and what that cost.
    pub(crate) bill: KeyReply,
    /// Links with an eavesdropper.
    pub(crate) eve: Vec<String>,
    /// Sum of the daemons' highest memory, MiB.
    pub(crate) memory_mib: u64,
    /// Time of everything.
    pub(crate) elapsed: Duration,
}

impl Proof {
    /// The JSON form that others rely on.
    pub(crate) fn to_json(&self) -> Value {
        let links = self.links.iter().map(|link| {
            json!({
                "name": link.name, "device": link.device, "dilution": link.dilution, "state": link.state,
                "qber": link.qber, "skr_bps": link.skr_bps, "store_bytes": link.store_bytes,
                "blocks_ok": link.blocks_ok, "blocks_aborted": link.blocks_aborted, "faults": link.faults,
            })
        });
        let mut shown = keys_json(&self.delivery, &self.bill);
        shown["nodes"] = self.nodes.into();
        shown["links"] = links.collect();
        shown["memory_mib"] = self.memory_mib.into();
        shown["elapsed_ms"] = (self.elapsed.as_millis() as u64).into();
        shown
    }

    fn avoids(&self, link: &str) -> bool {
        self.bill.cost.iter().all(|cost| cost.link != link)
    }
}

/// The JSON form of one key at both ends.
pub(crate) fn keys_json(delivery: &Delivery, bill: &KeyReply) -> Value {
    let key = json!({
        "key_id": delivery.key_id, "routes": bill.routes, "hybrid": bill.hybrid,
        "initiator_sha256": delivery.initiator_sha256, "target_sha256": delivery.target_sha256,
        "equal": delivery.is_equal(), "latency_ms": delivery.latency.as_secs_f64() * 1e3, "cost": bill.cost,
    });
    json!({ "schema": SCHEMA, "ok": delivery.is_equal(), "keys": [key] })
}

/// Prints the proof bit by bit.
pub(crate) struct Printer {
    output: Output,
    started: Instant,
}

impl Printer {
    /// In the given form, with times from `started` on.
    pub(crate) fn new(output: Output, started: Instant) -> Self {
        Self { output, started }
    }

    /// Which nodes and links.
    pub(crate) fn topology(&self, scenario: &Scenario) {
        let topology = &scenario.topology;
        let drawn = if topology.nodes.len() == topology.links.len() + 1
            && topology.nodes.windows(2).all(|pair| {
                topology.links.iter().any(|link| link.ends.contains(&pair[0].name) && link.ends.contains(&pair[1].name))
            }) {
            topology.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" – ")
        } else {
            format!("{}: {} nodes, {} links", topology.name, topology.nodes.len(), topology.links.len())
        };
        self.line("topology", &format!("{drawn}   (emulated photons)"));
    }

    /// What was rendered.
    pub(crate) fn pki(&self, net: &Net) {
        let text = format!("{} authority, {} nodes, {} SAEs", net.network, net.nodes.len(), net.saes.len());
        self.timed("pki", &text);
    }

    /// What runs.
    pub(crate) fn daemons(&self, count: usize) {
        self.timed("daemons", &format!("{count} qkdd processes answer"));
    }

    /// The links when the key was delivered.
    pub(crate) fn links(&self, proof: &Proof) {
        let up = proof.links.iter().filter(|link| link.state == "up").count();
        let summary = format!("{up} of {} up{}", proof.links.len(), span(&proof.links));
        self.timed("links", &summary);
        let width = proof.links.iter().map(|link| link.name.len()).max().unwrap_or(0);
        for link in &proof.links {
            self.line("", &link_text(link, width));
        }
        for name in &proof.eve {
            let way = if proof.avoids(name) { "the key's route avoids it" } else { "BUT THE KEY CROSSED IT" };
            let link = proof.links.iter().find(|link| link.name == *name);
            let state = link.map_or("unknown", |link| link.state.as_str());
            self.line("eve", &format!("on {name}: {state}, 0 bits of its last block were kept; {way}"));
        }
    }

    /// The key at both ends, each given as node and SAE.
    pub(crate) fn key(&self, ends: [(&str, &str); 2], delivery: &Delivery, bill: &KeyReply) {
        let [(from, initiator), (to, target)] = ends;
        let text = format!("{from} → {to}   id {}", delivery.key_id);
        self.with_time("key", &text, delivery.latency);
        for route in &bill.routes {
            self.line("", &format!("route {}", route.join(" – ")));
        }
        let equal = if delivery.is_equal() { "EQUAL" } else { "DIFFERENT" };
        let short = |sum: &str| sum.chars().take(SHOWN).collect::<String>();
        let (own, other) = (short(&delivery.initiator_sha256), short(&delivery.target_sha256));
        self.line("", &format!("{initiator} sha256 {own}…   {target} sha256 {other}…   {equal}"));
        let costs = bill
            .cost
            .iter()
            .map(|cost| format!("{} {} B + {} B authentication", cost.link, cost.relay_bytes, cost.auth_bytes));
        for (i, cost) in costs.enumerate() {
            self.line(if i == 0 { "cost" } else { "" }, &cost);
        }
        let mask = if bill.hybrid { "on: relays do not learn the key (X25519 + ML-KEM-768)" } else { "off" };
        self.line("hybrid", mask);
    }

    /// The end, or the JSON value.
    pub(crate) fn end(&self, proof: &Proof) {
        if self.output == Output::Json {
            println!("{}", proof.to_json());
            return;
        }
        self.line("memory", &format!("{} MiB, the daemons' peaks added up", proof.memory_mib));
        self.with_time("done", "daemons ended, keys erased", proof.elapsed);
    }

    fn timed(&self, name: &str, text: &str) {
        self.with_time(name, text, self.started.elapsed());
    }

    fn with_time(&self, name: &str, text: &str, time: Duration) {
        let shown = if time < Duration::from_millis(100) {
            format!("{:.1} ms", time.as_secs_f64() * 1e3)
        } else {
            format!("{:.1} s", time.as_secs_f64())
        };
        let pad = WIDTH.saturating_sub(text.chars().count() + shown.len()).max(2);
        self.line(name, &format!("{text}{:pad$}{shown}", ""));
    }

    fn line(&self, name: &str, text: &str) {
        if self.output == Output::Table {
            println!("{name:<11}{text}");
        }
    }
}

fn link_text(link: &LinkReply, width: usize) -> String {
    let qber = link.qber.map_or("-".into(), |qber| format!("{:.2} %", qber * 100.0));
    let rate = link.skr_bps.map_or("-".into(), |rate| format!("{:.1} kbit/s", rate / 1e3));
    let clock = if link.dilution == 1.0 { "real time".into() } else { format!("dilution {}", link.dilution) };
    format!(
        "{:width$}  {:<10} {} (emulated), {clock}   QBER {qber}   {rate}   store {} KiB",
        link.name,
        link.state,
        link.device,
        link.store_bytes / 1024
    )
}

/// Error rates and the lowest store of the links that are up.
fn span(links: &[LinkReply]) -> String {
    let up = || links.iter().filter(|link| link.state == "up");
    let rates = || up().filter_map(|link| link.qber).map(|qber| qber * 100.0);
    let (low, high) = (rates().fold(f64::MAX, f64::min), rates().fold(0.0, f64::max));
    let store = up().map(|link| link.store_bytes).min().unwrap_or(0) / 1024;
    if low > high { String::new() } else { format!("   QBER {low:.1} to {high:.1} %   store ≥ {store} KiB each") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_has_the_promised_fields() {
        let bill: KeyReply = serde_json::from_value(json!({
            "schema": 1, "key_id": "k", "role": "origin", "routes": [["a", "b"]], "hybrid": true,
            "cost": [{"link": "a-b", "relay_bytes": 32, "auth_bytes": 48}],
        }))
        .expect("a key reply");
        let sums = ["00".to_owned(), "01".to_owned()];
        let [initiator_sha256, target_sha256] = sums;
        let delivery = Delivery { key_id: "k".into(), initiator_sha256, target_sha256, latency: Duration::ZERO };
        let elapsed = Duration::from_millis(7);
        let mut proof = Proof { nodes: 2, links: Vec::new(), delivery, bill, eve: Vec::new(), memory_mib: 3, elapsed };
        let unequal = proof.to_json();
        assert_eq!((&unequal["ok"], &unequal["keys"][0]["equal"]), (&json!(false), &json!(false)));
        proof.delivery.target_sha256 = "00".into();
        let shown = proof.to_json();
        assert_eq!((&shown["schema"], &shown["ok"], &shown["nodes"]), (&json!(1), &json!(true), &json!(2)));
        assert_eq!(shown["keys"][0]["cost"][0], json!({"link": "a-b", "relay_bytes": 32, "auth_bytes": 48}));
        assert_eq!((&shown["memory_mib"], &shown["elapsed_ms"]), (&json!(3), &json!(7)));
    }
}
