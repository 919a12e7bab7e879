//! Damage to files, as drives, people and failing copies do it. In: a folder and random choices. Out: one
//! file changed, and how in words. Always: the content differs afterwards, or the file is gone.

use std::fs;
use std::path::{Path, PathBuf};

use qkd_proto::entropy::SeededEntropy;

use crate::error::Failed;

/// What a drive or a copy moves as a whole, in bytes.
const SECTOR: usize = 512;
const PAGE: usize = 4096;
/// Tries to hit a byte that is not zero.
const AIMS: usize = 64;

/// Kinds of damage, each with its share of a thousand.
const KINDS: [(Kind, u64); 7] = [
    (Kind::Bits, 400),
    (Kind::ZeroPage, 200),
    (Kind::Cut, 150),
    (Kind::MovedSector, 100),
    (Kind::Empty, 50),
    (Kind::Gone, 50),
    (Kind::Swapped, 50),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    ZeroPage,
    Cut,
    Empty,
    Gone,
    MovedSector,
    Swapped,
}

/// The files of a folder and of those in it, sorted; locks hold no state.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Failed::file(folder, error))? {
        let entry = entry.map_err(|error| Failed::file(folder, error))?;
        let about = entry.metadata().map_err(|error| Failed::file(folder, error))?;
        if about.is_dir() {
            found.extend(files(&entry.path())?);
        } else if about.is_file() && entry.file_name() != "lock" {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Damages one file of the folder.
pub(super) fn one(folder: &Path, random: &mut SeededEntropy) -> Result<String, Failed> {
    let all = files(folder)?;
    loop {
        let Some(path) = all.get(random.below(all.len().max(1) as u64) as usize) else {
            return Err(Failed::file(folder, "holds no file: nothing can be damaged"));
        };
        let mut bytes = fs::read(path).map_err(|error| Failed::file(path, error))?;
        let kind = kind(random);
        let Some(how) = change(kind, &mut bytes, random) else { continue };
        let done = if kind == Kind::Gone { fs::remove_file(path) } else { fs::write(path, &bytes) };
        done.map_err(|error| Failed::file(path, error))?;
        return Ok(format!("{}: {how}", path.strip_prefix(folder).unwrap_or(path).display()));
    }
}

/// Loses the end of the table engine's log, as a torn write would.
pub(super) fn end_of_log(folder: &Path) -> Result<String, Failed> {
    let path = folder.join("store/db");
    let mut bytes = fs::read(&path).map_err(|error| Failed::file(&path, error))?;
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let at = end / PAGE * PAGE;
    bytes[at..].fill(0);
    fs::write(&path, &bytes).map_err(|error| Failed::file(&path, error))?;
    Ok(format!("store/db: the end of the log from {at} lost"))
}

fn kind(random: &mut SeededEntropy) -> Kind {
    let mut at = random.below(KINDS.iter().map(|(_, share)| share).sum());
    for (kind, share) in KINDS {
        if at < share {
            return kind;
        }
        at -= share;
    }
    Kind::Bits
}

/// Damages the bytes; none if that would change nothing.
fn change(kind: Kind, bytes: &mut Vec<u8>, random: &mut SeededEntropy) -> Option<String> {
    let before = bytes.clone();
    let length = bytes.len();
    let how = match kind {
        Kind::Gone => return Some("deleted".into()),
        _ if length == 0 => return None,
        Kind::Bits => {
            let count = 1 + random.below(8);
            let places = (0..count).map(|_| flip(bytes, random)).collect::<Vec<_>>();
            format!("bits flipped at {places:?}")
        }
        Kind::ZeroPage => {
            let at = aim(bytes, random) / PAGE * PAGE;
            bytes[at..(at + PAGE).min(length)].fill(0);
            format!("4 KiB of zeros at {at}")
        }
        Kind::Cut => {
            bytes.truncate(random.below(length as u64) as usize);
            format!("cut from {length} to {}", bytes.len())
        }
        Kind::Empty => {
            bytes.clear();
            format!("emptied, it had {length}")
        }
        Kind::MovedSector => {
            let (from, to) = (aim(bytes, random) / SECTOR * SECTOR, aim(bytes, random) / SECTOR * SECTOR);
            let moved = before[from..(from + SECTOR).min(length)].to_vec();
            let end = (to + moved.len()).min(length);
            bytes[to..end].copy_from_slice(&moved[..end - to]);
            format!("sector {from} copied to {to}")
        }
        Kind::Swapped => {
            let size = if length >= 2 * PAGE { PAGE } else { SECTOR.min(length / 2) };
            let (a, b) = (aim(bytes, random) / size.max(1) * size, aim(bytes, random) / size.max(1) * size);
            if size == 0 || a.max(b) + size > length {
                return None;
            }
            bytes[a..a + size].copy_from_slice(&before[b..b + size]);
            bytes[b..b + size].copy_from_slice(&before[a..a + size]);
            format!("{size} B at {a} and {b} swapped")
        }
    };
    (*bytes != before).then_some(how)
}

/// A place, one with content if there is some.
fn aim(bytes: &[u8], random: &mut SeededEntropy) -> usize {
    let mut at = 0;
    for _ in 0..AIMS {
        at = random.below(bytes.len() as u64) as usize;
        if bytes[at] != 0 {
            break;
        }
    }
    at
}

fn flip(bytes: &mut [u8], random: &mut SeededEntropy) -> usize {
    let at = aim(bytes, random);
    bytes[at] ^= 1 << random.below(8);
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_damages_one_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let content: Vec<u8> = (0..3 * PAGE).map(|i| (i / 7) as u8).collect();
        let mut random = SeededEntropy::from_number(3);
        for _ in 0..200 {
            let paths = ["a/x", "y"].map(|name| dir.path().join(name));
            paths.iter().for_each(|path| fs::write(path, &content).unwrap());
            fs::write(dir.path().join("lock"), "").unwrap();
            let how = one(dir.path(), &mut random).unwrap();
            let hurt = paths.iter().filter(|path| fs::read(path).ok().as_ref() != Some(&content)).count();
            assert_eq!(hurt, 1, "{how}");
        }
    }
}
