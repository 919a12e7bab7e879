//! The audit log. In: lines of JSON. Out: `audit.log` and the full files before it, one line each.
//! Always: a line is only ever appended, names the line before it, and is on stable storage before
//! anything else of its commit. Ids and counts, never key bits.
//!
//! `line` tells the form of a line, `head` how a cut log shows, `walk` how a log is read. A file that
//! is full is renamed after the number of its first line; the chain goes on in the next.

mod head;
mod line;
pub mod report;
mod walk;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;
use serde::de::IgnoredAny;

use super::error::StoreError;
use super::{files, seal};
use crate::fail_point::{self, Point};
use head::{Head, Place};
use line::{AuditKey, Chain, OWN_FIELDS, torn_fields};
use walk::{CURRENT, Gap, Walk, full_name, log_files};

/// Longest audit line, in bytes, as it is given.
pub const LINE_BYTES_MAX: usize = 64 << 10;
const HEAD: &str = "audit.head";

/// How much of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLimits {
    /// A file is full at so many bytes.
    pub file_bytes: u64,
    /// Full files that are kept beside the one that grows.
    pub files: usize,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, files: 16 }
    }
}

/// Refuses what is not one line of text.
pub(super) fn check(record: &Record) -> Result<(), StoreError> {
    let refused = |reason: String| Err(StoreError::Refused { table: seal::table_name(Table::Audit), reason });
    let Some(value) = &record.value else { return refused("its lines cannot be deleted".into()) };
    let line = value.expose();
    if line.len() > LINE_BYTES_MAX {
        return refused(format!("{} bytes are over the limit of {LINE_BYTES_MAX}: shorten the line", line.len()));
    }
    match std::str::from_utf8(line) {
        Ok(line) if !line.chars().any(char::is_control) => fields(line).map_or_else(refused, |_| Ok(())),
        _ => refused("it is not one line of plain text: write one record a line".into()),
    }
}

/// The fields of a given line: those of its JSON object, or the text itself as one.
fn fields(line: &str) -> Result<String, String> {
    if !line.starts_with('{') {
        return Ok(format!("\"text\":{}", serde_json::Value::from(line)));
    }
    let object: serde_json::Result<std::collections::BTreeMap<String, IgnoredAny>> = serde_json::from_str(line);
    let object = object.map_err(|error| format!("it is no JSON object: {error}: correct it"))?;
    if object.is_empty() {
        return Err("it has no fields: give one".into());
    }
    match OWN_FIELDS.into_iter().find(|name| object.contains_key(*name)) {
        Some(name) => Err(format!("its field {name} is for the log itself: choose another name")),
        None => {
            Ok(line.trim_end().strip_prefix('{').and_then(|line| line.strip_suffix('}')).unwrap_or_default().to_owned())
        }
    }
}

/// Now, as the field of a line.
fn stamp() -> String {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("\"unix_ms\":{}", wall.as_millis())
}

/// The open audit log.
pub(super) struct AuditLog {
    dir: PathBuf,
    key: AuditKey,
    limits: AuditLimits,
    open: Open,
}

/// The file that grows, and where it stands.
struct Open {
    file: File,
    head: Head,
    place: Place,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// A write failed: part of it may be there, and is marked before the next.
    Torn,
    /// A sync failed: what the disk holds is unknown until the next start.
    Broken,
}

impl AuditLog {
    /// Opens the log of a data directory for appending; creates it if there is none, marks what a crash
    /// left, and what is missing.
    pub(super) fn open(dir: &Path, master: &SecretBytes, limits: AuditLimits) -> Result<Self, StoreError> {
        let key = AuditKey::new(master);
        let open = Open::new(dir, &key)?;
        let mut log = Self { dir: dir.to_owned(), key, limits, open };
        if log.open.place.offset == 0 && log.open.place.chain != Chain::START {
            log.begin_file()?;
        }
        Ok(log)
    }

