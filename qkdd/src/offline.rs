//! What this program does beside a node: discards the pools of one that is stopped, zeroizes it, reads
//! the audit log of any. In: a configuration or a data directory. Out: JSON for `qkdctl`. Always: no
//! socket is opened.

use std::path::Path;

use serde_json::json;

use crate::args::Args;
use crate::config::Config;
use crate::daemon::StartError;
use crate::store::audit::report;
use crate::store::data_dir::DataDir;
use crate::store::zeroize;

/// Discards the pools of a stopped node.
///
/// # Errors
/// If the configuration is wrong, the node runs, or the disk fails.
pub fn reset_pools(path: &Path) -> Result<(), StartError> {
    let config = Config::load(path)?;
    let zeroized = zeroize::check(&config.data_dir).is_err();
    // What a passphrase needs beside itself went with the rest.
    let master = match config.master_key.open(&config.data_dir) {
        Err(_) if zeroized && config.master_key.is_passphrase() => None,
        master => Some(master?.copy()),
    };
    DataDir::reset(&config.data_dir, master.as_ref())?;
    Ok(zeroize::forget(&config.data_dir)?)
}

/// Destroys the data directory of a stopped node.
///
/// # Errors
/// If the configuration is wrong, or the node runs.
pub fn zeroize(path: &Path) -> Result<String, StartError> {
    let config = Config::load(path)?;
    let master = config.master_key.open(&config.data_dir).ok().map(|key| key.copy());
    let done = zeroize::destroy_stopped(&config.data_dir, master.as_ref(), config.audit, "by order of an operator")?;
    Ok(json!({"schema": 1, "files": done.files, "bytes": done.bytes, "failed": done.failed}).to_string())
}

/// Reads the audit log that the arguments name: its last lines, or whether it is whole; none if they
/// name none. With a configuration the MACs are checked, too.
///
/// # Errors
/// If the configuration is wrong, or the files cannot be read.
pub fn audit(args: &Args) -> Result<Option<String>, StartError> {
    let config = args.audit.as_deref().map(Config::load).transpose()?;
    let (dir, master) = match (&config, &args.audit_dir) {
        (Some(config), _) => (config.data_dir.as_path(), Some(config.master_key.open(&config.data_dir)?.copy())),
        (None, Some(dir)) => (dir.as_path(), None),
        (None, None) => return Ok(None),
    };
    let told = match args.last {
        Some(count) => json!({"schema": 1, "lines": report::last(dir, count)?}),
        None => json!(report::verify(dir, master.as_ref())?),
    };
    Ok(Some(told.to_string()))
}
