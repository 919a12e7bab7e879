//! A daemon with a million stored keys: its memory, and the time from a kill's restart until it supplies.

use std::time::{Duration, Instant};

use qkdctl::net::Topology;

use super::Row;
use crate::binaries;
use crate::cluster::{self, Cluster};
use crate::error::Failed;
use crate::progress::{Progress, say};

/// Two nodes, and room for 10^6 keys of 32 bytes: half in each direction.
const TOPOLOGY: &str = "
name = \"bench\"
[[node]]
name = \"alice\"
[[node]]
name = \"bob\"
[[link]]
ends = [\"alice\", \"bob\"]
device = \"table\"
rate = \"100Mbit/s\"
qber = 0.02
capacity = \"15625KiB\"
";
const KEYS: u64 = 1_000_000;
const FILL_WAIT: Duration = Duration::from_secs(180);
const READY_WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
/// Restarts after a kill; all with `--all`.
const RESTARTS: usize = 10;
const RESTARTS_ALL: usize = 100;

/// Fills the pool, measures memory, and kills one end again and again.
pub(super) async fn rows(all: bool) -> Result<Vec<Row>, Failed> {
    let mut cluster = Cluster::render(binaries::find()?, &Topology::parse(TOPOLOGY)?, None, None)?;
    let measured = measure(&mut cluster, if all { RESTARTS_ALL } else { RESTARTS }).await;
    if measured.is_err() {
        cluster.show_logs();
    }
    for fault in cluster.stop().await {
        say(&fault);
    }
    measured
}

async fn measure(cluster: &mut Cluster, restarts: usize) -> Result<Vec<Row>, Failed> {
    cluster.start().await?;
    let (started, mut progress) = (Instant::now(), Progress::new());
    loop {
        let keys = stored(cluster).await / super::KEY_BYTES;
        if keys >= KEYS {
            break;
        }
        cluster.check_alive()?;
        progress.tell(|| format!("{keys} of {KEYS} keys stored"));
        if started.elapsed() > FILL_WAIT {
            return Err(Failed::new(format!("{keys} keys stored in {} s", FILL_WAIT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let filled = resident(cluster)?;
    let mut times = Vec::with_capacity(restarts);
    for round in 1..=restarts {
        cluster.daemons[0].kill().await?;
        let restarted = Instant::now();
        cluster.start_one(0)?;
        while !is_ready(cluster).await {
            if restarted.elapsed() > READY_WAIT {
                return Err(Failed::new(format!("not ready {} s after a restart", READY_WAIT.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
        times.push(restarted.elapsed().as_secs_f64());
        progress.tell(|| format!("{round} of {restarts} restarts"));
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    times.sort_by(f64::total_cmp);
    let p99 = times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN);
    Ok(vec![
        Row::new("rss_mib_1e6_keys", filled, "MiB").goal("<= 64"),
        Row::new("rss_mib_1e6_keys_after_restart", resident(cluster)?, "MiB"),
        Row::new("ready_s_p99_1e6_keys", p99, "s").goal("<= 3"),
        Row::new("ready_s_median_1e6_keys", times[times.len() / 2], "s"),
    ])
}

/// Bytes stored at the first node, both directions.
async fn stored(cluster: &Cluster) -> u64 {
    let statuses = cluster.statuses().await;
    let link = cluster::link(&statuses, "alice-bob");
    link.map_or(0, |link| link.store_bytes + link.store_peer_bytes)
}

/// The first node answers, its link is up, and its stock is there.
async fn is_ready(cluster: &Cluster) -> bool {
    let Some(status) = cluster.daemons[0].status().await else { return false };
    status
        .links
        .iter()
        .all(|link| link.state == "up" && link.store_bytes + link.store_peer_bytes > KEYS / 2 * super::KEY_BYTES)
}

/// Memory of the first node, as it is now.
fn resident(cluster: &Cluster) -> Result<f64, Failed> {
    let kib = cluster.daemons[0].resident_kib();
    kib.map(|kib| kib as f64 / 1024.0).ok_or_else(|| Failed::new("the daemon has no memory to read".to_owned()))
}
