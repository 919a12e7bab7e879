//! A link fed by a pair of modules that speak ETSI GS QKD 014: here the modules are nodes of our own,
//! which hand out what their own link makes.

mod rig;

use rig::Network;

const MODULES: &str = "name = 'modules'\n[[node]]\nname = 'ma'\n[[node]]\nname = 'mb'\n\
    [[link]]\nends = ['ma', 'mb']\ndevice = 'table'\nrate = '20Mbit/s'\nqber = 0.01\n\
    [[sae]]\nid = 'sae-ma'\nnode = 'ma'\n[[sae]]\nid = 'sae-mb'\nnode = 'mb'\n";

/// One end's table: the module at node `at`, asked as its SAE, shared with the other one's.
fn end(modules: &Network, name: &str, at: usize) -> String {
    let names = ["sae-ma", "sae-mb"];
    let (dir, own) = (modules.dir.display(), names[at]);
    format!(
        "[link.{name}.module]\nurl = '{}'\nca = '{dir}/ca.pem'\ncertificate = '{dir}/saes/{own}/cert.pem'\n\
         key = '{dir}/saes/{own}/key.pem'\npeer_sae = '{}'\nkey_size = '4096bit'\nnumber = 8\npoll = '50ms'\n",
        modules.net.nodes[at].supply_url,
        names[1 - at]
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_fill_the_pool_of_a_link() {
    let modules = Network::start(MODULES);
    let fed = Network::start(&format!(
        "name = 'fed'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n[[link]]\nends = ['a', 'b']\ndevice = 'etsi014'\n\
         capacity = '16KiB'\n{}{}[[sae]]\nid = 'sae-a'\nnode = 'a'\n[[sae]]\nid = 'sae-b'\nnode = 'b'\n",
        end(&modules, "transmitter", 0),
        end(&modules, "receiver", 1),
    ));
    for node in [0, 1] {
        let full = fed.link(node, "a-b", |link| link.store_bytes >= 16_000 && link.blocks_ok >= 4).await;
        assert_eq!((full.device.as_str(), full.authentication.as_str()), ("etsi014", "pool"));
        assert_eq!((full.qber, full.skr_bps, full.faults.len()), (None, None, 0), "modules tell no physics");
    }
    fed.deliver("sae-a", "sae-b").await;
    fed.stop().await;
    modules.stop().await;
}
