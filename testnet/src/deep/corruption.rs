//! T4: files of a data directory are damaged. In: a seed and a share of 1,000 damages of a stopped node
//! and of 60 of a node in a network. Out: what came of each. Always: the same records or an error; never
//! others, never a fresh start, never a panic, never a hang.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use qkd_proto::entropy::SeededEntropy;
use tempfile::TempDir;
use tokio::process::Command;

use super::copies::{copy, remove};
use super::load::Load;
use super::{Plan, damage, reset};
use crate::error::Failed;
use crate::progress::say;
use crate::report::Report;
use crate::scenario::Scenario;

/// Damages at full size: of files alone, and under a whole daemon.
const DAMAGES: usize = 1000;
const WITH_DAEMON: usize = 60;
/// An open takes no longer.
const OPEN_MAX: Duration = Duration::from_secs(20);
/// From the start of a damaged node, or its reset, to a fresh key.
const FRESH_MAX: Duration = Duration::from_secs(60);
/// Time under load that fills the stores.
const RUN: Duration = Duration::from_secs(3);
/// Faults told.
const FAULTS_SHOWN: usize = 5;

/// How a directory opened.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Opened {
    /// Generation and sequence of the directory, count and digest of its records.
    Records(u64, u64, String),
    /// Refused, in the store's words.
    Refused(String),
    /// What must not happen.
    Broken(String),
}

impl Opened {
    /// True for the state of a moment before, which says by its sequence that it is: a kill may leave the end
    /// of the engine's log torn, so its loss alone is no damage. What follows is the neighbours' to notice: the
    /// part with whole daemons looks whether they do.
    fn is_older_than(&self, whole: &Self) -> bool {
        match (self, whole) {
            (Self::Records(generation, sequence, _), Self::Records(of, newest, _)) => {
                generation == of && sequence < newest
            }
            _ => false,
        }
    }
}

/// Damages files, then daemons; both prove themselves on a planted bug.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let mut random = plan.random("T4");
    let mut load = Load::start(&Scenario::line(2)?, &[]).await?;
    load.go();
    tokio::time::sleep(RUN).await;
    load.hoard(20).await;
    load.broken();
    // One base was stopped, the other killed.
    load.cluster.daemons[0].ask_to_stop();
    load.cluster.daemons[0].stop().await;
    load.cluster.daemons[1].kill().await?;
    load.abandon();
    for i in 0..2 {
        let bench = Bench::new(&load, i)?;
        bench.run(plan.count(DAMAGES / 2), &mut random, report).await?;
    }
    load.cluster.start().await?;
    load.whole();
    let rounds = plan.count(WITH_DAEMON);
    let mut counts = [0; 2];
    let mut faults = Vec::new();
    for number in 1..=rounds {
        let known = load.history().verdicts()[0].1.clone().err();
        let done = with_daemon(&mut load, &mut random).await?;
        let twice = load.history().verdicts()[0].1.clone().err().filter(|twice| known.as_ref() != Some(twice));
        say(&format!("damage {number}: {done:?}"));
        match (done, twice) {
            (Ok((_, started)), None) => counts[usize::from(started)] += 1,
            (done, twice) => faults.push(format!("{done:?} {}", twice.unwrap_or_default())),
        }
    }
    let text = format!("{rounds} damages: {} refused and reset, {} started", counts[0], counts[1]);
    report.check("T4 whole daemon", verdict(text, &faults));
    load.end("T4", true, report).await
}

fn verdict(text: String, faults: &[String]) -> Result<String, String> {
    if faults.is_empty() {
        return Ok(text);
    }
    let shown = &faults[..faults.len().min(FAULTS_SHOWN)];
    Err(format!("{text}; {} faults: {}", faults.len(), shown.join(" | ")))
}

/// A node folder to damage again and again.
struct Bench {
    testnet: PathBuf,
    name: String,
    base: PathBuf,
    folder: TempDir,
}

impl Bench {
    /// In memory if there is such a place: thousands of files are copied.
    fn new(load: &Load, i: usize) -> Result<Self, Failed> {
        let node = &load.cluster.daemons[i].node;
        let base = node.config.parent().map(PathBuf::from).unwrap_or_default();
        let shm = Path::new("/dev/shm");
        let place = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("qkdd-damage-").tempdir_in(place);
        let folder = folder.map_err(|error| Failed::new(format!("no temporary folder: {error}")))?;
        let testnet = load.cluster.binaries().testnet.clone();
        Ok(Self { testnet, name: node.name.clone(), base, folder })
    }

