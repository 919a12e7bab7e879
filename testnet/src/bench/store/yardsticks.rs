//! The same work done by redb, and by a bare file that is appended to.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Duration, Instant};

use redb::{Database, Durability, TableDefinition};

use super::{BLOCK_BYTES, Row};
use crate::error::Failed;

/// Blocks of one write, as a distilled key of 1 MiB has.
const BLOCKS: u64 = 256;
/// Bytes that one synced mark lets callers spend.
const WINDOW_KEYS: f64 = 2048.0;
/// How long each is measured.
const TIME: Duration = Duration::from_secs(2);

const PADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pads");

/// All rows.
pub(super) fn rows() -> Result<Vec<Row>, Failed> {
    let folder = tempfile::tempdir().map_err(|error| Failed::new(format!("no temporary folder: {error}")))?;
    let said = |error: &dyn std::fmt::Display| Failed::new(format!("yardstick: {error}"));
    let block = vec![0x5a; BLOCK_BYTES as usize];
    let mut log =
        OpenOptions::new().create(true).append(true).open(folder.path().join("log")).map_err(|error| said(&error))?;
    let log_deposits = repeat(|_| {
        for _ in 0..BLOCKS {
            log.write_all(&block).map_err(|error| said(&error))?;
        }
        log.sync_data().map_err(|error| said(&error))
    })?;
    let log_marks = repeat(|_| log.write_all(&[0; 64]).and_then(|()| log.sync_data()).map_err(|error| said(&error)))?;
    let redb = Database::create(folder.path().join("redb")).map_err(|error| said(&error))?;
    let redb_deposits = repeat(|round| put(&redb, (0..BLOCKS).map(|i| (round * BLOCKS + i) % 8192), &block))?;
    let redb_marks = repeat(|_| put(&redb, std::iter::once(u64::MAX), &[0; 64]))?;
    let mbit = |writes: f64| writes * (BLOCKS * BLOCK_BYTES) as f64 * 8.0 / 1e6;
    Ok(vec![
        Row::new("deposit_mbit_per_s_append_only_log", mbit(log_deposits), "Mbit/s"),
        Row::new("deposit_mbit_per_s_redb", mbit(redb_deposits), "Mbit/s"),
        Row::new("spend_keys_per_s_append_only_log", log_marks * WINDOW_KEYS, "keys/s"),
        Row::new("spend_keys_per_s_redb", redb_marks * WINDOW_KEYS, "keys/s"),
    ])
}

fn put(redb: &Database, keys: impl Iterator<Item = u64>, value: &[u8]) -> Result<(), Failed> {
    let said = |error: &dyn std::fmt::Display| Failed::new(format!("redb: {error}"));
    let mut write = redb.begin_write().map_err(|error| said(&error))?;
    write.set_durability(Durability::Immediate).map_err(|error| said(&error))?;
    {
        let mut table = write.open_table(PADS).map_err(|error| said(&error))?;
        for key in keys {
            table.insert(key, value).map_err(|error| said(&error))?;
        }
    }
    write.commit().map_err(|error| said(&error))
}

/// How often a second something is done.
fn repeat(mut work: impl FnMut(u64) -> Result<(), Failed>) -> Result<f64, Failed> {
    let (started, mut rounds) = (Instant::now(), 0);
    while started.elapsed() < TIME {
        work(rounds)?;
        rounds += 1;
    }
    Ok(rounds as f64 / started.elapsed().as_secs_f64())
}
