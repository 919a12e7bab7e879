//! T17: keys are looked for where they must not be. In: a share of 200 keys delivered at both ends. Out:
//! every place that holds one. Always: logs at their fullest, every file of the nodes, what sockets
//! tell, arguments, environment and memory; first the search itself is tried on keys put down on purpose.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::damage;
use super::forms::Forms;
use super::load::Load;
use super::{Plan, privileges};
use crate::daemon::Daemon;
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Keys at full size.
const KEYS: usize = 200;
/// At least so many, or a short run would hardly look.
const KEYS_MIN: usize = 20;
/// A key that was handed out so long ago should be in no memory.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);
/// Keys that may be found in memory all the same, of all nodes together. It is what was
/// measured with room for chance (buffers of HTTP and TLS keep the last answers); the goal is none.
const IN_MEMORY_MAX: usize = 8;
/// Memory read at once, in bytes.
const PIECE: usize = 1 << 20;
/// Longest answer of a socket, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Finds told.
const FINDS_SHOWN: usize = 5;

/// Looks everywhere.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let count = plan.count(KEYS).max(KEYS_MIN);
    println!("T17 leak scan: {count} keys");
    let mut load = Load::render(&Scenario::line(3)?, &[("faults", true.into())])?;
    for daemon in &mut load.cluster.daemons {
        daemon.env.push(("QKDD_LOG", "trace,libp2p=debug,sled=debug".into()));
    }
    load.start_daemons().await?;
    let (ids, keys) = deliver(&load, count).await?;
    let delivered = Instant::now();
    let forms = Forms::of(&keys);
    println!("T17: {} forms are looked for", forms.count());
    report.check("T17 planted: keys put down are found", planted(&load, &forms, &keys));
    report.check("T17 sockets", sockets(&load, &forms, &ids).await);
    report.check("T17 arguments and environment", processes(&load, &forms));
    tokio::time::sleep(FORGOTTEN_AFTER.saturating_sub(delivered.elapsed())).await;
    if privileges::is_root() {
        report.check("T17 memory", memory(&load, &forms));
    } else {
        report.skip("T17 memory", "needs root");
    }
    report.check("T17 logs and files while running", files(&load, &forms));
    load.end("T17", false, report).await?;
    report.check("T17 logs and files after the end", files(&load, &forms));
    Ok(())
}

/// Keys at both ends, each asked for once more so that the refusals are logged, too.
async fn deliver(load: &Load, count: usize) -> Result<(Vec<String>, Vec<Vec<u8>>), Failed> {
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while keys.len() < count {
        if Instant::now() > deadline {
            return Err(Failed::new(format!("{} of {count} keys within 60 s", keys.len())));
        }
        let (got, bits) = load.alice.get_bits(&load.bob.id).await;
        load.history().got(&got);
        let crate::delivery::Outcome::Delivered(id, _) = &got else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        for _ in 0..2 {
            let fetched = load.bob.fetch(&load.alice.id, id).await;
            load.history().fetched(id, &fetched);
        }
        ids.push(id.clone());
        keys.push(bits);
    }
    Ok((ids, keys))
}

/// How many bytes were searched, and what was found.
#[derive(Default)]
struct Search {
    bytes: u64,
    found: Vec<String>,
    keys: std::collections::BTreeSet<usize>,
}

impl Search {
    fn look(&mut self, forms: &Forms, place: &str, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for find in forms.find(bytes) {
            self.keys.insert(find.key);
            self.found.push(format!("key {} as {} in {place} at {}", find.key, find.form, find.at));
        }
    }

    fn verdict(self) -> Result<String, String> {
        if self.bytes == 0 {
            return Err("nothing was searched: the check is blind".into());
        }
        if self.found.is_empty() {
            return Ok(format!("{} KiB, no key", self.bytes >> 10));
        }
        let shown = &self.found[..self.found.len().min(FINDS_SHOWN)];
        Err(format!("{} finds of {} keys: {}", self.found.len(), self.keys.len(), shown.join("; ")))
    }
}

/// Logs, and every other file of the nodes.
fn files(load: &Load, forms: &Forms) -> Result<String, String> {
    let mut search = Search::default();
    for daemon in &load.cluster.daemons {
        let folder = daemon.node.config.parent().unwrap_or(Path::new("/"));
        for path in damage::files(folder).map_err(|failed| failed.to_string())? {
            if let Ok(bytes) = std::fs::read(&path) {
                search.look(forms, &path.display().to_string(), &bytes);
            }
        }
    }
    search.verdict()
}