    /// Appends the records' lines and syncs them.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let lines = records.iter().filter(|record| record.table == Table::Audit);
        let mut given = Vec::new();
        for value in lines.filter_map(|record| record.value.as_ref()) {
            given.push(fields(&String::from_utf8_lossy(value.expose())).unwrap_or_default());
        }
        if given.is_empty() { Ok(()) } else { self.append_fields(&given) }
    }

    /// Appends an event of the shell's own; `fields` is JSON without braces.
    pub(super) fn note(&mut self, fields: &str) -> Result<(), StoreError> {
        self.append_fields(&[format!("{},{fields}", stamp())])
    }

    fn append_fields(&mut self, given: &[String]) -> Result<(), StoreError> {
        match self.open.state {
            State::Whole => {}
            State::Torn => self.open = Open::new(&self.dir, &self.key)?,
            State::Broken => return Err(StoreError::Broken { path: self.dir.join(CURRENT) }),
        }
        if self.open.place.offset >= self.limits.file_bytes {
            self.rotate()?;
        }
        self.open.write(&self.key, &self.dir, given, "", false)
    }

    fn rotate(&mut self) -> Result<(), StoreError> {
        let (current, full) = (self.dir.join(CURRENT), self.dir.join(full_name(self.open.place.file)));
        self.open.state = State::Torn;
        fs::rename(&current, &full).map_err(StoreError::io("rename", &current))?;
        files::sync_dir(&self.dir)?;
        let next = self.open.place.chain.seq.saturating_add(1);
        self.open.file = open_current(&self.dir)?;
        self.open.place = Place { file: next, offset: 0, ..self.open.place };
        self.begin_file()
    }

    /// Says in a file's first line how far back the log is kept, then removes what is older.
    fn begin_file(&mut self) -> Result<(), StoreError> {
        let full: Vec<_> = log_files(&self.dir)?.into_iter().filter(|file| file.first.is_some()).collect();
        let (old, kept) = full.split_at(full.len().saturating_sub(self.limits.files));
        let kept_from = kept.first().and_then(|file| file.first).unwrap_or(self.open.place.file);
        let line = format!("{},\"event\":\"rotated\",\"kept_from\":{kept_from}", stamp());
        self.open.write(&self.key, &self.dir, &[line], "", true)?;
        old.iter().try_for_each(|file| files::remove_file(&file.path))
    }
}

impl Drop for AuditLog {
    /// Best effort: without it a cut of the last lines may not show after a power loss.
    fn drop(&mut self) {
        if self.open.state == State::Whole {
            let _ = self.open.head.put(&self.key, &self.open.place, true);
        }
    }
}

fn open_current(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(CURRENT);
    let file = files::options().read(true).append(true).create(true).open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    file.sync_all().map_err(StoreError::io("sync", &path))?;
    files::sync_dir(dir)?;
    Ok(file)
}

impl Open {
    /// Finds the end of the log from its head on; marks torn bytes and losses with a line each.
    fn new(dir: &Path, key: &AuditKey) -> Result<Self, StoreError> {
        let had_lines = log_files(dir)?.iter().any(|file| fs::metadata(&file.path).is_ok_and(|about| about.len() > 0));
        let (head, known) = Head::open(&dir.join(HEAD), key)?;
        let file = open_current(dir)?;
        let Found { place, gap, lost } = Found::from(dir, known, had_lines)?;
        let mut open = Self { file, head, place, state: State::Whole };
        let ended = gap.as_ref().is_none_or(|gap| gap.ended);
        let end = if ended { "" } else { "\n" };
        if let Some(lost) = lost {
            tracing::error!("The audit log was damaged while the node was down: {lost}");
            let bytes = fs::metadata(dir.join(CURRENT)).map_err(StoreError::io("read", &dir.join(CURRENT)))?.len();
            open.place.offset = bytes;
            open.write(key, dir, &[format!("{},\"event\":\"lost\",\"lost\":\"{lost}\"", stamp())], end, true)?;
        } else if let Some(gap) = gap {
            let torn = [gap.bytes.as_slice(), end.as_bytes()].concat();
            tracing::warn!(bytes = torn.len(), "A crash left part of a line in the audit log: it is marked");
            open.place.offset += gap.bytes.len() as u64;
            open.write(key, dir, &[format!("{},{}", stamp(), torn_fields(&torn))], end, true)?;
        } else {
            open.head.put(key, &open.place, true)?;
        }
        Ok(open)
    }

