//! What this run may do. In: the system. Out: root, own mounts, FUSE. Always: mounts are made in a
//! namespace of our own, which ends with this program however it ends.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Failed;

/// Set once this program runs in a mount namespace of its own.
const PRIVATE: &str = "QKDD_TESTNET_OWN_MOUNTS";
const UNSHARE: [&str; 3] = ["--mount", "--propagation", "private"];

/// True for root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// True if folders may be mounted over, seen by nobody else.
pub(super) fn has_own_mounts() -> bool {
    std::env::var_os(PRIVATE).is_some()
}

/// True if file systems of our own can be mounted.
pub(super) fn has_fuse() -> bool {
    has_own_mounts() && Path::new("/dev/fuse").exists()
}

/// Becomes this program once more, in a mount namespace of its own; returns where that is not allowed.
pub(super) fn own_mounts() -> Result<(), Failed> {
    if has_own_mounts() || !is_root() {
        return Ok(());
    }
    let tried = Command::new("unshare").args(UNSHARE).arg("true").stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|done| done.success()) {
        return Ok(());
    }
    let own = std::env::current_exe().map_err(|error| Failed::new(format!("own path is unknown: {error}")))?;
    let mut again = Command::new("unshare");
    again.args(UNSHARE).arg("--").arg(own).args(std::env::args_os().skip(1)).env(PRIVATE, "1");
    Err(Failed::new(format!("unshare: {}", again.exec())))
}
