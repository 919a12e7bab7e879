//! A child that dies with its parent. In: a program. Out: that program in this process. Always: the
//! kernel kills it when the process that asked for it is gone, however that one ended.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::error::Failed;

/// Becomes `program`, bound to the life of process `parent`; returns only if that fails.
pub(crate) fn launch(parent: i32, program: &Path, arguments: &[OsString]) -> Failed {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failed::new(format!("the system refuses a signal at the parent's end: {error}"));
    }
    if getppid() != Pid::from_raw(parent) {
        return Failed::new(format!("process {parent} ended before its child started"));
    }
    Failed::file(program, Command::new(program).args(arguments).exec())
}
