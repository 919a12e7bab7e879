//! The engine as a whole: both ends, honest, unlucky and hostile.

use proptest::prelude::*;

use super::decode::Room;
use super::frozen::FrozenSet;
use super::*;
use crate::distill::engine::{Corrected, Progress, Told};
use crate::distill::finite_key::binary_entropy;
use crate::distill::key::ReconciledKey;
use crate::distill::trial;
use crate::entropy::SeededEntropy;
use crate::quantity::BitCount;
use crate::secret::SecretBits;

const SEED: [u8; 32] = [7; 32];

/// Both ends' keys; the second with errors at a rate that may depend on the place.
fn keys(bits: usize, seed: u64, rate: impl Fn(usize) -> f64) -> [SiftedKey; 2] {
    let mut coins = SeededEntropy::from_number(seed);
    let mut draw = || -> Vec<u64> { (0..bits.div_ceil(64)).map(|_| coins.next_u64()).collect() };
    let (words, decoy) = (draw(), draw());
    let mut noisy = words.clone();
    (0..bits).filter(|&i| coins.unit() < rate(i)).for_each(|i| noisy[i / 64] ^= 1 << (i % 64));
    [words, noisy].map(|words| SiftedKey {
        bits: SecretBits::new(BitString::from_words(words, bits)),
        decoy: BitString::from_words(decoy.clone(), bits),
    })
}

fn design(rate: f64) -> Design {
    Design { qber: Qber::try_from(rate).unwrap(), seed: SEED }
}

/// Runs both ends; gives their keys, what each counted, and how often the receiver asked.
fn run(keys: [SiftedKey; 2], design: &Design) -> (Result<ReconciledKey, AbortReason>, Corrected, Told, usize) {
    let [ours, theirs] = keys;
    let mut teller = teller(ours, design).unwrap();
    let mut corrector = corrector(theirs, design).unwrap();
    let opening = teller.open();
    let asked = trial::talk(&mut *teller, &mut *corrector, opening).unwrap() as usize;
    assert_eq!(teller.told(), corrector.told());
    let told = corrector.told();
    let corrected = corrector.finish().unwrap();
    (teller.finish(&corrected.kept), corrected, told, asked)
}

#[test]
fn both_ends_get_one_key_and_count_alike() {
    for (seed, rate) in [(1, 0.005), (2, 0.02), (3, 0.05), (4, 0.08)] {
        let bits = (1 << 16) + (1 << 13) + (1 << 12) + 100;
        let keys = keys(bits, seed, |_| rate);
        let (counts, errors) = keys[0].compare(&keys[1]);
        let (ours, theirs, told, asked) = run(keys, &design(rate));
        let ours = ours.unwrap();
        assert_eq!(ours.bits.expose(), theirs.key.bits.expose());
        assert_eq!(ours.counts, theirs.key.counts);
        assert_eq!(told.receiver, BitCount(3 * (1 + asked as u64)));
        if theirs.kept.count_ones() == 3 {
            // The rest of the key, below a frame, holds what is missing.
            assert_eq!(ours.counts.iter().sum::<u64>(), bits as u64 - 100);
            assert!((0..2).all(|i| theirs.errors[i] <= errors[i] && errors[i] - theirs.errors[i] < 20));
            assert!(counts.iter().sum::<u64>() == bits as u64);
        }
        let f = told.transmitter.0 as f64 / bits as f64 / binary_entropy(rate);
        println!("{rate}: f {f:.3}, {asked} questions, kept {}", theirs.kept.count_ones());
        assert!(f > 1.0 && f < 2.2, "{rate}: f {f}");
    }
}

#[test]
fn few_frames_fail_at_the_design_rate() {
    for (log, rate, worst) in [(16, 0.02, 1.40), (16, 0.05, 1.28), (14, 0.03, 1.52)] {
        let (frames, mut coins) = (16, SeededEntropy::from_number(9));
        let ours: Vec<u64> = (0..frames << (log - 6)).map(|_| coins.next_u64()).collect();
        let mut noisy = ours.clone();
        (0..frames << log).filter(|_| coins.unit() < rate).for_each(|i| noisy[i / 64] ^= 1 << (i % 64));
        let qber = Qber::try_from(rate).unwrap();
        let syndromes = encode_frames(&ours, log, qber);
        let corrected = decode_frames(&noisy, log, qber, &syndromes);
        let words = 1 << (log - 6);
        let failed = ours.chunks(words).zip(corrected.chunks(words)).filter(|(a, b)| a != b).count();
        let f = syndromes.len() as f64 / (frames << log) as f64 / binary_entropy(rate);
        println!("2^{log}, {rate}: f {f:.3}, {failed} of {frames} failed");
        assert!(f < worst && failed <= 8, "2^{log}, {rate}: f {f}, {failed} failed");
    }
}

