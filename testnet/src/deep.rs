//! Harnesses that try to break a network. In: names, a seed and a share of the full size. Out: every
//! check and the count on the last line. Always: the seed of the random choices is told; a harness that
//! plants a bug fails if it is not found.

mod clocks;
mod constant_time;
mod copies;
mod corruption;
mod damage;
mod disk_full;
mod disk_model;
mod disk_mount;
mod forensics;
mod forms;
mod history;
mod kill_loop;
mod leak;
mod load;
mod local_user;
mod loss;
pub(crate) mod open_data;
mod power;
mod privileges;
mod rollback;
mod shred;
mod simulation;
mod soak;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use qkd_proto::entropy::SeededEntropy;

use crate::error::Failed;
use crate::report::Report;

/// A harness, by the name it has in the plan of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Harness {
    /// Daemons are killed with SIGKILL under load and start again
    #[value(name = "T1", alias = "t1")]
    T1,
    /// The disk is full
    #[value(name = "T3", alias = "t3")]
    T3,
    /// Files of a data directory are damaged
    #[value(name = "T4", alias = "t4")]
    T4,
    /// A data directory, or a part of it, is put back from an older copy; a node is cloned
    #[value(name = "T5", alias = "t5")]
    T5,
    /// Clocks jump
    #[value(name = "T13", alias = "t13")]
    T13,
    /// A network runs for long under load
    #[value(name = "T16", alias = "t16")]
    T16,
    /// Keys are looked for where they must not be
    #[value(name = "T17", alias = "t17")]
    T17,
    /// Another user of the machine tries
    #[value(name = "T19", alias = "t19")]
    T19,
    /// Whole networks on virtual time, by seeds
    #[value(name = "T21", alias = "t21")]
    T21,
    /// A node loses its whole data directory; versions meet
    #[value(name = "T23", alias = "t23")]
    T23,
    /// How long a comparison takes
    #[value(name = "T24", alias = "t24")]
    T24,
    /// The power is cut: what was not synced is lost
    #[value(name = "power")]
    Power,
    /// What was consumed is looked for on the raw disk
    #[value(name = "shred")]
    Shred,
}

impl Harness {
    /// True if it mounts folders.
    fn mounts(self) -> bool {
        matches!(self, Self::Power | Self::Shred | Self::T3)
    }
}

/// How large a run is, and on what its choices depend.
pub(crate) struct Plan {
    seed: u64,
    scale: f64,
}

impl Plan {
    /// A count of the full size, scaled, at least one.
    fn count(&self, full: usize) -> usize {
        (full as f64 * self.scale).ceil().max(1.0) as usize
    }

    /// Random choices of one harness, the same for the same seed whatever else runs.
    fn random(&self, name: &str) -> SeededEntropy {
        let salt = name.bytes().fold(0, |salt: u64, byte| salt.wrapping_mul(257).wrapping_add(byte.into()));
        SeededEntropy::from_number(self.seed ^ salt.rotate_left(32))
    }
}

/// Discards the pools of a stopped node, as its operator does.
fn reset(qkdctl: &Path, config: &Path) -> Result<(), Failed> {
    let mut command = Command::new(qkdctl);
    command.args(["pool", "reset", "--i-know", "--config"]).arg(config).stdin(Stdio::null());
    let done = command.output().map_err(|error| Failed::file(qkdctl, error))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(Failed::new(format!("qkdctl pool reset: {words}"))) }
}

/// Runs them one after the other; true if every check passed.
pub(crate) async fn run(names: &[Harness], seed: Option<u64>, scale: f64) -> Result<bool, Failed> {
    if !(scale > 0.0 && scale <= 100.0) {
        return Err(Failed::new(format!("scale is {scale}, 0 to 100 is possible: 0.05 is a twentieth")));
    }
    if names.iter().any(|name| name.mounts()) {
        privileges::own_mounts()?;
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()));
    let plan = Plan { seed: seed.unwrap_or(clock), scale };
    println!("seed {}, scale {scale}", plan.seed);
    let mut report = Report::default();
    for name in names {
        let started = Instant::now();
        match name {
            Harness::T1 => kill_loop::run(&plan, &mut report).await?,
            Harness::T3 => disk_full::run(&plan, &mut report).await?,
            Harness::T4 => corruption::run(&plan, &mut report).await?,
            Harness::T5 => rollback::run(&plan, &mut report).await?,
            Harness::T13 => clocks::run(&plan, &mut report).await?,
            Harness::T16 => soak::run(&plan, &mut report).await?,
            Harness::T17 => leak::run(&plan, &mut report).await?,
            Harness::T19 => local_user::run(&mut report).await?,
            Harness::T21 => simulation::play(&plan, &mut report),
            Harness::T23 => loss::run(&plan, &mut report).await?,
            Harness::T24 => constant_time::play(&plan, &mut report),
            Harness::Shred => shred::run(&plan, &mut report).await?,
            Harness::Power => power::run(&plan, &mut report).await?,
        }
        println!("{name:?} took {:.1} s", started.elapsed().as_secs_f64());
    }
    Ok(report.end())
}