    /// Appends a line of each, after `before`; they are on stable storage when this returns.
    fn write(
        &mut self,
        key: &AuditKey,
        dir: &Path,
        given: &[String],
        before: &str,
        sync_head: bool,
    ) -> Result<(), StoreError> {
        let mut text = before.to_owned();
        let mut chain = self.place.chain;
        for fields in given {
            let (line, after) = key.compose(&chain, fields);
            text.push_str(&line);
            text.push('\n');
            chain = after;
        }
        let path = dir.join(CURRENT);
        self.state = State::Torn;
        self.file.write_all(text.as_bytes()).map_err(StoreError::io("append to", &path))?;
        self.state = State::Broken;
        fail_point::pass(Point::AuditWritten);
        self.file.sync_data().map_err(StoreError::io("sync", &path))?;
        fail_point::pass(Point::AuditSynced);
        self.place = Place { chain, offset: self.place.offset + text.len() as u64, ..self.place };
        self.head.put(key, &self.place, sync_head)?;
        self.state = State::Whole;
        Ok(())
    }
}

/// Where a log ends.
struct Found {
    place: Place,
    gap: Option<Gap>,
    lost: Option<&'static str>,
}

impl Found {
    fn from(dir: &Path, known: Option<Place>, had_lines: bool) -> Result<Self, StoreError> {
        let Some(known) = known else {
            let lost = had_lines.then_some("its head was gone: lines before this one may be missing");
            return Self::in_last_file(dir, lost);
        };
        let all = log_files(dir)?;
        let (current, last) = (dir.join(CURRENT), all.len().saturating_sub(1));
        let begin = all.iter().position(|file| file.first == Some(known.file)).unwrap_or(last);
        let length = fs::metadata(&all[begin].path).map_or(0, |about| about.len());
        if known.offset > length {
            return Ok(Self::in_last_file(dir, Some("lines at its end were cut off"))?.after(&known));
        }
        let mut walk = Walk::forgiving(Some(known.chain));
        let mut file = known.file;
        for (i, log) in all.iter().enumerate().skip(begin) {
            if i > begin {
                file = walk.chain.map_or(1, |chain| chain.seq.saturating_add(1));
            }
            walk.file(&log.path, if i == begin { known.offset } else { 0 }, &mut |_| {})?;
        }
        let chain = walk.chain.unwrap_or(Chain::START);
        if walk.gap.as_ref().is_some_and(|gap| gap.path != current || gap.too_long) {
            let lost = Some("lines were altered that a crash does not touch");
            return Ok(Self::in_last_file(dir, lost)?.after(&Place { chain, ..known }));
        }
        Ok(Self { place: Place { chain, file, offset: walk.offset }, gap: walk.gap, lost: None })
    }

    /// Reads the last file that holds lines, from its start.
    fn in_last_file(dir: &Path, lost: Option<&'static str>) -> Result<Self, StoreError> {
        let all = log_files(dir)?;
        let mut walk = Walk::forgiving(None);
        let filled = all.iter().rev().find(|file| fs::metadata(&file.path).is_ok_and(|about| about.len() > 0));
        if let Some(file) = filled {
            walk.file(&file.path, 0, &mut |_| {})?;
        }
        let chain = walk.chain.unwrap_or(Chain::START);
        let in_current = filled.is_some_and(|file| file.first.is_none());
        let file = if in_current { walk.first.unwrap_or(1) } else { chain.seq.saturating_add(1) };
        let place = Place { chain, file, offset: if in_current { walk.offset } else { 0 } };
        Ok(Self { place, gap: walk.gap.filter(|_| in_current), lost })
    }

    /// Goes on with a number that was not used yet.
    fn after(mut self, known: &Place) -> Self {
        self.place.chain.seq = self.place.chain.seq.max(known.chain.seq);
        self
    }
}

#[cfg(test)]
mod tests;
