//! T1: daemons are killed with SIGKILL under load. In: a seed and a share of 200 kills at random moments
//! and of 5 at every fail point. Out: a check per round, and the checks of the whole history and of every
//! pad used. Always: the same network runs on through all rounds.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;
use qkdd::fail_point::{ARM, DELIVERIES_NOT_WRITTEN, PLANT, Point};
use rustix::process::Signal;

use super::Plan;
use super::load::Load;
use crate::error::Failed;
use crate::progress::say;
use crate::report::Report;
use crate::scenario::Scenario;

/// Kills at random moments, and at each fail point, at full size.
const ROUNDS: usize = 200;
const ROUNDS_AT_A_POINT: usize = 5;
/// The passage of a fail point at which a daemon dies, at most: some are passed rarely.
const PASSAGE_MAX: u64 = 12;
/// A daemon dies at its fail point within this, or passes it too rarely.
const DEATH_MAX: Duration = Duration::from_secs(4);
/// Kills within which the planted bug has to be found.
const PLANTED_MAX: usize = 20;
/// Longest way from the restart to a fresh key at both ends.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Milliseconds under load before a kill: least, and how many more at most.
const UP_MS: (u64, u64) = (50, 1450);
/// Points of a clean stop need a daemon that ran for a while.
const UP_BEFORE_STOP: Duration = Duration::from_millis(800);
/// Milliseconds from the kill to the restart, at most.
const DOWN_MS_MAX: u64 = 500;

/// Times of one round.
struct Times {
    ready: Duration,
    fresh: Duration,
    /// Bytes of pad that the victim had before the kill and lacked after it, over its links.
    lost: u64,
}

/// Runs the loop, then the fail points, then the planted bug.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let rounds = plan.count(ROUNDS);
    let at_points = plan.count(ROUNDS_AT_A_POINT * Point::ALL.len());
    let mut load = Load::start(&Scenario::line_of_four()?, &[]).await?;
    let armed = has_fail_points(&load).await?;
    println!("T1 kill -9 loop: {rounds} random kills, {} at fail points", if armed { at_points } else { 0 });
    load.go();
    let mut random = plan.random("T1");
    let mut times = Vec::new();
    for number in 1..=rounds {
        let done = round(&mut load, &mut random, None).await?;
        let done = done.map(|(text, taken)| {
            times.push(taken);
            text
        });
        report.check(&format!("T1 round {number}"), done);
    }
    if armed {
        let mut points = Point::ALL;
        shuffle(&mut points, &mut random);
        for number in 0..at_points {
            let point = points[number % points.len()];
            let done = round(&mut load, &mut random, Some(point)).await?;
            let done = done.map(|(text, taken)| {
                times.push(taken);
                text
            });
            report.check(&format!("T1 fail point {}", point.name()), done);
        }
    } else {
        report.skip("T1 fail points", "needs a qkdd that was built with --features fail-points");
    }
    let mut lost: Vec<u64> = times.iter().map(|times| times.lost).collect();
    lost.sort_unstable();
    say(&format!(
        "restart to an answer: {}; to a fresh key: {}; pad lost by a kill: median {} B, most {} B",
        spread(times.iter().map(|times| times.ready)),
        spread(times.iter().map(|times| times.fresh)),
        lost.get(lost.len() / 2).unwrap_or(&0),
        lost.last().unwrap_or(&0)
    ));
    load.end("T1", false, report).await?;
    if armed {
        report.check("T1 planted: deliveries are not written down", planted(&mut random).await?);
    }
    Ok(())
}

/// True if the daemon dies where it is told to.
async fn has_fail_points(load: &Load) -> Result<bool, Failed> {
    let qkdd = &load.cluster.binaries().qkdd;
    let mut start = tokio::process::Command::new(qkdd);
    start.args(["--check-config", "/"]).env(ARM, format!("{}:1", Point::Start.name()));
    let done = start.stdin(Stdio::null()).output().await.map_err(|error| Failed::file(qkdd, error))?;
    Ok(done.status.signal() == Some(Signal::KILL.as_raw()))
}

fn shuffle(points: &mut [Point], random: &mut SeededEntropy) {
    for i in (1..points.len()).rev() {
        points.swap(i, random.below(i as u64 + 1) as usize);
    }
}

