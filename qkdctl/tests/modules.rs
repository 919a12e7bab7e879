//! A link fed by a pair of modules that speak ETSI GS QKD 014: here the modules are nodes of our own,
//! which hand out what their own link makes.

mod fake_kme;
mod rig;

use std::path::Path;

use fake_kme::{FakeKme, Mood};
use qkdctl::net::{RenderOptions, Topology, render};
use rig::Network;

const MODULES: &str = "name = 'modules'\n[[node]]\nname = 'ma'\n[[node]]\nname = 'mb'\n\
    [[link]]\nends = ['ma', 'mb']\ndevice = 'table'\nrate = '20Mbit/s'\nqber = 0.01\n\
    [[sae]]\nid = 'sae-ma'\nnode = 'ma'\n[[sae]]\nid = 'sae-mb'\nnode = 'mb'\n";

/// One end's table: a module at `url`, asked as the SAE number `at` of a rendered folder.
fn end(dir: &Path, url: &str, name: &str, at: usize) -> String {
    let names = ["sae-ma", "sae-mb"];
    let (dir, own) = (dir.display(), names[at]);
    format!(
        "[link.{name}.module]\nurl = '{url}'\nca = '{dir}/ca.pem'\ncertificate = '{dir}/saes/{own}/cert.pem'\n\
         key = '{dir}/saes/{own}/key.pem'\npeer_sae = '{}'\nkey_size = '4096bit'\nnumber = 8\npoll = '50ms'\nwait = '2s'\n",
        names[1 - at]
    )
}

/// Two nodes whose one link is fed by the two modules at these addresses.
fn fed_by(dir: &Path, urls: [&str; 2]) -> String {
    format!(
        "name = 'fed'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n[[link]]\nends = ['a', 'b']\ndevice = 'etsi014'\n\
         capacity = '16KiB'\n{}{}[[sae]]\nid = 'sae-a'\nnode = 'a'\n[[sae]]\nid = 'sae-b'\nnode = 'b'\n",
        end(dir, urls[0], "transmitter", 0),
        end(dir, urls[1], "receiver", 1),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_fill_the_pool_of_a_link() {
    let modules = Network::start(MODULES);
    let urls = [0, 1].map(|at| modules.net.nodes[at].supply_url.as_str());
    let fed = Network::start(&fed_by(&modules.dir, urls));
    for node in [0, 1] {
        let full = fed.link(node, "a-b", |link| link.store_bytes >= 16_000 && link.blocks_ok >= 4).await;
        assert_eq!((full.device.as_str(), full.authentication.as_str()), ("etsi014", "pool"));
        assert_eq!((full.qber, full.skr_bps, full.faults.len()), (None, None, 0), "modules tell no physics");
    }
    fed.deliver("sae-a", "sae-b").await;
    fed.stop().await;
    modules.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_module_costs_its_block_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("net");
    let topology = Topology::parse(MODULES).expect("a topology");
    render(&topology, &dir, RenderOptions::default()).expect("keys and certificates");
    let kme = FakeKme::start(&dir.join("nodes/ma"), Mood::Busy).await;
    let fed = Network::start(&fed_by(&dir, [&kme.url, &kme.url]));
    for (mood, node, words) in [
        (Mood::Busy, 0, "answered 503: no keys"),
        (Mood::Unauthorised, 0, "answered 401"),
        (Mood::Garbage, 0, "sent no key container"),
        (Mood::Short, 0, "of 16 bits where 4096 were asked for"),
        (Mood::Flood, 0, "sent more than"),
        (Mood::Repeating, 0, "a second time"),
        (Mood::Foreign, 1, "other keys than those asked for"),
        (Mood::Different, 1, "the modules' keys differ"),
    ] {
        kme.set(mood);
        let tried = |why: &str| why.contains(words);
        let link = fed.link(node, "a-b", |link| link.last_abort.as_deref().is_some_and(tried)).await;
        assert_eq!((link.blocks_ok, link.store_bytes > 16 << 10), (0, false), "{mood:?}");
    }
    kme.set(Mood::Honest);
    for node in [0, 1] {
        fed.link(node, "a-b", |link| link.blocks_ok > 0 && link.authentication == "pool").await;
    }
    fed.deliver("sae-a", "sae-b").await;
    fed.stop().await;
}
