//! A witness of how far the store is, in memory that a reboot erases. In: the store's numbers, after every
//! commit and before it is reported. Out: at an open, what they were. Always: only a file of this user, this
//! boot and this data directory says anything; without it nothing is vouched for, and nothing is refused.
//!
//! Whoever puts an older copy of the whole data directory back cannot put this file back with it: it is on no
//! disk. The file holds the numbers twice, written in turn, so that a kill leaves one of them whole. A half, in
//! bytes: HMAC under the master key 32, length 4, then boot id 16, data directory 16, count of writes 8, standing 1,
//! sequence 8, generation 8, and for each link the length of its name 1, its name, and the sequence of its mark 8.
//!
//! A run that nobody vouched for yet does not vouch for the next one: the file carries the standing of its run
//! on, until `Anchor::vouch`.
//! Behind both: the path of the data directory, for the sweep of files whose directory is gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use qkd_proto::crypto;
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_MARKS;
use qkd_proto::node::settings::Standing;
use qkd_proto::secret::SecretBytes;

use super::data_dir::DataDirError;
use super::error::StoreError;
use super::options::AnchorDir;
use super::{files, filesystem};

/// Bytes of each half: links of the longest names by the hundred.
const HALF_BYTES: usize = 64 << 10;
const PATH_AT: u64 = 2 * HALF_BYTES as u64;
const PATH_BYTES_MAX: u64 = 4096;
const PREFIX: &str = "qkdd-anchor-";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const SHARED_MEMORY: &str = "/dev/shm";
/// Most other files that a sweep looks at.
const SWEEP_MAX: usize = 1024;
/// Batches of tables that one commit may be durable with before the anchor hears of it: 64 of 255 records.
const SEQUENCE_AHEAD_MAX: u64 = 64;

/// How far a store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// Of the tables.
    pub(super) sequence: u64,
    /// Of the open.
    pub(super) generation: u64,
    /// Of each link's mark.
    pub(super) marks: BTreeMap<Vec<u8>, u64>,
}

/// What an earlier run of this boot left.
pub(super) struct Seen {
    progress: Progress,
    standing: Standing,
}

/// What that says of a disk that is this far. A commit whose report was cut off by a kill is no rollback.
pub(super) fn standing(seen: Option<&Seen>, disk: &Progress) -> Standing {
    let Some(Seen { progress: seen, standing: earlier }) = seen else { return Standing::Unconfirmed };
    let mut marks = disk.marks.iter().map(|(link, &now)| (seen.marks.get(link).copied().unwrap_or(0), now));
    let behind = seen.sequence > disk.sequence || seen.generation > disk.generation;
    if behind || marks.clone().any(|(before, now)| before > now) {
        return Standing::RolledBack;
    }
    let next = disk.sequence - seen.sequence <= SEQUENCE_AHEAD_MAX && disk.generation - seen.generation <= 1;
    let same = next && marks.all(|(before, now)| now - before <= 1);
    if same || *earlier == Standing::RolledBack { *earlier } else { Standing::Unconfirmed }
}

/// Where the anchor is to lie.
///
/// # Errors
/// If the configuration names a directory that is not in memory.
pub fn place(setting: &AnchorDir, control_socket: &Path) -> Result<Option<PathBuf>, DataDirError> {
    let usual = [control_socket.parent(), Some(Path::new(SHARED_MEMORY))];
    match setting {
        AnchorDir::Nowhere => Ok(None),
        AnchorDir::At(path) if filesystem::is_in_memory(path) => Ok(Some(path.clone())),
        AnchorDir::At(path) => Err(DataDirError::AnchorOnDisk { path: path.clone() }),
        AnchorDir::Usual => {
            Ok(usual.into_iter().flatten().find(|path| filesystem::is_in_memory(path)).map(Path::to_owned))
        }
    }
}

/// The open file.
pub(super) struct Anchor {
    file: File,
    path: PathBuf,
    mac: SecretBytes,
    /// Boot id and data directory: the same in every record.
    whose: [u8; 32],
    count: u64,
    standing: Standing,
}

