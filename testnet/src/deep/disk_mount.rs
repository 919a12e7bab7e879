//! A forgetful disk as a mounted folder. In: a folder and its content. Out: the same folder on a [`Disk`]
//! whose power can be cut. Always: what the kernel is told was written is in the model, and nowhere else.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use qkd_proto::entropy::SeededEntropy;

use super::disk_model::{About, Disk, Lie, ROOT, Refused, Survivors, Taken};
use crate::error::Failed;

/// How long the kernel believes what it was told.
const BELIEVED: Duration = Duration::from_secs(1);
/// Blocks of the disk, as `statfs` tells; it is never full.
const BLOCKS: u64 = 1 << 20;
const BLOCK_BYTES: u32 = 4096;

/// A mounted disk.
pub(super) struct Mount {
    at: PathBuf,
    disk: Arc<Mutex<Disk>>,
    session: Option<BackgroundSession>,
}

impl Mount {
    /// Moves what is in the folder to a disk, and mounts that there.
    pub(super) fn over(folder: &Path, lie: Option<Lie>) -> Result<Self, Failed> {
        let mut disk = Disk::new(lie);
        fill(&mut disk, ROOT, folder)?;
        disk.settle_all();
        let mut mount = Self { at: folder.to_owned(), disk: Arc::new(Mutex::new(disk)), session: None };
        mount.mount()?;
        Ok(mount)
    }

    fn mount(&mut self) -> Result<(), Failed> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("qkdd-forgetful".into()), MountOption::DefaultPermissions];
        let session = fuser::spawn_mount(Server(self.disk.clone()), &self.at, &config);
        self.session = Some(session.map_err(|error| Failed::file(&self.at, format!("cannot be mounted: {error}")))?);
        Ok(())
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Cuts the power: from here on nothing reaches the disk. The daemon still has to be killed.
    pub(super) fn cut(&self) {
        self.disk().power_off();
    }

    /// Mounts what survived.
    pub(super) fn power_on(&mut self, survivors: Survivors, random: &mut SeededEntropy) -> Result<Taken, Failed> {
        self.unmount()?;
        let (disk, taken) = self.disk().after_cut(survivors, random);
        self.disk = Arc::new(Mutex::new(disk));
        self.mount()?;
        Ok(taken)
    }

    fn unmount(&mut self) -> Result<(), Failed> {
        let Some(session) = self.session.take() else { return Ok(()) };
        session.umount_and_join().map_err(|error| Failed::file(&self.at, format!("cannot be unmounted: {error}")))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies a folder's content to a directory of the disk.
fn fill(disk: &mut Disk, dir: u64, folder: &Path) -> Result<(), Failed> {
    let failed = |error| Failed::file(folder, error);
    let mode = std::fs::metadata(folder).map_err(failed)?.permissions().mode();
    let refused = |refused| Failed::file(folder, format!("cannot be copied to the disk: {refused:?}"));
    disk.set_mode(dir, mode as u16).map_err(refused)?;
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let about = entry.metadata().map_err(failed)?;
        let mode = about.permissions().mode() as u16;
        let ino = disk.make(dir, &entry.file_name(), mode, about.is_dir()).map_err(refused)?;
        if about.is_dir() {
            fill(disk, ino, &entry.path())?;
        } else {
            disk.write(ino, 0, &std::fs::read(entry.path()).map_err(failed)?).map_err(refused)?;
        }
    }
    Ok(())
}

/// Answers the kernel.
struct Server(Arc<Mutex<Disk>>);

impl Server {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    fn found(&self, ino: Result<u64, Refused>) -> Result<FileAttr, Errno> {
        self.disk().about(ino.map_err(errno)?).map(attributes).map_err(errno)
    }
}

fn errno(refused: Refused) -> Errno {
    match refused {
        Refused::NotFound => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotEmpty => Errno::ENOTEMPTY,
        Refused::WrongKind => Errno::EISDIR,
        Refused::TooLarge => Errno::EFBIG,
        Refused::PowerOff => Errno::EIO,
    }
}

fn attributes(about: About) -> FileAttr {
    FileAttr {
        ino: INodeNo(about.ino),
        size: about.size,
        blocks: about.size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: if about.is_dir { FileType::Directory } else { FileType::RegularFile },
        perm: about.mode,
        nlink: if about.is_dir { 2 } else { 1 },
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn entry(found: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match found {
        Ok(about) => reply.entry(&BELIEVED, &about, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn empty(done: Result<(), Refused>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(refused) => reply.error(errno(refused)),
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ino = self.disk().find(parent.0, name);
        entry(self.found(ino), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.found(Ok(ino.0)) {
            Ok(about) => reply.attr(&BELIEVED, &about),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let sized = size.map_or(Ok(()), |size| self.disk().set_length(ino.0, size));
        let done = sized.and_then(|()| mode.map_or(Ok(()), |mode| self.disk().set_mode(ino.0, mode as u16)));
        match self.found(done.map(|()| ino.0)) {
            Ok(about) => reply.attr(&BELIEVED, &about),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.disk().make(parent.0, name, (mode & !umask) as u16, true);
        entry(self.found(made), reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.disk().make(parent.0, name, (mode & !umask) as u16, false);
        match self.found(made) {
            Ok(about) => reply.created(&BELIEVED, &about, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().drop_name(parent.0, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.disk().drop_name(parent.0, name, true), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        empty(self.disk().move_name((parent.0, name), (to.0, to_name)), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.found(Ok(ino.0)) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(refused) => reply.error(errno(refused)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut disk = self.disk();
        let extended = disk.about(ino.0).and_then(|about| {
            let end = offset.saturating_add(length);
            if end > about.size { disk.set_length(ino.0, end) } else { Ok(()) }
        });
        empty(extended, reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.disk().sync(ino.0), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let disk = self.disk();
        let Ok(names) = disk.names(ino.0) else { return reply.error(Errno::ENOTDIR) };
        let dots = [(OsStr::new("."), ino.0), (OsStr::new(".."), ino.0)];
        let all = dots.into_iter().chain(names.iter().map(|(name, ino)| (name.as_os_str(), *ino)));
        for (i, (name, ino)) in all.enumerate().skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let is_dir = disk.about(ino).is_ok_and(|about| about.is_dir);
            let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(ino), i as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK_BYTES, 255, BLOCK_BYTES);
    }
}
