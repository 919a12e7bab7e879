//! T21: whole networks on virtual time, by seeds. In: a seed and a share of 500 seeds. Out: a check for crashes and
//! cuts, one for disks that are put back, and one for each planted bug. Always: the nodes are the real ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use qkd_proto::sim::{Planted, Scenario, Verdict, Violation, run};

use super::Plan;
use crate::report::Report;

/// Seeds at full size.
const SEEDS: usize = 500;
/// Seeds in which a planted bug has to show.
const PLANTED_SEEDS: u64 = 40;
/// Threads.
const THREADS: usize = 2;

/// What came of many seeds.
#[derive(Default)]
struct Totals {
    keys: usize,
    crashes: usize,
    rollbacks: usize,
    bad: Vec<String>,
}

/// Runs all of it.
pub(super) fn play(plan: &Plan, report: &mut Report) {
    let seeds = plan.count(SEEDS) as u64;
    for (name, scenario) in
        [("crashes and cuts", Scenario::default()), ("disks put back", Scenario::disks_put_back(None))]
    {
        let started = Instant::now();
        let totals = over(&scenario, plan.seed, seeds);
        let Totals { keys, crashes, rollbacks, bad } = totals;
        let took = started.elapsed().as_secs();
        let text =
            format!("{seeds} seeds, {keys} keys at both ends, {crashes} crashes, {rollbacks} rollbacks, {took} s");
        let verdict = if bad.is_empty() && keys > 0 { Ok(text) } else { Err(format!("{text}: {}", bad.join("; "))) };
        report.check(&format!("T21 {name}"), verdict);
    }
    for (name, planted, of) in planted() {
        let caught = (1..=PLANTED_SEEDS).find(|&seed| run(&planted, seed).violations.iter().any(of));
        let verdict = caught.map(|seed| format!("caught with seed {seed}"));
        report.check(&format!("T21 planted: {name}"), verdict.ok_or_else(|| "not caught".into()));
    }
}

type Kind = fn(&Violation) -> bool;

fn planted() -> [(&'static str, Scenario, Kind); 4] {
    let twice: Kind = |violation| matches!(violation, Violation::PadTwice(..));
    let again: Kind = |violation| matches!(violation, Violation::DeliveredTwice(..));
    let any: Kind = |_| true;
    let slow = Scenario::slow_disks_put_back;
    let barrier =
        Scenario { planted: Some(Planted::NoBarrier), sync: Duration::from_millis(60), ..Scenario::default() };
    [
        ("pad handed out again", Scenario { planted: Some(Planted::PadReuse), ..Scenario::default() }, twice),
        ("effects before their commit", barrier, any),
        ("pad spent before the neighbour recorded it", slow(Some(Planted::NoNeighbourMark)), twice),
        ("nobody compares what neighbours remember", slow(Some(Planted::DeafToRollback)), again),
    ]
}

fn over(scenario: &Scenario, first: u64, seeds: u64) -> Totals {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut totals = Totals::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                return totals;
            }
            let seed = first.wrapping_add(number);
            add(&mut totals, seed, &run(scenario, seed));
        }
    };
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect::<Vec<_>>()
    });
    parts.into_iter().fold(Totals::default(), |all, part| Totals {
        keys: all.keys + part.keys,
        crashes: all.crashes + part.crashes,
        rollbacks: all.rollbacks + part.rollbacks,
        bad: [all.bad, part.bad].concat(),
    })
}

fn add(totals: &mut Totals, seed: u64, verdict: &Verdict) {
    totals.keys += verdict.keys_completed;
    totals.crashes += verdict.crashes;
    totals.rollbacks += verdict.rollbacks;
    if !verdict.violations.is_empty() {
        totals.bad.push(format!("seed {seed}: {:?}", verdict.violations));
    }
    if verdict.keys_after_faults == 0 {
        totals.bad.push(format!("seed {seed}: no key flows after the faults"));
    }
}
