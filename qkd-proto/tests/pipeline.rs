//! Two block sessions over an emulated link, honest, attacked, and with hostile messages.

use proptest::prelude::*;
use qkd_proto::distill::abort::AbortReason;
use qkd_proto::distill::message::{AbortCode, BlockMessage};
use qkd_proto::distill::plan::Role;
use qkd_proto::distill::session::{BlockEffect, BlockInput, BlockSession};
use qkd_proto::distill::sift::{DetectionSifter, EmissionSifter};
use qkd_proto::distill::simulate::simulate;
use qkd_proto::entropy::SeededEntropy;
use qkd_proto::id::BlockId;
use qkd_proto::optics::eavesdropper::{Attack, Burst, Drift};
use qkd_proto::optics::event::{Detections, Emissions};
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::preset::{Preset, pulses_for};
use qkd_proto::optics::receiver::{Receiver, Reception};
use qkd_proto::optics::transmitter::{Emission, Transmitter};
use qkd_proto::sim::pair::{self, Altered, End, Honest, KINDS, Wire};

fn distil(model: &LinkModel, pulses: u64, seed: u64, wire: &mut dyn Wire) -> [End; 2] {
    let plans = [pair::plan(model, pulses, 11), pair::plan(model, pulses, 12)];
    pair::distil(model, &Attack::default(), plans, seed, wire)
}

#[track_caller]
fn assert_never_unequal(ends: &[End; 2]) {
    if let (Some(a), Some(b)) = (ends[0].key(), ends[1].key()) {
        panic!("both ends took a key after a change: {} and {}", a.len(), b.len());
    }
}

#[test]
fn an_honest_lab_block_gives_one_key_to_both_ends() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    let [transmitter, receiver] = distil(&model, pulses, 1, &mut Honest);
    let report = transmitter.outcome().report.clone();
    println!("{report:?}");
    assert_eq!((transmitter.tags, receiver.tags), (1, 1));
    assert_eq!(report, receiver.outcome().report);
    assert!(report.f_ec.unwrap() < 1.7, "f_EC {:?}", report.f_ec);
    let fraction = report.secret.0 as f64 / report.sifted.0 as f64;
    println!("secret fraction {fraction:.3}");
    assert!(fraction > 0.3, "{fraction} secret bits per sifted bit");
    let bits = |end: End| end.outcome.unwrap().result.unwrap().into_bits().into_bytes();
    let (ours, theirs) = (bits(transmitter), bits(receiver));
    assert!(ours.len() > 8_000);
    assert_eq!(ours.expose(), theirs.expose());
}

/// Links honest and attacked, each with something that the others have little of.
fn cases() -> Vec<(&'static str, LinkModel, Attack)> {
    let (lab, none) = (Preset::Lab.model(), Attack::default());
    let far = LinkModel { length_km: 50.0, ..lab.clone() };
    // Most slots of the signal give a click, so that what was sent in the others is mostly decoy.
    let bright = LinkModel { mus: [1.5, 0.1], eta_det: 1.0, length_km: 0.0, extra_loss_db: 0.0, ..lab.clone() };
    let resent = Attack { intercept: 0.3, key_basis: 0.8, ..none.clone() };
    let burst = Attack { intercept: 0.6, burst: Some(Burst { every: 3, pulses: 100_000 }), ..none.clone() };
    let split = Attack { splitting: Some((0.0, 0.05)), ..none.clone() };
    let dark = Attack { dark: 1e-3, loss_db: 3.0, ..none.clone() };
    let drift = Attack { drift: Some(Drift { peak: 0.05, period: 3_000_000 }), ..none.clone() };
    vec![
        ("honest", lab.clone(), none.clone()),
        ("dark", LinkModel { p_dark: 1e-4, p_ap: 0.05, ..far.clone() }, none.clone()),
        ("model's eavesdropper", LinkModel { eve_ir: 1.0, eve_key_basis: 0.4, ..lab.clone() }, none.clone()),
        ("afterpulses", LinkModel { dead_s: 0.0, p_ap: 0.04, ..far.clone() }, none.clone()),
        ("bright", LinkModel { p_dark: 0.01, p_ap: 0.0, dead_s: 0.0, ..bright }, none.clone()),
        ("resent", lab.clone(), resent),
        ("bursts", lab.clone(), burst),
        ("split", lab.clone(), split),
        ("injected", lab.clone(), dark),
        ("drift", lab.clone(), drift),
        ("cut", LinkModel { p_dark: 1e-4, ..lab }, Attack { cut: true, ..none }),
    ]
}