impl Anchor {
    /// Opens the file of a data directory, and makes it if there is none; tells what it says.
    pub(super) fn open(
        dir: &Path,
        data_dir: &Path,
        master: &SecretBytes,
        id: DataDirId,
    ) -> Result<(Self, Option<Seen>), StoreError> {
        let path = dir.join(format!("{PREFIX}{id}"));
        let data_dir = fs::canonicalize(data_dir).map_err(StoreError::io("find", data_dir))?;
        sweep(dir, &path, &data_dir);
        let file = files::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        check_own(&file).map_err(StoreError::io("trust", &path))?;
        let boot = boot_id().map_err(StoreError::io("read", Path::new(BOOT_ID)))?;
        let mut whose = [0; 32];
        whose[..16].copy_from_slice(&boot);
        whose[16..].copy_from_slice(&id.0);
        let mac = crypto::derive(&[], master, STORE_MARKS, &[b"anchor"], 32);
        let mut anchor = Self { file, path, mac, whose, count: 0, standing: Standing::Unconfirmed };
        let found = [0, 1].into_iter().filter_map(|half| anchor.read(half)).max_by_key(|(count, _)| *count);
        anchor.note_path(&data_dir).map_err(StoreError::io("write", &anchor.path))?;
        anchor.count = found.as_ref().map_or(0, |(count, _)| *count);
        Ok((anchor, found.map(|(_, seen)| seen)))
    }

    /// Notes what this run stands on; that of the next one is no better, until somebody vouches.
    pub(super) fn stand(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// From here on the next run stands on this one.
    pub(super) fn vouch(&mut self) {
        self.standing = Standing::Anchored;
    }

    fn note_path(&self, data_dir: &Path) -> std::io::Result<()> {
        self.file.set_len(PATH_AT)?;
        self.file.write_all_at(data_dir.as_os_str().as_encoded_bytes(), PATH_AT)
    }

    fn read(&self, half: u64) -> Option<(u64, Seen)> {
        let mut bytes = vec![0; HALF_BYTES];
        self.file.read_exact_at(&mut bytes, half * HALF_BYTES as u64).ok()?;
        let (mac, rest) = bytes.split_at(32);
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let body = rest.get(4..)?.get(..length)?;
        if !crypto::equal(&self.mac_of(body), mac) {
            return None;
        }
        decode(body.strip_prefix(&self.whose)?)
    }

    /// Notes how far the store is. Nothing is synced: who reads this lives in the same boot.
    pub(super) fn write(&mut self, progress: &Progress) -> Result<(), StoreError> {
        self.count = self.count.wrapping_add(1);
        let body = [self.whose.as_slice(), &encode(self.count, self.standing, progress)].concat();
        let mut bytes = self.mac_of(&body).to_vec();
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(&body);
        if bytes.len() > HALF_BYTES {
            return Err(StoreError::io("note more links in", &self.path)(ErrorKind::FileTooLarge.into()));
        }
        let at = (self.count % 2) * HALF_BYTES as u64;
        self.file.write_all_at(&bytes, at).map_err(StoreError::io("write", &self.path))
    }

    /// Removes the file: an anchor that is no longer written must not vouch.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    fn mac_of(&self, body: &[u8]) -> [u8; 32] {
        crypto::hmac_sha256(self.mac.expose(), STORE_MARKS, &[b"anchor", body])
    }
}

fn encode(count: u64, standing: Standing, progress: &Progress) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    body.push(match standing {
        Standing::Anchored => 0,
        Standing::Unconfirmed => 1,
        Standing::RolledBack => 2,
    });
    body.extend([progress.sequence, progress.generation].map(u64::to_be_bytes).concat());
    for (link, seq) in &progress.marks {
        body.push(link.len() as u8);
        body.extend(link);
        body.extend(seq.to_be_bytes());
    }
    body
}

