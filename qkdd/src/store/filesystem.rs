//! What a file system does with bytes that are overwritten. In: a path. Out: the name of a file system that
//! keeps them for a while, or that there is none. Always: best effort; what a drive itself keeps is not seen.
//!
//! Shredding overwrites in place. File systems that write elsewhere, or to a journal first, keep the earlier
//! bytes until they need the room; the hourly renewal of the intermediate key is all that helps there.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{major, minor, statfs};

/// File systems that write elsewhere than in place, by the numbers of the kernel's `magic.h`.
const WRITE_ELSEWHERE: [(u64, &str); 6] = [
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x794c_7630, "overlay"),
    (0xca45_1a4e, "bcachefs"),
    (0xf2f5_2010, "f2fs"),
    (0x3434, "nilfs2"),
];
const TMPFS: u64 = 0x0102_1994;
/// Mounts of this process, one a line.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The file system that keeps what is overwritten in `path`, if it is one.
pub(super) fn keeps_what_is_overwritten(path: &Path) -> Option<&'static str> {
    let magic = magic_of(path)?;
    let named = WRITE_ELSEWHERE.iter().find(|(number, _)| *number == magic);
    named.map(|(_, name)| *name).or_else(|| journals_data(path).then_some("a file system with data=journal"))
}

/// True if what is in `path` is in memory alone.
pub(super) fn is_in_memory(path: &Path) -> bool {
    magic_of(path) == Some(TMPFS)
}

/// The number is as wide as the machine's word, and signed on some.
fn magic_of(path: &Path) -> Option<u64> {
    statfs(path).ok().map(|found| (found.f_type as u64) & 0xffff_ffff)
}

fn journals_data(path: &Path) -> bool {
    let device = fs::metadata(path).map(|metadata| metadata.dev());
    match (device, fs::read_to_string(MOUNTS)) {
        (Ok(device), Ok(mounts)) => mount_journals_data(&mounts, &format!("{}:{}", major(device), minor(device))),
        _ => false,
    }
}

/// A line: mount id, parent id, device, root, mount point, options, …, `-`, type, source, options.
fn mount_journals_data(mounts: &str, device: &str) -> bool {
    let mut of_device = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(device));
    of_device.any(|line| line.split([' ', ',']).any(|option| option == "data=journal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_device() {
        let mounts = "25 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw,errors=remount-ro\n\
                      31 25 8:16 / /data rw shared:4 - ext4 /dev/sdb rw,data=journal\n";
        assert!(mount_journals_data(mounts, "8:16"));
        assert!(!mount_journals_data(mounts, "8:2") && !mount_journals_data(mounts, "8:1"));
    }

    #[test]
    fn memory_is_told_from_disks() {
        assert!(is_in_memory(Path::new("/dev/shm")));
        assert!(!is_in_memory(Path::new("/proc")) && !is_in_memory(Path::new("/no such directory")));
        assert_eq!(keeps_what_is_overwritten(Path::new("/dev/shm")), None);
    }
}
