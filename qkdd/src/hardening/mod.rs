//! Walls around the process, in case that a part of it is taken over. In: settings. Out: a process that
//! dumps nothing, opens only its own files, and makes only the system calls that it needs. Always: a
//! wall once up never comes down; one that is required and cannot be had stops the start.

pub mod fence;
pub mod syscalls;

use std::io;
use std::str::FromStr;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};

/// How much a wall is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// The node does not start without it.
    Require,
    /// The node warns where the system does not have it.
    #[default]
    Try,
    /// It is left out.
    Off,
}

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "require" => Ok(Self::Require),
            "try" => Ok(Self::Try),
            "off" => Ok(Self::Off),
            _ => Err("not known here: use require, try or off"),
        }
    }
}

/// Which walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardeningSettings {
    /// Only the node's own files.
    pub landlock: Wanted,
    /// Only the system calls that it needs.
    pub seccomp: Wanted,
    /// The master key in memory that is never swapped.
    pub memory: Wanted,
}

/// A wall that is required and cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HardeningError {
    /// Locked memory.
    #[error("hardening.memory = \"require\", but the system locks no memory: raise LimitMEMLOCK=, or set \"try\"")]
    Memory,
    /// Landlock.
    #[error("hardening.landlock = \"require\", but it is not enforced: {0}: use Linux 5.13 or newer, or set \"try\"")]
    Landlock(String),
    /// Seccomp.
    #[error("hardening.seccomp = \"require\", but it is not enforced: {0}: set \"try\"")]
    Seccomp(String),
}

/// What holds from the first line of the program on: files for their owner only, no core, no reading
/// of this memory by other processes of the same user, no privilege by running another program, and
/// no payload of a panic on any screen.
///
/// # Errors
/// If the system refuses.
pub fn early() -> io::Result<()> {
    umask(Mode::RWXG | Mode::RWXO);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
        eprintln!("qkdd: bug at {place} in thread {}: please report it", thread.name().unwrap_or("without a name"));
    }));
    Ok(())
}
