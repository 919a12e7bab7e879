//! Two block sessions over an emulated link, honest, attacked, and with hostile messages.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use qkd_proto::distill::abort::AbortReason;
use qkd_proto::distill::key::SecretKey;
use qkd_proto::distill::message::{AbortCode, BlockMessage};
use qkd_proto::distill::plan::{BlockPlan, QBER_LIMIT, Role};
use qkd_proto::distill::report::BlockOutcome;
use qkd_proto::distill::session::{BlockEffect, BlockInput, BlockSession};
use qkd_proto::distill::sift::{DetectionSifter, EmissionSifter};
use qkd_proto::entropy::SeededEntropy;
use qkd_proto::id::BlockId;
use qkd_proto::labels;
use qkd_proto::mac::{self, AuthTag, PadStock};
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::eavesdropper::{Attack, Burst, Drift};
use qkd_proto::optics::event::{Detections, Emissions};
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::preset::{Preset, pulses_for};
use qkd_proto::optics::receiver::{Receiver, Reception};
use qkd_proto::optics::transmitter::{Emission, Transmitter};
use qkd_proto::quantity::Qber;

/// The chunks of a block at both ends.
fn photons(model: &LinkModel, pulses: u64, seed: u8) -> (Vec<Emissions>, Vec<Detections>) {
    let mut emission = Transmitter::new(model.clone(), [seed; 32]).emit(BlockId(1), pulses);
    let mut reception = Receiver::new(model.clone(), [seed + 100; 32]).receive(BlockId(1), pulses);
    let chunks = std::iter::from_fn(|| {
        let (frame, emissions) = emission.next_frame()?;
        Some((emissions, reception.accept(&frame).unwrap()))
    });
    chunks.unzip()
}

fn plan(model: &LinkModel, pulses: u64, entropy: u8) -> BlockPlan {
    BlockPlan {
        link: "alice-bob".parse().unwrap(),
        transmitter: "alice".parse().unwrap(),
        receiver: "bob".parse().unwrap(),
        block: BlockId(1),
        model: model.clone(),
        pulses,
        eps_sec: 1e-10,
        eps_cor: 1e-15,
        qber_limit: Qber::try_from(QBER_LIMIT).unwrap(),
        entropy: [entropy; 32],
    }
}

/// One end, with the part of the node that makes and checks tags.
struct End {
    role: Role,
    session: BlockSession,
    outcome: Option<BlockOutcome>,
    busy: Duration,
    tags: usize,
}

fn tag(signer: Role, text: &[u8]) -> AuthTag {
    let label = match signer {
        Role::Transmitter => labels::tag::BLOCK_TRANSMITTER,
        Role::Receiver => labels::tag::BLOCK_RECEIVER,
    };
    AuthTag { stock: PadStock::Pool, offset: 0, tag: mac::tag(&[1; 16], &[signer as u8; 16], label, text) }
}

impl End {
    fn new(role: Role, plan: BlockPlan) -> Self {
        Self { role, session: BlockSession::new(role, plan), outcome: None, busy: Duration::ZERO, tags: 0 }
    }

    /// Handles an input and all that follows at this end; gives what it sends.
    fn handle(&mut self, input: BlockInput) -> Vec<Vec<u8>> {
        #[expect(clippy::disallowed_methods, reason = "a test measures how long distillation takes")]
        let start = Instant::now();
        let mut sent = Vec::new();
        self.session.handle(input);
        while let Some(effect) = self.session.next_effect() {
            match effect {
                BlockEffect::Send(bytes) => sent.push(bytes),
                BlockEffect::Run(job) => self.session.handle(BlockInput::JobDone(job.run())),
                BlockEffect::MakeTag(text) => {
                    self.tags += 1;
                    self.session.handle(BlockInput::OwnTag(tag(self.role, &text)));
                }
                BlockEffect::CheckTag(text, found) => {
                    let valid = tag(self.role.other(), &text) == found;
                    self.session.handle(BlockInput::PeerTag { valid });
                }
                BlockEffect::Done(outcome) => {
                    assert!(self.outcome.is_none(), "a block ends once");
                    self.outcome = Some(*outcome);
                }
            }
        }
        self.busy += start.elapsed();
        sent
    }

    fn outcome(&self) -> &BlockOutcome {
        self.outcome.as_ref().unwrap()
    }

    fn key(&self) -> Option<&SecretKey> {
        self.outcome().result.as_ref().ok()
    }

    fn reason(&self) -> AbortReason {
        *self.outcome().result.as_ref().unwrap_err()
    }
}

type Alter<'a> = &'a mut dyn FnMut(Role, usize, Vec<u8>) -> Option<Vec<u8>>;

