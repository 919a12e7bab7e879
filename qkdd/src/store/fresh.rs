//! The permission to start from nothing. In: a directory without state. Out: the file `FRESH`, which
//! the first open consumes. Always: without it nothing missing is ever made anew.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use qkd_proto::id::Incarnation;

use super::data_dir::DataDirError;
use super::error::StoreError;
use super::files;

/// Name of the file that permits the first open.
pub const FRESH_FILE: &str = "FRESH";

/// First line of the file: its format. The line alone is enough for a directory that is new.
pub const FORMAT: &str = qkd_proto::labels::FRESH_DATA_DIR;
/// Second line after a reset: the new directory counts its starts on from here.
const INCARNATION: &str = "incarnation ";
/// As much of the file as is read, in bytes; anything longer was not written by us.
const BYTES_MAX: u64 = 128;

/// Writes the permission. Starts count on from `last`, so that neighbours see the number rise.
pub(super) fn write(path: &Path, last: Incarnation) -> Result<(), StoreError> {
    files::write_whole(path, format!("{FORMAT}\n{INCARNATION}{}\n", last.0).as_bytes())
}

/// The number that starts count on from; none without the permission.
pub(super) fn read(path: &Path) -> Result<Option<Incarnation>, DataDirError> {
    let file = match files::options().read(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io("read", path))?,
    };
    let mut text = String::new();
    let text = file.take(BYTES_MAX).read_to_string(&mut text).is_ok().then_some(text.as_str());
    let found = text.and_then(parse);
    found.map(Some).ok_or_else(|| DataDirError::FreshFormat { path: path.to_owned() })
}

/// The second line may be missing: whoever renders a node writes the first alone.
fn parse(text: &str) -> Option<Incarnation> {
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT) {
        return None;
    }
    match (lines.next(), lines.next()) {
        (None, _) => Some(Incarnation(0)),
        (Some(line), None) => line.strip_prefix(INCARNATION)?.parse().ok().map(Incarnation),
        (Some(_), Some(_)) => None,
    }
}
