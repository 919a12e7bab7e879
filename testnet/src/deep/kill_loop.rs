//! T1: daemons are killed with SIGKILL under load. In: a seed and a share of 400 rounds. Out: a check
//! per round, and the checks of the whole history and of every pad used. Always: the same network runs
//! on through all rounds.

use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;

use super::Plan;
use super::load::Load;
use crate::error::Failed;
use crate::progress::say;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds at full size.
const ROUNDS: usize = 400;
/// Longest way from the restart to a fresh key at both ends.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Milliseconds under load before a kill: least, and how many more at most.
const UP_MS: (u64, u64) = (50, 1450);
/// Milliseconds from the kill to the restart, at most.
const DOWN_MS_MAX: u64 = 500;

/// Times of one round.
struct Times {
    ready: Duration,
    fresh: Duration,
}

/// Runs the loop.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let rounds = plan.count(ROUNDS);
    println!("T1 kill -9 loop: {rounds} rounds");
    let mut load = Load::start(&Scenario::line_of_four()?, &[]).await?;
    load.go();
    let mut random = plan.random("T1");
    let mut times = Vec::new();
    for number in 1..=rounds {
        let done = round(&mut load, &mut random).await?;
        let done = done.map(|(text, taken)| {
            times.push(taken);
            text
        });
        report.check(&format!("round {number}"), done);
    }
    say(&format!(
        "restart to an answer: {}; to a fresh key: {}",
        spread(times.iter().map(|times| times.ready)),
        spread(times.iter().map(|times| times.fresh))
    ));
    load.end("T1", false, report).await
}

/// One kill and one restart; what happened in words, and how long it took.
async fn round(load: &mut Load, random: &mut SeededEntropy) -> Result<Result<(String, Times), String>, Failed> {
    let victim = random.below(load.cluster.daemons.len() as u64) as usize;
    let up = Duration::from_millis(UP_MS.0 + random.below(UP_MS.1));
    let down = Duration::from_millis(random.below(DOWN_MS_MAX));
    tokio::time::sleep(up).await;
    load.broken();
    load.cluster.daemons[victim].kill().await?;
    tokio::time::sleep(down).await;
    let restarted = Instant::now();
    load.cluster.start_one(victim)?;
    load.cluster.await_answer(victim).await?;
    let ready = restarted.elapsed();
    let name = load.cluster.daemons[victim].node.name.clone();
    let text = format!("{name} killed after {} ms, down {} ms", up.as_millis(), down.as_millis());
    let fresh = load.fresh_key(RECOVERY_MAX.saturating_sub(ready)).await;
    load.cluster.check_alive()?;
    let times = Times { ready, fresh: restarted.elapsed() };
    load.whole();
    Ok(match fresh {
        Ok(id) => Ok((format!("{text}; key {id} after {} ms", times.fresh.as_millis()), times)),
        Err(last) => Err(format!("{text}; no fresh key within {} s: {last}", RECOVERY_MAX.as_secs())),
    })
}

/// Median, 99th percentile and the longest.
pub(super) fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).map_or(0, Duration::as_millis);
    format!("median {} ms, p99 {} ms, most {} ms", at(0.5), at(0.99), at(1.0))
}
