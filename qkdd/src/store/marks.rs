//! High-water marks: one small file a link, outside the tables. In: a link's mark. Out: the newest
//! one. Always: a mark is on stable storage before its commit returns, a mark that was replaced is
//! overwritten by the next `Marks::settle`, and a mark file of another link or data directory is not taken.
//!
//! Marks are sealed: what they say opens pads that are still to be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qkd_proto::id::{DataDirId, LinkId};
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;

use super::error::StoreError;
use super::slots::{Magic, PAYLOAD_BYTES_MAX, Slot, SlotFile, SlotKey};
use super::wrap::WrapKeys;
use super::{files, seal};

const MAGIC: Magic = *b"qkdmark\0";
const SUFFIX: &str = ".mark";
/// Ending of a mark file that is being removed.
const GONE: &str = "gone";

/// Refuses a record that is no mark.
pub(super) fn check(record: &Record) -> Result<(), StoreError> {
    let refused = |reason: String| Err(StoreError::Refused { table: seal::table_name(Table::Marks), reason });
    let size = record.value.as_ref().map_or(0, SecretBytes::len);
    if link_of(&record.key).is_none() {
        return refused("its key is not the name of a link".into());
    }
    if size > PAYLOAD_BYTES_MAX {
        return refused(format!("{size} bytes are over the limit of {PAYLOAD_BYTES_MAX}: keep marks short"));
    }
    Ok(())
}

/// The link that a record's key names.
fn link_of(key: &[u8]) -> Option<LinkId> {
    std::str::from_utf8(key).ok()?.parse().ok()
}

/// The mark files of a data directory.
pub(super) struct Marks {
    dir: PathBuf,
    id: DataDirId,
    key: SlotKey,
    open: BTreeMap<Vec<u8>, Mark>,
}

struct Mark {
    file: SlotFile,
    seq: u64,
    witness: u64,
}

impl Marks {
    /// Opens and checks every mark file; changes nothing.
    pub(super) fn open(dir: &Path, id: DataDirId, key: SlotKey) -> Result<Self, StoreError> {
        let mut marks = Self { dir: dir.to_owned(), id, key, open: BTreeMap::new() };
        for name in files::names(dir)? {
            if let Some(link) = name.strip_suffix(SUFFIX) {
                let mark = marks.open_one(&dir.join(&name))?;
                marks.open.insert(link.as_bytes().to_vec(), mark);
            }
        }
        Ok(marks)
    }

    fn open_one(&self, path: &Path) -> Result<Mark, StoreError> {
        let (file, slot) = SlotFile::open(&self.key, path, MAGIC)?;
        Ok(Mark { file, seq: slot.seq, witness: slot.witness })
    }

    /// Every mark of a directory of the first form.
    pub(super) fn read_first(dir: &Path, id: DataDirId, key: &SlotKey) -> Result<Vec<(Vec<u8>, Slot)>, StoreError> {
        let mut found = Vec::new();
        for name in files::names(dir)? {
            let Some(link) = name.strip_suffix(SUFFIX) else { continue };
            let (_, slot) = SlotFile::open(key, &dir.join(&name), MAGIC)?;
            if slot.id != id {
                return Err(StoreError::Foreign { path: dir.join(name) });
            }
            found.push((link.as_bytes().to_vec(), slot));
        }
        Ok(found)
    }

    /// Takes a mark over with its numbers, into a file that is not there yet.
    pub(super) fn adopt(&mut self, link: &[u8], slot: Slot) -> Result<(), StoreError> {
        let file = SlotFile::create(&self.key, &self.path_of(link), MAGIC, &slot)?;
        self.open.insert(link.to_vec(), Mark { file, seq: slot.seq, witness: slot.witness });
        Ok(())
    }

    /// Which file holds a link's mark.
    pub(super) fn path_of(&self, link: &[u8]) -> PathBuf {
        self.dir.join(format!("{}{SUFFIX}", String::from_utf8_lossy(link)))
    }

    /// Every link that has a mark.
    pub(super) fn links(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.open.keys()
    }

    /// The sequence number of one link's mark, if it has one.
    pub(super) fn seq(&self, link: &[u8]) -> Option<u64> {
        self.open.get(link).map(|mark| mark.seq)
    }

    /// The highest number that any mark has seen of the tables.
    pub(super) fn witness(&self) -> u64 {
        self.open.values().map(|mark| mark.witness).max().unwrap_or(0)
    }

    /// Writes a link's mark beside what it has seen of the tables; true if the file is new.
    pub(super) fn write(&mut self, link: &[u8], witness: u64, payload: SecretBytes) -> Result<bool, StoreError> {
        let path = self.path_of(link);
        let seq = self.seq(link).map_or(1, |seq| seq.saturating_add(1));
        let slot = Slot { id: self.id, seq, witness, payload };
        if let Some(mark) = self.open.get_mut(link) {
            mark.file.write(&self.key, &slot)?;
            (mark.seq, mark.witness) = (seq, witness);
            return Ok(false);
        }
        files::make_dir(&self.dir)?;
        let file = SlotFile::create(&self.key, &path, MAGIC, &slot)?;
        self.open.insert(link.to_vec(), Mark { file, seq, witness });
        Ok(true)
    }

    /// Overwrites and removes a link's mark file. Under its last name it is no mark any more.
    pub(super) fn remove(&mut self, link: &[u8]) -> Result<(), StoreError> {
        if self.open.remove(link).is_some() {
            let path = self.path_of(link);
            let gone = path.with_extension(GONE);
            std::fs::rename(&path, &gone).map_err(StoreError::io("remove", &path))?;
            files::sync_dir(&self.dir)?;
            files::shred_file(&gone)?;
        }
        Ok(())
    }

    /// Ends removals that a kill interrupted.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let names = files::names(&self.dir)?;
        let mut gone =
            names.iter().map(|name| self.dir.join(name)).filter(|path| path.extension() == Some(GONE.as_ref()));
        gone.try_for_each(|path| files::shred_file(&path))
    }

    /// One link's mark, read from the disk.
    pub(super) fn get(&self, link: &[u8]) -> Result<Option<SecretBytes>, StoreError> {
        self.open.get(link).map(|mark| Ok(mark.file.read(&self.key)?.1.payload)).transpose()
    }

    /// Every link's mark, read from the disk.
    pub(super) fn load(&self) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        let read = |(link, mark): (&Vec<u8>, &Mark)| Ok((link.clone(), mark.file.read(&self.key)?.1.payload));
        self.open.iter().map(read).collect()
    }

    /// Overwrites every mark that was replaced; a file that fails does not stop the others.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let mut done = Ok(());
        for mark in self.open.values_mut() {
            done = done.and(mark.file.settle());
        }
        done
    }

    /// Writes every newest mark once more, under `keys` from here on, so that both slots of every file hold it.
    pub(super) fn write_under(&mut self, keys: WrapKeys) -> Result<(), StoreError> {
        let mut slots = Vec::new();
        for mark in self.open.values() {
            slots.push(mark.file.read(&self.key)?.1);
        }
        self.key.seal_under(keys);
        for (mark, slot) in self.open.values_mut().zip(slots) {
            mark.file.write(&self.key, &slot)?;
            mark.file.settle()?;
        }
        Ok(())
    }

    /// Takes marks under any of `keys`, and writes under the current one.
    pub(super) fn seal_under(&mut self, keys: WrapKeys) {
        self.key.seal_under(keys);
    }
}
