//! Frames between the two devices of a link: sealed photons one way, credit and the frame that is due
//! the other. Always: at most [`WINDOW`] photon frames are under way, so a slow receiver slows its
//! transmitter.

use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::secret::SecretBytes;

/// Photon frames under way at one time.
pub(super) const WINDOW: u32 = 16;

const PHOTONS: u8 = 1;
const CREDIT: u8 = 2;
const DUE: u8 = 5;
/// Kind and block.
const HEADER_BYTES: usize = 9;

/// A frame of the neighbour's device.
pub(super) enum Frame<'a> {
    /// Sealed photons of a block.
    Photons(BlockId, &'a [u8]),
    /// The receiver has taken one photon frame of this block.
    Credit(BlockId),
    /// The receiver begins a block, or goes on with it, and is due the frame of this number.
    Due(BlockId, u32),
}

/// Reads a frame's kind and block.
pub(super) fn open(bytes: &[u8]) -> Option<Frame<'_>> {
    let (kind, block, body) = split(bytes)?;
    match kind {
        PHOTONS => Some(Frame::Photons(block, body)),
        CREDIT if body.is_empty() => Some(Frame::Credit(block)),
        DUE => Some(Frame::Due(block, u32::from_be_bytes(body.try_into().ok()?))),
        _ => None,
    }
}

/// Cuts a frame into kind, block and body.
pub(super) fn split(bytes: &[u8]) -> Option<(u8, BlockId, &[u8])> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    Some((header[0], BlockId(u64::from_be_bytes(*header[1..].first_chunk()?)), body))
}

/// A credit frame.
pub(super) fn credit(block: BlockId) -> Vec<u8> {
    header(CREDIT, block)
}

/// A frame that says which frame is due.
pub(super) fn due(block: BlockId, number: u32) -> Vec<u8> {
    let mut frame = header(DUE, block);
    frame.extend(number.to_be_bytes());
    frame
}

/// Seals a photon frame under the session's secret: the quantum channel is not an open wire.
pub(super) fn seal(secret: &SecretBytes, link: &LinkId, block: BlockId, photons: &[u8]) -> Vec<u8> {
    let mut frame = header(PHOTONS, block);
    frame.extend(crypto::seal(secret, &about(link, block), photons, &mut SystemEntropy::new()));
    frame
}

/// Opens sealed photons.
pub(super) fn unseal(secret: &SecretBytes, link: &LinkId, block: BlockId, body: &[u8]) -> Option<SecretBytes> {
    crypto::open(secret, &about(link, block), body).ok()
}

/// The first bytes of a frame.
pub(super) fn header(kind: u8, block: BlockId) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(block.0.to_be_bytes());
    frame
}

/// What a sealed body belongs to.
pub(super) fn about(link: &LinkId, block: BlockId) -> Vec<u8> {
    [link.as_str().as_bytes(), &[0], &block.0.to_be_bytes()].concat()
}

/// The seed of an emulated device: fresh, or a test's.
pub(super) fn seed(test: Option<u64>, transmits: bool) -> [u8; 32] {
    let mut seed = [0; 32];
    match test {
        None => qkd_proto::entropy::Entropy::fill(&mut SystemEntropy::new(), &mut seed),
        Some(number) => {
            seed[..8].copy_from_slice(&number.to_le_bytes());
            seed[8] = u8::from(transmits);
        }
    }
    seed
}
