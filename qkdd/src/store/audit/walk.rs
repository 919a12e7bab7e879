//! Follows the chain through the files of the log. In: lines. Out: where the chain ends, and the first
//! line that breaks it. Always: bounded memory, whatever the files hold.
//!
//! Bytes that are no line of the chain open a *gap*. A line that names exactly these bytes as torn, and
//! follows the line before them, closes it: a crash left them, and the node said so. Every other gap
//! is a break.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::error::StoreError;
use super::super::files;
use super::LINE_BYTES_MAX;
use super::line::{AuditKey, CHAIN_BYTES_MAX, Chain, Entry, hex};

/// Longest gap that a crash may leave: what was not yet synced.
const GAP_BYTES_MAX: usize = 32 << 20;
const RAW_BYTES_MAX: u64 = (LINE_BYTES_MAX + CHAIN_BYTES_MAX) as u64;

/// The file that grows.
pub(super) const CURRENT: &str = "audit.log";

/// One file of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    /// The number of its first line, if the name tells.
    pub(super) first: Option<u64>,
}

/// The name of a file that is full.
pub(super) fn full_name(first: u64) -> String {
    format!("audit-{first:020}.log")
}

/// The files of the log in a data directory, oldest first.
pub(super) fn log_files(dir: &Path) -> Result<Vec<LogFile>, StoreError> {
    let names = files::names(dir)?;
    let mut found = Vec::new();
    for name in &names {
        let digits = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".log"));
        if let Some(first) = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok()) {
            found.push(LogFile { path: dir.join(name), first: Some(first) });
        }
    }
    if names.iter().any(|name| name == CURRENT) {
        found.push(LogFile { path: dir.join(CURRENT), first: None });
    }
    Ok(found)
}

/// Bytes outside the chain.
pub(super) struct Gap {
    pub(super) path: PathBuf,
    /// From 1.
    pub(super) line: u64,
    pub(super) reason: String,
    pub(super) bytes: Vec<u8>,
    /// Whether it ends with a whole line.
    pub(super) ended: bool,
    /// Too long to be what a crash leaves.
    pub(super) too_long: bool,
}

impl Gap {
    /// True for the part of one line that a crash leaves, or a reader sees while the node writes.
    pub(super) fn is_half_a_line(&self) -> bool {
        !self.ended && !self.bytes.contains(&b'\n')
    }
}

/// A walk and what it found.
pub(super) struct Walk<'a> {
    key: Option<&'a AuditKey>,
    /// Goes on behind a loss that the node found before.
    forgiving: bool,
    /// None until the first line, where it is not known what came before.
    pub(super) chain: Option<Chain>,
    pub(super) gap: Option<Gap>,
    pub(super) first: Option<u64>,
    pub(super) lines: u64,
    pub(super) torn: u64,
    pub(super) kept_from: Option<u64>,
    /// Where the last line of the chain in the last file ends.
    pub(super) offset: u64,
}

impl<'a> Walk<'a> {
    /// Every line, to tell the first that is not as the node wrote it; checks MACs if there is a key.
    pub(super) fn strict(key: Option<&'a AuditKey>) -> Self {
        Self::new(key, false, None)
    }

    /// Begins after `chain`, if that is known, to find where the log ends.
    pub(super) fn forgiving(chain: Option<Chain>) -> Self {
        Self::new(None, true, chain)
    }

    fn new(key: Option<&'a AuditKey>, forgiving: bool, chain: Option<Chain>) -> Self {
        Self { key, forgiving, chain, gap: None, first: None, lines: 0, torn: 0, kept_from: None, offset: 0 }
    }

    /// Goes through a file from `offset`; `each` is given the lines of the chain.
    pub(super) fn file(&mut self, path: &Path, offset: u64, each: &mut dyn FnMut(&[u8])) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("read", path)(error);
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(128 << 10, file);
        let (mut raw, mut number, mut whole) = (Vec::new(), 0, true);
        self.offset = offset;
        if let Some(gap) = &mut self.gap {
            // A node ends what a crash tore before it begins a file: this gap is none that it left.
            gap.too_long = true;
            return Ok(());
        }
        loop {
            raw.clear();
            let read = reader.by_ref().take(RAW_BYTES_MAX + 1).read_until(b'\n', &mut raw);
            if read.map_err(failed)? == 0 {
                return Ok(());
            }
            let starts = std::mem::replace(&mut whole, raw.last() == Some(&b'\n'));
            number += u64::from(starts);
            self.raw(path, number, &raw, starts && whole, each);
            if self.gap.as_ref().is_some_and(|gap| gap.too_long) {
                return Ok(());
            }
        }
    }

    fn raw(&mut self, path: &Path, number: u64, raw: &[u8], is_line: bool, each: &mut dyn FnMut(&[u8])) {
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let broken = if is_line { self.follow(line) } else { Err("it is half a line".to_owned()) };
        match broken {
            Ok(()) => {
                self.offset += raw.len() as u64 + self.gap.take().map_or(0, |gap| gap.bytes.len() as u64);
                each(line);
            }
            Err(reason) => {
                let gap = self.gap.get_or_insert_with(|| Gap {
                    path: path.to_owned(),
                    line: number,
                    reason,
                    bytes: Vec::new(),
                    ended: false,
                    too_long: false,
                });
                gap.ended = raw.ends_with(b"\n");
                gap.too_long = gap.bytes.len() + raw.len() > GAP_BYTES_MAX;
                if !gap.too_long {
                    gap.bytes.extend_from_slice(raw);
                }
            }
        }
    }

    /// Takes a line into the chain, or tells why it does not belong there.
    fn follow(&mut self, line: &[u8]) -> Result<(), String> {
        let entry = Entry::parse(line).ok_or("it is no line of an audit log")?;
        if self.key.is_some_and(|key| !key.wrote(line, &entry)) {
            return Err("its MAC is wrong: it was altered, or written without this node's master key".into());
        }
        match &entry.lost {
            Some(_) if self.forgiving => {}
            Some(lost) => return Err(format!("the node found at a start that {lost}")),
            None => self.belongs(&entry)?,
        }
        self.chain = Some(Chain::after(entry.seq, line));
        self.first = self.first.or(Some(entry.seq));
        self.kept_from = entry.kept_from.or(self.kept_from);
        self.lines += 1;
        Ok(())
    }

    /// Compares a line with the one before it, and with the gap between them.
    fn belongs(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(chain) = &self.chain {
            let next = chain.seq.saturating_add(1);
            if entry.seq != next {
                return Err(format!("its seq is {}, and {next} must follow: lines are missing or moved", entry.seq));
            }
            if entry.prev != hex(&chain.hash) {
                return Err("it does not follow the line before it: one of the two was altered".into());
            }
        }
        match &self.gap {
            Some(gap) if !entry.marks(&gap.bytes) => return Err(gap.reason.clone()),
            None if entry.torn_bytes.is_some() => return Err("the torn bytes before it are gone".into()),
            Some(_) => self.torn += 1,
            None => {}
        }
        Ok(())
    }
}
