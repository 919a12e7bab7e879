//! T24: how long a comparison takes must not tell where two values differ. In: pairs that are equal, and pairs that
//! differ in the first byte. Out: Welch's t for the two classes, as dudect has it (Reparaz, Balasch, Verbauwhede
//! 2017). Always: a comparison that stops at the first difference is seen. Advisory: other work on the machine
//! disturbs it, so the least of some rounds counts.

use std::hint::black_box;
use std::time::Instant;

use qkd_proto::crypto;
use qkd_proto::entropy::{Entropy as _, SeededEntropy, draw};
use qkd_proto::mac::Tag;

use super::Plan;
use crate::report::Report;

/// Samples of a round at full size.
const SAMPLES: usize = 1_000_000;
/// Comparisons of one sample: the clock is coarser than one of them.
const REPEATS: usize = 32;
/// |t| above this tells the classes apart.
const THRESHOLD: f64 = 5.0;
/// A leak shows in every round, a neighbour's work on the machine does not.
const ROUNDS: usize = 3;

/// Mean and variance of what comes in, by Welford.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    fn t(&self, other: &Self) -> f64 {
        let error = |moments: &Self| moments.squares / (moments.count - 1.0) / moments.count;
        (self.mean - other.mean) / (error(self) + error(other)).sqrt()
    }
}

fn nanoseconds<T>(compare: impl Fn(&T, &T) -> bool, pair: &(T, T)) -> f64 {
    let begin = Instant::now();
    for _ in 0..REPEATS {
        black_box(compare(black_box(&pair.0), black_box(&pair.1)));
    }
    begin.elapsed().as_nanos() as f64
}

/// Welch's t for pairs of 16 bytes that are equal, and that differ at once. Samples above the 90th percentile of
/// the first thousand are interruptions and are left out.
fn t_of<T>(of: impl Fn([u8; 16]) -> T, compare: impl Fn(&T, &T) -> bool, seed: u64, samples: usize) -> f64 {
    let mut entropy = SeededEntropy::from_number(seed);
    let mut classes = [Moments::default(), Moments::default()];
    let mut first = Vec::new();
    let mut limit = f64::INFINITY;
    for sample in 0..samples {
        let mut random = [0; 1];
        entropy.fill(&mut random);
        let class = usize::from(random[0] & 1);
        let bytes = draw::<16>(&mut entropy);
        let mut other = bytes;
        other[0] ^= class as u8;
        let taken = nanoseconds(&compare, &(of(bytes), of(other)));
        if sample < 1000 {
            first.push(taken);
        } else if sample == 1000 {
            first.sort_by(f64::total_cmp);
            limit = first[900];
        } else if taken <= limit {
            classes[class].add(taken);
        }
    }
    classes[0].t(&classes[1])
}

/// The least |t| of some rounds.
fn least<T>(samples: usize, of: impl Fn([u8; 16]) -> T, compare: impl Fn(&T, &T) -> bool) -> (f64, String) {
    let rounds: Vec<f64> = (0..ROUNDS).map(|round| t_of(&of, &compare, round as u64, samples).abs()).collect();
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    (least, format!("|t| {least:.2} of {rounds:.2?}, {samples} samples each"))
}

/// Planted: it stops at the first difference.
#[inline(never)]
fn stops_early(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).all(|(a, b)| black_box(a) == black_box(b))
}

/// Measures all of them.
pub(super) fn play(plan: &Plan, report: &mut Report) {
    let samples = plan.count(SAMPLES).max(20_000);
    let (planted, text) = least(samples, |bytes| bytes, stops_early);
    report.check("T24 planted: a comparison that stops early", if planted > THRESHOLD { Ok(text) } else { Err(text) });
    for (name, (t, text)) in [
        ("bytes", least(samples, |bytes| bytes, |a, b| crypto::equal(a, b))),
        ("tags", least(samples, Tag, |a, b| a == b)),
    ] {
        report.check(&format!("T24 comparison of {name}"), if t < THRESHOLD { Ok(text) } else { Err(text) });
    }
}
