//! One daemon process. In: its rendered folder. Out: a process that can be watched, ended and killed.
//! Always: it dies with this program, and its log survives its runs.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use qkd_proto::control::reply::StatusReply;
use qkdctl::net::NetNode;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::binaries::Binaries;
use crate::error::Failed;

/// Time that a daemon has to end after SIGTERM.
const STOP_WAIT: Duration = Duration::from_secs(8);
/// Lines of a log that are shown after a failure.
const LOG_LINES_SHOWN: usize = 12;

/// A node of a cluster.
pub(crate) struct Daemon {
    /// What was rendered for it.
    pub(crate) node: NetNode,
    /// Variables that its next start sees.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Another program that becomes it: a user to run as, for example.
    pub(crate) through: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Not running yet.
    pub(crate) fn new(node: NetNode) -> Self {
        let log = node.config.with_file_name("qkdd.log");
        Self { node, env: Vec::new(), through: Vec::new(), log, child: None }
    }

    /// Where its state lies.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.node.config.with_file_name("data")
    }

    /// Its log, of all runs.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, binaries: &Binaries) -> Result<(), Failed> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.log);
        let log: File = opened.map_err(|error| Failed::file(&self.log, error))?;
        let mut command = Command::new(&binaries.testnet);
        command.arg("launch").arg(std::process::id().to_string()).args(&self.through).arg(&binaries.qkdd);
        command.arg("--config").arg(&self.node.config);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().map_err(|error| Failed::file(&binaries.qkdd, error))?);
        Ok(())
    }

    /// What it tells of itself; none while it does not answer.
    pub(crate) async fn status(&self) -> Option<StatusReply> {
        qkdctl::client::ask(&self.node.control_socket, "/v1/status").await.ok()
    }

    /// How it ended, if nobody asked it to.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let ended = self.child.as_mut()?.try_wait().ok()??;
        Some(format!("node {} ended by itself: {ended}", self.node.name))
    }

    /// True once it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    /// Kills it without warning and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<(), Failed> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(|error| Failed::new(format!("node {} cannot be killed: {error}", self.node.name)))
    }

    /// Asks it to end.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends it a signal, if it runs.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// The number of its process, if it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok())
    }

    /// Waits for its end, which somebody asked for; returns what was wrong with it.
    pub(crate) async fn stop(&mut self) -> Option<String> {
        let mut child = self.child.take()?;
        let name = &self.node.name;
        match tokio::time::timeout(STOP_WAIT, child.wait()).await {
            Ok(Ok(ended)) if ended.success() => None,
            Ok(Ok(ended)) => Some(format!("node {name} did not end cleanly: {ended}")),
            Ok(Err(error)) => Some(format!("the end of node {name} is unknown: {error}")),
            Err(_) => {
                let _ = child.kill().await;
                Some(format!("node {name} did not end within {} s after SIGTERM: killed", STOP_WAIT.as_secs()))
            }
        }
    }

    /// The most memory that this run of it had, in KiB.
    pub(crate) fn memory_kib(&self) -> Option<u64> {
        self.kib_of("VmHWM:")
    }

    /// The memory that it has now, in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        self.kib_of("VmRSS:")
    }

    fn kib_of(&self, what: &str) -> Option<u64> {
        let id = self.child.as_ref()?.id()?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(what))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
    }

    /// The end of its log, for people.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<_> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        let mut tail = format!("--- last lines of node {} ---\n", self.node.name);
        shown.iter().for_each(|line| tail.push_str(&format!("{line}\n")));
        tail
    }
}
