//! A disk that forgets. In: writes, names, syncs, and a power cut. Out: what a file system may hold after
//! it. Always: what was synced survives; of the rest, nothing, a part, or the first of it does.
//!
//! A file's content is safe by a sync of the file, a name by a sync of its directory. `sync_file_range`
//! reaches no file system in user space, so it makes nothing safe here, as on a drive with a cache.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use qkd_proto::entropy::SeededEntropy;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;
/// What a drive writes whole, in bytes.
const SECTOR: usize = 512;

/// What survives of all that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survivors {
    /// Nothing.
    None,
    /// Of every write some sectors, whatever their order; of names the first ones.
    Sectors,
    /// The first writes of each file, the last of them torn; of names the first ones.
    Prefix,
}

/// Syncs that are answered and not done: bugs that a harness has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Every sync.
    All,
    /// Those of files of one name.
    Of(&'static str),
}

/// A write that is not safe yet.
#[derive(Debug, Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// A change of names that is not safe yet.
#[derive(Debug, Clone)]
enum Rename {
    Put(OsString, u64),
    Drop(OsString),
    /// Both at once: a rename within one directory is atomic.
    Move(OsString, OsString, u64),
}

type Names = BTreeMap<OsString, u64>;

/// A file or a directory.
#[derive(Debug, Clone)]
enum Body {
    File { now: Vec<u8>, safe: Vec<u8>, open: Vec<Write> },
    Folder { now: Names, safe: Names, open: Vec<Rename> },
}

#[derive(Debug, Clone)]
struct Entry {
    mode: u16,
    body: Body,
}

/// What `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) ino: u64,
    pub(super) mode: u16,
    pub(super) is_dir: bool,
    pub(super) size: u64,
}

/// Why an operation is refused, as the caller's error number names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    NotFound,
    Exists,
    NotEmpty,
    WrongKind,
    TooLarge,
    PowerOff,
}

type Done<T> = Result<T, Refused>;

/// Longest file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 30;

/// What a cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Writes and names that were not safe.
    pub(super) open: usize,
    /// Bytes of them.
    pub(super) bytes: usize,
}

/// The disk.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    is_off: bool,
    lie: Option<Lie>,
}

impl Disk {
    /// Empty, with a private root.
    pub(super) fn new(lie: Option<Lie>) -> Self {
        let root = Entry { mode: 0o700, body: folder() };
        Self { entries: [(ROOT, root)].into(), next: ROOT + 1, is_off: false, lie }
    }

    fn entry(&self, ino: u64) -> Done<&Entry> {
        if self.is_off { Err(Refused::PowerOff) } else { self.entries.get(&ino).ok_or(Refused::NotFound) }
    }

    fn entry_mut(&mut self, ino: u64) -> Done<&mut Entry> {
        if self.is_off { Err(Refused::PowerOff) } else { self.entries.get_mut(&ino).ok_or(Refused::NotFound) }
    }

    /// What `stat` tells of an entry.
    pub(super) fn about(&self, ino: u64) -> Done<About> {
        let entry = self.entry(ino)?;
        let (is_dir, size) = match &entry.body {
            Body::File { now, .. } => (false, now.len() as u64),
            Body::Folder { .. } => (true, 0),
        };
        Ok(About { ino, mode: entry.mode, is_dir, size })
    }

    /// Changes permissions; they are taken for safe at once.
    pub(super) fn set_mode(&mut self, ino: u64, mode: u16) -> Done<()> {
        self.entry_mut(ino)?.mode = mode & 0o7777;
        Ok(())
    }

    /// The names of a directory.
    pub(super) fn names(&self, dir: u64) -> Done<&Names> {
        match &self.entry(dir)?.body {
            Body::Folder { now, .. } => Ok(now),
            Body::File { .. } => Err(Refused::WrongKind),
        }
    }

    /// The entry of a name.
    pub(super) fn find(&self, dir: u64, name: &OsStr) -> Done<u64> {
        self.names(dir)?.get(name).copied().ok_or(Refused::NotFound)
    }

