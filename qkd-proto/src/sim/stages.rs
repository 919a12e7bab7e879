//! The stages of a link, measured by a clock that the caller brings. In: how many seconds this thread
//! has computed. Out: named values with their goals. Always: the work is the real code's; every value
//! was measured in this run.

use super::pair::{self, Wire};
use super::workload::{self, Amplification, Reconciled, Reconciliation};
use crate::distill::finite_key::binary_entropy;
use crate::distill::job::{Job, JobResult};
use crate::distill::message::EngineKind;
use crate::distill::plan::Role;
use crate::distill::{noise, polar};
use crate::optics::eavesdropper::Attack;
use crate::optics::model::LinkModel;
use crate::optics::preset::{Preset, pulses_for};
use crate::quantity::Qber;

/// Bits of a key to reconcile: 64 frames of 2^16.
const KEY_BITS: usize = 1 << 22;
/// Keys of one frame of 2^16 bits.
const SHORT_KEYS: u64 = 200;
/// Error rates of the tables, per mille.
const QBERS_PER_MILLE: [u64; 6] = [5, 10, 20, 30, 50, 80];

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit; empty for a ratio.
    pub unit: &'static str,
    /// What it should reach, as `>= 60`.
    pub goal: Option<&'static str>,
}

impl Measured {
    fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, goal: None }
    }

    fn goal(mut self, goal: &'static str) -> Self {
        self.goal = Some(goal);
        self
    }
}

/// Measures the stages of a link by `clock`, the seconds that this thread has computed.
pub struct Stages<'a> {
    clock: &'a dyn Fn() -> f64,
    /// Every engine, error rate, size and preset, beyond the values with goals.
    all: bool,
}

impl<'a> Stages<'a> {
    /// By this clock.
    pub fn new(clock: &'a dyn Fn() -> f64, all: bool) -> Self {
        Self { clock, all }
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> (T, f64) {
        let start = (self.clock)();
        let done = work();
        (done, (self.clock)() - start)
    }

    /// Events of the emulator a second, both ends on one core: photons drawn, framed and sent on, and
    /// clicks registered.
    pub fn emulator(&self) -> Vec<Measured> {
        let presets: &[Preset] = if self.all { &Preset::ALL } else { &[Preset::Apd1g] };
        let mut rows = Vec::new();
        for preset in presets {
            let pulses = pulses_for(&preset.model(), 1 << 23);
            let (emulated, seconds) = self.timed(|| workload::emulate(&preset.model(), pulses));
            if *preset == Preset::Apd1g {
                let events = (emulated.photons + emulated.clicks) as f64;
                rows.push(Measured::new("emulator_events_per_s", events / seconds, "1/s").goal(">= 1e8"));
            }
            let photons = emulated.photons as f64 / seconds;
            rows.push(Measured::new(format!("emulator_{preset}_photons_per_s"), photons, "1/s"));
        }
        rows
    }

    /// Both engines: leak over Shannon's, frame errors, Mbit/s of key.
    ///
    /// # Panics
    /// If an engine does not understand itself: a defect.
    pub fn reconciliation(&self) -> Vec<Measured> {
        let cascade = Run::new(self, EngineKind::Cascade, KEY_BITS, 30);
        // Keys of one frame each, so that the frames have 2^16 bits.
        let short = Run::sum((0..SHORT_KEYS).map(|seed| Run::seeded(self, EngineKind::Polar, 1 << 16, 20, seed)));
        let long = Run::new(self, EngineKind::Polar, KEY_BITS << 4, 20);
        let mut rows = vec![
            Measured::new("cascade_f_q3", cascade.f_ec(), "").goal("<= 1.06"),
            Measured::new("cascade_mbit_per_s_q3", cascade.mbit_per_s(cascade.open_s + cascade.correct_s), "Mbit/s")
                .goal(">= 60"),
            Measured::new("polar_f_q2", short.f_ec(), "").goal("<= 1.40"),
            Measured::new("polar_frame_errors_q2", short.done.failed as f64 / short.done.frames as f64, ""),
            Measured::new("polar_mbit_per_s_q2", self.polar_side_by_side(), "Mbit/s").goal(">= 500"),
            Measured::new("polar_alone_mbit_per_s_q2", short.mbit_per_s(short.correct_s), "Mbit/s"),
            Measured::new("polar_best_f_q2", short.f_ec().min(long.f_ec()), "").goal("<= 1.20"),
        ];
        if self.all {
            rows.extend(short.rows("polar_2e16"));
            for per_mille in QBERS_PER_MILLE {
                rows.extend(Run::new(self, EngineKind::Polar, KEY_BITS, per_mille).rows("polar"));
                rows.extend(Run::new(self, EngineKind::Cascade, KEY_BITS, per_mille).rows("cascade"));
            }
        }
        rows
    }

    /// Mbit/s of decoding 64 frames of 2^16 bits at once, at 2 %.
    fn polar_side_by_side(&self) -> f64 {
        let (log, qber) = (16, Qber::of(2, 100));
        let (sent, seen) = noise::frames(64 << log, qber, 1);
        let syndromes = polar::encode_frames(&sent, log, qber);
        let decode = || polar::decode_frames(&seen, log, qber, &syndromes);
        // Once before, so that the frozen set is there.
        let _ = decode();
        let (_, seconds) = self.timed(|| (0..8).for_each(|_| drop(decode())));
        (8 * (64_u64 << log)) as f64 / seconds / 1e6
    }

    /// Input bits per second of one end, for two of five bits kept.
    pub fn amplification(&self) -> Vec<Measured> {
        let logs: &[u32] = if self.all { &[16, 18, 20, 22, 24, 26] } else { &[20, 24, 26] };
        let row = |&log: &u32| {
            let bits = 1_usize << log;
            let rounds = (1 << 24 >> log).max(1);
            // Once before, so that tables are made.
            Amplification::new(1 << 16).run(1 << 15);
            let seconds: f64 = (0..rounds)
                .map(|_| {
                    let work = Amplification::new(bits);
                    self.timed(|| work.run(bits / 5 * 2)).1
                })
                .sum();
            let row =
                Measured::new(format!("amplify_mbit_per_s_2e{log}"), (bits * rounds) as f64 / seconds / 1e6, "Mbit/s");
            if [20, 24, 26].contains(&log) { row.goal(">= 60") } else { row }
        };
        logs.iter().map(row).collect()
    }

    /// Whole blocks at n_K about 2^24 (`lab`: 2^18): secret bits per second of one core, both ends added up.
    ///
    /// # Panics
    /// If the emulated devices refuse each other's frames: a defect.
    pub fn blocks(&self) -> Vec<Measured> {
        let mut rows = Vec::new();
        for preset in Preset::ALL {
            for length_km in [10.0, 25.0, 50.0] {
                let model = LinkModel { length_km, ..preset.model() };
                let pulses = pulses_for(&model, preset.block_key_bits());
                let plans = [pair::plan(&model, pulses, 1), pair::plan(&model, pulses, 2)];
                let mut meter = Meter { stages: self, ends: [0.0; 2] };
                let start = (self.clock)();
                let ends = pair::distil(&model, &Attack::default(), plans, 1, &mut meter);
                let whole = (self.clock)() - start;
                let report = &ends[0].outcome().report;
                let row = |what: &str, value, unit| {
                    Measured::new(format!("block_{preset}_{length_km}km_{what}"), value, unit)
                };
                rows.push(row("secret_per_core", report.secret.0 as f64 / whole / 1e6, "Mbit/s"));
                rows.push(row("sifted_per_core", report.sifted.0 as f64 / whole / 1e6, "Mbit/s"));
                rows.push(row("secret_per_sifted", report.secret.0 as f64 / report.sifted.0.max(1) as f64, ""));
                rows.push(row("f", report.f_ec.unwrap_or_default(), ""));
                rows.push(row("distil_transmitter", report.sifted.0 as f64 / meter.ends[0] / 1e6, "Mbit/s"));
                rows.push(row("distil_receiver", report.sifted.0 as f64 / meter.ends[1] / 1e6, "Mbit/s"));
            }
        }
        rows
    }
}

/// One run of an engine.
struct Run {
    qber: f64,
    done: Reconciled,
    open_s: f64,
    correct_s: f64,
}

impl Run {
    fn new(stages: &Stages<'_>, engine: EngineKind, bits: usize, per_mille: u64) -> Self {
        Self::seeded(stages, engine, bits, per_mille, per_mille)
    }

