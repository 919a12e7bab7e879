//! The tables, in sled. In: operations in order. Out: sealed bytes by key. Always: when
//! [`SledStore::apply`] returns, its operations are on stable storage. The one file that names `sled`.
//!
//! sled's `flush` starts the write-back without waiting for the drive (`sync_file_range`), so every
//! flush is followed by an `fdatasync` through a second handle. It never syncs `conf` or its
//! directory, so every open does. A batch of more than 256 operations leaks memory and disk for good.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::StoreError;
use super::{engine_panic, files};
use crate::fail_point::{self, Point};

/// Operations that sled takes as one batch without leaking (measured; it leaks from about 500).
pub(super) const BATCH_OPERATIONS_MAX: usize = 256;
/// sled's page cache, in bytes; its default is 1 GiB.
const CACHE_BYTES: u64 = 8 << 20;
/// How often an open waits for sled's own threads to let go of a closed database, and how long.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// One change of one record; no value deletes it.
pub(super) struct Operation {
    /// Under which key.
    pub(super) key: Vec<u8>,
    /// What.
    pub(super) value: Option<Vec<u8>>,
}

/// An open database.
pub(super) struct SledStore {
    db: sled::Db,
    file: File,
    dir: PathBuf,
    broken: bool,
}

impl SledStore {
    /// Makes a database where there is none.
    pub(super) fn create(dir: &Path) -> Result<Self, StoreError> {
        files::make_dir(dir)?;
        Self::open_engine(dir)
    }

    /// Opens a database that must exist: sled would make a fresh one where its file is gone.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        for part in ["conf", "db"] {
            let path = dir.join(part);
            if !std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0) {
                return Err(StoreError::Missing { path });
            }
        }
        Self::open_engine(dir)
    }

    /// Waits until the threads of a database that was dropped have let go of its files.
    pub(super) fn wait_until_closed(dir: &Path) -> Result<(), StoreError> {
        let path = dir.join("db");
        let file = files::options().read(true).open(&path).map_err(StoreError::io("open", &path))?;
        for _ in 0..LOCK_TRIES {
            if file.try_lock().is_ok() {
                return Ok(());
            }
            std::thread::sleep(LOCK_WAIT);
        }
        Err(StoreError::Engine { path: dir.to_owned(), reason: "it does not let go of its files".into() })
    }

    fn open_engine(dir: &Path) -> Result<Self, StoreError> {
        engine_panic::put_in_words(dir);
        remove_half_snapshots(dir)?;
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).mode(sled::Mode::LowSpace);
        let db = open_patiently(&config).map_err(engine_error(dir))?;
        let path = dir.join("db");
        let file = files::options().read(true).write(true).open(&path).map_err(StoreError::io("open", &path))?;
        let store = Self { db, file, dir: dir.to_owned(), broken: false };
        store.flush()?;
        sync_names(dir)?;
        Ok(store)
    }

    /// Applies the batches in their order, each as a whole, and syncs them.
    ///
    /// A failed write closes the store for writing: a later sync would succeed without the pages
    /// that the kernel dropped.
    pub(super) fn apply(&mut self, batches: Vec<Vec<Operation>>) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken { path: self.dir.clone() });
        }
        self.broken = true;
        for batch in batches {
            debug_assert!(batch.len() <= BATCH_OPERATIONS_MAX, "the caller cuts");
            self.db.apply_batch(batch_of(batch)).map_err(engine_error(&self.dir))?;
        }
        fail_point::pass(Point::TablesApplied);
        self.flush()?;
        fail_point::pass(Point::TablesSynced);
        self.broken = false;
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(engine_error(&self.dir))?;
        fail_point::pass(Point::TablesFlushed);
        self.file.sync_data().map_err(StoreError::io("sync", &self.dir))
    }

    /// The value under a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db.get(key).map_err(engine_error(&self.dir))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Shows every key that begins with `prefix` and its value, by rising key.
    pub(super) fn visit(&self, prefix: &[u8], mut show: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        for pair in self.db.scan_prefix(prefix) {
            let (key, value) = pair.map_err(engine_error(&self.dir))?;
            show(&key, &value);
        }
        Ok(())
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

fn batch_of(operations: Vec<Operation>) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for Operation { key, value } in operations {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    batch
}

/// A snapshot that a kill left half-written would be read as the newest one and fail every open.
fn remove_half_snapshots(dir: &Path) -> Result<(), StoreError> {
    let half = |name: &String| name.starts_with("snap.") && name.ends_with(".generating");
    files::names(dir)?.iter().filter(|name| half(name)).try_for_each(|name| files::remove_file(&dir.join(name)))
}

/// sled drops its file lock only when its last thread is gone, which may be after its `Db` is. Two
/// daemons are kept apart by the lock of the data directory, so waiting here is safe.
fn open_patiently(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    for _ in 1..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().starts_with("could not acquire lock") => {
                std::thread::sleep(LOCK_WAIT);
            }
            opened => return opened,
        }
    }
    config.open()
}

fn sync_names(dir: &Path) -> Result<(), StoreError> {
    let conf = dir.join("conf");
    File::open(&conf).and_then(|conf| conf.sync_all()).map_err(StoreError::io("sync", &conf))?;
    files::sync_dir(dir)?;
    files::sync_parent(dir)
}

fn engine_error(dir: &Path) -> impl Fn(sled::Error) -> StoreError {
    move |error| match error {
        // What it calls unsupported is settings that it cannot read.
        sled::Error::Corruption { .. } | sled::Error::Unsupported(_) => {
            StoreError::Damaged { path: dir.to_owned(), reason: "the table engine cannot read its own file".into() }
        }
        sled::Error::Io(source) => StoreError::Io { doing: "use the tables in", path: dir.to_owned(), source },
        other => StoreError::Engine { path: dir.to_owned(), reason: other.to_string() },
    }
}
