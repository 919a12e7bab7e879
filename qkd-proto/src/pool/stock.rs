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
        let offset = self.next[own.index()];
        self.accept_proven(own, offset, Some)
    }

    /// Lets words prove themselves with the pad at `offset`, unless it or a later one was used. It and all before
    /// it are gone if they do; if they do not, only if it was the very next.
    pub fn accept_proven<T>(
        &mut self,
        direction: Direction,
        offset: u64,
        prove: impl FnOnce(LinkKey) -> Option<T>,
    ) -> Option<T> {
        let next = &mut self.next[direction.index()];
        let from = usize::try_from(offset).ok().filter(|_| offset >= *next)?;
        let bytes = self.pads[direction.index()].expose().get(from..from.checked_add(TAG_PAD_BYTES)?)?;
        let proven = prove(LinkKey { offset, bytes: SecretBytes::copy_of(bytes) });
        if proven.is_some() || offset == *next {
            *next = offset + TAG_PAD_BYTES as u64;
        }
        proven
    }
}
