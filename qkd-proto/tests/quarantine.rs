//! An eavesdropper on a link of real nodes over emulated optics: no bit, no key, and a way back.

mod rig;

use std::time::Duration;

use qkd_proto::supply::message::{Refusal, SupplyAnswer};
use rig::Rig;

#[test]
fn a_link_with_an_eavesdropper_carries_no_key_until_three_clean_blocks() {
    let mut rig = Rig::optical(2, &[(0, 1)]);
    assert!(rig.one_key(0, 1), "the honest link carries key");
    let before = rig.stored(0, 0);
    rig.eve = 0.5;
    // Keys are spent, so the pool has room and a block starts: it is the eavesdropper's.
    for _ in 0..3 {
        let _ = rig.enc(0, 1, 128);
    }
    rig.run_for(Duration::from_secs(3));
    assert_eq!((rig.link_state(0, 0), rig.link_state(1, 0)), ("quarantine".into(), "quarantine".into()));
    let after = rig.stored(0, 0);
    assert!(after.0 <= before.0 && after.1 <= before.1, "the attacked blocks added no bit: {before:?}, {after:?}");
    let refused = rig.enc(0, 1, 1);
    rig.run_for(Duration::from_secs(5));
    let answer = rig.answers.remove(&refused);
    assert!(matches!(answer, Some(SupplyAnswer::Refused(Refusal::Unavailable(_)))), "{answer:?}");
    rig.eve = 0.0;
    rig.run_for(Duration::from_secs(5));
    assert!(rig.logged("back from quarantine after 3 clean blocks"));
    assert_eq!((rig.link_state(0, 0), rig.link_state(1, 0)), ("up".into(), "up".into()));
    assert!(rig.one_key(0, 1), "the link carries key again");
}