/// Puts keys down in copies of what is searched, one form each.
fn planted(load: &Load, forms: &Forms, keys: &[Vec<u8>]) -> Result<String, String> {
    let folder = load.cluster.net_dir().join("nodes");
    let log = load.cluster.daemons[0].log();
    let text = std::fs::read(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let hex: String = keys[0].iter().map(|byte| format!("{byte:02x}")).collect();
    let logged = [text.as_slice(), format!("INFO key={hex}\n{:?}\n", keys[1]).as_bytes()].concat();
    let dropped = folder.join("dropped");
    std::fs::write(&dropped, [b"head".as_slice(), &keys[2]].concat()).map_err(|error| error.to_string())?;
    let mut search = Search::default();
    search.look(forms, "a log with two keys", &logged);
    search.look(forms, "a file with one", &std::fs::read(&dropped).unwrap_or_default());
    let removed = std::fs::remove_file(&dropped);
    removed.map_err(|error| error.to_string())?;
    let found = search.keys.into_iter().collect::<Vec<_>>();
    if found == [0, 1, 2] { Ok("two in a log, one in a file".into()) } else { Err(format!("found only {found:?}")) }
}

/// What the control socket and the metrics tell.
async fn sockets(load: &Load, forms: &Forms, ids: &[String]) -> Result<String, String> {
    let mut search = Search::default();
    for daemon in &load.cluster.daemons {
        let status = daemon.status().await.ok_or("a node does not answer")?;
        let mut paths: Vec<String> = ["/v1/status", "/v1/links", "/v1/health"].map(String::from).into();
        paths.extend(status.links.iter().map(|link| format!("/v1/links/{}/explain", link.name)));
        paths.extend(ids.iter().map(|id| format!("/v1/keys/{id}")));
        for path in paths {
            let answer = control(daemon, &path).await.map_err(|error| format!("{path}: {error}"))?;
            search.look(forms, &path, &answer);
        }
        let metrics = metrics(daemon).await.map_err(|error| format!("metrics: {error}"))?;
        search.look(forms, "metrics", &metrics);
    }
    search.verdict()
}

async fn control(daemon: &Daemon, path: &str) -> std::io::Result<Vec<u8>> {
    answer(UnixStream::connect(&daemon.node.control_socket).await?, path).await
}

async fn metrics(daemon: &Daemon) -> std::io::Result<Vec<u8>> {
    let place = daemon.node.metrics_url.trim_start_matches("http://").trim_end_matches("/metrics");
    answer(TcpStream::connect(place).await?, "/metrics").await
}

async fn answer(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    path: &str,
) -> std::io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn processes(load: &Load, forms: &Forms) -> Result<String, String> {
    let mut search = Search::default();
    for pid in load.cluster.daemons.iter().filter_map(Daemon::pid) {
        for what in ["cmdline", "environ", "status", "comm"] {
            let path = format!("/proc/{pid}/{what}");
            search.look(forms, &path, &std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?);
        }
    }
    search.verdict()
}

/// The writable memory of every daemon.
fn memory(load: &Load, forms: &Forms) -> Result<String, String> {
    let mut by_node = BTreeMap::new();
    let (mut bytes, mut keys) = (0, 0);
    for daemon in &load.cluster.daemons {
        let Some(pid) = daemon.pid() else { continue };
        let mut search = Search::default();
        read_memory(pid, forms, &mut search).map_err(|error| format!("memory of {pid}: {error}"))?;
        bytes += search.bytes;
        keys += search.keys.len();
        by_node.insert(daemon.node.name.clone(), (search.keys.len(), search.found));
    }
    let told: Vec<_> = by_node.iter().map(|(node, (keys, _))| format!("{node} {keys}")).collect();
    let text = format!("{} MiB; keys handed out over 30 s ago: {}", bytes >> 20, told.join(", "));
    if bytes == 0 {
        return Err("no memory could be read: the check is blind".into());
    }
    if keys <= IN_MEMORY_MAX {
        return Ok(text);
    }
    let finds: Vec<_> = by_node.into_values().flat_map(|(_, finds)| finds).take(FINDS_SHOWN).collect();
    Err(format!("{text}, {IN_MEMORY_MAX} allowed: {}", finds.join("; ")))
}

fn read_memory(pid: i32, forms: &Forms, search: &mut Search) -> std::io::Result<()> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let overlap = forms.longest();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((from, to)) = range else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        let mut at = from;
        while at < to {
            let mut piece = vec![0; PIECE.min((to - at) as usize)];
            // Some pages cannot be read: those of secret memory, by design.
            let read = memory.read_at(&mut piece, at).unwrap_or(0);
            search.look(forms, line.rsplit(' ').next().unwrap_or_default(), &piece[..read]);
            let step = read.saturating_sub(overlap).max(1 << 12);
            at += step as u64;
        }
    }
    Ok(())
}
