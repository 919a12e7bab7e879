//! The container engine's commands. In: a folder and a project name. Out: their exit status. Always:
//! `docker compose` and `docker-compose` v1 are equally good.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::error::Failed;
use crate::progress::say;

/// How to reach the engine.
pub(super) struct Engine {
    compose: &'static [&'static str],
}

impl Engine {
    /// Finds the compose command that this machine has.
    pub(super) fn find() -> Result<Self, Failed> {
        let known: [&'static [&'static str]; 2] = [&["docker", "compose"], &["docker-compose"]];
        let found = known.into_iter().find(|compose| {
            let version = command(compose).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            version.is_ok_and(|ended| ended.success())
        });
        let compose = found.ok_or_else(|| {
            Failed::new("neither docker compose nor docker-compose runs here: install one, or use testnet demo")
        })?;
        Ok(Self { compose })
    }

    /// Builds an image; the older builder is tried if the newer one is not there.
    pub(super) fn build(&self, context: &Path, tag: &str) -> Result<(), Failed> {
        let build = |kit: Option<&str>| {
            let mut command = Command::new("docker");
            command.args(["build", "--quiet", "--tag", tag]).arg(context).stdout(Stdio::null());
            command.stderr(if kit.is_some() { Stdio::inherit() } else { Stdio::null() });
            kit.map(|kit| command.env("DOCKER_BUILDKIT", kit));
            command.status().map_err(|error| Failed::new(format!("docker build: {error}: is docker installed?")))
        };
        if build(None)?.success() || build(Some("0"))?.success() {
            return Ok(());
        }
        Err(Failed::new("docker build failed: see above; does the engine run?"))
    }

    /// Runs a compose command for the project; its words go to stderr, and to stdout for `logs` alone.
    pub(super) fn compose(&self, dir: &Path, project: &str, arguments: &[&str]) -> Result<ExitStatus, Failed> {
        let mut command = command(self.compose);
        command.arg("--project-name").arg(project).arg("--file").arg(dir.join("compose.yml"));
        let ended = command.args(arguments).stdin(Stdio::null()).status();
        ended.map_err(|error| Failed::new(format!("{}: {error}", self.compose.join(" "))))
    }

    /// Service and status words of every container of the project.
    pub(super) fn health(&self, project: &str) -> Result<Vec<(String, String)>, Failed> {
        let filter = format!("label=com.docker.compose.project={project}");
        let form = "{{.Label \"com.docker.compose.service\"}}\t{{.Status}}";
        let told = Command::new("docker").args(["ps", "--all", "--filter", &filter, "--format", form]).output();
        let told = told.map_err(|error| Failed::new(format!("docker ps: {error}")))?;
        if !told.status.success() {
            return Err(Failed::new(format!("docker ps: {}", String::from_utf8_lossy(&told.stderr).trim())));
        }
        let text = String::from_utf8_lossy(&told.stdout);
        let lines = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(lines.map(|(name, status)| (name.to_owned(), status.to_owned())).collect())
    }

    /// Removes an image; that another network still uses it is no fault.
    pub(super) fn remove_image(&self, tag: &str) {
        let removed = Command::new("docker").args(["image", "rm", "--force", tag]).stdout(Stdio::null()).status();
        if !removed.is_ok_and(|ended| ended.success()) {
            say(&format!("image {tag} stays: remove it with docker image rm {tag}"));
        }
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
