//! Faults that an operator orders on running nodes, and what the network makes of them.

mod rig;

use qkd_proto::control::request::{FaultRequest, InjectedFault};
use rig::Network;

const PARALLEL: &str = "name = 'parallel'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n\
    [[link]]\nends = ['a', 'b']\ndevice = 'table'\nrate = '10Mbit/s'\nqber = 0.01\ncapacity = '16KiB'\n\
    [[link]]\nends = ['b', 'a']\ndevice = 'table'\nrate = '10Mbit/s'\nqber = 0.02\ncapacity = '16KiB'\n\
    [[sae]]\nid = 'sae-a'\nnode = 'a'\n[[sae]]\nid = 'sae-b'\nnode = 'b'\n";

async fn order(network: &Network, node: usize, link: &str, fault: Option<InjectedFault>) -> Result<(), String> {
    let order = FaultRequest { link: link.into(), fault, seconds: None };
    let socket = &network.net.nodes[node].control_socket;
    qkdctl::client::order(socket, "/v1/faults", &order).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_leaves_its_parallel_one_in_use() {
    let network = Network::start(PARALLEL);
    for name in ["a-b", "a-b.2"] {
        let up = network.link(0, name, |link| link.state == "up" && link.store_bytes >= 16 << 10).await;
        assert_eq!(up.role, if name == "a-b" { "transmitter" } else { "receiver" });
    }
    network.deliver("sae-a", "sae-b").await;
    order(&network, 0, "a-b", Some(InjectedFault::Cut)).await.expect("a cut");
    let status = network.status(0).await;
    let alarm = status.alarms.iter().find(|alarm| alarm.code == "QKD-2102").expect("an alarm");
    assert!(alarm.about == "a-b" && alarm.text.contains("injected fault: the quantum channel is cut"), "{alarm:?}");
    // The cut link runs dry, the other one goes on.
    let mut cut = network.link(0, "a-b", |_| true).await;
    for _ in 0..200 {
        network.deliver_bytes("sae-a", "sae-b", 1024).await;
        cut = network.link(0, "a-b", |_| true).await;
        if cut.blocks_aborted > 0 {
            break;
        }
    }
    assert!(cut.last_abort.is_some_and(|why| why.contains("injected fault")) && !cut.faults.is_empty());
    network.deliver("sae-b", "sae-a").await;
    order(&network, 0, "a-b", None).await.expect("cleared");
    let blocks = cut.blocks_ok;
    // Blocks start when the pool has room: keys are spent until it has.
    let mut healed = network.link(0, "a-b", |link| link.faults.is_empty()).await;
    for _ in 0..200 {
        if healed.blocks_ok > blocks {
            break;
        }
        network.deliver_bytes("sae-a", "sae-b", 1024).await;
        healed = network.link(0, "a-b", |_| true).await;
    }
    assert!(healed.blocks_ok > blocks && healed.state == "up", "{healed:?}");
    assert!(network.status(0).await.alarms.is_empty());
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eavesdropper_comes_and_goes_on_a_running_link() {
    let network = Network::start(
        "name = 'optics'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n\
         [[link]]\nends = ['a', 'b']\nlength = '1km'\ncapacity = '1MiB'\nblock = '64Kibit'\n",
    );
    let clean = network.link(1, "a-b", |link| link.state == "up" && link.blocks_ok > 0).await;
    assert!(clean.qber.is_some_and(|qber| qber < 0.06) && clean.faults.is_empty(), "{clean:?}");
    let eve = InjectedFault::InterceptResend { fraction: 0.8, basis: 0.5, burst: None };
    let refused = order(&network, 0, "a-b", Some(eve)).await.expect_err("the wrong end");
    assert!(refused.contains("takes effect at the receiver"), "{refused}");
    order(&network, 1, "a-b", Some(eve)).await.expect("an eavesdropper");
    let tapped = network.link(1, "a-b", |link| link.state == "quarantine").await;
    assert!(tapped.faults[0].contains("resends 80 %"), "{tapped:?}");
    order(&network, 1, "a-b", None).await.expect("she goes");
    network.link(1, "a-b", |link| link.state == "up").await;
    assert!(network.status(1).await.alarms.is_empty());
    // A cut fibre leaves dark clicks, and they give no key.
    let before = network.link(1, "a-b", |_| true).await;
    order(&network, 0, "a-b", Some(InjectedFault::Cut)).await.expect("a cut");
    let cut = network.link(1, "a-b", |link| link.blocks_aborted >= before.blocks_aborted + 3).await;
    assert!(cut.blocks_ok <= before.blocks_ok + 4, "{cut:?}");
    order(&network, 0, "a-b", None).await.expect("mended");
    network.link(1, "a-b", |link| link.state == "up" && link.blocks_ok > cut.blocks_ok).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_without_effect_is_refused() {
    let network = Network::start(PARALLEL);
    network.status(0).await;
    let refused = order(&network, 0, "a-c", Some(InjectedFault::Cut)).await.expect_err("no such link");
    assert!(refused.contains("no link of this node"), "{refused}");
    let refused = order(&network, 0, "a-b", Some(InjectedFault::PhotonNumberSplitting)).await.expect_err("no optics");
    assert!(refused.contains("no emulated optics"), "{refused}");
    network.stop().await;
}
