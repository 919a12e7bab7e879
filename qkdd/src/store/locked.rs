//! The master key in memory. In: 32 bytes. Out: the same, while it lives. Always: it is not in the
//! heap, not in a core, not swapped, and wiped when dropped.
//!
//! `memfd_secret` takes the pages out of the kernel's own map: not even root reads them through
//! `/proc/PID/mem`. Where the kernel has none, the page is locked and left out of dumps.

use std::io;

use memfd_secret::MemfdSecret;
use memmap2::{Advice, MmapMut};
use qkd_proto::crypto;
use qkd_proto::secret::SecretBytes;
use zeroize::Zeroize as _;

enum Memory {
    Secret(MemfdSecret),
    Locked(MmapMut),
}

/// How the memory is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// `memfd_secret`.
    Secret,
    /// Locked, and left out of dumps.
    Locked,
    /// Left out of dumps; the system refused to lock it.
    Unlocked,
}

/// A key outside the heap.
pub struct LockedKey {
    memory: Memory,
    length: usize,
    hold: Hold,
}

impl LockedKey {
    /// Moves a key there; the caller's copy is wiped.
    ///
    /// # Errors
    /// If the system gives no memory.
    pub fn new(key: SecretBytes) -> io::Result<Self> {
        let bytes = key.expose();
        let mut locked = match MemfdSecret::new(bytes.len()) {
            Ok(memory) => Self { memory: Memory::Secret(memory), length: bytes.len(), hold: Hold::Secret },
            Err(_) => Self::without_memfd(bytes.len())?,
        };
        match &mut locked.memory {
            Memory::Secret(memory) => memory.as_mut_slice()[..bytes.len()].copy_from_slice(bytes),
            Memory::Locked(memory) => memory[..bytes.len()].copy_from_slice(bytes),
        }
        Ok(locked)
    }

    fn without_memfd(length: usize) -> io::Result<Self> {
        let memory = MmapMut::map_anon(length)?;
        memory.advise(Advice::DontDump)?;
        let hold = if memory.lock().is_ok() { Hold::Locked } else { Hold::Unlocked };
        Ok(Self { memory: Memory::Locked(memory), length, hold })
    }

    /// How well the system holds it.
    pub fn hold(&self) -> Hold {
        self.hold
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        match &self.memory {
            Memory::Secret(memory) => &memory.as_slice()[..self.length],
            Memory::Locked(memory) => &memory[..self.length],
        }
    }

    /// A copy for a key derivation, wiped when it is dropped.
    pub fn copy(&self) -> SecretBytes {
        SecretBytes::copy_of(self.expose())
    }

    /// True if `other` is the same key; the time depends on the lengths only.
    pub fn is(&self, other: &SecretBytes) -> bool {
        crypto::equal(self.expose(), other.expose())
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        match &mut self.memory {
            Memory::Secret(memory) => memory.as_mut_slice().zeroize(),
            Memory::Locked(memory) => memory.zeroize(),
        }
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockedKey({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_kept_and_compared() {
        let key = LockedKey::new(SecretBytes::new(vec![7; 32])).unwrap();
        assert_eq!(key.expose(), [7; 32]);
        assert!(key.is(&SecretBytes::new(vec![7; 32])) && !key.is(&SecretBytes::new(vec![8; 32])));
        let plain = LockedKey::without_memfd(32).unwrap();
        assert_eq!((plain.hold(), plain.expose()), (Hold::Locked, &[0; 32][..]));
        assert_eq!(format!("{key:?}"), "LockedKey(32 bytes)");
    }
}
