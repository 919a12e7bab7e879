use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::relay::session::CONFIRMATION_PAD_BYTES;

const KEYS: usize = 4;

fn session() -> EndSession {
    let name = |text: &str| text.parse().expect("a name");
    EndSession::new(SessionId([1; 16]), &name("a"), &name("b"), &SecretBytes::new(vec![7; 32]))
}

fn end(role: TransferRole, altered: bool) -> Transfer {
    let name = |text: &str| text.parse().expect("a name");
    let header = TransferHeader {
        transfer: TransferId([2; 16]),
        session: SessionId([1; 16]),
        origin: name("a"),
        target: name("b"),
        route: vec!["a-b".parse().expect("a name")],
        count: KEYS as u32,
        key_bytes: 8,
    };
    let mut bits = vec![3; KEYS * 8 + CONFIRMATION_PAD_BYTES];
    bits[0] ^= u8::from(altered);
    let mut transfer =
        Transfer::relayed(role, &header, &session(), SecretBytes::new(bits), Incarnation(1), UnixMillis(0));
    if role == TransferRole::Origin {
        transfer.assign("sae-a".parse().expect("a name"), "sae-b".parse().expect("a name"));
    }
    transfer
}

fn again(transfer: &Transfer) -> Transfer {
    Transfer::restore(transfer.record()).expect("its own record is sound")
}

#[test]
fn both_ends_have_the_same_ids_and_keys_unlike_the_relayed_bits() {
    let (mut origin, mut target) = (end(TransferRole::Origin, false), end(TransferRole::Target, false));
    assert!(origin.confirmed(&target.confirm_tag()));
    assert!(target.committed(&origin.commit_tag(), origin.assign_text().expect("assigned")));
    assert!(origin.acknowledged());
    for index in 0..KEYS {
        assert_eq!(origin.key_id(index), target.key_id(index));
        let key = origin.deliver(Recipient::Master, index).expect("relayed");
        assert_eq!(key.expose(), target.deliver(Recipient::Slave, index).expect("relayed").expose());
        assert_ne!(key.expose(), [3; 8], "a relay saw these");
    }
    assert!(origin.is_over() && target.is_over());
}

#[test]
fn altered_bits_are_not_confirmed() {
    let (mut origin, target) = (end(TransferRole::Origin, false), end(TransferRole::Target, true));
    assert!(!origin.confirmed(&target.confirm_tag()));
    assert_eq!(origin.state(), TransferState::Pending);
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let mut record = end(TransferRole::Target, false).record();
    record.keys.pop();
    assert!(Transfer::restore(record).is_none());
    let mut record = end(TransferRole::Target, false).record();
    record.keys[0] = Bytes::from(vec![1; 9]);
    assert!(Transfer::restore(record).is_none());
}

proptest! {
    /// Against the simplest model: what was handed out, and whether the transfer was voided. Restarts
    /// come at any time; words come in any order, right or wrong.
    #[test]
    fn the_state_moves_one_way_and_no_key_leaves_twice(
        steps in proptest::collection::vec((0_u8..8, 0_usize..KEYS), 0..60)
    ) {
        let (mut origin, mut target) = (end(TransferRole::Origin, false), end(TransferRole::Target, false));
        let (mut handed, mut voided) = (BTreeSet::new(), false);
        for (step, index) in steps {
            let before = (origin.state(), target.state());
            match step {
                0 => { origin.confirmed(&target.confirm_tag()); }
                1 => { origin.confirmed(&Tag([9; 16])); }
                2 if origin.state() != TransferState::Pending && origin.state() != TransferState::Voided => {
                    let assign = origin.assign_text().expect("assigned");
                    target.committed(&origin.commit_tag(), assign);
                }
                3 if target.state() == TransferState::Relayed => { origin.acknowledged(); }
                4 if origin.void() => {
                    voided = true;
                    target.void();
                }
                5 => (origin, target) = (again(&origin), again(&target)),
                6 if origin.deliver(Recipient::Master, index).is_some() => {
                    prop_assert!(handed.insert((0, index)), "key {} twice at the master", index);
                }
                7 if target.deliver(Recipient::Slave, index).is_some() => {
                    prop_assert!(handed.insert((1, index)), "key {} twice at the slave", index);
                }
                _ => {}
            }
            prop_assert!(origin.state() >= before.0 && target.state() >= before.1);
            prop_assert!(!voided || handed.is_empty());
            prop_assert!(origin.state() != TransferState::Relayed || target.state() == TransferState::Relayed);
            prop_assert!(target.deliver(Recipient::Master, index).is_none());
            prop_assert!(origin.deliver(Recipient::Slave, index).is_none());
        }
    }
}
