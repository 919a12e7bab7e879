//! T5: state is put back from an older copy, and nodes are cloned. In: a seed and a share of five rounds
//! a case. Out: for each case, whether a pad or a key came twice, whether it was noticed, and how the
//! node came back. Always: keys handed out after the copy are asked for again once it is back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;
use qkdctl::net::NetNode;
use rustix::process::Signal;

use super::Plan;
use super::copies::{Snapshot, copy};
use super::load::{Load, PAD_LEDGER};
use super::reset;
use crate::daemon::Daemon;
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds of each case at full size.
const ROUNDS: usize = 5;
/// A fresh key has to come within this, without a person.
const FRESH_MAX: Duration = Duration::from_secs(60);
/// Keys that wait for their slave at the moment of the copy.
const HOARD: usize = 20;
/// Time under load before the copy, and from the copy to the end of the run that is undone.
const RUN: Duration = Duration::from_millis(1500);
/// Longest wait for a mark that is newer than the copy's: on a busy machine windows last.
const MARK_WAIT: Duration = Duration::from_secs(60);
/// A neighbour that is held so long hears nothing of the last pads used.
const HELD: Duration = Duration::from_millis(400);

/// What is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The whole data directory.
    Whole,
    /// One entry of it.
    Part(&'static str),
    /// Nothing: a copy of the node's folder runs in its place, and then the original again.
    Clone,
}

impl Case {
    fn name(self) -> String {
        match self {
            Self::Whole => "whole directory put back".into(),
            Self::Part(part) => format!("{part} alone put back"),
            Self::Clone => "cloned node".into(),
        }
    }
}

/// Plays every case, and then the planted bug.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let rounds = plan.count(ROUNDS);
    println!("T5 rollback and clone: {rounds} rounds of each case");
    let mut random = plan.random("T5");
    for case in [Case::Whole, Case::Part("store"), Case::Part("marks"), Case::Part("state"), Case::Clone] {
        for number in 1..=rounds {
            let label = format!("T5 {} #{number}", case.name());
            play(case, &mut random, &label, report).await?;
        }
    }
    planted(report).await
}

/// One network, one fault.
async fn play(case: Case, random: &mut SeededEntropy, label: &str, report: &mut Report) -> Result<(), Failed> {
    let mut load = Load::start(&Scenario::line(3)?, &[]).await?;
    // Mostly the node that hands the keys out a second time; sometimes the origin or the relay.
    let victim = [2, 2, 0, 1][random.below(4) as usize];
    let stopped = case == Case::Clone || random.below(2) == 0;
    load.go();
    tokio::time::sleep(RUN).await;
    let hoard = load.hoard(HOARD).await;
    let before = alarms(&load).await;
    load.broken();
    if stopped {
        load.cluster.daemons[victim].kill().await?;
    }
    let snapshot = Snapshot::take(&load.cluster.daemons[victim], "copy")?;
    let clone = if case == Case::Clone { Some(clone(&mut load, victim)?) } else { None };
    if stopped {
        load.cluster.start_one(victim)?;
        load.cluster.await_answer(victim).await?;
    }
    let _ = load.fresh_key(FRESH_MAX).await;
    let fetched = load.fetch_each(&hoard).await;
    let newer = await_newer_mark(&load, &snapshot).await?;
    tokio::time::sleep(RUN).await;
    hold_a_neighbour(&load, victim, random).await;
    load.cluster.daemons[victim].kill().await?;
    let node = load.cluster.daemons[victim].node.name.clone();
    let text = format!("{node}, copy of a {} node", if stopped { "stopped" } else { "running" });
    match case {
        Case::Whole => {
            snapshot.put_back()?;
            // As after a boot: then only neighbours can tell.
            let rebooted = random.below(2) == 0;
            if rebooted {
                load.forget_anchor(victim)?;
            }
            let text = format!("{text}, {} anchor", if rebooted { "without its" } else { "with its" });
            let back = noticed(&mut load, victim, &hoard, &before).await;
            report.check(&format!("{label}, {text}"), back);
        }
        Case::Part(part) => {
            snapshot.put_back_part(part)?;
            let back = refused(&mut load, victim, &hoard).await?;
            let may_start = !["store", "marks"].contains(&part);
            report.check(&format!("{label}, {text}"), back.verdict(may_start));
        }
        Case::Clone => {
            let clone = clone.unwrap_or(victim);
            let first = noticed(&mut load, clone, &hoard, &before).await;
            report.check(&format!("{label}, the copy runs"), first);
            load.cluster.daemons[clone].stop().await;
            let second = noticed(&mut load, victim, &hoard, &before).await;
            report.check(&format!("{label}, the original runs again"), second);
        }
    }
    let mark = if newer { Ok("a newer one".into()) } else { Err("none was written: the case is blind".into()) };
    report.check(&format!("{label}: mark since the copy"), mark);
    report.check(&format!("{label}: keys of before the copy"), again(&load, &hoard, fetched).await);
    load.end(label, true, report).await
}

