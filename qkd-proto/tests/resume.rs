//! Blocks over a lost connection: they go on where they were, once, with the same bits at both ends;
//! a restarted neighbour's do not; false words about them do no harm.

mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use qkd_proto::codec;
use qkd_proto::id::BlockId;
use qkd_proto::moment::Moment;
use qkd_proto::node::input::Input;
use qkd_proto::node::message::{BlockFrame, NEIGHBOUR_BYTES_MAX, NEIGHBOUR_VERSION, NeighbourMessage};
use qkd_proto::pool::message::PoolMessage;
use rig::Rig;

/// Blocks that gave key and blocks that did not, at one end.
fn blocks(rig: &Rig, at: usize) -> (u64, u64) {
    let status = rig.sites[at].node.as_ref().expect("it runs").status(Moment(rig.clock), "test");
    (status.links[0].blocks_ok, status.links[0].blocks_aborted)
}

/// Both ends hold the same pads wherever both hold some, and no two alike.
fn check_pads(rig: &Rig) {
    let ends = [rig.closed_pads(0, 0), rig.closed_pads(1, 0)];
    for end in &ends {
        let mut seen = BTreeSet::new();
        assert!(end.values().all(|bits| seen.insert(bits)), "the same bits were deposited twice");
    }
    let both: Vec<_> = ends[0].iter().filter_map(|(place, bits)| Some((bits, ends[1].get(place)?))).collect();
    assert!(both.len() > 2 && both.into_iter().all(|(a, b)| a == b), "the ends' pads differ");
}

/// The newest block that the transmitter has spoken of.
fn last_block(rig: &Rig) -> Option<BlockId> {
    let said = rig.said.iter().rev().map(|(_, _, bytes)| codec::decode(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX));
    said.into_iter().find_map(|message| match message {
        Ok(NeighbourMessage::Pool(PoolMessage::BlockStart { block, .. })) => Some(block),
        _ => None,
    })
}

/// Uses keys up until there is room for a new block, and it has started.
fn start_block(rig: &mut Rig) -> BlockId {
    let before = last_block(rig);
    for _ in 0..2_000 {
        let id = rig.enc(0, 1, 32);
        for _ in 0..50 {
            if let Some(block) = last_block(rig).filter(|block| Some(*block) != before) {
                return block;
            }
            if !rig.step() {
                break;
            }
        }
        rig.answers.remove(&id);
    }
    panic!("no block starts");
}

fn steps(rig: &mut Rig, number: usize) {
    for _ in 0..number {
        rig.step();
    }
}

#[test]
fn a_block_goes_on_wherever_the_connection_is_cut() {
    let mut rig = Rig::optical(2, &[(0, 1)]);
    start_block(&mut rig);
    let all = std::iter::from_fn(|| rig.step().then_some(())).count();
    assert!(all > 100, "photons, words, commits");
    for cut in (0..=all).step_by(STRIDE) {
        let before = blocks(&rig, 1);
        rig.log.clear();
        start_block(&mut rig);
        steps(&mut rig, cut);
        rig.disconnect(0);
        rig.run_for(Duration::from_millis(800));
        check_pads(&rig);
        assert_eq!(rig.link_state(0, 0), "up", "{:#?}", rig.log);
        let (sent, received) = (rig.stored(0, 0), rig.stored(1, 0));
        assert_eq!(sent, (received.1, received.0), "both ends hold the same");
        let after = blocks(&rig, 1);
        assert!(after.0 > before.0);
        // A block of which the receiver had not heard is not worth going on with; and any block may fail.
        let lost = |line: &&String| line.contains("BlockAborted") && !line.contains("reconciliation failed");
        assert!(cut < 4 || !rig.log.iter().any(|line| lost(&line)), "cut after {cut}: {:#?}", rig.log);
        assert!(!rig.logged("QKD-2201") && !rig.logged("authentication failed"));
    }
    assert!(rig.one_key(0, 1) && rig.one_key(1, 0));
}

/// All cut points take half a minute; these are spread over the whole block.
const STRIDE: usize = 13;

#[test]
fn a_connection_that_breaks_again_and_again_costs_no_block() {
    let mut rig = Rig::optical(2, &[(0, 1)]);
    rig.log.clear();
    start_block(&mut rig);
    let before = blocks(&rig, 0).0;
    steps(&mut rig, 10);
    for _ in 0..8 {
        rig.disconnect(0);
        rig.settle();
        rig.connect(0);
        // A handshake and a little more.
        steps(&mut rig, 60);
    }
    rig.run_for(Duration::from_secs(1));
    assert!(blocks(&rig, 0).0 > before && !rig.logged("BlockAborted"), "{:#?}", rig.log);
    check_pads(&rig);
}

#[test]
fn a_restarted_neighbours_blocks_are_dropped() {
    for at in [0, 1] {
        let mut rig = Rig::optical(2, &[(0, 1)]);
        let block = start_block(&mut rig);
        steps(&mut rig, 60);
        let before = rig.stored(1 - at, 0);
        rig.crash(at);
        rig.settle();
        rig.start(at);
        rig.run_for(Duration::from_secs(2));
        let done = format!("BlockDone(n0-n1, {block:?}");
        assert!(!rig.logged(&done), "nobody finished the block: {before:?}");
        assert!(rig.one_key(0, 1), "the link goes on");
        check_pads(&rig);
    }
}

#[test]
fn a_block_times_out_while_the_connection_is_away() {
    let mut rig = Rig::optical(2, &[(0, 1)]);
    start_block(&mut rig);
    steps(&mut rig, 60);
    rig.disconnect(0);
    rig.settle();
    for _ in 0..40 {
        rig.clock += Duration::from_secs(1);
        (0..2).for_each(|at| rig.feed(at, Input::Timer));
        rig.settle();
    }
    assert!(rig.logged("timeout"));
    rig.run_for(Duration::from_secs(2));
    assert!(rig.one_key(0, 1));
    check_pads(&rig);
}

#[test]
fn false_words_about_a_lost_connection_end_in_a_dropped_link_or_block() {
    let mut rig = Rig::optical(2, &[(0, 1)]);
    for (round, victim) in [0, 1].into_iter().cycle().take(12).enumerate() {
        let block = start_block(&mut rig);
        steps(&mut rig, 40 + round);
        let (id, heard) = (rig.link_id(0), [0, 1, 7, 300, u32::MAX - 1, u32::MAX][round / 2]);
        // One block that is spoken of, one of another session, one of none.
        for block in [block, BlockId(block.0 ^ 1 << 40), BlockId(u64::MAX), BlockId(0)] {
            let words = NeighbourMessage::Pool(PoolMessage::BlockResume { block, heard });
            rig.feed(victim, Input::LinkBytes(id.clone(), codec::encode(NEIGHBOUR_VERSION, &words)));
            let frame = BlockFrame { block, number: heard, heard, words: b"?" };
            rig.feed(victim, Input::BlockBytes(id.clone(), frame.encode()));
        }
        assert!(rig.log.iter().any(|line| line.contains("goes on with a block where none can")));
        rig.log.clear();
        rig.run_for(Duration::from_secs(2));
        check_pads(&rig);
    }
    assert!(rig.one_key(0, 1), "an honest neighbour is served again");
}
