//! The audit log of a node. The daemon's own program reads it: only it knows the files and the key.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::from_json;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::output::{Output, print, table};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Tell by exit code whether the log is whole: 0, or 1 and the first broken line
    Verify {
        #[command(flatten)]
        log: LogArgs,
    },
    /// Show the last lines
    Show {
        #[command(flatten)]
        log: LogArgs,
        /// How many
        #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        last: u32,
    },
}

/// Where the log lies.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Configuration of the node
    #[arg(long, value_name = "FILE", default_value = "qkdd.toml", conflicts_with = "dir")]
    config: PathBuf,
    /// Its data directory, or a copy: hashes are checked, but not the MACs under the node's master key
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl LogArgs {
    fn read(&self, last: Option<u32>) -> Result<Value, Failure> {
        let named = match &self.dir {
            Some(dir) => ["--audit-dir".as_ref(), dir.as_os_str()],
            None => ["--audit".as_ref(), self.config.as_os_str()],
        };
        let count = last.map(|last| last.to_string());
        let counted = count.iter().flat_map(|count| ["--last".as_ref(), count.as_ref()]);
        from_json(&daemon::run(
            &named.into_iter().chain(counted).collect::<Vec<_>>(),
            "the log was not read: see above",
        )?)
    }
}

pub(crate) fn run(command: AuditCommand, output: Output) -> Result<Exit, Failure> {
    match command {
        AuditCommand::Verify { log } => {
            let verdict = log.read(None)?;
            print(output, &verdict, &told(&verdict));
            Ok(if verdict["whole"] == true { Exit::Done } else { Exit::Failed })
        }
        AuditCommand::Show { log, last } => {
            let shown = log.read(Some(last))?;
            let lines = shown["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            print(output, &shown, &table(&["SEQ", "UTC", "EVENT", "FIELDS"], lines.iter().map(row)));
            Ok(Exit::Done)
        }
    }
}

fn told(verdict: &Value) -> String {
    let keyed = if verdict["authenticated"] == true { "hashes and MACs" } else { "hashes; MACs need --config" };
    let mut text = match verdict["broken"].as_object() {
        None => format!("whole: {} lines up to {} hold ({keyed})", verdict["lines"], verdict["last_seq"]),
        Some(broken) => {
            let word = |name: &str| broken.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let line = broken.get("line").and_then(Value::as_u64).unwrap_or_default();
            format!("BROKEN at {}:{line}: {} ({keyed})", word("file"), word("reason"))
        }
    };
    if verdict["torn"] != 0 {
        text.push_str(&format!("\n{} times a crash left part of a line, which the node marked", verdict["torn"]));
    }
    if verdict["ends_torn"] == true {
        text.push_str(
            "\nthe last line is half there: a node writes just now, or crashed and marks it at its next start",
        );
    }
    text
}

fn row(line: &Value) -> Vec<String> {
    let text = |name: &str| line[name].as_str().map_or_else(|| line[name].to_string(), str::to_owned);
    let hidden = ["seq", "unix_ms", "event", "prev", "mac"];
    let fields = line.as_object().into_iter().flatten().filter(|(name, _)| !hidden.contains(&name.as_str()));
    let fields: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
    let time = line["unix_ms"].as_u64().map_or_else(|| "-".into(), utc);
    let event = if line["event"].is_null() { "-".into() } else { text("event") };
    vec![text("seq"), time, event, fields.join(" ")]
}

/// A moment as people write it (the calendar of Gregory, counted from 1 March of a year 0).
fn utc(unix_ms: u64) -> String {
    let (days, seconds) = (unix_ms / 86_400_000 + 719_468, unix_ms / 1000 % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn moments_are_shown_as_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc(1_767_225_599_999), "2025-12-31 23:59:59");
    }
}
