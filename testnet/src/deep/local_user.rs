//! T19: another user of the same machine. In: a node that runs as a user of its own. Out: what `nobody`
//! could do, and on which files the daemon starts. Always: files, sockets and the process are closed to
//! others; what others may read or have replaced is refused, in words that name it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::copies::{copy, remove};
use super::load::Load;
use super::{damage, privileges};
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// The user of the node, and the one who tries.
const OWNER: &str = "12001";
const NOBODY: &str = "65534";
/// A daemon that refuses says so within this.
const REFUSAL_MAX: Duration = Duration::from_secs(5);
/// Secrets of a node's folder.
const SECRETS: [&str; 4] = ["identity.key", "master.key", "kme.key", "links/alice-bob.psk"];

/// Runs every check.
pub(super) async fn run(report: &mut Report) -> Result<(), Failed> {
    if !privileges::is_root() {
        report.skip("T19", "needs root, to be two other users");
        return Ok(());
    }
    let mut load = Load::render(&Scenario::line(2)?, &[])?;
    let folder = folder_of(&load, 0);
    open_way(&load, &folder)?;
    shell(&format!("chown -R {OWNER}:{OWNER} '{}'", folder.display())).await?;
    if let Some(anchors) = load.anchor_dir(0) {
        shell(&format!("chown -R {OWNER}:{OWNER} '{}'", anchors.display())).await?;
    }
    let mut through = as_user(OWNER);
    through.extend(["sh", "-c", "umask 000; exec \"$0\" \"$@\""].map(String::from));
    load.cluster.daemons[0].through = through;
    load.start_daemons().await?;
    let hoard = load.hoard(3).await;
    load.fetch_each(&hoard).await;
    report.check("T19 files after a start with umask 000", closed(&folder)?);
    for (name, command) in tries(&load, &folder)? {
        report.check(&format!("T19 nobody: {name}"), denied(&command).await?);
    }
    if let Some(anchors) = load.anchor_dir(0) {
        report.check("T19 nobody: lists the anchor", denied(&format!("ls '{}'", anchors.display())).await?);
    }
    report.check("T19 planted: an open file is read", planted(&folder).await?);
    load.cluster.daemons[0].ask_to_stop();
    load.cluster.daemons[0].stop().await;
    let qkdd = load.cluster.binaries().qkdd.clone();
    for (name, names, sabotage) in sabotages() {
        let refused = starts_on(&qkdd, &folder, names, &sabotage).await?;
        report.check(&format!("T19 start: {name}"), refused);
    }
    load.cluster.stop().await;
    Ok(())
}

fn folder_of(load: &Load, i: usize) -> PathBuf {
    load.cluster.daemons[i].node.config.parent().map(PathBuf::from).unwrap_or_default()
}

/// Lets others pass through the folders above, but not look into them.
fn open_way(load: &Load, folder: &Path) -> Result<(), Failed> {
    let root = load.cluster.net_dir();
    for above in folder.ancestors().skip(1) {
        let done = std::fs::set_permissions(above, PermissionsExt::from_mode(0o711));
        done.map_err(|error| Failed::file(above, error))?;
        if Some(above) == root.parent() {
            break;
        }
    }
    Ok(())
}

fn as_user(user: &str) -> Vec<String> {
    let user = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into(), "--".into()];
    ["setpriv".to_owned()].into_iter().chain(user).collect()
}

async fn shell(text: &str) -> Result<(), Failed> {
    let done = Command::new("sh").arg("-c").arg(text).stdin(Stdio::null()).output().await;
    let done = done.map_err(|error| Failed::new(format!("sh: {error}")))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(Failed::new(format!("{text}: {words}"))) }
}

