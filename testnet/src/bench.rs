//! Measurements. In: the name of a bench. Out: rows with value, unit and goal, as a table or JSON.
//! Always: every value was measured in this run; a goal that was missed stands beside its value.

pub(crate) mod cpu;
mod link;
mod pair_of_daemons;
mod store;

use serde::Serialize;

use qkdctl::cli::Output;

use crate::error::Failed;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Bench {
    /// The emulator, the stages of distillation, and one link between two daemons
    Link,
    /// Spending, depositing and keeping pads, and a daemon with a million keys
    Store,
}

/// One measured value.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it should reach, in words: `>= 60`.
    goal: Option<String>,
}

impl Row {
    /// A value without a goal.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, goal: None }
    }

    /// With a goal.
    pub(crate) fn goal(mut self, goal: &str) -> Self {
        self.goal = Some(goal.into());
        self
    }
}

#[derive(Serialize)]
struct Rows {
    schema: u32,
    rows: Vec<Row>,
}

/// Choices of the caller.
pub(crate) struct Options {
    /// Form of the rows.
    pub(crate) output: Output,
    /// How long the two daemons run, in seconds; 0 leaves them out.
    pub(crate) seconds: u64,
    /// Every engine, error rate and preset, beyond the rows with goals.
    pub(crate) all: bool,
}

/// Measures and prints.
pub(crate) async fn run(bench: Bench, options: &Options) -> Result<bool, Failed> {
    let rows = match bench {
        Bench::Link => link::rows(options).await?,
        Bench::Store => store::rows(options).await?,
    };
    match options.output {
        Output::Json => {
            let json = serde_json::to_string(&Rows { schema: 1, rows });
            println!("{}", json.map_err(|error| Failed::new(format!("rows: {error}")))?);
        }
        Output::Table => {
            for row in rows {
                println!(
                    "{:<44} {:>14} {:<12} {}",
                    row.name,
                    figures(row.value),
                    row.unit,
                    row.goal.unwrap_or_default()
                );
            }
        }
    }
    Ok(true)
}

/// Four significant figures.
fn figures(value: f64) -> String {
    let digits = 3 - (value.abs().max(1e-9).log10().floor() as i32).clamp(-3, 3);
    format!("{value:.*}", digits.max(0) as usize)
}
