//! The audit log. In: lines of text. Out: `audit.log`, one line each. Always: lines are only ever
//! appended, and are on stable storage before anything else of their commit.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use qkd_proto::node::effect::{Record, Table};

use super::error::StoreError;
use super::{files, seal};
use crate::fail_point::{self, Point};

/// Longest audit line, in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Refuses what is not one line of text.
pub(super) fn check(record: &Record) -> Result<(), StoreError> {
    let refused = |reason: String| Err(StoreError::Refused { table: seal::table_name(Table::Audit), reason });
    let Some(value) = &record.value else { return refused("its lines cannot be deleted".into()) };
    let line = value.expose();
    if line.len() > LINE_BYTES_MAX {
        return refused(format!("{} bytes are over the limit of {LINE_BYTES_MAX}: shorten the line", line.len()));
    }
    match std::str::from_utf8(line) {
        Ok(line) if !line.chars().any(char::is_control) => Ok(()),
        _ => refused("it is not one line of plain text: write one record a line".into()),
    }
}

/// The open audit log.
pub(super) struct AuditLog {
    file: File,
    path: PathBuf,
    /// A crash or a full disk may have left part of a line: the next append ends it first.
    torn: bool,
}

impl AuditLog {
    /// Opens the log for appending, and creates it if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = files::options().read(true).append(true).create(true).open(path);
        let file = file.map_err(StoreError::io("open", path))?;
        file.sync_all().map_err(StoreError::io("sync", path))?;
        files::sync_parent(path)?;
        let torn = ends_torn(&file).map_err(StoreError::io("read", path))?;
        Ok(Self { file, path: path.to_owned(), torn })
    }

    /// Appends the records' lines and syncs them.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let lines = records.iter().filter(|record| record.table == Table::Audit);
        let mut text = Vec::new();
        for value in lines.filter_map(|record| record.value.as_ref()) {
            text.extend_from_slice(value.expose());
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        if std::mem::replace(&mut self.torn, true) {
            text.insert(0, b'\n');
        }
        self.file.write_all(&text).map_err(StoreError::io("append to", &self.path))?;
        fail_point::pass(Point::AuditWritten);
        self.file.sync_data().map_err(StoreError::io("append to", &self.path))?;
        fail_point::pass(Point::AuditSynced);
        self.torn = false;
        Ok(())
    }
}

fn ends_torn(file: &File) -> std::io::Result<bool> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last != *b"\n")
}
