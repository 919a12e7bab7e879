//! The log as an operator reads it. In: a data directory, whether or not a node uses it. Out: whether
//! the chain holds, or its last lines. Always: nothing is written.

use std::collections::VecDeque;
use std::path::Path;

use qkd_proto::secret::SecretBytes;
use serde::Serialize;

use super::super::error::StoreError;
use super::HEAD;
use super::head::Head;
use super::line::{AuditKey, Chain};
use super::walk::{Walk, log_files};

/// Most lines that are shown.
pub const SHOWN_LINES_MAX: usize = 100_000;

/// What a look at the whole log found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// 1.
    pub schema: u32,
    /// True if no line is broken.
    pub whole: bool,
    /// True if the MACs were checked too.
    pub authenticated: bool,
    /// Files of the log.
    pub files: usize,
    /// Lines that hold.
    pub lines: u64,
    /// Number of the oldest line.
    pub first_seq: Option<u64>,
    /// Number of the last line that holds.
    pub last_seq: Option<u64>,
    /// Places where a crash left part of a line.
    pub torn: u64,
    /// True if the last line is half there: a crash, or a node that writes just now.
    pub ends_torn: bool,
    /// The first line that is broken.
    pub broken: Option<Broken>,
}

/// A line that is not as the node wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Name of the file.
    pub file: String,
    /// Line in it, from 1.
    pub line: u64,
    /// How it shows.
    pub reason: String,
}

/// Walks the whole log; with the master key, MACs are checked too.
///
/// # Errors
/// If the files cannot be read.
pub fn verify(dir: &Path, master: Option<&SecretBytes>) -> Result<Verdict, StoreError> {
    let key = master.map(AuditKey::new);
    // The head first: a node that runs only adds to the log meanwhile.
    let head = Head::peek(&dir.join(HEAD), key.as_ref());
    let files = log_files(dir)?;
    if files.is_empty() && head.is_none() {
        return Err(StoreError::Missing { path: dir.join(super::CURRENT) });
    }
    let mut walk = Walk::strict(key.as_ref());
    for file in &files {
        walk.file(&file.path, 0, &mut |_| {})?;
    }
    let ends_torn = walk.gap.as_ref().is_some_and(|gap| gap.is_half_a_line() && gap.path.ends_with(super::CURRENT));
    let found = walk.gap.as_ref().filter(|_| !ends_torn).map(|gap| Broken {
        file: gap.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        line: gap.line,
        reason: gap.reason.clone(),
    });
    let broken = found.or_else(|| cut_at_an_end(&walk, head.map(|head| head.chain)));
    Ok(Verdict {
        schema: 1,
        whole: broken.is_none(),
        authenticated: key.is_some(),
        files: files.len(),
        lines: walk.lines,
        first_seq: walk.first,
        last_seq: walk.chain.map(|chain| chain.seq),
        torn: walk.torn,
        ends_torn,
        broken,
    })
}

/// Lines that are missing at either end, where no neighbour of theirs shows it.
fn cut_at_an_end(walk: &Walk<'_>, head: Option<Chain>) -> Option<Broken> {
    let broken = |line, reason| Some(Broken { file: super::CURRENT.into(), line, reason });
    let (first, last) = (walk.first.unwrap_or(1), walk.chain.unwrap_or(Chain::START));
    let kept_from = walk.kept_from.unwrap_or(1);
    if first > kept_from {
        return broken(
            1,
            format!("the oldest line is {first}, and lines from {kept_from} on were kept: files are gone"),
        );
    }
    match head {
        None => broken(0, "audit.head is gone or was not written by this node: lines at the end may be missing".into()),
        Some(head) if head.seq > last.seq => {
            broken(0, format!("the last line is {}, and {} lines were written: its end was cut", last.seq, head.seq))
        }
        Some(head) if head.seq == last.seq && head.hash != last.hash => {
            broken(0, format!("line {} is not the one that was written: it was replaced", last.seq))
        }
        Some(_) => None,
    }
}

/// The last `count` lines of the chain, oldest first; lines that are broken are left out.
///
/// # Errors
/// If the files cannot be read.
pub fn last(dir: &Path, count: usize) -> Result<Vec<serde_json::Value>, StoreError> {
    let mut kept = VecDeque::new();
    for file in log_files(dir)?.iter().rev() {
        let mut lines = VecDeque::new();
        Walk::forgiving(None).file(&file.path, 0, &mut |line| {
            lines.push_back(line.to_vec());
            if lines.len() > count.min(SHOWN_LINES_MAX) - kept.len() {
                lines.pop_front();
            }
        })?;
        lines.extend(std::mem::take(&mut kept));
        kept = lines;
        if kept.len() >= count {
            break;
        }
    }
    Ok(kept.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