    /// Several runs as one.
    fn sum(runs: impl Iterator<Item = Self>) -> Self {
        let add = |mut sum: Self, run: Self| {
            sum.done.bits.0 += run.done.bits.0;
            sum.done.told.transmitter.0 += run.done.told.transmitter.0;
            sum.done.told.receiver.0 += run.done.told.receiver.0;
            sum.done.frames += run.done.frames;
            sum.done.failed += run.done.failed;
            sum.done.questions += run.done.questions;
            sum.open_s += run.open_s;
            sum.correct_s += run.correct_s;
            sum
        };
        runs.reduce(add).expect("at least one run")
    }

    fn seeded(stages: &Stages<'_>, engine: EngineKind, bits: usize, per_mille: u64, seed: u64) -> Self {
        let mut work = Reconciliation::new(engine, bits, Qber::of(per_mille, 1000), seed);
        let ((), open_s) = stages.timed(|| work.open());
        let (done, correct_s) = stages.timed(|| work.correct());
        Self { qber: per_mille as f64 / 1000.0, done, open_s, correct_s }
    }

    fn f_ec(&self) -> f64 {
        self.done.told.transmitter.0 as f64 / (self.done.bits.0 as f64 * binary_entropy(self.qber))
    }

    fn f_ec_both(&self) -> f64 {
        let told = self.done.told.transmitter.0 + self.done.told.receiver.0;
        told as f64 / (self.done.bits.0 as f64 * binary_entropy(self.qber))
    }

    fn mbit_per_s(&self, seconds: f64) -> f64 {
        self.done.bits.0 as f64 / seconds / 1e6
    }

    fn rows(&self, name: &str) -> Vec<Measured> {
        let q = self.qber * 100.0;
        let row = |what: &str, value, unit| Measured::new(format!("{name}_q{q}_{what}"), value, unit);
        vec![
            row("f", self.f_ec(), ""),
            row("f_both", self.f_ec_both(), ""),
            row("frame_errors", self.done.failed as f64 / self.done.frames.max(1) as f64, ""),
            row("questions", f64::from(self.done.questions), ""),
            row("transmitter", self.mbit_per_s(self.open_s), "Mbit/s"),
            row("both_ends", self.mbit_per_s(self.open_s + self.correct_s), "Mbit/s"),
        ]
    }
}

/// Computing time of a block by end and step.
struct Meter<'a> {
    stages: &'a Stages<'a>,
    ends: [f64; 2],
}

impl Wire for Meter<'_> {
    fn run(&mut self, role: Role, job: Job) -> JobResult {
        let (result, seconds) = self.stages.timed(|| job.run());
        self.ends[usize::from(role == Role::Receiver)] += seconds;
        result
    }
}
