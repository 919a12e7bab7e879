//! Transfers over lines and rings of real nodes: lengths, lies, lost words, crashes at each state.

mod rig;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use qkd_proto::codec;
use qkd_proto::id::TransferId;
use qkd_proto::node::effect::Table;
use qkd_proto::node::message::{NEIGHBOUR_BYTES_MAX, NEIGHBOUR_VERSION, NeighbourMessage};
use qkd_proto::node::planted::Defect;
use qkd_proto::relay::letter;
use qkd_proto::relay::message::{LETTER_BYTES_MAX, LetterBody, LetterText, RelayMessage};
use qkd_proto::relay::record::{TransferRecord, TransferState};
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{Refusal, SupplyAnswer};
use rig::Rig;

fn letter_in(bytes: &[u8]) -> Option<LetterBody> {
    match codec::decode(NEIGHBOUR_VERSION, bytes, NEIGHBOUR_BYTES_MAX).ok()? {
        NeighbourMessage::Relay(RelayMessage::Letter { letter, .. }) => {
            Some(letter::peek::<LetterText>(&letter, LETTER_BYTES_MAX).ok()?.0.body)
        }
        _ => None,
    }
}

fn transfers(rig: &Rig, at: usize) -> Vec<(TransferId, TransferState)> {
    let records = rig.sites[at].disk.iter().filter(|((table, _), _)| *table == Table::Transfers);
    let open = |bytes: &Vec<u8>| TransferRecord::decode(&SecretBytes::copy_of(bytes)).expect("a record");
    records.map(|(_, bytes)| open(bytes)).map(|record| (record.id, record.state)).collect()
}

/// Loses letters for as long as `lose` says so; the counter tells how many.
fn lose(rig: &mut Rig, which: impl Fn(&LetterBody) -> bool + 'static, most: u32) -> Rc<Cell<u32>> {
    let lost = Rc::new(Cell::new(0));
    let count = lost.clone();
    rig.alter = Some(Box::new(move |_, bytes| {
        let hit = count.get() < most && letter_in(bytes).is_some_and(|body| which(&body));
        count.set(count.get() + u32::from(hit));
        !hit
    }));
    lost
}

#[test]
fn lines_of_two_to_eight_nodes_carry_keys_both_ways() {
    for count in 2..=8 {
        let mut rig = Rig::line(count);
        assert!(rig.one_key(0, count - 1), "{count} nodes");
        assert!(rig.one_key(count - 1, 0), "{count} nodes, back");
    }
}

#[test]
fn a_relay_that_alters_bits_is_found_out_and_avoided() {
    let mut rig = Rig::new(4, &[(0, 1), (1, 2), (2, 3), (3, 0)]);
    rig.sites[1].node.as_mut().expect("it runs").plant(Defect::AlterPayloads);
    for _ in 0..4 {
        assert!(rig.one_key(0, 2), "the other way is taken");
    }
    assert!(rig.logged("QKD-2303"), "the origin alarms");
    assert!(rig.logged("altered on the way"));
}

#[test]
fn with_a_lying_relay_on_the_only_way_no_key_is_delivered() {
    let mut rig = Rig::line(3);
    rig.sites[1].node.as_mut().expect("it runs").plant(Defect::AlterPayloads);
    assert!(!rig.one_key(0, 2));
    assert!(rig.logged("QKD-2303"));
    assert!(transfers(&rig, 2).iter().all(|(_, state)| *state == TransferState::Voided));
}

#[test]
fn a_lost_session_answer_is_repeated() {
    let mut rig = Rig::line(2);
    let lost = lose(&mut rig, |body| matches!(body, LetterBody::SessionAnswer { .. }), 2);
    assert!(rig.one_key(0, 1));
    assert_eq!(lost.get(), 2);
}

#[test]
fn lost_letters_of_every_kind_are_made_up_for() {
    type Which = fn(&LetterBody) -> bool;
    let kinds: [Which; 4] = [
        |body| matches!(body, LetterBody::SessionOffer { .. }),
        |body| matches!(body, LetterBody::Confirm { .. }),
        |body| matches!(body, LetterBody::Commit { .. }),
        |body| matches!(body, LetterBody::AssignAck { .. }),
    ];
    for which in kinds {
        let mut rig = Rig::line(3);
        lose(&mut rig, which, 2);
        assert!(rig.one_key(0, 2));
    }
}

#[test]
fn traffic_in_one_direction_never_starves() {
    for (master, slave) in [(0, 1), (1, 0)] {
        let mut rig = Rig::line(2);
        for round in 0..60 {
            let id = rig.enc(master, slave, 100);
            rig.run_for(Duration::from_millis(400));
            let answer = rig.answers.remove(&id);
            assert!(matches!(answer, Some(SupplyAnswer::Keys(_))), "{master} to {slave}, round {round}: {answer:?}");
        }
    }
}

/// No block comes any more: what one direction has too much of goes to the other.
#[test]
fn unused_bytes_go_to_the_direction_that_runs_dry() {
    for (master, slave) in [(0, 1), (1, 0)] {
        let mut rig = Rig::line(2);
        rig.run_for(Duration::from_secs(20));
        rig.device_fails = true;
        rig.run_for(Duration::from_secs(2));
        let (own, other) = rig.stored(master, 0);
        let mut relayed = 0;
        while relayed < own + other {
            let id = rig.enc(master, slave, 40);
            rig.run_for(Duration::from_millis(600));
            let Some(SupplyAnswer::Keys(keys)) = rig.answers.remove(&id) else { break };
            relayed += 32 * keys.len() as u64;
        }
        println!("{master} to {slave}: {own} + {other} bytes, {relayed} relayed");
        assert!(relayed > own + other / 4, "of {own} own and {other} other bytes {relayed} were relayed");
    }
}

