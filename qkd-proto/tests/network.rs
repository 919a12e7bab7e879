//! Whole networks, simulated by seeds: the promises hold under faults, and the checker notices when
//! they do not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qkd_proto::sim::{Planted, Scenario, Violation, run};

/// 200 seeds x 10 nodes, over the cores at hand.
#[test]
fn two_hundred_seeds_break_no_promise() {
    let next = AtomicU64::new(1);
    let worker = || {
        let (mut delivered, mut completed, mut crashes, mut dead) = (0, 0, 0, Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > 200 {
                return (delivered, completed, crashes, dead);
            }
            let verdict = run(&Scenario::default(), seed);
            assert!(verdict.violations.is_empty(), "seed {seed}: {:?}", verdict.violations);
            if verdict.keys_after_faults == 0 {
                dead.push(seed);
            }
            delivered += verdict.keys_delivered;
            completed += verdict.keys_completed;
            crashes += verdict.crashes;
        }
    };
    let totals = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no violation")).collect::<Vec<_>>()
    });
    let delivered: usize = totals.iter().map(|total| total.0).sum();
    let completed: usize = totals.iter().map(|total| total.1).sum();
    let crashes: usize = totals.iter().map(|total| total.2).sum();
    println!("200 seeds: {delivered} keys at the master, {completed} at both, {crashes} crashes");
    assert!(crashes > 500 && completed > 10_000, "the faults and the traffic are real");
    for total in totals {
        assert!(total.3.is_empty(), "no key flows after the faults with seeds {:?}", total.3);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let (first, again) = (run(&Scenario::default(), 7), run(&Scenario::default(), 7));
    assert!(first.trace.len() > 10_000);
    assert_eq!(first.trace, again.trace);
    assert_ne!(first.trace, run(&Scenario::default(), 8).trace);
}

#[test]
fn planted_pad_reuse_is_caught_at_the_first_seed() {
    let scenario = Scenario { planted: Some(Planted::PadReuse), ..Scenario::default() };
    let verdict = run(&scenario, 1);
    assert!(verdict.violations.iter().any(|violation| matches!(violation, Violation::PadTwice(..))));
}

/// Effects that do not wait for their commit lose keys in crashes: the checker sees it.
#[test]
fn a_missing_barrier_is_caught() {
    let sync = Duration::from_millis(60);
    let scenario = Scenario { planted: Some(Planted::NoBarrier), sync, ..Scenario::default() };
    let caught = (1..=10).filter(|&seed| !run(&scenario, seed).violations.is_empty()).count();
    assert!(caught > 0);
}

#[test]
fn without_faults_every_key_arrives_and_none_is_lost() {
    let scenario = Scenario {
        crash_every: None,
        cut_every: None,
        reset: 0.0,
        advert_loss: 0.0,
        faults: Duration::ZERO,
        quiet: Duration::from_secs(15),
        ..Scenario::default()
    };
    let verdict = run(&scenario, 3);
    assert_eq!(verdict.violations, []);
    assert!(verdict.keys_delivered > 100, "{}", verdict.keys_delivered);

    assert!(verdict.keys_delivered - verdict.keys_completed < 20, "those of the last moments");
}
