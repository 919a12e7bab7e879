//! Who gets which key from a real node: the rules of ETSI GS QKD 014, 5.3, 5.4 and 6.4.

mod rig;

use std::time::Duration;

use qkd_proto::id::{KeyId, SaeId};
use qkd_proto::quantity::BitCount;
use qkd_proto::supply::message::{Refusal, SupplyAnswer, SupplyRequest};
use rig::{Rig, sae};

fn asked(rig: &mut Rig, at: usize, request: SupplyRequest) -> SupplyAnswer {
    let id = rig.ask(at, request);
    rig.run_for(Duration::from_secs(5));
    rig.answers.remove(&id).expect("every request is answered")
}

fn keys(rig: &mut Rig, number: u32) -> Vec<KeyId> {
    let request = enc(number, Some(256));
    match asked(rig, 0, request) {
        SupplyAnswer::Keys(keys) => keys.into_iter().map(|key| key.id).collect(),
        other => panic!("no keys: {other:?}"),
    }
}

fn enc(number: u32, size: Option<u64>) -> SupplyRequest {
    let size = size.map(BitCount);
    SupplyRequest::EncKeys { caller: sae(0), slave: sae(2), number, size, additional: Vec::new() }
}

fn fetch(rig: &mut Rig, caller: SaeId, master: usize, ids: &[KeyId]) -> SupplyAnswer {
    asked(rig, 2, SupplyRequest::DecKeys { caller, master: sae(master), ids: ids.to_vec() })
}

fn is_not_found(answer: &SupplyAnswer) -> bool {
    matches!(answer, SupplyAnswer::Refused(refusal) if *refusal == Refusal::not_found())
}

#[test]
fn only_the_named_slave_gets_a_key_once_and_others_cost_it_nothing() {
    let mut rig = Rig::line(3);
    let ids = keys(&mut rig, 3);
    let stranger: SaeId = "sae-stranger".parse().expect("a name");
    for thief in [stranger, sae(0), sae(1)] {
        let answer = fetch(&mut rig, thief, 0, &ids[..1]);
        assert!(matches!(answer, SupplyAnswer::Refused(Refusal::Unauthorised)), "{answer:?}");
    }
    assert!(is_not_found(&fetch(&mut rig, sae(2), 1, &ids[..1])), "another master");
    assert!(is_not_found(&fetch(&mut rig, sae(2), 0, &[ids[0], KeyId::from_random([9; 16])])), "all or none");
    let twice = fetch(&mut rig, sae(2), 0, &[ids[0], ids[0]]);
    assert!(matches!(twice, SupplyAnswer::Refused(Refusal::BadRequest(_))));
    let SupplyAnswer::Keys(got) = fetch(&mut rig, sae(2), 0, &ids) else { panic!("nothing was consumed") };
    assert_eq!(got.iter().map(|key| key.id).collect::<Vec<_>>(), ids);
    assert!(is_not_found(&fetch(&mut rig, sae(2), 0, &ids[..1])), "delivered once");
}

#[test]
fn requests_beyond_the_limits_are_named_and_refused() {
    let mut rig = Rig::line(3);
    for (number, size, text) in [
        (0, None, "number 0"),
        (129, None, "number 129"),
        (1, Some(100), "size shall be a multiple of 8"),
        (1, Some(56), "size 56"),
        (1, Some(8200), "size 8200"),
    ] {
        let answer = asked(&mut rig, 0, enc(number, size));
        let SupplyAnswer::Refused(Refusal::BadRequest(why)) = answer else { panic!("{number} {size:?}: {answer:?}") };
        assert!(why.contains(text), "{why}");
    }
    let (caller, slave) = (sae(0), "sae-nobody".parse().expect("a name"));
    let request = SupplyRequest::EncKeys { caller, slave, number: 1, size: None, additional: Vec::new() };
    let answer = asked(&mut rig, 0, request);
    assert!(matches!(answer, SupplyAnswer::Refused(Refusal::BadRequest(why)) if why.contains("sae-nobody")));
}

#[test]
fn the_largest_request_arrives_whole() {
    let mut rig = Rig::line(3);
    rig.run_for(Duration::from_secs(5));
    let ids = keys(&mut rig, 128);
    let SupplyAnswer::Keys(got) = fetch(&mut rig, sae(2), 0, &ids) else { panic!("both ends have them") };
    assert_eq!(got.len(), 128);
}

#[test]
fn a_key_that_nobody_fetches_in_time_is_unknown_at_both_ends() {
    let mut rig = Rig::line(2);
    rig.key_lifetime = Some(Duration::from_secs(40));
    for at in [0, 1] {
        rig.crash(at);
        rig.start(at);
    }
    rig.run_for(Duration::from_secs(5));
    let id = rig.enc(0, 1, 2);
    rig.run_for(Duration::from_secs(2));
    let Some(SupplyAnswer::Keys(keys)) = rig.answers.remove(&id) else { panic!("no keys: {:?}", rig.log.last()) };
    let fetch = rig.dec(0, 1, vec![keys[0].id]);
    rig.run_for(Duration::from_secs(1));
    assert!(matches!(rig.answers.remove(&fetch), Some(SupplyAnswer::Keys(_))), "in time");
    rig.run_for(Duration::from_secs(60));
    let fetch = rig.dec(0, 1, vec![keys[1].id]);
    rig.run_for(Duration::from_secs(1));
    assert!(matches!(rig.answers.remove(&fetch), Some(SupplyAnswer::Refused(Refusal::BadRequest(_)))), "too late");
}
