//! T16: a network under load for long. In: a share of ten minutes. Out: how memory, files, threads and disks
//! grow. Always: the slope is the median of all slopes between two samples, so that one peak does not matter.

use std::time::{Duration, Instant};

use super::Plan;
use super::load::Load;
use crate::cluster::Cluster;
use crate::daemon::Daemon;
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Nodes, and minutes at full size; a run shorter than a minute says nothing.
const NODES: usize = 5;
const MINUTES: f64 = 10.0;
const MINUTES_MIN: f64 = 1.0;
/// Time between two samples.
const EVERY: Duration = Duration::from_secs(5);
/// Share of the run that is warm-up.
const WARM_UP: f64 = 0.4;
/// Growth of memory that is allowed, in MiB an hour, and in MiB where the run is too short for that to show.
const SLOPE_MAX: f64 = 20.0;
const GROWTH_MAX: f64 = 6.0;
/// Files and threads may differ by so many between the two halves of the run.
const COUNT_RISE_MAX: i64 = 12;
/// Bytes of a data directory, at most.
const DISK_BYTES_MAX: u64 = 256 << 20;

/// What one daemon had at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    hours: f64,
    rss_mib: f64,
    fds: i64,
    threads: i64,
    disk: u64,
}

/// Runs and samples.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let minutes = (MINUTES * plan.scale).max(MINUTES_MIN);
    println!("T16 soak lite: {NODES} daemons, {minutes:.1} minutes");
    report.check("T16 planted: a leak of 60 MiB an hour", planted());
    let mut load = Load::start(&Scenario::line(NODES)?, &[]).await?;
    load.go();
    let begin = Instant::now();
    let end = Duration::from_secs_f64(minutes * 60.0);
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); NODES];
    let mut restarted = false;
    while begin.elapsed() < end {
        tokio::time::sleep(EVERY).await;
        for (of, daemon) in samples.iter_mut().zip(&load.cluster.daemons) {
            of.extend(sample(daemon, begin));
        }
        load.cluster.check_alive()?;
        if !restarted && begin.elapsed() > end / 2 {
            restarted = true;
            load.broken();
            load.restart(NODES / 2).await?;
            load.whole();
            // A new process starts anew: its samples of before do not count.
            samples[NODES / 2].clear();
        }
    }
    judge(&load.cluster, &samples, begin.elapsed(), report);
    println!("T16: {}", load.history().counts());
    load.end("T16", false, report).await
}

fn judge(cluster: &Cluster, samples: &[Vec<Sample>], ran: Duration, report: &mut Report) {
    let warm = ran.as_secs_f64() / 3600.0 * WARM_UP;
    for (daemon, all) in cluster.daemons.iter().zip(samples) {
        let name = &daemon.node.name;
        let late: Vec<_> = all.iter().filter(|sample| sample.hours > warm).copied().collect();
        report.check(&format!("T16 {name}"), verdict(&late));
    }
}

fn verdict(late: &[Sample]) -> Result<String, String> {
    let (Some(first), Some(last)) = (late.first(), late.last()) else {
        return Err("no samples: the check is blind".into());
    };
    let slope = slope(late);
    let growth = slope * (last.hours - first.hours);
    let half = late.len() / 2;
    let most = |part: &[Sample], of: fn(&Sample) -> i64| part.iter().map(of).max().unwrap_or(0);
    let fds = most(&late[half..], |sample| sample.fds) - most(&late[..half.max(1)], |sample| sample.fds);
    let threads = most(&late[half..], |sample| sample.threads) - most(&late[..half.max(1)], |sample| sample.threads);
    let text = format!(
        "{:.1} MiB, slope {slope:.1} MiB/h ({growth:.1} MiB over {} samples), {} fds ({fds:+}), {} threads ({threads:+}), disk {:.1} MiB",
        last.rss_mib,
        late.len(),
        last.fds,
        last.threads,
        last.disk as f64 / f64::from(1 << 20)
    );
    let leaks = slope > SLOPE_MAX && growth > GROWTH_MAX;
    let bad = leaks || fds > COUNT_RISE_MAX || threads > COUNT_RISE_MAX || last.disk > DISK_BYTES_MAX;
    if bad { Err(text) } else { Ok(text) }
}

/// The median slope of memory, in MiB an hour.
fn slope(samples: &[Sample]) -> f64 {
    let mut slopes = Vec::new();
    for (i, a) in samples.iter().enumerate() {
        slopes.extend(samples[i + 1..].iter().map(|b| (b.rss_mib - a.rss_mib) / (b.hours - a.hours).max(1e-9)));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

fn sample(daemon: &Daemon, begin: Instant) -> Option<Sample> {
    let pid = daemon.pid()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let disk = super::damage::files(&daemon.data_dir()).ok()?;
    Some(Sample {
        hours: begin.elapsed().as_secs_f64() / 3600.0,
        rss_mib: number("VmRSS:")? / 1024.0,
        fds: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as i64,
        threads: number("Threads:")? as i64,
        disk: disk.iter().filter_map(|path| path.metadata().ok()).map(|about| about.len()).sum(),
    })
}

/// A series that leaks has to be told from one that only jumps.
fn planted() -> Result<String, String> {
    let series = |leak: f64| {
        let at = |i: u32| Sample {
            hours: f64::from(i) / 720.0,
            rss_mib: 60.0 + leak * f64::from(i) / 720.0 + f64::from(i % 3),
            ..Sample::default()
        };
        (0..120).map(at).collect::<Vec<_>>()
    };
    match (verdict(&series(60.0)), verdict(&series(0.0))) {
        (Err(text), Ok(_)) => Ok(format!("caught: {text}")),
        (leak, steady) => Err(format!("leak: {leak:?}, steady: {steady:?}")),
    }
}
