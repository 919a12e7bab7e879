//! What this program does beside a node: discards the pools of one that is stopped, reads the audit log
//! of any. In: a configuration or a data directory. Out: JSON for `qkdctl`. Always: no socket is opened.

use std::path::Path;

use serde_json::json;

use crate::args::Args;
use crate::config::Config;
use crate::daemon::StartError;
use crate::store::audit::report;
use crate::store::data_dir::DataDir;

/// Discards the pools of a stopped node.
///
/// # Errors
/// If the configuration is wrong, the node runs, or the disk fails.
pub fn reset_pools(path: &Path) -> Result<(), StartError> {
    let config = Config::load(path)?;
    Ok(DataDir::reset(&config.data_dir, Some(&config.master_key))?)
}

/// Reads the audit log that the arguments name: its last lines, or whether it is whole; none if they
/// name none. With a configuration the MACs are checked, too.
///
/// # Errors
/// If the configuration is wrong, or the files cannot be read.
pub fn audit(args: &Args) -> Result<Option<String>, StartError> {
    let config = args.audit.as_deref().map(Config::load).transpose()?;
    let (dir, master) = match (&config, &args.audit_dir) {
        (Some(config), _) => (config.data_dir.as_path(), Some(&config.master_key)),
        (None, Some(dir)) => (dir.as_path(), None),
        (None, None) => return Ok(None),
    };
    let told = match args.last {
        Some(count) => json!({"schema": 1, "lines": report::last(dir, count)?}),
        None => json!(report::verify(dir, master)?),
    };
    Ok(Some(told.to_string()))
}
