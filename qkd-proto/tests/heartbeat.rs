//! Neighbours hear how far a node's deliveries are, however busy it is: what a rolled-back node could repeat
//! is bounded by that.

mod rig;

use std::time::Duration;

use qkd_proto::node::effect::{Lane, Table};
use qkd_proto::node::input::Input;
use qkd_proto::pool::record::MarksRecord;
use qkd_proto::secret::SecretBytes;
use rig::Rig;

const TICK: Duration = Duration::from_millis(50);

/// The durable marks of a link at a site.
fn marks(rig: &Rig, at: usize, link: usize) -> MarksRecord {
    let marks = &rig.sites[at].disk[&(Table::Marks, rig.link_id(link).as_str().as_bytes().to_vec())];
    MarksRecord::decode(&SecretBytes::copy_of(marks)).expect("a mark").0
}

/// The sequence of site 0's store that site 1 remembers durably.
fn remembered(rig: &Rig) -> u64 {
    marks(rig, 1, 0).peer.map_or(0, |peer| peer.store_sequence.0)
}

fn open_deliveries(rig: &Rig) -> usize {
    rig.sites[0].writing.iter().filter(|commit| commit.lane == Lane::Delivery).count()
}

/// Half a second in which site 0 always has a delivery on its way to the disk.
fn busy(rig: &mut Rig) {
    for _ in 0..10 {
        rig.enc(0, 1, 1);
        while open_deliveries(rig) > 1 {
            rig.sync(0);
        }
        rig.settle();
        rig.clock += TICK;
        assert!(open_deliveries(rig) > 0, "the disk is never idle");
        (0..2).for_each(|at| rig.feed(at, Input::Timer));
    }
}

#[test]
fn a_node_that_always_delivers_is_heard_of_all_the_same() {
    let mut rig = Rig::line(2);
    assert!(rig.one_key(0, 1));
    rig.sites[0].slow_disk = true;
    for _ in 0..4 {
        busy(&mut rig);
    }
    for _ in 0..6 {
        let durable = rig.sites[0].sequence;
        (0..4).for_each(|_| busy(&mut rig));
        assert!(rig.sites[0].sequence > durable + 10, "it delivers");
        assert!(remembered(&rig) >= durable, "{} of {durable} after two seconds", remembered(&rig));
    }
}

/// A relay delivers nothing, and reserves rarely: that its marks moved is heard with its acknowledgements.
#[test]
fn a_relay_whose_disk_is_put_back_is_told() {
    let mut rig = Rig::line(3);
    assert!(rig.one_key(0, 2));
    let reserved = |rig: &Rig| [0, 1].map(|link| marks(rig, 1, link).send_reserved);
    let (copy, sequence, before) = (rig.sites[1].disk.clone(), rig.sites[1].sequence, reserved(&rig));
    assert!(rig.one_key(0, 2));
    assert_eq!(reserved(&rig), before, "no reservation of its own tells");
    rig.crash(1);
    rig.sites[1].disk = copy;
    rig.sites[1].sequence = sequence;
    rig.start(1);
    rig.run_for(Duration::from_secs(3));
    assert!(rig.logged("this node was rolled back"), "{:?}", rig.log);
    assert!(rig.one_key(0, 2));
}
