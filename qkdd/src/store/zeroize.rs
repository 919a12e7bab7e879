//! The end of a data directory. In: its path and a reason. Out: nothing that opens. Always: every file
//! but the audit log is overwritten in place, synced and removed, the smallest first; a fault of one
//! file stops no other.
//!
//! Small files hold marks and heads: without them the large ones do not open. Overwriting reaches what
//! the file system has under the name; copies that a disk, a snapshot or a log-structured file system
//! made are beyond it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qkd_proto::crypto::SystemEntropy;
use qkd_proto::entropy::Entropy as _;
use qkd_proto::secret::SecretBytes;

use super::access::lock;
use super::audit::{AuditLimits, AuditLog};
use super::data_dir::DataDirError;
use super::files;

/// Says that a directory was zeroized, and why.
const WORD: &str = "ZEROIZED";
const CHUNK_BYTES: usize = 256 << 10;
/// Deepest folder that is looked into; the store makes two.
const DEPTH_MAX: usize = 8;

/// What was destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// Files overwritten and removed.
    pub files: usize,
    /// Bytes overwritten.
    pub bytes: u64,
    /// Files that could not be overwritten or removed.
    pub failed: usize,
}

/// Writes the reason into the audit log, then destroys. No other part may write there meanwhile.
pub fn destroy_with_record(dir: &Path, master: &SecretBytes, limits: AuditLimits, reason: &str) -> Destroyed {
    let fields = format!("\"event\":\"zeroized\",\"reason\":{}", serde_json::Value::from(reason));
    let noted = AuditLog::open(dir, master, limits).and_then(|mut log| log.note(&fields));
    if let Err(error) = noted {
        tracing::error!(%error, "The audit log does not tell of the zeroization");
    }
    destroy(dir, reason)
}

/// The same for a node that is stopped; without a key the audit log does not tell of it.
///
/// # Errors
/// If a node runs there: it is told over its control socket.
pub fn destroy_stopped(
    dir: &Path,
    master: Option<&SecretBytes>,
    limits: AuditLimits,
    reason: &str,
) -> Result<Destroyed, DataDirError> {
    let _lock = lock(&dir.join("lock"))?;
    Ok(match master {
        Some(master) => destroy_with_record(dir, master, limits, reason),
        None => destroy(dir, reason),
    })
}

/// Overwrites and removes every file of the data directory but the audit log.
pub fn destroy(dir: &Path, reason: &str) -> Destroyed {
    let mut found = Vec::new();
    collect(dir, 0, &mut found);
    found.sort();
    let mut done = Destroyed::default();
    for (bytes, path) in &found {
        match overwrite(path, *bytes).and_then(|()| fs::remove_file(path)) {
            Ok(()) => done = Destroyed { files: done.files + 1, bytes: done.bytes + bytes, ..done },
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "A file could not be destroyed: remove the disk");
                done.failed += 1;
            }
        }
    }
    for part in ["marks", "store"] {
        let _ = files::remove_dir(&dir.join(part));
    }
    let told =
        files::write_whole(&dir.join(WORD), format!("{reason}\n").as_bytes()).and_then(|()| files::sync_dir(dir));
    if let Err(error) = told {
        tracing::error!(%error, "The zeroized directory could not be marked");
    }
    done
}

/// Refuses a directory that was zeroized.
///
/// # Errors
/// If it was.
pub fn check(dir: &Path) -> Result<(), ZeroizedError> {
    match fs::read_to_string(dir.join(WORD)) {
        Ok(reason) => {
            Err(ZeroizedError { path: dir.to_owned(), reason: reason.trim_end().chars().take(200).collect() })
        }
        Err(_) => Ok(()),
    }
}

/// A directory that holds nothing any more.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} was zeroized ({reason}): it holds no key; run `qkdctl pool reset --config FILE` to begin anew, or render the node anew",
    path.display()
)]
pub struct ZeroizedError {
    path: PathBuf,
    reason: String,
}

/// Lets a zeroized directory begin anew, after its reset.
///
/// # Errors
/// If the disk fails.
pub fn forget(dir: &Path) -> Result<(), DataDirError> {
    files::remove_file(&dir.join(WORD))?;
    Ok(files::sync_dir(dir)?)
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<(u64, PathBuf)>) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => return tracing::error!(path = %dir.display(), %error, "A folder cannot be read"),
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(about) = path.symlink_metadata() else { continue };
        if about.is_dir() && depth < DEPTH_MAX {
            collect(&path, depth + 1, found);
        } else if about.is_file() && !(depth == 0 && is_kept(&name)) {
            found.push((about.size(), path));
        } else if about.is_symlink() {
            let _ = fs::remove_file(path);
        }
    }
}

/// The audit log holds no key and is evidence; the lock is held by this process.
fn is_kept(name: &str) -> bool {
    name == "audit.log"
        || name == "audit.head"
        || name == "lock"
        || (name.starts_with("audit-") && name.ends_with(".log"))
}

fn overwrite(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file: File = files::options().write(true).open(path)?;
    let (mut entropy, mut left) = (SystemEntropy::new(), bytes);
    let mut noise = vec![0; CHUNK_BYTES.min(usize::try_from(bytes).unwrap_or(CHUNK_BYTES))];
    while left > 0 {
        let now = noise.len().min(usize::try_from(left).unwrap_or(CHUNK_BYTES));
        entropy.fill(&mut noise[..now]);
        file.write_all(&noise[..now])?;
        left -= now as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use qkd_proto::node::effect::{Record, Table};

    use super::super::audit::report::verify;
    use super::super::data_dir::DataDir;
    use super::*;

    #[test]
    fn nothing_opens_after_it_and_a_reset_begins_anew() {
        let home = tempfile::tempdir().unwrap();
        let (dir, master) = (home.path().join("data"), SecretBytes::new(vec![7; 32]));
        DataDir::prepare(&dir).unwrap();
        let mut opened = DataDir::open(&dir, &master).unwrap();
        for table in [Table::Pads, Table::Marks] {
            let value = Some(SecretBytes::new(vec![5; 3000]));
            opened.store.commit(vec![Record { table, key: b"a-b".to_vec(), value }]).unwrap();
        }
        drop(opened);
        // A second name shows what became of the bytes under the first.
        let (mark, copy) = (dir.join("marks/a-b.mark"), home.path().join("copy"));
        fs::hard_link(&mark, &copy).unwrap();
        let before = fs::read(&copy).unwrap();
        let done = destroy_with_record(&dir, &master, AuditLimits::default(), "a \"test\"");
        assert!(done.files >= 4 && done.failed == 0 && done.bytes > 8192, "{done:?}");
        let after = fs::read(&copy).unwrap();
        assert!(after.len() == before.len() && after.iter().zip(&before).filter(|(a, b)| a == b).count() < 200);
        assert!(check(&dir).unwrap_err().to_string().contains("zeroized (a \"test\")"));
        assert!(DataDir::open(&dir, &master).is_err());
        assert!(verify(&dir, Some(&master)).unwrap().whole);
        let mut left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["ZEROIZED", "audit.head", "audit.log", "lock"]);
        DataDir::reset(&dir, None).unwrap();
        forget(&dir).unwrap();
        check(&dir).unwrap();
        DataDir::open(&dir, &master).unwrap();
    }
}
