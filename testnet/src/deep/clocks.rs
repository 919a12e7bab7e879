//! T13: clocks jump. In: a share of two rounds of monotonic jumps, at a restart; where the caller permits it,
//! jumps of the wall clock of the whole machine. Out: whether keys flow, and nothing comes twice. Always: the
//! wall clock is set back however this ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::load::Load;
use super::{Plan, privileges};
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds at full size.
const ROUNDS: usize = 2;
/// Seconds by which a node's monotonic clock differs from that of its earlier run.
const MONOTONIC: [i64; 4] = [3600, 34_560_000, 1_000_000_000, -60];
/// Where the wall clock goes: an offset, or a date.
const WALL: [(&str, Jump); 5] = [
    ("an hour ahead", Jump::By(3600)),
    ("an hour back", Jump::By(-3600)),
    ("400 days ahead", Jump::By(34_560_000)),
    ("to 1970", Jump::To(3600)),
    ("to 2038-01-19", Jump::To(2_147_483_640)),
];
/// Permits to set the clock of the machine.
const MAY_SET_CLOCK: &str = "QKDD_TESTNET_MAY_SET_CLOCK";
/// From a jump to a fresh key.
const FRESH_MAX: Duration = Duration::from_secs(15);
/// How long the wall clock is wrong.
const WRONG_FOR: Duration = Duration::from_secs(4);
/// A node that does not sleep any more uses more of a processor than this.
const BUSY_SHARE_MAX: f64 = 0.9;

#[derive(Debug, Clone, Copy)]
enum Jump {
    By(i64),
    To(u64),
}

/// Jumps.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    if !privileges::is_root() {
        report.skip("T13", "needs root, for time namespaces");
        return Ok(());
    }
    let rounds = plan.count(ROUNDS);
    println!("T13 clock jumps: {rounds} rounds of {} monotonic jumps", MONOTONIC.len());
    let mut load = Load::start(&Scenario::line(3)?, &[]).await?;
    load.go();
    let mut random = plan.random("T13");
    for _ in 0..rounds {
        for offset in MONOTONIC {
            let i = random.below(3) as usize;
            let done = monotonic(&mut load, i, offset).await?;
            report.check(&format!("T13 {} restarts {offset} s off", load.cluster.daemons[i].node.name), done);
        }
    }
    if std::env::var_os(MAY_SET_CLOCK).is_none() {
        report.skip("T13 wall clock", &format!("sets the clock of the machine: set {MAY_SET_CLOCK}=1 to permit it"));
    } else {
        for (name, jump) in WALL {
            let done = wall(&mut load, jump).await?;
            report.check(&format!("T13 wall clock {name}"), done);
        }
    }
    load.end("T13", true, report).await
}

/// Restarts a node in a time namespace of its own.
async fn monotonic(load: &mut Load, i: usize, offset: i64) -> Result<Result<String, String>, Failed> {
    let hoard = load.hoard(5).await;
    load.fetch_each(&hoard).await;
    load.broken();
    let through = ["unshare", "--time", "--monotonic", &offset.to_string(), "--boottime", &offset.to_string(), "--"];
    load.cluster.daemons[i].kill().await?;
    load.cluster.daemons[i].through = through.map(String::from).into();
    load.cluster.start_one(i)?;
    load.cluster.daemons[i].through.clear();
    load.cluster.await_answer(i).await?;
    let started = Instant::now();
    let fresh = load.fresh_key(FRESH_MAX).await;
    let took = started.elapsed();
    let again = load.fetch_each(&hoard).await;
    load.whole();
    load.cluster.check_alive()?;
    let busy = busy_share(load, i).await;
    Ok(match (fresh, again) {
        (Ok(_), 0) if busy < BUSY_SHARE_MAX => {
            Ok(format!("fresh key after {} ms, {:.0} % of a processor", took.as_millis(), busy * 100.0))
        }
        (fresh, again) => Err(format!("fresh key: {fresh:?}, {again} keys came again, {:.0} % busy", busy * 100.0)),
    })
}

/// Share of one processor that a daemon uses.
async fn busy_share(load: &Load, i: usize) -> f64 {
    let ticks = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    };
    let Some(pid) = load.cluster.daemons[i].pid() else { return 1.0 };
    let (before, began) = (ticks(pid), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = ticks(pid).zip(before).map_or(100.0, |(after, before)| after - before);
    used / 100.0 / began.elapsed().as_secs_f64()
}

/// The machine's wall clock, set back when dropped.
struct Wall {
    wall: SystemTime,
    since: Instant,
}

impl Wall {
    fn jump(jump: Jump) -> Result<Self, Failed> {
        let held = Self { wall: SystemTime::now(), since: Instant::now() };
        let now = held.wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let to = match jump {
            Jump::By(by) => now.saturating_add_signed(by),
            Jump::To(to) => to,
        };
        set_clock(Duration::from_secs(to)).map(|()| held)
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        let right = (self.wall + self.since.elapsed()).duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Err(failed) = set_clock(right) {
            eprintln!("testnet: THE CLOCK IS WRONG: {failed}: set it by hand");
        }
    }
}

fn set_clock(to: Duration) -> Result<(), Failed> {
    let date = format!("@{}.{:09}", to.as_secs(), to.subsec_nanos());
    let done = Command::new("date").args(["-s", &date]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match done {
        Ok(done) if done.success() => Ok(()),
        other => Err(Failed::new(format!("date -s {date}: {other:?}"))),
    }
}

/// A jump while all run: certificates may be refused meanwhile, but nothing may break.
async fn wall(load: &mut Load, jump: Jump) -> Result<Result<String, String>, Failed> {
    let hoard = load.hoard(5).await;
    load.fetch_each(&hoard).await;
    load.broken();
    let (held, meanwhile) = {
        let _wall = Wall::jump(jump)?;
        tokio::time::sleep(WRONG_FOR).await;
        let held = load.cluster.check_alive();
        (held, load.fetch_each(&hoard).await)
    };
    held?;
    let fresh = load.fresh_key(FRESH_MAX).await;
    let again = load.fetch_each(&hoard).await + meanwhile;
    load.whole();
    Ok(match (fresh, again) {
        (Ok(_), 0) => Ok("keys flow once it is right again, none came twice".into()),
        (fresh, again) => Err(format!("fresh key: {fresh:?}, {again} keys came again")),
    })
}