    fn node(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// The folder as it was, whole.
    fn restore(&self) -> Result<PathBuf, Failed> {
        remove(&self.node())?;
        copy(&self.base, &self.node())?;
        Ok(self.node().join("data"))
    }

    /// Opens the folder in a process of its own.
    async fn open(&self) -> Result<Opened, Failed> {
        let mut command = Command::new(&self.testnet);
        command.arg("read-data").arg(self.node().join("qkdd.toml")).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(done) = tokio::time::timeout(OPEN_MAX, command.output()).await else {
            return Ok(Opened::Broken(format!("it hung for {} s", OPEN_MAX.as_secs())));
        };
        let done = done.map_err(|error| Failed::file(&self.testnet, error))?;
        let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        if words.contains("panicked") || done.status.code().is_none_or(|code| code > 1) {
            return Ok(Opened::Broken(format!("{}: {words}", done.status)));
        }
        if !done.status.success() {
            return Ok(Opened::Refused(words));
        }
        let line = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        let mut parts = line.splitn(3, ' ');
        let mut number = || parts.next()?.parse().ok();
        let numbers = number().zip(number());
        let parts = numbers.zip(parts.next());
        let broken = || Opened::Broken(format!("it said {line:?}"));
        Ok(parts.map_or_else(broken, |((at, sequence), rest)| Opened::Records(at, sequence, rest.into())))
    }

    async fn run(&self, count: usize, random: &mut SeededEntropy, report: &mut Report) -> Result<(), Failed> {
        self.restore()?;
        let whole = self.open().await?;
        let Opened::Records(..) = whole else {
            return Err(Failed::new(format!("{} does not open undamaged: {whole:?}", self.name)));
        };
        let (mut same, mut refused, mut older, mut faults) = (0, 0, 0, Vec::new());
        for _ in 0..count {
            let data = self.restore()?;
            let how = damage::one(&data, random)?;
            match self.open().await? {
                opened if opened == whole => same += 1,
                Opened::Refused(words) if !words.is_empty() => refused += 1,
                opened if opened.is_older_than(&whole) => older += 1,
                other => faults.push(format!("{how}: {other:?} instead of {whole:?}")),
            }
        }
        let files = damage::files(&self.restore()?)?.len();
        let text = format!(
            "{count} damages of {files} files: {same} opened the same, {refused} refused, \
             {older} opened as they were earlier, with the sequence that tells neighbours so"
        );
        report.check(&format!("T4 files of {}", self.name), verdict(text, &faults));
        report.check(&format!("T4 planted in {}", self.name), self.planted(&whole).await?);
        Ok(())
    }

    /// A reset looks like a fresh start: it has to be told from the same records.
    async fn planted(&self, whole: &Opened) -> Result<Result<String, String>, Failed> {
        self.restore()?;
        let qkdctl = self.testnet.with_file_name("qkdctl");
        reset(&qkdctl, &self.node().join("qkdd.toml"))?;
        let opened = self.open().await?;
        if matches!(&opened, Opened::Records(..)) && opened != *whole {
            return Ok(Ok("a directory that was made anew is told from the one before".into()));
        }
        Ok(Err(format!("a directory that was made anew passes as {opened:?}")))
    }
}

/// Damages a node of the running network: how, and true if it started all the same.
async fn with_daemon(load: &mut Load, random: &mut SeededEntropy) -> Result<Result<(String, bool), String>, Failed> {
    let i = random.below(2) as usize;
    let hoard = load.hoard(3).await;
    load.fetch_each(&hoard).await;
    load.cluster.daemons[i].kill().await?;
    let data = load.cluster.daemons[i].data_dir();
    let how = if random.below(3) == 0 { damage::end_of_log(&data)? } else { damage::one(&data, random)? };
    let log = load.cluster.daemons[i].log().to_owned();
    let begin = std::fs::metadata(&log).map_or(0, |about| about.len()) as usize;
    load.cluster.start_one(i)?;
    let started = load.cluster.await_answer(i).await;
    let log = std::fs::read(&log).unwrap_or_default();
    let words = String::from_utf8_lossy(log.get(begin..).unwrap_or_default()).trim().to_owned();
    if words.contains("panicked") {
        return Ok(Err(format!("{how}: {words}")));
    }
    if let Err(failed) = &started {
        if !load.cluster.daemons[i].has_ended() || !words.contains("pool reset") {
            return Ok(Err(format!("{how}: {failed}: {words}")));
        }
        load.cluster.daemons[i].stop().await;
        reset(&load.cluster.binaries().qkdctl, &load.cluster.daemons[i].node.config)?;
        load.cluster.start_one(i)?;
        load.cluster.await_answer(i).await?;
    }
    let twice = load.fetch_each(&hoard).await;
    let fresh = load.fresh_key(FRESH_MAX).await;
    Ok(match (twice, fresh) {
        (0, Ok(_)) => Ok((format!("{} {how}", load.cluster.daemons[i].node.name), started.is_ok())),
        (twice, fresh) => Err(format!("{how}: {twice} keys came again, fresh key: {fresh:?}")),
    })
}