/// One kill and one restart; what happened in words, and how long it took.
async fn round(
    load: &mut Load,
    random: &mut SeededEntropy,
    point: Option<Point>,
) -> Result<Result<(String, Times), String>, Failed> {
    let victim = random.below(load.cluster.daemons.len() as u64) as usize;
    let up = Duration::from_millis(UP_MS.0 + random.below(UP_MS.1));
    let down = Duration::from_millis(random.below(DOWN_MS_MAX));
    let name = load.cluster.daemons[victim].node.name.clone();
    let mut text = match point {
        None => {
            tokio::time::sleep(up).await;
            load.broken();
            format!("{name} killed after {} ms", up.as_millis())
        }
        Some(point) => die_at(load, victim, point, random).await?,
    };
    let before = pads(load, victim).await;
    load.cluster.daemons[victim].kill().await?;
    tokio::time::sleep(down).await;
    text.push_str(&format!(", down {} ms", down.as_millis()));
    let restarted = Instant::now();
    load.cluster.start_one(victim)?;
    load.cluster.await_answer(victim).await?;
    let ready = restarted.elapsed();
    let fresh = load.fresh_key(RECOVERY_MAX.saturating_sub(ready)).await;
    load.cluster.check_alive()?;
    let after = pads(load, victim).await;
    let lost = before.zip(after).map_or(0, |(before, after)| before.saturating_sub(after));
    let times = Times { ready, fresh: restarted.elapsed(), lost };
    load.whole();
    Ok(match fresh {
        Ok(id) => Ok((format!("{text}; key {id} after {} ms", times.fresh.as_millis()), times)),
        Err(last) => Err(format!("{text}; no fresh key within {} s: {last}", RECOVERY_MAX.as_secs())),
    })
}

/// Bytes that a node may still send under; none if it does not answer.
async fn pads(load: &Load, i: usize) -> Option<u64> {
    let status = load.cluster.daemons[i].status().await?;
    Some(status.links.iter().map(|link| link.store_bytes).sum())
}

/// Starts the node so that it dies at the point, and waits for that.
async fn die_at(load: &mut Load, victim: usize, point: Point, random: &mut SeededEntropy) -> Result<String, Failed> {
    // What a start passes once is passed once.
    let early = matches!(point, Point::Start | Point::StateOpening | Point::StoreBumped | Point::StateOpen);
    let passage = if early || point == Point::LastWords { 1 } else { 1 + random.below(PASSAGE_MAX) };
    load.broken();
    let daemon = &mut load.cluster.daemons[victim];
    daemon.kill().await?;
    daemon.env = vec![(ARM, format!("{}:{passage}", point.name()))];
    load.cluster.start_one(victim)?;
    let (started, daemon) = (Instant::now(), &mut load.cluster.daemons[victim]);
    daemon.env.clear();
    let stops = [Point::LastWords, Point::RenewalAnnounced].contains(&point);
    let mut asked = false;
    while !daemon.has_ended() && started.elapsed() < DEATH_MAX {
        if stops && !asked && started.elapsed() > UP_BEFORE_STOP {
            daemon.ask_to_stop();
            asked = true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let died = daemon.has_ended();
    let name = daemon.node.name.clone();
    if died {
        daemon.stop().await;
    }
    let how = if died { "died at" } else { "did not pass" };
    Ok(format!("{name} {how} {} #{passage} after {} ms", point.name(), started.elapsed().as_millis()))
}

/// A daemon that writes no delivery down has to be found out.
async fn planted(random: &mut SeededEntropy) -> Result<Result<String, String>, Failed> {
    let mut load = Load::render(&Scenario::line(2)?, &[])?;
    for daemon in &mut load.cluster.daemons {
        daemon.env = vec![(PLANT, DELIVERIES_NOT_WRITTEN.into())];
    }
    load.start_daemons().await?;
    let mut found = Err(format!("not found within {PLANTED_MAX} kills"));
    for number in 1..=PLANTED_MAX {
        let hoard = load.hoard(5).await;
        let victim = random.below(2) as usize;
        load.fetch_each(&hoard[..2]).await;
        load.restart(victim).await?;
        load.fetch_each(&hoard[..2]).await;
        let left = load.fetch_each(&hoard[2..]).await;
        let twice = load.history().verdicts()[0].1.clone().err();
        let gone = (left < 3).then(|| format!("{left} of 3 keys were left at the other end"));
        if let Some(fault) = twice.or(gone) {
            found = Ok(format!("caught by kill {number}: {fault}"));
            break;
        }
    }
    load.cluster.stop().await;
    Ok(found)
}

/// Median, 99th percentile and the longest.
pub(super) fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).map_or(0, Duration::as_millis);
    format!("median {} ms, p99 {} ms, most {} ms", at(0.5), at(0.99), at(1.0))
}
