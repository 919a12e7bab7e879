//! A link whose optics are derived at both ends from one secret.

mod rig;

use rig::Network;

#[tokio::test(flavor = "multi_thread")]
async fn seeded_optics_make_key_and_are_shown_as_such() {
    let network = Network::start(
        "name = 'seeded'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n\
         [[link]]\nends = ['a', 'b']\ndevice = 'seeded'\nlength = '1km'\ncapacity = '16KiB'\nblock = '64Kibit'\n\
         [[sae]]\nid = 'sae-a'\nnode = 'a'\n[[sae]]\nid = 'sae-b'\nnode = 'b'\n",
    );
    for node in [0, 1] {
        let link = network.link(node, "a-b", |link| link.blocks_ok > 0 && link.authentication == "pool").await;
        assert_eq!(link.device, "seeded");
        assert!(link.qber.is_some_and(|qber| (0.001..0.06).contains(&qber)), "{link:?}");
    }
    network.deliver("sae-a", "sae-b").await;
    network.stop().await;
}
