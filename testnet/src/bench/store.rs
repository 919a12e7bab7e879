//! The key store, measured: spending and depositing pads with every write synced, what that leaves on the disk,
//! and a daemon with a million stored keys. Beside it redb and a bare append-only file, as yardsticks.

mod daemon;
mod end;
mod spenders;
mod yardsticks;

use std::path::Path;
use std::time::{Duration, Instant};

use qkd_proto::pool::{Direction, PAD_BLOCK_BYTES};

use super::{Options, Row};
use crate::error::Failed;
use crate::progress::say;
use end::Pair;

/// Bytes of a key, as the issue of keys counts them.
const KEY_BYTES: u64 = 32;
/// Key that is stored before spending is measured.
const STOCK_BYTES: u64 = 96 << 20;
/// Keys that go through the store before its size is taken.
const CHURNED_KEYS: u64 = 10_000_000;
/// Key of one distilled block.
const DEPOSIT_BYTES: usize = 1 << 20;

/// All rows.
pub(super) async fn rows(options: &Options) -> Result<Vec<Row>, Failed> {
    let mut rows = aside(pads).await?;
    say("yardsticks …");
    rows.extend(aside(yardsticks::rows).await?);
    if options.seconds > 0 {
        say("a daemon with 10^6 stored keys, killed and started again …");
        rows.extend(daemon::rows(options.all).await?);
    }
    Ok(rows)
}

/// Work that blocks, on a thread of its own.
async fn aside(work: fn() -> Result<Vec<Row>, Failed>) -> Result<Vec<Row>, Failed> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failed::new(format!("a bench broke: {error}")))?
}

fn pads() -> Result<Vec<Row>, Failed> {
    let folder = tempfile::tempdir().map_err(|error| Failed::new(format!("no temporary folder: {error}")))?;
    let mut pair = Pair::new(folder.path())?;
    say(&format!("deposit of {} MiB …", STOCK_BYTES >> 20));
    let deposit = fill(&mut pair, STOCK_BYTES)?;
    say("spending, 64 callers …");
    let (mut pair, spent) = spenders::run(pair, Duration::from_secs(5))?;
    let mut keys = spent.keys;
    let mut rows = vec![
        Row::new("spend_keys_per_s", spent.keys as f64 / spent.seconds, "keys/s").goal(">= 1000000"),
        Row::new("deposit_mbit_per_s", deposit, "Mbit/s").goal(">= 200"),
        Row::new("spend_reservations_per_s", spent.reservations as f64 / spent.seconds, "1/s"),
    ];
    say("churn of 10^7 keys through a stock that stays as large …");
    fill(&mut pair, spent.keys * KEY_BYTES)?;
    while keys < CHURNED_KEYS {
        fill(&mut pair, 2 * DEPOSIT_BYTES as u64)?;
        keys += spenders::drain(&mut pair, 2 * DEPOSIT_BYTES as u64)? / KEY_BYTES;
    }
    let live = pair.transmitter.pool.send().available() + pair.transmitter.pool.receive().available();
    let disk = bytes_in(&folder.path().join("transmitter").join("store"))?;
    let beyond = disk.saturating_sub(64 << 20) as f64 / live.max(1) as f64;
    rows.push(Row::new("disk_factor", beyond, "beyond 64 MiB").goal("<= 3"));
    rows.push(Row::new("disk_mib", disk as f64 / f64::from(1 << 20), "MiB"));
    rows.push(Row::new("disk_live_mib", live as f64 / f64::from(1 << 20), "MiB"));
    Ok(rows)
}

/// Deposits `bytes` of key at both ends; Mbit/s of key at one end.
fn fill(pair: &mut Pair, bytes: u64) -> Result<f64, Failed> {
    let (mut took, mut done) = (Duration::ZERO, 0);
    while done < bytes {
        let started = Instant::now();
        let offer = pair.transmitter.deposit(pair.next_block, DEPOSIT_BYTES)?;
        took += started.elapsed();
        pair.receiver.deposit_at(&offer, DEPOSIT_BYTES)?;
        pair.transmitter.pool.confirm_deposit(&offer);
        pair.next_block += 1;
        done += DEPOSIT_BYTES as u64;
    }
    Ok(done as f64 * 8.0 / took.as_secs_f64() / 1e6)
}

/// The size of what lies in a folder.
fn bytes_in(dir: &Path) -> Result<u64, Failed> {
    let entries = std::fs::read_dir(dir).map_err(|error| Failed::file(dir, error))?;
    let mut bytes = 0;
    for entry in entries.flatten() {
        let about = entry.metadata().map_err(|error| Failed::file(&entry.path(), error))?;
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// The direction that is spent.
const SPENT: Direction = Direction::Forward;
/// One block, in bytes.
const BLOCK_BYTES: u64 = PAD_BLOCK_BYTES as u64;