    fn rename(&mut self, dir: u64, change: Rename) -> Done<()> {
        let Body::Folder { now, open, .. } = &mut self.entry_mut(dir)?.body else { return Err(Refused::WrongKind) };
        apply_name(now, &change);
        open.push(change);
        Ok(())
    }

    /// Makes a file or a directory.
    pub(super) fn make(&mut self, dir: u64, name: &OsStr, mode: u16, is_dir: bool) -> Done<u64> {
        if self.find(dir, name).is_ok() {
            return Err(Refused::Exists);
        }
        let ino = self.next;
        self.rename(dir, Rename::Put(name.into(), ino))?;
        let body = if is_dir { folder() } else { file() };
        self.entries.insert(ino, Entry { mode: mode & 0o7777, body });
        self.next += 1;
        Ok(ino)
    }

    /// Takes a name away; who has the file open keeps it.
    pub(super) fn drop_name(&mut self, dir: u64, name: &OsStr, is_dir: bool) -> Done<()> {
        let ino = self.find(dir, name)?;
        match &self.entry(ino)?.body {
            Body::Folder { now, .. } if is_dir && !now.is_empty() => return Err(Refused::NotEmpty),
            Body::Folder { .. } if !is_dir => return Err(Refused::WrongKind),
            Body::File { .. } if is_dir => return Err(Refused::WrongKind),
            _ => {}
        }
        self.rename(dir, Rename::Drop(name.into()))
    }

    /// Moves a name, over another if need be.
    pub(super) fn move_name(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Done<()> {
        let ino = self.find(from.0, from.1)?;
        if from.0 == to.0 {
            return self.rename(from.0, Rename::Move(from.1.into(), to.1.into(), ino));
        }
        self.rename(to.0, Rename::Put(to.1.into(), ino))?;
        self.rename(from.0, Rename::Drop(from.1.into()))
    }

    /// Bytes of a file.
    pub(super) fn read(&self, ino: u64, at: u64, size: usize) -> Done<&[u8]> {
        let Body::File { now, .. } = &self.entry(ino)?.body else { return Err(Refused::WrongKind) };
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(now.len());
        Ok(&now[from..now.len().min(from.saturating_add(size))])
    }

    fn change(&mut self, ino: u64, write: Write) -> Done<()> {
        let Body::File { now, open, .. } = &mut self.entry_mut(ino)?.body else { return Err(Refused::WrongKind) };
        apply_write(now, &write);
        open.push(write);
        Ok(())
    }

    /// Writes bytes to a file.
    pub(super) fn write(&mut self, ino: u64, at: u64, bytes: &[u8]) -> Done<()> {
        let at = usize::try_from(at).ok().filter(|at| at.saturating_add(bytes.len()) <= FILE_BYTES_MAX);
        self.change(ino, Write::Bytes(at.ok_or(Refused::TooLarge)?, bytes.to_vec()))
    }

    /// Cuts a file, or extends it by zeros.
    pub(super) fn set_length(&mut self, ino: u64, length: u64) -> Done<()> {
        let length = usize::try_from(length).ok().filter(|length| *length <= FILE_BYTES_MAX);
        self.change(ino, Write::Length(length.ok_or(Refused::TooLarge)?))
    }

    /// Makes an entry safe, unless the disk lies.
    pub(super) fn sync(&mut self, ino: u64) -> Done<()> {
        self.entry(ino)?;
        if !self.is_lie(ino) {
            self.settle(ino);
        }
        Ok(())
    }

    fn is_lie(&self, ino: u64) -> bool {
        match self.lie {
            None => false,
            Some(Lie::All) => true,
            Some(Lie::Of(name)) => self.entries.values().any(
                |entry| matches!(&entry.body, Body::Folder { now, .. } if now.get(OsStr::new(name)) == Some(&ino)),
            ),
        }
    }

    fn settle(&mut self, ino: u64) {
        match self.entries.get_mut(&ino).map(|entry| &mut entry.body) {
            Some(Body::File { safe, open, .. }) => open.drain(..).for_each(|write| apply_write(safe, &write)),
            Some(Body::Folder { safe, open, .. }) => open.drain(..).for_each(|change| apply_name(safe, &change)),
            None => {}
        }
    }

    /// Makes all safe, whatever the disk says of syncs.
    pub(super) fn settle_all(&mut self) {
        let all: Vec<u64> = self.entries.keys().copied().collect();
        all.into_iter().for_each(|ino| self.settle(ino));
    }

    /// From here on every operation fails and changes nothing.
    pub(super) fn power_off(&mut self) {
        self.is_off = true;
    }

    /// The disk after the power came back, and what was not safe.
    pub(super) fn after_cut(&self, survivors: Survivors, random: &mut SeededEntropy) -> (Self, Taken) {
        let mut taken = Taken::default();
        let mut next = Self { entries: BTreeMap::new(), next: self.next, is_off: false, lie: self.lie };
        for (ino, entry) in &self.entries {
            let body = match &entry.body {
                Body::File { safe, open, .. } => {
                    let mut left = safe.clone();
                    taken.open += open.len();
                    taken.bytes += open.iter().map(Write::bytes).sum::<usize>();
                    survive(&mut left, open, survivors, random);
                    Body::File { now: left.clone(), safe: left, open: Vec::new() }
                }
                Body::Folder { safe, open, .. } => {
                    let mut left = safe.clone();
                    taken.open += open.len();
                    let kept = if survivors == Survivors::None { 0 } else { random.below(open.len() as u64 + 1) };
                    open.iter().take(kept as usize).for_each(|change| apply_name(&mut left, change));
                    Body::Folder { now: left.clone(), safe: left, open: Vec::new() }
                }
            };
            next.entries.insert(*ino, Entry { mode: entry.mode, body });
        }
        next.forget_nameless();
        (next, taken)
    }

    /// Entries without a name are gone; names whose entry is gone cannot be.
    fn forget_nameless(&mut self) {
        let mut reached = vec![ROOT];
        let mut i = 0;
        while let Some(ino) = reached.get(i) {
            if let Some(Entry { body: Body::Folder { now, .. }, .. }) = self.entries.get(ino) {
                reached.extend(now.values());
            }
            i += 1;
        }
        self.entries.retain(|ino, _| reached.contains(ino));
    }
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(_, bytes) => bytes.len(),
            Self::Length(_) => 0,
        }
    }
}

