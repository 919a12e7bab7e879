//! What concerns the pools of a stopped node. The daemon's own program does it: only it knows its
//! data directory.

use std::path::Path;
use std::process::{Command, Stdio};

use qkd_proto::control::reply::SCHEMA;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

/// Name of the daemon's program, beside this one or on the path.
const DAEMON: &str = "qkdd";

/// Discards pools and undelivered keys; `i_know` says that this is meant.
pub(crate) fn reset(config: &Path, i_know: bool, output: Output) -> Result<Exit, Failure> {
    if !i_know {
        let what = "discards the pools and every key not yet delivered of this node; add --i-know to do it";
        return Err(Failure::Usage(what.into()));
    }
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(DAEMON)));
    let daemon = beside.filter(|path| path.is_file()).unwrap_or_else(|| DAEMON.into());
    let done = Command::new(&daemon).arg("--reset-pools").arg(config).stdin(Stdio::null()).status();
    let done = done.map_err(|error| Failure::Refused(format!("{}: {error}", daemon.display())))?;
    if !done.success() {
        return Err(Failure::Refused("nothing was discarded: see above".into()));
    }
    let text = "Pools, marks and undelivered keys are discarded; the audit log is kept. Start the node again: its links bootstrap anew.";
    print(output, &json!({"schema": SCHEMA, "reset": true}), text);
    Ok(Exit::Done)
}
