//! Disks that are put back, simulated by seeds: no pad byte is spent again, no key delivered again, and the
//! checks that promise it are each seen to matter. `ROLLBACK_SEEDS` (first and last, `1-500`) makes it larger.

use std::time::Duration;

use qkd_proto::sim::{Planted, Scenario, Verdict, Violation, run};

#[expect(clippy::disallowed_methods, reason = "a test may be told its size")]
fn seeds(default: &str) -> std::ops::RangeInclusive<u64> {
    let range = std::env::var("ROLLBACK_SEEDS").unwrap_or_else(|_| default.into());
    let (first, last) = range.split_once('-').expect("first-last");
    first.parse().expect("a number")..=last.parse().expect("a number")
}

#[test]
fn what_a_rolled_back_node_did_is_never_done_again() {
    let (mut rollbacks, mut noticed, mut completed, mut stalled) = (0, 0, 0, Vec::new());
    for seed in seeds("1-24") {
        let verdict = run(&Scenario::disks_put_back(None), seed);
        assert!(verdict.violations.is_empty(), "seed {seed}: {:?}", verdict.violations);
        rollbacks += verdict.rollbacks;
        noticed += verdict.trace.matches("rolled back:").count();
        completed += verdict.keys_completed;
        if verdict.keys_after_faults == 0 {
            stalled.push(seed);
        }
    }
    println!("{rollbacks} rollbacks, {noticed} alarms, {completed} keys at both ends");
    assert!(rollbacks > 50 && noticed > 20 && completed > 500, "the faults and the traffic are real");
    assert!(stalled.is_empty(), "no key flows after the faults with seeds {stalled:?}");
}

fn caught(scenario: &Scenario, of: fn(&Violation) -> bool) -> usize {
    let broken = |verdict: &Verdict| verdict.violations.iter().any(of);
    seeds("1-40").filter(|&seed| broken(&run(scenario, seed))).count()
}

/// The neighbours' marks alone keep pads from being spent twice where one disk at a time is put back and nobody
/// stops cleanly (a clean stop gives unused bytes back); beyond that it takes the comparison, and without marks
/// nothing does.
#[test]
fn pad_that_the_neighbour_has_not_recorded_is_spent_twice() {
    let twice = |violation: &Violation| matches!(violation, Violation::PadTwice(..));
    let rollbacks_apart = Duration::from_secs(3);
    assert_eq!(
        caught(&Scenario { rollbacks_apart, ..Scenario::slow_disks_put_back(Some(Planted::DeafToRollback)) }, twice),
        0
    );
    assert!(caught(&Scenario::slow_disks_put_back(Some(Planted::NoNeighbourMark)), twice) > 0);
}

#[test]
fn a_network_that_does_not_compare_delivers_twice() {
    let twice = |violation: &Violation| matches!(violation, Violation::DeliveredTwice(..));
    assert!(caught(&Scenario::slow_disks_put_back(Some(Planted::DeafToRollback)), twice) > 0);
}

/// Without strict mode, what a rollback repeats is bounded by one heartbeat, and not by nothing.
#[test]
fn strict_mode_is_what_closes_the_last_second() {
    let twice = |violation: &Violation| matches!(violation, Violation::DeliveredTwice(..));
    assert!(caught(&Scenario { strict: false, ..Scenario::slow_disks_put_back(None) }, twice) > 0);
}