/// Runs a block; `alter` sees each message with its sender and number and may change or drop it.
fn distil(model: &LinkModel, pulses: u64, seed: u8, alter: Alter<'_>) -> [End; 2] {
    let (emissions, detections) = photons(model, pulses, seed);
    distil_batches(model, pulses, emissions, detections, alter)
}

fn distil_batches(
    model: &LinkModel,
    pulses: u64,
    emissions: Vec<Emissions>,
    detections: Vec<Detections>,
    alter: Alter<'_>,
) -> [End; 2] {
    let mut transmitter = End::new(Role::Transmitter, plan(model, pulses, 11));
    let mut receiver = End::new(Role::Receiver, plan(model, pulses, 12));
    let mut wire: Vec<(Role, Vec<u8>)> = Vec::new();
    let mut number = 0;
    // The receiver is first: its message waits until the transmitter's device is done.
    for chunk in detections {
        let sent = receiver.handle(BlockInput::Photons(PhotonBatch::Detections(chunk)));
        wire.extend(sent.into_iter().map(|bytes| (Role::Receiver, bytes)));
    }
    for chunk in emissions {
        let early = transmitter.handle(BlockInput::Photons(PhotonBatch::Emissions(chunk)));
        assert!(early.is_empty());
    }
    while !wire.is_empty() {
        let (sender, bytes) = wire.remove(0);
        number += 1;
        let Some(bytes) = alter(sender, number, bytes) else { continue };
        let end = if sender == Role::Transmitter { &mut receiver } else { &mut transmitter };
        wire.extend(end.handle(BlockInput::Message(bytes)).into_iter().map(|bytes| (sender.other(), bytes)));
    }
    for end in [&mut transmitter, &mut receiver] {
        if end.outcome.is_none() {
            end.handle(BlockInput::Timeout);
        }
    }
    [transmitter, receiver]
}

fn honest(_: Role, _: usize, bytes: Vec<u8>) -> Option<Vec<u8>> {
    Some(bytes)
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
    let [transmitter, receiver] = distil(&model, pulses, 1, &mut honest);
    let report = transmitter.outcome().report.clone();
    println!("{report:?}");
    println!("busy: transmitter {:?}, receiver {:?}", transmitter.busy, receiver.busy);
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

/// Counts of a block, by sifting both records in the open.
fn measured(model: &LinkModel, attack: &Attack, pulses: u64, seed: u8) -> ([[u64; 2]; 2], [[u64; 2]; 2]) {
    let mut emission = Transmitter::new(model.clone(), [seed; 32]).under(attack).emit(BlockId(1), pulses);
    let mut reception = Receiver::new(model.clone(), [seed + 100; 32]).under(attack).receive(BlockId(1), pulses);
    let (mut ours, mut theirs) = (EmissionSifter::new(pulses), DetectionSifter::new());
    let mut slot = 0;
    while let Some((frame, emissions)) = emission.next_frame() {
        let detections = reception.accept(&frame).unwrap();
        let span = (emissions.first_slot(), emissions.last_slot());
        assert_eq!(span, (detections.first_slot(), detections.last_slot()));
        assert_eq!((span.0, emissions.is_last()), (slot + 1, detections.is_last()));
        slot = span.1;
        ours.clicks(emissions, &theirs.detections(detections)).unwrap();
    }
    assert!(slot == pulses && reception.is_complete());
    let (ours, kept, tested) = ours.finish(&theirs.bases()).unwrap();
    let (theirs, estimate) = theirs.finish(&kept).unwrap();
    assert_eq!(tested, estimate.counts);
    let (counts, errors) = ours.compare(&theirs);
    ([counts, estimate.counts], [errors, estimate.errors])
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
        let (counts, errors) = measured(&model, &attack, pulses, 30 + seed as u8);
        for (basis, theory) in [expected.key, expected.test].into_iter().enumerate() {
            for k in 0..2 {
                let sigma = |ours: u64, theory: f64| (ours as f64 - theory) / theory.sqrt();
                let (n, m) = (sigma(counts[basis][k], theory.counts[k]), sigma(errors[basis][k], theory.errors[k]));
                assert!(n.abs() < 5.0 && m.abs() < 5.0, "{name}, basis {basis}, intensity {k}: {n} {m} sigma");
            }
        }
    }
}

