//! One link between two daemon processes, by the clock. In: seconds. Out: sifted and secret bits per
//! second, and the most memory of an end. Always: both processes are real; nothing is diluted.

use std::time::{Duration, Instant};

use qkdctl::net::Topology;

use super::Row;
use crate::cluster::{self, Cluster};
use crate::error::Failed;
use crate::progress::Progress;
use crate::{binaries, progress};

/// The preset with the most sifted bits, 33.6 Mbit/s, and room for all key that it makes.
const TOPOLOGY: &str = "
name = \"bench\"
[[node]]
name = \"alice\"
[[node]]
name = \"bob\"
[[link]]
ends = [\"alice\", \"bob\"]
preset = \"sdapd-1g\"
length = \"10km\"
capacity = \"240MiB\"
";
/// Longest wait for the first block.
const FIRST_BLOCK_WAIT: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(200);

/// Runs the link for `seconds` after its first block.
pub(super) async fn rows(seconds: u64) -> Result<Vec<Row>, Failed> {
    let mut cluster = Cluster::render(binaries::find()?, &Topology::parse(TOPOLOGY)?, None, None)?;
    let measured = measure(&mut cluster, seconds).await;
    if measured.is_err() {
        cluster.show_logs();
    }
    for fault in cluster.stop().await {
        progress::say(&fault);
    }
    measured
}

async fn measure(cluster: &mut Cluster, seconds: u64) -> Result<Vec<Row>, Failed> {
    cluster.start().await?;
    let (started, mut progress) = (Instant::now(), Progress::new());
    while totals(cluster).await.2 == 0 {
        cluster.check_alive()?;
        if started.elapsed() > FIRST_BLOCK_WAIT {
            return Err(Failed::new(format!("no block gave key in {} s", FIRST_BLOCK_WAIT.as_secs())));
        }
        tokio::time::sleep(POLL).await;
    }
    let (start, (sifted, secret, _)) = (Instant::now(), totals(cluster).await);
    while start.elapsed() < Duration::from_secs(seconds) {
        cluster.check_alive()?;
        progress.tell(|| format!("the link runs, {} of {seconds} s", start.elapsed().as_secs()));
        tokio::time::sleep(POLL).await;
    }
    let (took, (sifted_end, secret_end, _)) = (start.elapsed().as_secs_f64(), totals(cluster).await);
    let most = cluster.daemons.iter().filter_map(crate::daemon::Daemon::memory_kib).max().unwrap_or(0);
    Ok(vec![
        Row::new("link_sifted_mbit_per_s", (sifted_end - sifted) as f64 / took / 1e6, "Mbit/s").goal(">= 20"),
        Row::new("link_secret_mbit_per_s", (secret_end - secret) as f64 / took / 1e6, "Mbit/s"),
        Row::new("link_rss_mib_max", most as f64 / 1024.0, "MiB"),
    ])
}

/// Sifted and secret bits and blocks so far, as the transmitter tells.
async fn totals(cluster: &Cluster) -> (u64, u64, u64) {
    let statuses = cluster.statuses().await;
    let link = cluster::link(&statuses, "alice-bob");
    link.map_or((0, 0, 0), |link| (link.sifted_bits, link.secret_bits, link.blocks_ok))
}
