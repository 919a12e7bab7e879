//! First pads of a pool, from its handshake: they authenticate until the first block is in.
//! Always: an offset is used once, and nothing outlives the first deposit.

use super::{Direction, LinkKey};
use crate::mac::TAG_PAD_BYTES;
use crate::secret::SecretBytes;

/// Tags per direction before a new handshake is needed.
pub(super) const BOOTSTRAP_TAGS: usize = 64;
/// Bytes per direction.
pub(super) const BOOTSTRAP_BYTES: usize = BOOTSTRAP_TAGS * TAG_PAD_BYTES;

/// Pads of both directions, for tags only.
pub struct BootstrapStock {
    pads: [SecretBytes; 2],
    next: [u64; 2],
}

impl BootstrapStock {
    /// From as many bytes for each direction as 64 tags need, forward first.
    pub fn new(pads: [SecretBytes; 2]) -> Self {
        Self { pads, next: [0; 2] }
    }

    /// The next pad of this end.
    pub fn spend(&mut self, own: Direction) -> Option<LinkKey> {
        self.accept(own, self.next[own.index()])
    }

    /// The pad that the neighbour names, unless it or a later one was used; it stays.
    pub fn peek(&self, direction: Direction, offset: u64) -> Option<SecretBytes> {
        let from = usize::try_from(offset).ok().filter(|_| offset >= self.next(direction))?;
        let bytes = self.pads[direction.index()].expose().get(from..from.checked_add(TAG_PAD_BYTES)?)?;
        Some(SecretBytes::copy_of(bytes))
    }

    /// As [`Self::peek`], and it and all before it are gone.
    pub fn accept(&mut self, direction: Direction, offset: u64) -> Option<LinkKey> {
        let bytes = self.peek(direction, offset)?;
        self.next[direction.index()] = offset + TAG_PAD_BYTES as u64;
        Some(LinkKey { offset, bytes })
    }

    /// Place of the next pad of a direction.
    pub fn next(&self, direction: Direction) -> u64 {
        self.next[direction.index()]
    }
}