#[test]
fn clicks_that_cannot_be_are_refused() {
    let (model, pulses) = small();
    let (emissions, detections) = photons(&model, pulses, 9);
    let mut theirs = DetectionSifter::new();
    let gaps: Vec<Vec<u8>> = detections.into_iter().map(|chunk| theirs.detections(chunk)).collect();
    let mut ours = EmissionSifter::new(pulses);
    let mut emissions = emissions.into_iter();
    let malformed = Err(AbortReason::Malformed("clicks"));
    assert_eq!(ours.clicks(emissions.next().unwrap(), &gaps[0][..gaps[0].len() - 1]), malformed);
    let (emissions, _) = photons(&model, pulses, 9);
    let mut emissions = emissions.into_iter();
    assert_eq!(ours.clicks(emissions.next().unwrap(), &gaps[0]), Ok(()));
    // One click, 2^40 slots on.
    assert_eq!(ours.clicks(emissions.next().unwrap(), &[1, 40, 255, 255, 255, 255, 255]), malformed);
    assert_eq!(ours.clicks(emissions.next().unwrap(), &[]), malformed, "a chunk is left out");
    assert!(ours.finish(&theirs.bases()).is_err());
}

#[test]
fn half_the_photons_resent_give_no_key_and_a_reason() {
    let model = LinkModel { eve_ir: 0.5, ..Preset::Lab.model() };
    let [transmitter, receiver] = distil(&model, Preset::Lab.pulses(), 2, &mut honest);
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
    let ends = distil(&model, pulses, 3, &mut honest);
    assert!(ends.iter().all(|end| end.key().is_none()));
}

#[test]
fn a_changed_message_never_gives_unequal_keys() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    let (kinds, places) = (8, [0.0, 0.3, 0.999]);
    for kind in 1..=kinds {
        for place in places {
            let ends = distil(&model, pulses, 4, &mut |_, number, mut bytes: Vec<u8>| {
                if number == kind {
                    let at = (bytes.len() as f64 * place) as usize;
                    bytes[at] ^= 0x04;
                }
                Some(bytes)
            });
            assert_never_unequal(&ends);
            assert!(ends[0].key().is_none(), "message {kind} changed at {place}: the transmitter took a key");
        }
    }
}

#[test]
fn a_dropped_or_truncated_message_never_gives_unequal_keys() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    for kind in 1..=8 {
        for keep in [None, Some(0), Some(2)] {
            let ends = distil(&model, pulses, 5, &mut |_, number, mut bytes: Vec<u8>| {
                if number == kind {
                    bytes.truncate(keep?);
                }
                Some(bytes)
            });
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
    let ends = distil(&model, pulses, 8, &mut |_, number, mut bytes: Vec<u8>| {
        if number == 7 {
            *bytes.last_mut().unwrap() ^= 1;
        }
        Some(bytes)
    });
    assert_eq!(ends[1].reason(), AbortReason::AuthenticationFailed);
    assert_eq!(ends[0].reason(), AbortReason::PeerAborted(AbortCode::AuthenticationFailed));
}

#[test]
fn the_reason_reaches_the_other_end() {
    let (model, pulses) = small();
    let ends = distil(&model, pulses, 6, &mut |_, number, bytes| Some(if number == 3 { vec![1] } else { bytes }));
    assert_eq!(ends[0].reason(), AbortReason::Malformed("message"));
    assert_eq!(ends[1].reason(), AbortReason::PeerAborted(AbortCode::Malformed));
}

#[test]
fn lost_and_repeated_photon_frames_are_refused() {
    let (model, pulses) = (Preset::Lab.model(), Preset::Lab.pulses());
    let mut emission = Transmitter::new(model.clone(), [1; 32]).emit(BlockId(1), pulses);
    let frames: Vec<Vec<u8>> = std::iter::from_fn(|| Some(emission.next_frame()?.0)).collect();
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
            let mut end = End::new(role, plan(&model, pulses, 1));
            end.handle(BlockInput::Message(bytes.clone()));
        }
        let _ = BlockMessage::from_bytes(&bytes);
        let mut reception = Receiver::new(model, [2; 32]).receive(BlockId(1), pulses);
        let _ = reception.accept(&bytes);
    }

    #[test]
    fn a_malicious_message_never_panics(seed in any::<u64>(), kind in 1..6usize) {
        let mut coins = SeededEntropy::from_number(seed);
        let (model, pulses) = (Preset::Lab.model(), pulses_for(&Preset::Lab.model(), 5_000));
        let ends = distil(&model, pulses, 7, &mut |_, number, mut bytes: Vec<u8>| {
            if number == kind {
                for _ in 0..1 + coins.below(4) {
                    let at = coins.below(bytes.len() as u64) as usize;
                    bytes[at] = coins.next_u64() as u8;
                }
            }
            Some(bytes)
        });
        assert_never_unequal(&ends);
    }
}