#[test]
fn a_hopeless_frame_is_dropped_and_the_others_survive() {
    let bits = (1 << 15) + (1 << 14) + (1 << 13);
    let hopeless = 1 << 15..(1 << 15) + (1 << 14);
    let keys = keys(bits, 5, |i| if hopeless.contains(&i) { 0.4 } else { 0.015 });
    let (ours, theirs, told, asked) = run(keys, &design(0.02));
    assert_eq!(theirs.kept.iter().collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(asked, 2);
    assert_eq!(told.receiver, BitCount(9));
    let ours = ours.unwrap();
    assert_eq!(ours.bits.expose(), theirs.key.bits.expose());
    assert_eq!(ours.bits.len(), bits - (1 << 14));
}

#[test]
fn nothing_kept_is_an_error_at_both_ends() {
    let [ours, theirs] = keys(1 << 12, 6, |_| 0.4);
    let (mut teller, mut corrector) = (teller(ours, &design(0.01)).unwrap(), corrector(theirs, &design(0.01)).unwrap());
    let opening = teller.open();
    trial::talk(&mut *teller, &mut *corrector, opening).unwrap();
    assert_eq!(corrector.finish().unwrap_err(), AbortReason::ReconciliationFailed);
    assert_eq!(teller.finish(&BitString::zeros(1)).unwrap_err(), AbortReason::ReconciliationFailed);
    let [short, _] = keys(4_000, 7, |_| 0.0);
    assert!(matches!(super::teller(short, &design(0.01)), Err(AbortReason::TooFewDetections(4_000))));
}

#[test]
fn what_is_out_of_turn_or_out_of_bounds_is_malformed() {
    let [ours, theirs] = keys(1 << 13, 8, |_| 0.2);
    let (mut teller, mut corrector) = (teller(ours, &design(0.01)).unwrap(), corrector(theirs, &design(0.01)).unwrap());
    let ask = |flags: &[bool]| message::to_bytes(&message::QuestionMessage { failed: flags.iter().copied().collect() });
    assert!(teller.answer(&ask(&[true])).is_err(), "before the first message");
    let opening = teller.open();
    assert_eq!(teller.open(), opening);
    let told = teller.told();
    for flags in [&[] as &[bool], &[false], &[true, true]] {
        assert_eq!(teller.answer(&ask(flags)).unwrap_err(), AbortReason::Malformed("question"));
    }
    assert_eq!(teller.told(), told);
    assert!(matches!(corrector.hear(&opening).unwrap(), Progress::Ask(_)));
    assert_eq!(corrector.hear(&opening).unwrap_err(), AbortReason::Malformed("answer"));
    for _ in 0..2 {
        teller.answer(&ask(&[true])).unwrap();
    }
    assert_eq!(teller.answer(&ask(&[true])).unwrap_err(), AbortReason::Malformed("question"));
}

#[test]
fn a_result_does_not_depend_on_level_lane_or_neighbours() {
    for (log, rung) in [(12, 0), (12, 70), (13, 110)] {
        let set = FrozenSet::of(log, rung);
        let mut coins = SeededEntropy::from_number(u64::from(rung));
        let words = set.words();
        let noisy: Vec<u64> = (0..words << 6)
            .map(|_| coins.next_u64() & coins.next_u64() & coins.next_u64() & coins.next_u64())
            .collect();
        let mut alone = noisy.clone();
        for frame in alone.chunks_exact_mut(words) {
            Room::default().decode(Level::Scalar, &set, 0, frame);
        }
        let mut inputs = alone[..words].to_vec();
        kernel::polar::transform(Level::Scalar, &mut inputs);
        assert!(inputs.iter().zip(set.mask()).all(|(input, mask)| input & mask == 0), "a word of the code");
        for level in Level::available() {
            let mut room = Room::default();
            for lanes_log in 0..=decode::LANES_LOG_MAX {
                let mut batch = noisy[..words << lanes_log].to_vec();
                room.decode(level, &set, lanes_log, &mut batch);
                assert_eq!(batch, alone[..batch.len()], "{level:?}, {lanes_log}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hostile_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), at: usize, flip: u8) {
        let [ours, theirs] = keys(1 << 12, 11, |_| 0.2);
        let (mut teller, mut corrector) =
            (teller(ours, &design(0.01)).unwrap(), corrector(theirs, &design(0.01)).unwrap());
        let mut opening = teller.open();
        prop_assert!(corrector.hear(&bytes).is_err());
        prop_assert!(teller.answer(&bytes).is_err());
        prop_assert!(corrector.hear(&opening[..at % opening.len()]).is_err());
        // A changed message is malformed, or its frames fail.
        let place = at % opening.len();
        opening[place] ^= flip;
        if let Ok(Progress::Ask(mut question)) = corrector.hear(&opening) {
            let place = at % question.len();
            question[place] ^= flip;
            let _ = teller.answer(&question);
            prop_assert!(corrector.hear(&bytes).is_err());
        }
    }
}
