//! Power cuts: real daemons on disks that forget what was not synced. In: a seed and a share of 100
//! cuts. Out: what came of every cut. Always: after each, every node opens again by itself under a
//! higher number, and nothing that was acknowledged is lost or handed out twice.

use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;

use super::disk_model::{Lie, Survivors};
use super::disk_mount::Mount;
use super::load::{Load, check_pads};
use super::{Plan, privileges};
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Cuts at full size.
const CUTS: usize = 100;
/// Cuts within which a planted bug has to be found.
const PLANTED_CUTS_MAX: usize = 20;
/// From the restart to a fresh key.
const FRESH_MAX: Duration = Duration::from_secs(60);
/// Milliseconds under load before a cut: least, and how many more at most.
const UP_MS: (u64, u64) = (50, 1450);

/// A network on disks that forget.
struct Rig {
    /// Unmounted before their folders are removed.
    mounts: Vec<Mount>,
    load: Load,
    incarnations: Vec<u64>,
}

impl Rig {
    async fn start(lie: Option<Lie>) -> Result<Self, Failed> {
        let mut load = Load::render(&Scenario::line(3)?, &[])?;
        let mounts = load.cluster.daemons.iter().map(|daemon| Mount::over(&daemon.data_dir(), lie));
        let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
        load.start_daemons().await?;
        load.go();
        let incarnations = vec![0; mounts.len()];
        let mut rig = Self { mounts, load, incarnations };
        for i in 0..rig.mounts.len() {
            rig.counted(i).await.map_err(Failed::new)?;
        }
        Ok(rig)
    }

    /// Refuses a start number that did not rise: it would be a silent reset.
    async fn counted(&mut self, i: usize) -> Result<(), String> {
        let status = self.load.cluster.daemons[i].status().await;
        let status = status.ok_or_else(|| format!("node {i} does not answer"))?;
        let before = std::mem::replace(&mut self.incarnations[i], status.incarnation);
        if status.incarnation > before {
            return Ok(());
        }
        Err(format!("node {} was reset: its start number is {}, it was {before}", status.node, status.incarnation))
    }

    /// One cut of one node, or of all at once.
    async fn cut(&mut self, random: &mut SeededEntropy) -> Result<Result<String, String>, Failed> {
        let up = Duration::from_millis(UP_MS.0 + random.below(UP_MS.1));
        let kind = [Survivors::None, Survivors::Sectors, Survivors::Prefix][random.below(3) as usize];
        let victims: Vec<usize> = match random.below(4) {
            0 => (0..self.mounts.len()).collect(),
            _ => vec![random.below(self.mounts.len() as u64) as usize],
        };
        tokio::time::sleep(up).await;
        self.load.broken();
        victims.iter().for_each(|&i| self.mounts[i].cut());
        let mut lost = Vec::new();
        for &i in &victims {
            self.load.cluster.daemons[i].kill().await?;
            let taken = self.mounts[i].power_on(kind, random)?;
            self.load.forget_anchor(i)?;
            lost.push(format!("{} ({} open, {} B)", self.load.cluster.daemons[i].node.name, taken.open, taken.bytes));
        }
        let text = format!("{kind:?} survives at {} after {} ms", lost.join(", "), up.as_millis());
        Ok(self.back(&victims).await.map(|back| format!("{text}; {back}")).map_err(|back| format!("{text}; {back}")))
    }

    /// Starts the victims again.
    async fn back(&mut self, victims: &[usize]) -> Result<String, String> {
        let started = Instant::now();
        for &i in victims {
            self.load.cluster.start_one(i).map_err(|failed| failed.to_string())?;
        }
        for &i in victims {
            if let Err(failed) = self.load.cluster.await_answer(i).await {
                return Err(format!("{failed}: {}", self.load.cluster.daemons[i].last_words()));
            }
            self.counted(i).await?;
        }
        let ready = started.elapsed();
        self.load.fresh_key(FRESH_MAX).await.map_err(|last| format!("no fresh key: {last}"))?;
        self.load.whole();
        self.load.cluster.check_alive().map_err(|failed| failed.to_string())?;
        Ok(format!("ready after {} ms, fresh key after {} ms", ready.as_millis(), started.elapsed().as_millis()))
    }
}

/// Runs the cuts, and then the planted bugs.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    if !privileges::has_fuse() {
        report.skip("power", "needs root, mount namespaces and /dev/fuse");
        return Ok(());
    }
    let cuts = plan.count(CUTS);
    println!("power: {cuts} cuts");
    let mut random = plan.random("power");
    let mut rig = Rig::start(None).await?;
    for number in 1..=cuts {
        let done = rig.cut(&mut random).await?;
        let failed = done.is_err();
        report.check(&format!("power cut {number}"), done);
        if failed {
            break;
        }
    }
    rig.load.end("power", false, report).await?;
    for (name, lie) in [("no sync is done", Lie::All), ("the tables' sync is not done", Lie::Of("db"))] {
        let caught = planted(lie, &mut random).await?;
        report.check(&format!("power planted: {name}"), caught);
    }
    Ok(())
}

/// How soon a disk that lies is found.
async fn planted(lie: Lie, random: &mut SeededEntropy) -> Result<Result<String, String>, Failed> {
    let mut rig = Rig::start(Some(lie)).await?;
    for number in 1..=PLANTED_CUTS_MAX {
        let done = rig.cut(random).await?;
        let seen = done.err().or_else(|| check_pads(&rig.load.cluster).err());
        let seen = seen.or_else(|| rig.load.history().verdicts().into_iter().find_map(|(_, verdict)| verdict.err()));
        if let Some(text) = seen {
            rig.load.whole();
            rig.load.abandon();
            rig.load.cluster.stop().await;
            return Ok(Ok(format!("caught by cut {number}: {text}")));
        }
    }
    rig.load.abandon();
    rig.load.cluster.stop().await;
    Ok(Err(format!("not found within {PLANTED_CUTS_MAX} cuts")))
}