#[test]
fn counts_lie_within_five_sigma_of_the_closed_form() {
    for (seed, (name, model, attack)) in cases().into_iter().enumerate() {
        attack.check().unwrap();
        let model_under = attack.apply(&model);
        let pulses = pulses_for(&model_under, 150_000);
        let expected = model_under.expected(pulses as f64);
        let run = simulate(&model, &attack, pulses, 30 + seed as u64).unwrap();
        let bases = [(run.key_counts, run.key_errors, expected.key), (run.test_counts, run.test_errors, expected.test)];
        for (basis, (counts, errors, theory)) in bases.into_iter().enumerate() {
            for k in 0..2 {
                let sigma = |ours: u64, theory: f64| (ours as f64 - theory) / theory.sqrt();
                let (n, m) = (sigma(counts[k], theory.counts[k]), sigma(errors[k], theory.errors[k]));
                assert!(n.abs() < 5.0 && m.abs() < 5.0, "{name} basis {basis} intensity {k}: {n} {m} sigma");
            }
        }
    }
}

/// What both devices saw of a block, chunk by chunk.
fn photons(model: &LinkModel, pulses: u64) -> (Vec<Emissions>, Vec<Detections>) {
    let mut emission = Transmitter::new(model.clone(), [9; 32]).emit(BlockId(1), pulses);
    let mut reception = Receiver::new(model.clone(), [109; 32]).receive(BlockId(1), pulses);
    let mut slot = 0;
    let chunks = std::iter::from_fn(|| {
        let (frame, sent) = emission.next_frame()?;
        let seen = reception.accept(&frame).expect("an honest frame");
        assert_eq!((sent.first_slot(), sent.last_slot()), (seen.first_slot(), seen.last_slot()));
        assert_eq!((sent.first_slot(), sent.is_last()), (slot + 1, seen.is_last()));
        slot = sent.last_slot();
        Some((sent, seen))
    });
    let chunks = chunks.unzip();
    assert!(slot == pulses && reception.is_complete());
    chunks
}

#[test]
fn clicks_that_cannot_be_are_refused() {
    let (model, pulses) = small();
    let (emissions, detections) = photons(&model, pulses);
    let mut theirs = DetectionSifter::new();
    let gaps: Vec<Vec<u8>> = detections.into_iter().map(|chunk| theirs.detections(chunk)).collect();
    let mut ours = EmissionSifter::new(pulses);
    let malformed = Err(AbortReason::Malformed("clicks"));
    assert_eq!(ours.clicks(emissions.into_iter().next().unwrap(), &gaps[0][..gaps[0].len() - 1]), malformed);
    let mut emissions = photons(&model, pulses).0.into_iter();
    assert_eq!(ours.clicks(emissions.next().unwrap(), &gaps[0]), Ok(()));
    // One click, 2^40 slots on.
    assert_eq!(ours.clicks(emissions.next().unwrap(), &[1, 40, 255, 255, 255, 255, 255]), malformed);
    assert_eq!(ours.clicks(emissions.next().unwrap(), &[]), malformed, "a chunk is left out");
    assert!(ours.finish(&theirs.bases()).is_err());
}

#[test]
fn half_the_photons_resent_give_no_key_and_a_reason() {
    let model = LinkModel { eve_ir: 0.5, ..Preset::Lab.model() };
    let [transmitter, receiver] = distil(&model, Preset::Lab.pulses(), 2, &mut Honest);
    assert!(matches!(receiver.reason(), AbortReason::QberOverLimit { .. }), "{}", receiver.reason());
    assert!(matches!(
        transmitter.reason(),
        AbortReason::QberOverLimit { .. } | AbortReason::PeerAborted(AbortCode::QberOverLimit)
    ));
    let qber = receiver.outcome().report.qber_test.unwrap().ratio();
    assert!((qber - 0.135).abs() < 0.01, "qber {qber}");
    assert_eq!(receiver.outcome().report.secret.0, 0);
}

/// A block far below `lab`'s: no key may come of it, but every message kind does up to the report.
fn small() -> (LinkModel, u64) {
    let model = Preset::Lab.model();
    let pulses = pulses_for(&model, 20_000);
    (model, pulses)
}