fn file() -> Body {
    Body::File { now: Vec::new(), safe: Vec::new(), open: Vec::new() }
}

fn folder() -> Body {
    Body::Folder { now: Names::new(), safe: Names::new(), open: Vec::new() }
}

fn apply_write(content: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Bytes(at, bytes) => put(content, *at, bytes),
        Write::Length(length) => content.resize(*length, 0),
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn apply_name(names: &mut Names, change: &Rename) {
    match change {
        Rename::Put(name, ino) => {
            names.insert(name.clone(), *ino);
        }
        Rename::Drop(name) => {
            names.remove(name);
        }
        Rename::Move(from, to, ino) => {
            names.remove(from);
            names.insert(to.clone(), *ino);
        }
    }
}

/// Applies what survives of a file's open writes.
fn survive(content: &mut Vec<u8>, open: &[Write], survivors: Survivors, random: &mut SeededEntropy) {
    match survivors {
        Survivors::None => {}
        Survivors::Prefix => {
            let kept = random.below(open.len() as u64 + 1) as usize;
            open.iter().take(kept).for_each(|write| apply_write(content, write));
            if let Some(Write::Bytes(at, bytes)) = open.get(kept) {
                let torn = random.below(bytes.len() as u64 + 1) as usize;
                put(content, *at, &bytes[..torn]);
            }
        }
        Survivors::Sectors => {
            for write in open {
                match write {
                    Write::Bytes(at, bytes) => {
                        for (i, sector) in bytes.chunks(SECTOR).enumerate() {
                            if random.below(2) == 0 {
                                put(content, at + i * SECTOR, sector);
                            }
                        }
                    }
                    Write::Length(_) if random.below(2) == 0 => apply_write(content, write),
                    Write::Length(_) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn cut(disk: &Disk, survivors: Survivors) -> Disk {
        disk.after_cut(survivors, &mut SeededEntropy::from_number(7)).0
    }

    #[test]
    fn content_needs_a_sync_and_so_does_the_name() {
        let mut disk = Disk::new(None);
        let ino = disk.make(ROOT, name("a"), 0o600, false).unwrap();
        disk.write(ino, 0, b"safe").unwrap();
        disk.sync(ino).unwrap();
        assert_eq!(cut(&disk, Survivors::None).find(ROOT, name("a")), Err(Refused::NotFound));
        disk.sync(ROOT).unwrap();
        disk.write(ino, 2, b"lost").unwrap();
        let after = cut(&disk, Survivors::None);
        assert_eq!(after.read(ino, 0, 99).unwrap(), b"safe");
        assert_eq!(disk.read(ino, 0, 99).unwrap(), b"salost");
    }

    #[test]
    fn a_rename_is_atomic_and_in_order() {
        let mut disk = Disk::new(None);
        let old = disk.make(ROOT, name("a"), 0o600, false).unwrap();
        disk.settle_all();
        let new = disk.make(ROOT, name("a.new"), 0o600, false).unwrap();
        disk.move_name((ROOT, name("a.new")), (ROOT, name("a"))).unwrap();
        for seed in 0..20 {
            let (after, taken) = disk.after_cut(Survivors::Prefix, &mut SeededEntropy::from_number(seed));
            assert!([old, new].contains(&after.find(ROOT, name("a")).unwrap()));
            assert_eq!(taken.open, 2);
        }
        disk.sync(ROOT).unwrap();
        assert_eq!(cut(&disk, Survivors::None).find(ROOT, name("a")), Ok(new));
    }

    #[test]
    fn a_torn_write_keeps_whole_sectors_and_a_prefix_its_first_bytes() {
        let mut disk = Disk::new(None);
        let ino = disk.make(ROOT, name("a"), 0o600, false).unwrap();
        disk.settle_all();
        disk.write(ino, 0, &[1; 8 * SECTOR]).unwrap();
        let torn = cut(&disk, Survivors::Sectors);
        let content = torn.read(ino, 0, 8 * SECTOR).unwrap();
        assert!(content.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(content.contains(&0) && content.contains(&1), "the seed tears this one");
        let prefix = cut(&disk, Survivors::Prefix);
        assert!(prefix.read(ino, 0, 8 * SECTOR).unwrap().iter().all(|byte| *byte == 1));
    }

    #[test]
    fn a_lie_keeps_nothing_and_a_dead_disk_takes_nothing() {
        let mut disk = Disk::new(Some(Lie::Of("db")));
        let ino = disk.make(ROOT, name("db"), 0o600, false).unwrap();
        disk.settle_all();
        disk.write(ino, 0, b"x").unwrap();
        disk.sync(ino).unwrap();
        assert_eq!(cut(&disk, Survivors::None).read(ino, 0, 9).unwrap(), b"");
        disk.power_off();
        assert_eq!(disk.sync(ino), Err(Refused::PowerOff));
        assert_eq!(disk.write(ino, 0, b"y"), Err(Refused::PowerOff));
    }

    #[test]
    fn refusals() {
        let mut disk = Disk::new(None);
        let dir = disk.make(ROOT, name("d"), 0o700, true).unwrap();
        disk.make(dir, name("f"), 0o600, false).unwrap();
        assert_eq!(disk.make(ROOT, name("d"), 0o700, true), Err(Refused::Exists));
        assert_eq!(disk.drop_name(ROOT, name("d"), true), Err(Refused::NotEmpty));
        assert_eq!(disk.drop_name(ROOT, name("d"), false), Err(Refused::WrongKind));
        assert_eq!(disk.read(dir, 0, 1), Err(Refused::WrongKind));
        assert_eq!(disk.write(dir, u64::MAX, b"x"), Err(Refused::TooLarge));
    }
}
