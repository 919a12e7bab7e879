//! What whoever listens to a block's classical channel can count, and what the closed form says about it.
#![allow(dead_code, reason = "every test file uses its own part")]

use qkd_proto::bits::BitString;
use qkd_proto::distill::finite_key::{self, BasisCounts, BlockCounts, Bounds, Epsilons, KeyLength as _, Wiesemann};
use qkd_proto::distill::message::BlockMessage;
use qkd_proto::distill::plan::{BlockPlan, QBER_LIMIT, Role};
use qkd_proto::distill::reconcile;
use qkd_proto::optics::eavesdropper::Attack;
use qkd_proto::optics::model::{BasisExpectation, Expectation, LinkModel};
use qkd_proto::sim::pair::{self, Wire};

/// The failure probabilities of a node's blocks.
pub(crate) const EPS: Epsilons = Epsilons { secrecy: 1e-10, correctness: 1e-15 };

/// The number in this environment variable, or the default.
#[allow(clippy::disallowed_methods, reason = "a test's length is set from outside")]
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Counts of one block, signal then decoy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) key_counts: [u64; 2],
    /// Errors in the kept frames.
    pub(crate) key_errors: [u64; 2],
    pub(crate) test_counts: [u64; 2],
    pub(crate) test_errors: [u64; 2],
    /// Key bits in the kept frames.
    pub(crate) kept: u64,
    pub(crate) leak: u64,
    pub(crate) secret: u64,
    /// There is no key.
    pub(crate) gave_up: bool,
}

/// A wire that counts what passes.
#[derive(Default)]
struct Listener {
    bases: Option<BitString>,
    seen: Seen,
}

impl Wire for Listener {
    fn alter(&mut self, _: Role, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match BlockMessage::from_bytes(&bytes) {
            Ok(BlockMessage::Bases { bases }) => self.bases = Some(bases),
            Ok(BlockMessage::Sift { body }) => {
                let kept = self.bases.as_ref().expect("bases come first").select(&body.keep);
                let words = kept.words().iter().zip(body.decoy.words());
                let decoys: [u64; 2] = words.fold([0; 2], |[key, test], (basis, decoy)| {
                    [key + u64::from((decoy & !basis).count_ones()), test + u64::from((decoy & basis).count_ones())]
                });
                let test = body.test_bits.len() as u64;
                let key = kept.len() as u64 - test;
                self.seen.key_counts = [key - decoys[0], decoys[0]];
                self.seen.test_counts = [test - decoys[1], decoys[1]];
            }
            Ok(BlockMessage::Estimate { body }) => self.seen.test_errors = body.errors,
            Ok(BlockMessage::Report { body }) => {
                self.seen.key_errors = body.errors;
                let key = self.seen.key_counts[0] + self.seen.key_counts[1];
                let frames = reconcile::frames(key as usize);
                self.seen.kept =
                    frames.into_iter().zip(body.kept.iter()).filter(|(_, kept)| *kept).map(|(log, _)| 1 << log).sum();
            }
            _ => {}
        }
        Some(bytes)
    }
}

/// Runs one block under an attack and counts.
pub(crate) fn run(model: &LinkModel, attack: &Attack, pulses: u64, seed: u64) -> Seen {
    run_within(model, attack, pulses, QBER_LIMIT, seed)
}

/// As `run`, up to this error rate of the test basis.
pub(crate) fn run_within(model: &LinkModel, attack: &Attack, pulses: u64, limit: f64, seed: u64) -> Seen {
    let mut listener = Listener::default();
    let qber_limit = limit.try_into().expect("an error rate");
    let plans = [11, 12].map(|entropy| BlockPlan { qber_limit, ..pair::plan(model, pulses, entropy) });
    let [transmitter, receiver] = pair::distil(model, attack, plans, seed, &mut listener);
    let report = &transmitter.outcome().report;
    let seen =
        Seen { leak: report.leak.0, secret: report.secret.0, gave_up: transmitter.key().is_none(), ..listener.seen };
    assert_eq!(report.sifted.0, seen.key_counts[0] + seen.key_counts[1]);
    assert_eq!(receiver.outcome().report.secret.0, seen.secret, "both ends or none");
    seen
}

/// Bounds and length of the default formula for these expectations, of which the share `kept` of the
/// key basis was kept, without any leak.
pub(crate) fn length(model: &LinkModel, expected: &Expectation, kept: f64) -> Bounds {
    Wiesemann.length(&counts(model, expected, kept), EPS).expect("a formula for one decoy")
}

fn counts(model: &LinkModel, expected: &Expectation, kept: f64) -> BlockCounts {
    let basis = |basis: &BasisExpectation, share: f64| BasisCounts {
        counts: basis.counts.map(|count| count * share).into(),
        errors: Some(basis.errors.map(|errors| errors * share).into()),
    };
    BlockCounts {
        mus: model.mus.into(),
        ps: model.ps.into(),
        key: basis(&expected.key, kept),
        test: basis(&expected.test, 1.0),
        leak: 0.0,
    }
}

/// Mean and standard deviation of a sample.
pub(crate) fn moments(sample: &[f64]) -> (f64, f64) {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    let square: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (square / (n - 1.0).max(1.0)).sqrt())
}

/// Standard deviation of a block's length, without that of its leak.
pub(crate) fn length_sigma(model: &LinkModel, expected: &Expectation, kept: f64) -> f64 {
    finite_key::deviation(&Wiesemann, &counts(model, expected, kept), EPS).expect("a formula for one decoy")
}
