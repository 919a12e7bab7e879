//! Harnesses that try to break a network. In: names, a seed and a share of the full size. Out: every
//! check and the count on the last line. Always: the seed of the random choices is told.

mod history;
mod kill_loop;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Failed;
use crate::report::Report;

/// A harness, by the name it has in the plan of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Harness {
    /// Daemons are killed with SIGKILL under load and start again
    #[value(name = "T1", alias = "t1")]
    T1,
}

/// Runs them one after the other; true if every check passed.
pub(crate) async fn run(names: &[Harness], seed: Option<u64>, scale: f64) -> Result<bool, Failed> {
    if !(scale > 0.0 && scale <= 100.0) {
        return Err(Failed::new(format!("scale is {scale}, 0 to 100 is possible: 0.05 is a twentieth")));
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()));
    let seed = seed.unwrap_or(clock);
    let mut report = Report::default();
    for name in names {
        match name {
            Harness::T1 => kill_loop::run(seed, scale, &mut report).await?,
        }
    }
    Ok(report.end())
}