/// Keys are asked for until the node has written a mark since the copy; false if it never did. Without one
/// nothing may be noticed: a relay that used up no more pad than its old mark says is not behind.
async fn await_newer_mark(load: &Load, snapshot: &Snapshot) -> Result<bool, Failed> {
    let began = Instant::now();
    while !snapshot.is_behind_marks()? {
        if began.elapsed() > MARK_WAIT {
            return Ok(false);
        }
        load.hoard(HOARD).await;
    }
    Ok(true)
}

/// Sometimes what the victim sends last is held up, and lost with it.
async fn hold_a_neighbour(load: &Load, victim: usize, random: &mut SeededEntropy) {
    if random.below(2) == 0 {
        let neighbour = &load.cluster.daemons[if victim == 1 { 0 } else { 1 }];
        neighbour.signal(Signal::STOP);
        tokio::time::sleep(HELD).await;
        neighbour.signal(Signal::CONT);
    }
}

/// Copies a whole node folder; the copy is one more daemon, under the same name and addresses.
fn clone(load: &mut Load, victim: usize) -> Result<usize, Failed> {
    let node = load.cluster.daemons[victim].node.clone();
    let folder = node.config.parent().map(PathBuf::from).unwrap_or_default();
    let cloned = folder.with_file_name(format!("{}2", node.name));
    copy(&folder, &cloned)?;
    super::copies::remove(&cloned.join(PAD_LEDGER))?;
    super::copies::remove(&cloned.join("qkdd.sock"))?;
    let node = NetNode { config: cloned.join("qkdd.toml"), control_socket: cloned.join("qkdd.sock"), ..node };
    load.cluster.daemons.push(Daemon::new(node));
    Ok(load.cluster.daemons.len() - 1)
}

