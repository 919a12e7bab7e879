//! T3: the disk is full. In: a seed and a share of ten points, each three times. Out: what a node did
//! there. Always: it refuses with 503 and does not end; it starts on a full disk; it serves again
//! soon after there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;

use super::load::Load;
use super::{Plan, privileges};
use crate::delivery::Outcome;
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds of every point at full size.
const ROUNDS: usize = 3;
/// Size of the disk, in bytes.
const DISK_BYTES: u64 = 24 << 20;
/// Bytes that the filler leaves: where a write first fails depends on it.
const LEFT: [u64; 10] = [0, 4 << 10, 8 << 10, 16 << 10, 64 << 10, 200 << 10, 500 << 10, 600 << 10, 1100 << 10, 2 << 20];
/// Time under load on the full disk.
const RUN: Duration = Duration::from_secs(2);
/// From the moment there is room, or the restart after it, to a fresh key.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Name of the file that fills the disk, beside the data directory.
const FILLER: &str = "filler";

/// A disk of its own under a node's data directory.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts it where the data directory is, with what was there.
    fn under(data: &Path) -> Result<Self, Failed> {
        let fresh = fs::read(data.join("FRESH")).map_err(|error| Failed::file(data, error))?;
        let options = format!("size={DISK_BYTES},mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "qkdd-small"]).arg(data).stdin(Stdio::null());
        let done = mount.status().map_err(|error| Failed::new(format!("mount: {error}")))?;
        if !done.success() {
            return Err(Failed::file(data, format!("mount ended with {done}")));
        }
        let disk = Self { at: data.to_owned() };
        fs::write(data.join("FRESH"), fresh).map_err(|error| Failed::file(data, error))?;
        Ok(disk)
    }

    /// Fills it but for `left` bytes; how many were written.
    fn fill(&self, left: u64) -> Result<u64, Failed> {
        let about = rustix::fs::statvfs(&self.at).map_err(|error| Failed::file(&self.at, error))?;
        let room = (about.f_bavail * about.f_frsize).saturating_sub(left);
        let path = self.at.join(FILLER);
        let zeros = vec![0; usize::try_from(room).unwrap_or(0)];
        // What does not fit any more is not needed.
        let _ = fs::write(&path, zeros);
        fs::metadata(&path).map(|about| about.len()).map_err(|error| Failed::file(&path, error))
    }

    fn free(&self) -> Result<(), Failed> {
        super::copies::remove(&self.at.join(FILLER))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).stdin(Stdio::null()).status();
    }
}

/// Fills the disks.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    if !privileges::has_own_mounts() {
        report.skip("T3", "needs root and mount namespaces");
        return Ok(());
    }
    let (rounds, points) = (plan.count(ROUNDS), plan.count(LEFT.len()).min(LEFT.len()));
    println!("T3 disk full: {points} points, {rounds} rounds");
    let mut random = plan.random("T3");
    let mut load = Load::render(&Scenario::line(2)?, &[])?;
    let disks: Vec<_> =
        load.cluster.daemons.iter().map(|daemon| SmallDisk::under(&daemon.data_dir())).collect::<Result<_, _>>()?;
    load.start_daemons().await?;
    load.go();
    let mut refusals = 0;
    for round in 0..rounds {
        for point in 0..points {
            // A short run tries points from all over the list, and in any case a disk that is full at once.
            let first = round == 0 && point == 0;
            let left =
                if first { LEFT[0] } else { LEFT[(point + random.below(LEFT.len() as u64) as usize) % LEFT.len()] };
            let i = random.below(2) as usize;
            let done = full(&mut load, &disks[i], i, left, &mut random).await?;
            let label = format!("T3 round {} {left} B left at {}", round + 1, load.cluster.daemons[i].node.name);
            report.check(
                &label,
                done.map(|(text, refused)| {
                    refusals += refused;
                    text
                }),
            );
        }
    }
    let noticed =
        if refusals > 0 { Ok(format!("{refusals} refusals 503")) } else { Err("no disk was ever full".into()) };
    report.check("T3 planted: the disks were full indeed", noticed);
    load.whole();
    load.end("T3", true, report).await
}

/// One full disk: under load, at a start, and after it has room again. Also how many 503 were seen.
async fn full(
    load: &mut Load,
    disk: &SmallDisk,
    i: usize,
    left: u64,
    random: &mut SeededEntropy,
) -> Result<Result<(String, u32), String>, Failed> {
    tokio::time::sleep(Duration::from_millis(200 + random.below(800))).await;
    load.broken();
    let filled = disk.fill(left)?;
    let (refused, odd) = refusals(load).await;
    if let Err(failed) = load.cluster.check_alive() {
        return Ok(Err(format!("on the full disk: {failed}: {}", load.cluster.daemons[i].last_words())));
    }
    if let Some(odd) = odd {
        return Ok(Err(format!("on the full disk an application saw {odd} instead of 503")));
    }
    load.cluster.daemons[i].kill().await?;
    load.cluster.start_one(i)?;
    let started = Instant::now();
    if let Err(failed) = load.cluster.await_answer(i).await {
        let words = load.cluster.daemons[i].last_words();
        load.cluster.daemons[i].stop().await;
        disk.free()?;
        load.cluster.start_one(i)?;
        load.cluster.await_answer(i).await?;
        return Ok(Err(format!("no start on the full disk: {failed}: {words}")));
    }
    let ready = started.elapsed();
    disk.free()?;
    let freed = Instant::now();
    let (by_itself, restarted) = match load.fresh_key(RECOVERY_MAX).await {
        Ok(_) => (true, freed.elapsed()),
        // A write that failed closes its lane until a restart, as the manual says.
        Err(_) => {
            load.restart(i).await?;
            let again = Instant::now();
            match load.fresh_key(RECOVERY_MAX).await {
                Ok(_) => (false, again.elapsed()),
                Err(last) => return Ok(Err(format!("no fresh key after there was room, and a restart: {last}"))),
            }
        }
    };
    load.whole();
    let how = if by_itself { "by itself" } else { "after one more restart" };
    let text = format!(
        "filled by {} KiB, {refused} refusals; started in {} ms; key {how} in {} ms",
        filled >> 10,
        ready.as_millis(),
        restarted.as_millis()
    );
    Ok(Ok((text, refused)))
}

/// Asks while the disk is full: how many were refused with 503, and an answer that should not be.
async fn refusals(load: &Load) -> (u32, Option<String>) {
    let (started, mut refused, mut odd) = (Instant::now(), 0, None);
    while started.elapsed() < RUN {
        let got = load.alice.get(&load.bob.id).await;
        load.history().got(&got);
        match &got {
            Outcome::Refused(503, _) => refused += 1,
            Outcome::Refused(..) => odd = Some(got.text()),
            Outcome::Delivered(id, _) => {
                let fetched = load.bob.fetch(&load.alice.id, id).await;
                load.history().fetched(id, &fetched);
                refused += u32::from(matches!(fetched, Outcome::Refused(503, _)));
            }
            Outcome::NotSent(_) | Outcome::Unknown(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (refused, odd)
}