/// Nothing that the daemon made is open to others.
fn closed(folder: &Path) -> Result<Result<String, String>, Failed> {
    let mut paths = damage::files(&folder.join("data"))?;
    paths.extend([folder.join("data"), folder.join("data/marks"), folder.join("data/store"), folder.join("qkdd.sock")]);
    let mut open = Vec::new();
    for path in &paths {
        let mode = std::fs::symlink_metadata(path).map_err(|error| Failed::file(path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            open.push(format!("{} {:03o}", path.display(), mode & 0o777));
        }
    }
    Ok(if open.is_empty() { Ok(format!("{} closed", paths.len())) } else { Err(open.join(", ")) })
}

/// What nobody tries, each a command that has to fail.
fn tries(load: &Load, folder: &Path) -> Result<Vec<(String, String)>, Failed> {
    let shown = folder.display();
    let mut tries = Vec::new();
    let mut files: Vec<PathBuf> = SECRETS.iter().map(|name| folder.join(name)).collect();
    files.extend(damage::files(&folder.join("data"))?);
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        tries.push((format!("reads {name}"), format!("cat '{}'", file.display())));
    }
    tries.push(("lists the data directory".into(), format!("ls '{shown}/data'")));
    tries.push(("makes a file in the data directory".into(), format!("touch '{shown}/data/x'")));
    tries.push(("replaces the data directory".into(), format!("mv '{shown}/data' '{shown}/data-old'")));
    tries.push(("makes a file in the node's folder".into(), format!("touch '{shown}/x'")));
    let qkdctl = load.cluster.binaries().qkdctl.display();
    tries.push(("asks the control socket".into(), format!("'{qkdctl}' --socket '{shown}/qkdd.sock' status")));
    let pid = load.cluster.daemons[0].pid().ok_or_else(|| Failed::new("the node does not run"))?;
    for (name, what) in [("environ", "cat"), ("maps", "cat"), ("mem", "cat"), ("auxv", "cat"), ("io", "cat")] {
        tries.push((format!("reads /proc {name}"), format!("{what} /proc/{pid}/{name}")));
    }
    for name in ["fd", "cwd/", "root/", "map_files"] {
        tries.push((format!("lists /proc {name}"), format!("ls /proc/{pid}/{name}")));
    }
    tries.push(("sends a signal".into(), format!("kill -0 {pid}")));
    tries.push(("traces it".into(), format!("timeout 3 strace -p {pid} -o /dev/null")));
    Ok(tries)
}

/// Runs a command as nobody; it must fail, and be a command that could succeed.
async fn denied(command: &str) -> Result<Result<String, String>, Failed> {
    let user = as_user(NOBODY);
    let mut tried = Command::new(&user[0]);
    tried.args(&user[1..]).args(["sh", "-c", command]).stdin(Stdio::null()).kill_on_drop(true);
    let done = tried.output().await.map_err(|error| Failed::new(format!("setpriv: {error}")))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() {
        return Ok(Err(format!("{command} succeeded")));
    }
    if words.contains("not found") {
        return Ok(Err(format!("the check is blind: {words}")));
    }
    Ok(Ok(words.lines().last().unwrap_or("denied").to_owned()))
}

/// A file that is open to others has to be seen as such.
async fn planted(folder: &Path) -> Result<Result<String, String>, Failed> {
    let path = folder.join("open-secret");
    std::fs::write(&path, "x").map_err(|error| Failed::file(&path, error))?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).map_err(|error| Failed::file(&path, error))?;
    shell(&format!("chmod 755 '{}'", folder.display())).await?;
    let seen = denied(&format!("cat '{}'", path.display())).await?;
    shell(&format!("chmod 700 '{}'", folder.display())).await?;
    remove(&path)?;
    Ok(match seen {
        Err(text) => Ok(format!("caught: {text}")),
        Ok(text) => Err(format!("an open file passed as closed: {text}")),
    })
}

/// What is done to a stopped node's folder, and which word the refusal has to hold.
fn sabotages() -> Vec<(String, &'static str, String)> {
    let mut all = Vec::new();
    for name in SECRETS {
        all.push((format!("{name} open to others"), name, format!("chmod 644 {name}")));
        all.push((format!("a pipe in place of {name}"), name, format!("rm {name}; mkfifo -m 600 {name}")));
    }
    all.push(("data open to others".into(), "data", "chmod 755 data".into()));
    for name in ["data/state", "data/audit.log", "data/store/db", "data/marks/alice-bob.mark"] {
        let word = name.rsplit('/').next().unwrap_or(name);
        let word = if word == "db" { "store" } else { word };
        all.push((format!("a pipe in place of {name}"), word, format!("rm {name}; mkfifo -m 600 {name}")));
        all.push((format!("a link in place of {name}"), word, format!("mv {name} ../moved; ln -s ../../moved {name}")));
    }
    all
}

/// Starts the daemon on a sabotaged copy of the folder; it has to refuse and name the reason.
async fn starts_on(qkdd: &Path, folder: &Path, word: &str, sabotage: &str) -> Result<Result<String, String>, Failed> {
    let tried = folder.with_file_name("tried");
    remove(&tried)?;
    remove(&tried.with_file_name("moved"))?;
    copy(folder, &tried)?;
    shell(&format!("chown -R 0:0 '{0}' && cd '{0}' && {sabotage}", tried.display())).await?;
    let mut start = Command::new(qkdd);
    start.arg("--config").arg(tried.join("qkdd.toml")).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(done) = tokio::time::timeout(REFUSAL_MAX, start.output()).await else {
        return Ok(Err(format!("it started or hung: no end within {} s", REFUSAL_MAX.as_secs())));
    };
    let done = done.map_err(|error| Failed::file(qkdd, error))?;
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    let last = words.lines().last().unwrap_or_default().to_owned();
    let named = last.contains(word) && !words.contains("panicked");
    Ok(if !done.status.success() && named { Ok(last) } else { Err(format!("{}: {last:?}", done.status)) })
}
