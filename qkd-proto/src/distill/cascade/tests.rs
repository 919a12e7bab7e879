//! Both machines together, honest and not, and the tree against plain recomputation.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::abort::AbortReason;
use super::super::engine::{Corrector, Design, Progress, Teller};
use super::super::{noise, trial};
use super::tree::Tree;
use super::{corrector, teller};
use crate::bits::BitString;
use crate::entropy::{Entropy, SeededEntropy};
use crate::quantity::Qber;

fn design(qber: f64, seed: u64) -> Design {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Design { qber: Qber::try_from(qber).unwrap(), seed: bytes }
}

fn ends(bits: usize, qber: f64, expected: f64, seed: u64) -> (Box<dyn Teller>, Box<dyn Corrector>) {
    let (own, noisy) = noise::keys(bits, Qber::try_from(qber).unwrap(), seed);
    let design = design(expected, seed);
    (teller(own, &design), corrector(noisy, &design))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn kept_frames_are_equal_and_every_bit_told_is_counted(
        bits in 4_096usize..40_000, qber in 0.0..0.11f64, off in 0.3..2.0f64, seed: u64,
    ) {
        let (mut teller, mut corrector) = ends(bits, qber, (qber * off).min(0.5), seed);
        let mut message = teller.open();
        let mut before = 0;
        loop {
            let sent = teller.told().transmitter.0 - before;
            before += sent;
            prop_assert_eq!(message.len() as u64, sent.div_ceil(8));
            let heard = corrector.hear(&message).unwrap();
            prop_assert_eq!(corrector.told(), teller.told());
            prop_assert_eq!(corrector.told().receiver, corrector.told().transmitter);
            let Progress::Ask(question) = heard else { break };
            prop_assert_eq!(question.len(), message.len());
            message = teller.answer(&question).unwrap();
        }
        let corrected = corrector.finish().unwrap();
        let own = teller.finish(&corrected.kept).unwrap();
        prop_assert!(own.bits.expose() == corrected.key.bits.expose());
        prop_assert_eq!(own.counts, corrected.key.counts);
        prop_assert!(corrected.kept.iter().all(|kept| kept));
    }

    #[test]
    fn a_lying_end_is_held_to_the_budget(seed: u64, honest_rounds in 0usize..30) {
        let mut lies = SeededEntropy::from_number(seed);
        let (mut teller, mut corrector) = ends(8_192, 0.03, 0.03, seed);
        let mut message = teller.open();
        for _ in 0..honest_rounds {
            let Ok(Progress::Ask(question)) = corrector.hear(&message) else { break };
            message = teller.answer(&question).unwrap();
        }
        let mut length = message.len();
        for round in 0.. {
            prop_assert!(round < 10_000);
            match teller.answer(&lie(length, &mut lies)) {
                Ok(answer) => length = answer.len(),
                Err(reason) => { prop_assert!(matches!(reason, AbortReason::Malformed(_))); break }
            }
        }
        prop_assert!(teller.told().transmitter.0 <= 3 * 8_192 / 2);
    }

    #[test]
    fn lies_that_keep_both_ends_in_step_end(seed: u64, rare in 1u64..9) {
        let mut lies = SeededEntropy::from_number(seed);
        let (mut teller, mut corrector) = ends(8_192, 0.03, 0.03, seed);
        let mut message = teller.open();
        for round in 0.. {
            prop_assert!(round < 10_000);
            let mut lie = lie(message.len(), &mut lies);
            if lies.below(rare) > 0 {
                lie.fill(0);
            }
            let add = |message: &[u8]| message.iter().zip(&lie).map(|(bits, lie)| bits ^ lie).collect::<Vec<_>>();
            let Ok(Progress::Ask(question)) = corrector.hear(&add(&message)) else { break };
            message = teller.answer(&add(&question)).unwrap();
        }
        prop_assert_eq!(corrector.told(), teller.told());
        prop_assert!(corrector.told().transmitter.0 <= 3 * 8_192 / 2);
    }

    #[test]
    fn a_tree_knows_what_plain_counting_knows(seed: u64, block in 1u32..11, wrong in 0usize..200) {
        let log = 12;
        let mut entropy = SeededEntropy::from_number(seed);
        let mut differences = vec![false; 1 << log];
        (0..wrong).for_each(|_| differences[entropy.below(1 << log) as usize] = true);
        let count = |differences: &[bool], first: u32, len: u32| {
            differences[first as usize..(first + len) as usize].iter().filter(|wrong| **wrong).count()
        };
        let mut tree = Tree::new(block, &[0; 1 << (12 - 6)]);
        for i in 0..tree.blocks() {
            if count(&differences, i << block, 1 << block) % 2 == 1 {
                tree.learn_odd_block(i);
            }
        }
        let mut parts: BTreeMap<u32, u32> = (0..tree.blocks()).map(|i| (i << block, 1 << block)).collect();
        while tree.is_open() {
            let mut asked = Vec::new();
            tree.ask(|first, len, _| asked.push((first, len)));
            for (first, len) in &asked {
                // Only a known odd part is cut.
                prop_assert_eq!(parts.get(first), Some(&(2 * len)));
                prop_assert_eq!(count(&differences, *first, 2 * len) % 2, 1);
                parts.insert(*first, *len);
                parts.insert(first + len, *len);
            }
            let mut answers = asked.iter().map(|(first, len)| count(&differences, *first, *len) % 2 == 1);
            let mut found = Vec::new();
            tree.learn(|| answers.next().unwrap(), |i| found.push(i));
            // Another pass corrects one now and then.
            if entropy.below(4) == 0 {
                found.extend(differences.iter().position(|wrong| *wrong).map(|i| i as u32));
            }
            for i in found {
                if std::mem::take(&mut differences[i as usize]) {
                    tree.flip(i, false);
                }
            }
        }
        for (first, len) in parts {
            prop_assert_eq!(count(&differences, first, len) % 2, 0);
            prop_assert!(!tree.differs(first));
        }
    }
}

