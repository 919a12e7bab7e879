//! The link, measured: each stage on one core by the time it computed, then one link between two
//! daemons by the clock.

use qkd_proto::sim::stages::{Measured, Stages};

use super::cpu::thread_seconds;
use super::{Options, Row, pair_of_daemons};
use crate::error::Failed;
use crate::progress::say;

/// All rows.
pub(super) async fn rows(options: &Options) -> Result<Vec<Row>, Failed> {
    let stages = Stages::new(&thread_seconds, options.all);
    let mut rows = Vec::new();
    let mut add = |measured: Vec<Measured>| rows.extend(measured.into_iter().map(Row::from));
    say("the emulator …");
    add(stages.emulator());
    say("reconciliation …");
    add(stages.reconciliation());
    say("amplification …");
    add(stages.amplification());
    if options.all {
        say("whole blocks …");
        add(stages.blocks());
    }
    if options.seconds > 0 {
        say(&format!("one link, two daemons, {} s …", options.seconds));
        rows.extend(pair_of_daemons::rows(options.seconds).await?);
    }
    Ok(rows)
}

impl From<Measured> for Row {
    fn from(measured: Measured) -> Self {
        Self { goal: measured.goal.map(Into::into), ..Self::new(measured.name, measured.value, measured.unit) }
    }
}