#[test]
fn a_short_block_gives_no_key_at_either_end() {
    let (model, pulses) = small();
    let ends = distil(&model, pulses, 3, &mut Honest);
    assert!(ends.iter().all(|end| end.key().is_none()));
}

#[test]
fn a_changed_message_never_gives_unequal_keys() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    for kind in 1..=KINDS {
        for place in [0.0, 0.3, 0.999] {
            let ends = distil(
                &model,
                pulses,
                4,
                &mut Altered::new(|_, number, mut bytes: Vec<u8>| {
                    if number == kind {
                        let at = (bytes.len() as f64 * place) as usize;
                        bytes[at] ^= 0x04;
                    }
                    Some(bytes)
                }),
            );
            assert_never_unequal(&ends);
            assert!(ends[0].key().is_none(), "message {kind} changed at {place}: the transmitter took a key");
        }
    }
}

#[test]
fn a_dropped_or_truncated_message_never_gives_unequal_keys() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    for kind in 1..=KINDS {
        for keep in [None, Some(0), Some(2)] {
            let ends = distil(
                &model,
                pulses,
                5,
                &mut Altered::new(|_, number, mut bytes: Vec<u8>| {
                    if number == kind {
                        bytes.truncate(keep?);
                    }
                    Some(bytes)
                }),
            );
            assert_never_unequal(&ends);
            assert!(ends[0].key().is_none());
        }
    }
}

#[test]
fn what_crosses_threads_is_send() {
    fn is_send<T: Send>() {}
    is_send::<(BlockSession, BlockInput, BlockEffect)>();
    is_send::<(Transmitter, Receiver, Emission, Reception)>();
}

#[test]
fn a_wrong_tag_is_an_authentication_failure_at_both_ends() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    let ends = distil(
        &model,
        pulses,
        8,
        &mut Altered::new(|_, number, mut bytes: Vec<u8>| {
            if number == 8 {
                *bytes.last_mut().unwrap() ^= 1;
            }
            Some(bytes)
        }),
    );
    assert_eq!(ends[1].reason(), AbortReason::AuthenticationFailed);
    assert_eq!(ends[0].reason(), AbortReason::PeerAborted(AbortCode::AuthenticationFailed));
}

#[test]
fn the_reason_reaches_the_other_end() {
    let (model, pulses) = small();
    let ends = distil(
        &model,
        pulses,
        6,
        &mut Altered::new(|_, number, bytes| Some(if number == 4 { vec![1] } else { bytes })),
    );
    assert_eq!(ends[0].reason(), AbortReason::Malformed("message"));
    assert_eq!(ends[1].reason(), AbortReason::PeerAborted(AbortCode::Malformed));
}

#[test]
fn lost_and_repeated_photon_frames_are_refused() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    let mut emission = Transmitter::new(model.clone(), [1; 32]).emit(BlockId(1), pulses);
    let frames: Vec<Vec<u8>> = std::iter::from_fn(|| emission.next_frame()).map(|(frame, _)| frame).collect();
    let mut reception = Receiver::new(model, [2; 32]).receive(BlockId(1), pulses);
    assert!(reception.accept(&frames[1]).is_err());
    assert!(reception.accept(&frames[0]).is_ok());
    assert!(reception.accept(&frames[0]).is_err());
    assert!(!reception.is_complete());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), version in any::<bool>()) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = 1;
        }
        let (model, pulses) = small();
        for role in [Role::Transmitter, Role::Receiver] {
            let mut end = End::new(role, pair::plan(&model, pulses, 1));
            end.handle(BlockInput::Message(bytes.clone()), &mut Honest);
        }
        let _ = BlockMessage::from_bytes(&bytes);
        let mut reception = Receiver::new(model, [2; 32]).receive(BlockId(1), pulses);
        let _ = reception.accept(&bytes);
    }

    #[test]
    fn a_malicious_message_never_panics(seed in any::<u64>(), kind in 1..8usize) {
        let mut coins = SeededEntropy::from_number(seed);
        let (model, pulses) = (Preset::Lab.model(), pulses_for(&Preset::Lab.model(), 5_000));
        let ends = distil(&model, pulses, 7, &mut Altered::new(|_, number, mut bytes: Vec<u8>| {
            if number == kind {
                for _ in 0..1 + coins.below(4) {
                    let at = coins.below(bytes.len() as u64) as usize;
                    bytes[at] = coins.next_u64() as u8;
                }
            }
            Some(bytes)
        }));
        assert_never_unequal(&ends);
    }
}