/// The origin (0) or the target (2) crashes when the other one's transfer is in `state`.
fn crash_in(state: TransferState, who: usize) {
    let mut rig = Rig::line(3);
    assert!(rig.one_key(0, 2));
    let kept = move |body: &LetterBody| match state {
        TransferState::Pending => matches!(body, LetterBody::Confirm { .. }),
        TransferState::Committed => matches!(body, LetterBody::Commit { .. }),
        _ => matches!(body, LetterBody::AssignAck { .. }),
    };
    lose(&mut rig, kept, u32::MAX);
    let id = rig.enc(0, 2, 1);
    rig.run_for(Duration::from_millis(300));
    rig.crash(who);
    rig.alter = None;
    rig.run_for(Duration::from_millis(200));
    rig.start(who);
    rig.run_for(Duration::from_secs(12));
    if who != 0
        && let Some(SupplyAnswer::Keys(keys)) = rig.answers.remove(&id)
    {
        let fetch = rig.dec(0, 2, vec![keys[0].id]);
        rig.run_for(Duration::from_millis(200));
        assert!(matches!(rig.answers.remove(&fetch), Some(SupplyAnswer::Keys(_))), "{state:?} {who}");
    }
    let [origin, target] = [0, 2].map(|at| transfers(&rig, at));
    for (id, state) in &origin {
        let theirs = target.iter().find(|(of, _)| of == id).map(|(_, state)| *state);
        match state {
            TransferState::Relayed => assert_eq!(theirs, Some(TransferState::Relayed)),
            TransferState::Voided => assert_ne!(theirs, Some(TransferState::Relayed)),
            state => panic!("{id:?} is unresolved: {state:?}"),
        }
    }
    assert!(target.iter().all(|(_, state)| *state != TransferState::Pending), "{target:?}");
    assert!(rig.one_key(0, 2));
}

#[test]
fn a_crash_of_either_end_in_any_state_is_resolved() {
    for state in [TransferState::Pending, TransferState::Committed, TransferState::Relayed] {
        crash_in(state, 0);
        crash_in(state, 2);
    }
}

#[test]
fn a_delivered_key_is_not_delivered_again_after_a_crash_of_either_end() {
    let mut rig = Rig::line(2);
    let id = rig.enc(0, 1, 1);
    rig.run_for(Duration::from_secs(1));
    let Some(SupplyAnswer::Keys(keys)) = rig.answers.remove(&id) else { panic!("keys") };
    let fetch = rig.dec(0, 1, vec![keys[0].id]);
    rig.run_for(Duration::from_millis(100));
    assert!(matches!(rig.answers.remove(&fetch), Some(SupplyAnswer::Keys(_))));
    for at in [0, 1] {
        rig.crash(at);
        rig.start(at);
    }
    rig.run_for(Duration::from_secs(2));
    let again = rig.dec(0, 1, vec![keys[0].id]);
    rig.run_for(Duration::from_millis(100));
    assert!(matches!(rig.answers.remove(&again), Some(SupplyAnswer::Refused(Refusal::BadRequest(_)))));
}

#[test]
fn a_failed_commit_poisons_its_lane_only() {
    let mut rig = Rig::line(3);
    assert!(rig.one_key(0, 2));
    rig.sites[1].slow_disk = true;
    rig.disconnect(1);
    rig.run_for(Duration::from_millis(200));
    while rig.fail_commit(1) {}
    rig.sites[1].slow_disk = false;
    rig.run_for(Duration::from_secs(2));
    assert!(rig.logged("QKD-3001"));
    assert_eq!(rig.link_state(1, 1), "failed");
    assert!(rig.one_key(0, 1), "the other link works");
}

#[test]
fn when_the_ledger_cannot_be_written_no_key_leaves() {
    let mut rig = Rig::line(2);
    assert!(rig.one_key(0, 1));
    rig.sites[1].slow_disk = true;
    let id = rig.enc(0, 1, 1);
    rig.run_for(Duration::from_millis(100));
    while rig.fail_commit(1) {}
    rig.run_for(Duration::from_secs(6));
    assert!(matches!(rig.answers.remove(&id), Some(SupplyAnswer::Refused(Refusal::Unavailable(_)))));
    assert!(rig.logged("QKD-3002"));
}

#[test]
fn what_is_over_is_forgotten_in_the_end_on_disk_too() {
    let mut rig = Rig::line(2);
    for site in &mut rig.sites {
        site.node.as_mut().expect("it runs").plant_few_tombstones(10);
    }
    let mut keys = Vec::new();
    for _ in 0..100 {
        let id = rig.enc(0, 1, 1);
        rig.run_for(Duration::from_millis(150));
        let Some(SupplyAnswer::Keys(got)) = rig.answers.remove(&id) else { continue };
        let fetch = rig.dec(0, 1, vec![got[0].id]);
        rig.settle();
        assert!(matches!(rig.answers.remove(&fetch), Some(SupplyAnswer::Keys(_))));
        keys.push(got[0].id);
    }
    assert!(keys.len() > 90, "{}", keys.len());
    for at in [0, 1] {
        assert!(transfers(&rig, at).len() < 10 + 64 + 2, "{}", transfers(&rig, at).len());
        rig.crash(at);
        rig.start(at);
    }
    rig.run_for(Duration::from_secs(2));
    for id in keys {
        let again = rig.dec(0, 1, vec![id]);
        rig.settle();
        assert!(matches!(rig.answers.remove(&again), Some(SupplyAnswer::Refused(Refusal::BadRequest(_)))));
    }
    assert!(rig.one_key(0, 1));
}