/// Starts the node on older state, which has to be noticed by itself.
async fn noticed(load: &mut Load, i: usize, hoard: &[String], before: &BTreeSet<String>) -> Result<String, String> {
    let started = Instant::now();
    load.cluster.start_one(i).map_err(|failed| failed.to_string())?;
    load.cluster.await_answer(i).await.map_err(|failed| format!("it does not start by itself: {failed}"))?;
    let at_once = load.fetch_each(hoard).await;
    let fresh = load.fresh_key(FRESH_MAX.saturating_sub(started.elapsed())).await;
    load.whole();
    let took = started.elapsed();
    let raised = loop {
        let raised: Vec<_> = alarms(load).await.difference(before).cloned().collect();
        if !raised.is_empty() || started.elapsed() > FRESH_MAX {
            break raised;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let mut faults = Vec::new();
    if at_once > 0 {
        faults.push(format!("{at_once} keys were handed out again at once"));
    }
    if let Err(last) = fresh {
        faults.push(format!("no fresh key within {} s: {last}", FRESH_MAX.as_secs()));
    }
    if raised.is_empty() {
        faults.push("no node raised an alarm".into());
    }
    if faults.is_empty() {
        return Ok(format!("fresh key after {} ms, alarm {}", took.as_millis(), raised.join(", ")));
    }
    Err(faults.join("; "))
}

/// What came of a node that should refuse.
struct Refusal {
    started: bool,
    words: String,
    faults: Vec<String>,
}

impl Refusal {
    fn verdict(mut self, may_start: bool) -> Result<String, String> {
        if self.started && !may_start {
            self.faults.push("it started on parts of different age".into());
        }
        if !self.started && !self.words.contains("pool reset") {
            self.faults.push(format!("it does not say what to do: {:?}", self.words));
        }
        if !self.faults.is_empty() {
            return Err(self.faults.join("; "));
        }
        Ok(if self.started { "started, nothing came twice".into() } else { format!("refused: {}", self.words) })
    }
}

/// Starts the node on parts of different age: it has to refuse, and one command brings it back.
async fn refused(load: &mut Load, i: usize, hoard: &[String]) -> Result<Refusal, Failed> {
    let daemon = &load.cluster.daemons[i];
    let (log, config) = (daemon.log().to_owned(), daemon.node.config.clone());
    let begin = std::fs::metadata(&log).map_or(0, |about| about.len()) as usize;
    load.cluster.start_one(i)?;
    let started = load.cluster.await_answer(i).await.is_ok();
    let mut faults = Vec::new();
    let written = std::fs::read(&log).unwrap_or_default();
    let words = String::from_utf8_lossy(written.get(begin..).unwrap_or_default()).trim().to_owned();
    if !started {
        load.cluster.daemons[i].stop().await;
        reset(&load.cluster.binaries().qkdctl, &config).map_err(|failed| Failed::new(format!("{words}; {failed}")))?;
        load.cluster.start_one(i)?;
        load.cluster.await_answer(i).await?;
    }
    let at_once = load.fetch_each(hoard).await;
    if at_once > 0 {
        faults.push(format!("{at_once} keys were handed out again"));
    }
    if let Err(last) = load.fresh_key(FRESH_MAX).await {
        faults.push(format!("no fresh key within {} s: {last}", FRESH_MAX.as_secs()));
    }
    load.whole();
    Ok(Refusal { started, words, faults })
}

/// Asks once more for what was handed out after the copy.
async fn again(load: &Load, hoard: &[String], fetched: usize) -> Result<String, String> {
    let twice = load.fetch_each(hoard).await;
    match (fetched, twice) {
        (0, _) => Err("none was handed out before: the check is blind".into()),
        (_, 0) => Ok(format!("{fetched} handed out once, none again")),
        _ => Err(format!("{twice} of {fetched} were handed out again")),
    }
}

async fn alarms(load: &Load) -> BTreeSet<String> {
    let statuses = load.cluster.statuses().await;
    statuses
        .iter()
        .flat_map(|status| status.alarms.iter().map(|alarm| format!("{}@{}", alarm.code, status.node)))
        .collect()
}

/// Puts back every node and every witness at once: what no design can notice has to be seen by us.
async fn planted(report: &mut Report) -> Result<(), Failed> {
    let mut load = Load::start(&Scenario::line(3)?, &[]).await?;
    let hoard = load.hoard(HOARD).await;
    let anchors: Vec<_> = (0..3).filter_map(|i| load.anchor_dir(i)).collect();
    let snapshots = hold_all(&load, &anchors)?;
    let fetched = load.fetch_each(&hoard).await;
    for (daemon, snapshot) in load.cluster.daemons.iter_mut().zip(&snapshots) {
        daemon.kill().await?;
        snapshot.put_back()?;
    }
    for anchor in &anchors {
        super::copies::remove(anchor)?;
        copy(&anchor.with_extension("copy"), anchor)?;
    }
    load.cluster.start().await?;
    let seen = again(&load, &hoard, fetched).await;
    let verdict = load.history().verdicts()[0].1.clone();
    let caught = match (seen, verdict) {
        (Err(text), Err(_)) => Ok(format!("caught: {text}")),
        (seen, verdict) => Err(format!("all nodes were put back, and nobody noticed: {seen:?}, {verdict:?}")),
    };
    report.check("T5 planted: every witness put back", caught);
    load.cluster.stop().await;
    Ok(())
}

/// A copy of every node and of what its memory vouches for, at one moment.
fn hold_all(load: &Load, anchors: &[PathBuf]) -> Result<Vec<Snapshot>, Failed> {
    load.cluster.daemons.iter().for_each(|daemon| daemon.signal(Signal::STOP));
    let snapshots = load.cluster.daemons.iter().map(|daemon| Snapshot::of_held(daemon, "copy")).collect();
    let copied = anchors.iter().try_for_each(|anchor| copy(anchor, &anchor.with_extension("copy")));
    load.cluster.daemons.iter().for_each(|daemon| daemon.signal(Signal::CONT));
    copied.and(snapshots)
}
