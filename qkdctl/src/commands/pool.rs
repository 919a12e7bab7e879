//! What concerns the pools of a stopped node. The daemon's own program does it: only it knows its
//! data directory.

use std::path::Path;

use qkd_proto::control::reply::SCHEMA;
use serde_json::json;

use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

/// Discards pools and undelivered keys; `i_know` says that this is meant.
pub(crate) fn reset(config: &Path, i_know: bool, output: Output) -> Result<Exit, Failure> {
    if !i_know {
        let what = "discards the pools and every key not yet delivered of this node; add --i-know to do it";
        return Err(Failure::Usage(what.into()));
    }
    daemon::run(&["--reset-pools".as_ref(), config.as_os_str()], "nothing was discarded: see above")?;
    let text = "Pools, marks and undelivered keys are discarded; the audit log is kept. Start the node again: its links bootstrap anew.";
    print(output, &json!({"schema": SCHEMA, "reset": true}), text);
    Ok(Exit::Done)
}