/// Random parities; the last byte is zero, for no bits may lie beyond them.
fn lie(length: usize, lies: &mut SeededEntropy) -> Vec<u8> {
    let mut message = vec![0; length];
    lies.fill(&mut message[..length.saturating_sub(1)]);
    message
}

#[test]
fn a_message_of_another_length_or_with_spare_bits_is_malformed() {
    let (mut teller, mut corrector) = ends(4_096, 0.02, 0.02, 1);
    assert!(matches!(teller.answer(&[]), Err(AbortReason::Malformed(_))));
    let message = teller.open();
    for broken in [&message[1..], &[&message[..], &[0]].concat()[..], &[]] {
        let (_, mut corrector) = ends(4_096, 0.02, 0.02, 1);
        assert!(matches!(corrector.hear(broken), Err(AbortReason::Malformed(_))));
    }
    let Ok(Progress::Ask(question)) = corrector.hear(&message) else { panic!("errors are left") };
    assert!(matches!(teller.answer(&question[1..]), Err(AbortReason::Malformed(_))));
    let (mut teller, mut corrector) = ends(4_096, 0.0, 0.3, 1);
    let mut message = teller.open();
    while let Progress::Ask(question) = corrector.hear(&message).unwrap() {
        message = teller.answer(&question).unwrap();
    }
    // Twenty checks fill two bytes and a half.
    assert!(matches!(teller.answer(&[0, 0, 0xff]), Err(AbortReason::Malformed(_))));
    assert!(matches!(corrector.hear(&message), Err(AbortReason::Malformed(_))));
}

#[test]
fn a_key_below_one_frame_gives_none() {
    for bits in [0, 1, 100, 4_095] {
        let (mut teller, mut corrector) = ends(bits, 0.0, 0.02, 2);
        assert!(matches!(corrector.hear(&teller.open()), Ok(Progress::Done)));
        assert_eq!(corrector.told(), teller.told());
        assert_eq!(corrector.finish().unwrap_err(), AbortReason::ReconciliationFailed);
        assert!(matches!(teller.answer(&[]), Err(AbortReason::Malformed(_))));
        assert_eq!(teller.finish(&BitString::zeros(1)).unwrap_err(), AbortReason::Malformed("report"));
    }
}

#[test]
fn frames_beyond_those_in_flight_follow() {
    let bits = 67 << 16;
    let (teller, corrector) = ends(bits, 0.01, 0.01, 3);
    let trial = trial::run(teller, corrector).unwrap();
    assert!(trial.equal && trial.kept.len() == 67 && trial.kept.count_ones() == 67);
    // 1.06 times the Shannon bound of 0.0808 bits per bit.
    assert!(trial.told.transmitter.0 as f64 <= 1.06 * 0.0808 * bits as f64);
}
