//! A rate-table link that makes key during its passes only, as a satellite's.

mod rig;

use rig::Network;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_makes_key_in_its_passes_and_tells_the_next() {
    let network = Network::start(
        "name = 'passes'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n\
         [[link]]\nends = ['a', 'b']\ndevice = 'table'\npreset = 'satellite-beijing'\nrate = '1Mbit/s'\n\
         pass_every = '3s'\npass_length = '1s'\n",
    );
    let between = network.link(0, "a-b", |link| link.next_pass_s.is_some_and(|wait| wait > 0)).await;
    assert!(between.next_pass_s.is_some_and(|wait| wait <= 2) && between.qber.is_none(), "{between:?}");
    let passing = network.link(1, "a-b", |link| link.blocks_ok > 1 && link.next_pass_s == Some(0)).await;
    assert!(passing.state == "up" && passing.skr_bps == Some(1e6), "{passing:?}");
    network.stop().await;
}
