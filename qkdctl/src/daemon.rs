//! The daemon's own program, for what only it knows: its data directory. In: arguments. Out: what it
//! prints. Always: the program beside this one, or the one on the path.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::exit::Failure;

const DAEMON: &str = "qkdd";

/// Runs the program to its end; its errors go to stderr, `otherwise` says what did not happen then.
pub(crate) fn run(arguments: &[&OsStr], otherwise: &str) -> Result<Vec<u8>, Failure> {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(DAEMON)));
    let daemon = beside.filter(|path| path.is_file()).unwrap_or_else(|| DAEMON.into());
    let mut command = Command::new(&daemon);
    let ended = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let ended = ended.map_err(|error| Failure::Refused(format!("{}: {error}", daemon.display())))?;
    if ended.status.success() { Ok(ended.stdout) } else { Err(Failure::Refused(otherwise.to_owned())) }
}