fn decode(body: &[u8]) -> Option<(u64, Seen)> {
    let (count, body) = number(body)?;
    let (standing, body) = body.split_first()?;
    let standing = match standing {
        0 => Standing::Anchored,
        1 => Standing::Unconfirmed,
        2 => Standing::RolledBack,
        _ => return None,
    };
    let (sequence, body) = number(body)?;
    let (generation, mut body) = number(body)?;
    let mut marks = BTreeMap::new();
    while let Some((&length, rest)) = body.split_first() {
        let (link, rest) = rest.split_at_checked(length.into())?;
        let (seq, rest) = number(rest)?;
        marks.insert(link.to_vec(), seq);
        body = rest;
    }
    Some((count, Seen { progress: Progress { sequence, generation, marks }, standing }))
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// A file that another user made, or can write to, says nothing.
fn check_own(file: &File) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0;
    if own && metadata.is_file() && metadata.nlink() == 1 { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
}

fn boot_id() -> std::io::Result<[u8; 16]> {
    let text = fs::read_to_string(BOOT_ID)?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|_| ErrorKind::InvalidData)?;
    Ok(id.to_be_bytes())
}

/// Removes own files whose data directory is gone or was made anew, so that nodes of a moment leave nothing
/// until the reboot.
fn sweep(dir: &Path, own: &Path, own_data_dir: &Path) {
    let Ok(names) = files::names(dir) else { return };
    for name in names.iter().filter(|name| name.starts_with(PREFIX)).take(SWEEP_MAX) {
        let path = dir.join(name);
        let of = files::options().read(true).open(&path).ok().filter(|file| check_own(file).is_ok());
        let gone = |data_dir: PathBuf| !data_dir.exists() || (data_dir == own_data_dir && path != own);
        if of.and_then(|file| path_in(&file)).is_some_and(gone) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn path_in(file: &File) -> Option<PathBuf> {
    let length =
        file.metadata().ok()?.len().checked_sub(PATH_AT).filter(|length| (1..=PATH_BYTES_MAX).contains(length))?;
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, PATH_AT).ok()?;
    String::from_utf8(bytes).ok().map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DataDirId = DataDirId([3; 16]);

    fn master() -> SecretBytes {
        SecretBytes::new(vec![7; 32])
    }

    fn progress(sequence: u64, generation: u64, marks: &[(&str, u64)]) -> Progress {
        let marks = marks.iter().map(|(link, seq)| (link.as_bytes().to_vec(), *seq)).collect();
        Progress { sequence, generation, marks }
    }

    #[test]
    fn older_is_rolled_back_and_much_newer_is_not_vouched_for() {
        let vouched = |standing| Seen { progress: progress(10, 3, &[("a-b", 5), ("a-c", 7)]), standing };
        let seen = vouched(Standing::Anchored);
        let same = |sequence, generation, b, c| {
            standing(Some(&seen), &progress(sequence, generation, &[("a-b", b), ("a-c", c)]))
        };
        assert_eq!(same(10, 3, 5, 7), Standing::Anchored);
        assert_eq!(same(13, 4, 6, 8), Standing::Anchored);
        for (sequence, generation, b, c) in [(9, 3, 5, 7), (10, 2, 5, 7), (10, 3, 4, 7), (10, 3, 5, 6), (99, 9, 9, 6)] {
            assert_eq!(same(sequence, generation, b, c), Standing::RolledBack);
        }
        for (sequence, generation, b, c) in [(10 + 65, 3, 5, 7), (10, 5, 5, 7), (10, 3, 7, 7)] {
            assert_eq!(same(sequence, generation, b, c), Standing::Unconfirmed);
        }
        assert_eq!(standing(None, &seen.progress), Standing::Unconfirmed);
        for earlier in [Standing::Unconfirmed, Standing::RolledBack] {
            assert_eq!(
                standing(Some(&vouched(earlier)), &seen.progress),
                earlier,
                "a run vouches for no more than it has"
            );
        }
        assert_eq!(standing(Some(&vouched(Standing::RolledBack)), &progress(99, 9, &[])), Standing::RolledBack);
        assert_eq!(standing(Some(&vouched(Standing::Unconfirmed)), &progress(9, 3, &[])), Standing::RolledBack);
        assert_eq!(standing(Some(&seen), &progress(10, 3, &[("a-c", 7), ("a-d", 1)])), Standing::Anchored);
    }

    #[test]
    fn what_was_noted_last_is_told() {
        let home = tempfile::tempdir_in(SHARED_MEMORY).unwrap();
        let open = |id| Anchor::open(home.path(), home.path(), &master(), id).unwrap();
        let (mut anchor, found) = open(ID);
        assert!(found.is_none());
        for sequence in 1..=5 {
            let noted = progress(sequence, 1, &[("a-b", sequence), ("a-c", 9)]);
            anchor.write(&noted).unwrap();
            assert_eq!(open(ID).1.unwrap().progress, noted);
        }
        let half = anchor.count % 2 * HALF_BYTES as u64;
        anchor.file.write_all_at(&[0xff; 4], half + 76).unwrap();
        assert_eq!(open(ID).1.unwrap().progress.sequence, 4, "a torn half gives the one before");
        anchor.stand(Standing::RolledBack);
        anchor.write(&progress(6, 1, &[])).unwrap();
        assert_eq!(open(ID).1.unwrap().standing, Standing::RolledBack);
        anchor.vouch();
        anchor.write(&progress(6, 1, &[])).unwrap();
        assert_eq!(open(ID).1.unwrap().standing, Standing::Anchored);
        let many = (0..2000).map(|i| (format!("link-{i:060}").into_bytes(), 1)).collect();
        anchor.write(&Progress { marks: many, ..Progress::default() }).unwrap_err();
        anchor.remove();
        assert!(open(ID).1.is_none());
    }

    #[test]
    fn another_boot_another_key_and_others_files_say_nothing() {
        let home = tempfile::tempdir_in(SHARED_MEMORY).unwrap();
        let (mut anchor, _) = Anchor::open(home.path(), home.path(), &master(), ID).unwrap();
        anchor.whose[0] ^= 1;
        anchor.write(&progress(1, 1, &[])).unwrap();
        assert!(Anchor::open(home.path(), home.path(), &master(), ID).unwrap().1.is_none());
        anchor.whose[0] ^= 1;
        anchor.write(&progress(2, 1, &[])).unwrap();
        let other = Anchor::open(home.path(), home.path(), &SecretBytes::new(vec![8; 32]), ID).unwrap().1;
        assert!(other.is_none());
        let (path, aside) = (anchor.path.clone(), home.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        assert!(Anchor::open(home.path(), home.path(), &master(), ID).is_err(), "a symbolic link");
        fs::remove_file(&path).unwrap();
        fs::hard_link(&aside, &path).unwrap();
        assert!(Anchor::open(home.path(), home.path(), &master(), ID).is_err(), "a second name");
    }

    #[test]
    fn files_of_directories_that_are_gone_are_swept() {
        let home = tempfile::tempdir_in(SHARED_MEMORY).unwrap();
        let gone = home.path().join("gone");
        fs::create_dir(&gone).unwrap();
        let (anchor, _) = Anchor::open(home.path(), &gone, &master(), ID).unwrap();
        let (other, _) = Anchor::open(home.path(), home.path(), &master(), DataDirId([4; 16])).unwrap();
        assert!(anchor.path.exists() && other.path.exists());
        fs::remove_dir(&gone).unwrap();
        let (anew, _) = Anchor::open(home.path(), home.path(), &master(), DataDirId([5; 16])).unwrap();
        assert!(!anchor.path.exists() && !other.path.exists() && anew.path.exists());
    }

    #[test]
    fn an_anchor_on_a_disk_is_refused() {
        let socket = Path::new("/proc/qkdd.sock");
        let shm = Path::new(SHARED_MEMORY);
        assert_eq!(place(&AnchorDir::Usual, socket).unwrap().as_deref(), Some(shm));
        assert_eq!(place(&AnchorDir::Usual, &shm.join("x.sock")).unwrap().as_deref(), Some(shm));
        assert_eq!(place(&AnchorDir::Nowhere, socket).unwrap(), None);
        let error = place(&AnchorDir::At("/proc".into()), socket).unwrap_err().to_string();
        assert!(error.contains("/proc") && error.contains("anchor_dir"), "{error}");
    }
}
