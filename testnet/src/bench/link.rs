//! The link, measured: each stage on one core by the time it computed, then one link between two
//! daemons by the clock.

use qkd_proto::distill::job::{Job, JobResult};
use qkd_proto::distill::message::EngineKind;
use qkd_proto::distill::plan::Role;
use qkd_proto::optics::eavesdropper::Attack;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::preset::{Preset, pulses_for};
use qkd_proto::quantity::Qber;
use qkd_proto::sim::pair::{self, Wire};
use qkd_proto::sim::workload::{self, Amplification, Reconciled, Reconciliation};

use super::cpu::{thread_seconds, timed};
use super::{Options, Row, pair_of_daemons};
use crate::error::Failed;
use crate::progress::say;

/// Bits of a key to reconcile: 64 frames of 2^16.
const KEY_BITS: usize = 1 << 22;
/// Error rates of the tables, per mille.
const QBERS_PER_MILLE: [u64; 6] = [5, 10, 20, 30, 50, 80];

/// All rows.
pub(super) async fn rows(options: &Options) -> Result<Vec<Row>, Failed> {
    let mut rows = Vec::new();
    say("the emulator …");
    rows.extend(emulator());
    say("reconciliation …");
    rows.extend(reconciliation(options.all));
    say("amplification …");
    rows.extend(amplification(options.all));
    if options.all {
        say("whole blocks …");
        rows.extend(blocks());
    }
    if options.seconds > 0 {
        say(&format!("one link, two daemons, {} s …", options.seconds));
        rows.extend(pair_of_daemons::rows(options.seconds).await?);
    }
    Ok(rows)
}

/// Photons per second, drawn, framed and measured: both ends on one core.
fn emulator() -> Vec<Row> {
    let model = LinkModel { length_km: 10.0, ..Preset::Sdapd1g.model() };
    let pulses = pulses_for(&model, 1 << 24);
    let (events, seconds) = timed(|| workload::emulate(&model, pulses));
    vec![Row::new("emulator_events_per_s", events as f64 / seconds, "1/s").goal(">= 1e8")]
}

/// One run of an engine.
struct Run {
    qber: f64,
    done: Reconciled,
    open_s: f64,
    correct_s: f64,
}

impl Run {
    fn new(engine: EngineKind, bits: usize, per_mille: u64) -> Self {
        let mut work = Reconciliation::new(engine, bits, Qber::of(per_mille, 1000), per_mille);
        let ((), open_s) = timed(|| work.open());
        let (done, correct_s) = timed(|| work.correct());
        Self { qber: per_mille as f64 / 1000.0, done, open_s, correct_s }
    }

    fn f_ec(&self) -> f64 {
        self.done.told.transmitter.0 as f64 / (self.done.bits.0 as f64 * entropy(self.qber))
    }

    fn f_ec_both(&self) -> f64 {
        let told = self.done.told.transmitter.0 + self.done.told.receiver.0;
        told as f64 / (self.done.bits.0 as f64 * entropy(self.qber))
    }

    fn mbit_per_s(&self, seconds: f64) -> f64 {
        self.done.bits.0 as f64 / seconds / 1e6
    }

    fn rows(&self, name: &str) -> Vec<Row> {
        let q = self.qber * 100.0;
        let row = |what: &str, value, unit| Row::new(format!("{name}_q{q}_{what}"), value, unit);
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

fn entropy(q: f64) -> f64 {
    -q * q.log2() - (1.0 - q) * (1.0 - q).log2()
}

fn reconciliation(all: bool) -> Vec<Row> {
    let cascade = Run::new(EngineKind::Cascade, KEY_BITS, 30);
    let short = Run::new(EngineKind::Polar, KEY_BITS, 20);
    let long = Run::new(EngineKind::Polar, KEY_BITS << 3, 20);
    let mut rows = vec![
        Row::new("cascade_f_q3", cascade.f_ec(), "").goal("<= 1.06"),
        Row::new("cascade_mbit_per_s_q3", cascade.mbit_per_s(cascade.open_s + cascade.correct_s), "Mbit/s")
            .goal(">= 60"),
        Row::new("polar_f_q2", short.f_ec(), "").goal("<= 1.40"),
        Row::new("polar_mbit_per_s_q2", short.mbit_per_s(short.correct_s), "Mbit/s").goal(">= 500"),
        Row::new("polar_best_f_q2", short.f_ec().min(long.f_ec()), "").goal("<= 1.20"),
    ];
    if all {
        for per_mille in QBERS_PER_MILLE {
            rows.extend(Run::new(EngineKind::Polar, KEY_BITS, per_mille).rows("polar"));
            rows.extend(Run::new(EngineKind::Cascade, KEY_BITS, per_mille).rows("cascade"));
        }
    }
    rows
}

/// Input bits per second of one end, for two of five bits kept.
fn amplification(all: bool) -> Vec<Row> {
    let logs: &[u32] = if all { &[16, 18, 20, 22, 24, 26] } else { &[20, 24, 26] };
    let row = |&log: &u32| {
        let bits = 1_usize << log;
        let rounds = (1 << 24 >> log).max(1);
        // Once before, so that tables are made.
        Amplification::new(1 << 16).run(1 << 15);
        let seconds: f64 = (0..rounds)
            .map(|_| {
                let work = Amplification::new(bits);
                timed(|| work.run(bits / 5 * 2)).1
            })
            .sum();
        let row = Row::new(format!("amplify_mbit_per_s_2e{log}"), (bits * rounds) as f64 / seconds / 1e6, "Mbit/s");
        if [20, 24, 26].contains(&log) { row.goal(">= 60") } else { row }
    };
    logs.iter().map(row).collect()
}

/// Computing time of a block by end and step.
#[derive(Default)]
struct Meter {
    ends: [f64; 2],
}

impl Wire for Meter {
    fn run(&mut self, role: Role, job: Job) -> JobResult {
        let (result, seconds) = timed(|| job.run());
        self.ends[usize::from(role == Role::Receiver)] += seconds;
        result
    }
}

/// Whole blocks at n_K about 2^24 (`lab`: 2^18): secret bits per second of one core, both ends added up.
fn blocks() -> Vec<Row> {
    let mut rows = Vec::new();
    for preset in [Preset::Lab, Preset::Apd1g, Preset::Sdapd1g, Preset::Snspd25g] {
        for length_km in [10.0, 25.0, 50.0] {
            let model = LinkModel { length_km, ..preset.model() };
            let pulses = pulses_for(&model, preset.block_key_bits());
            let plans = [pair::plan(&model, pulses, 1), pair::plan(&model, pulses, 2)];
            let mut meter = Meter::default();
            let start = thread_seconds();
            let ends = pair::distil(&model, &Attack::default(), plans, 1, &mut meter);
            let whole = thread_seconds() - start;
            let report = &ends[0].outcome().report;
            let row = |what: &str, value, unit| Row::new(format!("block_{preset}_{length_km}km_{what}"), value, unit);
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
