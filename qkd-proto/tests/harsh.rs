//! Simulations with harsher faults than the default ones: slow disks, crashes all the time, many
//! sizes. `HARSH_SEEDS` (first and last, `1-2000`) makes it larger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qkd_proto::sim::{Scenario, run};

fn harsh(seed: u64) -> Scenario {
    let pick = |of: u64, from: u64, to: u64| from + (seed / of) % (to - from + 1);
    Scenario {
        nodes: pick(1, 5, 20) as usize,
        chords: pick(3, 0, 5) as usize,
        faults: Duration::from_secs(6),
        quiet: Duration::from_secs(10),
        crash_every: Some(Duration::from_millis(pick(7, 2, 6) * 100)),
        cut_every: Some(Duration::from_millis(700)),
        reset: [0.002, 0.01, 0.03][pick(2, 0, 2) as usize],
        sync: Duration::from_millis([2, 20, 50, 80][pick(5, 0, 3) as usize]),
        ..Scenario::default()
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told its size")]
fn harsh_faults_break_no_promise() {
    let range = std::env::var("HARSH_SEEDS").unwrap_or_else(|_| "1-24".into());
    let (first, last) = range.split_once('-').expect("first-last");
    let (first, last): (u64, u64) = (first.parse().expect("a number"), last.parse().expect("a number"));
    let next = AtomicU64::new(first);
    let worker = || {
        let mut bad = Vec::new();
        let (mut delivered, mut completed, mut crashes, mut resumed) = (0, 0, 0, 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return (bad, [delivered, completed, crashes, resumed]);
            }
            let verdict = run(&harsh(seed), seed);
            if !verdict.violations.is_empty() || verdict.keys_after_faults == 0 {
                println!("seed {seed}: {:?}, {} keys after the faults", verdict.violations, verdict.keys_after_faults);
                bad.push(seed);
            }
            delivered += verdict.keys_delivered;
            completed += verdict.keys_completed;
            crashes += verdict.crashes;
            resumed += verdict.trace.matches("pool resumed").count();
        }
    };
    let totals = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect::<Vec<_>>()
    });
    let sum = |i: usize| totals.iter().map(|total| total.1[i]).sum::<usize>();
    println!("{range}: {} keys at the master, {} at both, {} crashes, {} resumed", sum(0), sum(1), sum(2), sum(3));
    assert!(totals.iter().all(|total| total.0.is_empty()), "{totals:?}");
    assert!(sum(3) > 0, "pools survive crashes");
}
