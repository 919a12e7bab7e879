//! Photon frames: arrivals as plain bytes, for the device to seal. In: gaps and symbols. Out: bytes
//! of at most [`PHOTONS_PER_FRAME`] photons, or the photons again. Always: decoding is bounded.
//!
//! A frame is: version 2, flags (1 = last), sequence number (4 bytes, little-endian), the slots it
//! covers (a variable-length number), then its photons as a `gap_code` with two symbol bits: basis
//! (2 = test) and bit.

use super::gap_code::{self, NUMBER_BYTES_MAX};

/// Most photons of a frame.
pub const PHOTONS_PER_FRAME: usize = 1 << 14;
/// Most clicks of a chunk; detectors that would give more are saturated and give none.
pub const CLICKS_PER_CHUNK_MAX: usize = 1 << 20;
/// Most bytes of a frame: eight for an item, and two patch numbers at worst.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + 2 * NUMBER_BYTES_MAX + PHOTONS_PER_FRAME * (8 + 2 * NUMBER_BYTES_MAX);
/// Bits of a photon's symbol: basis and bit.
pub(super) const PHOTON_SYMBOL_BITS: u32 = 2;
/// Bytes before the numbers.
const HEADER_BYTES: usize = 6;
/// Version of the format.
const FRAME_VERSION: u8 = 2;

/// Why a frame was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not the form above, or too many bytes.
    #[error("photon frame is malformed")]
    Malformed,
    /// Lost, repeated or after the last one.
    #[error("photon frame {found} came where {expected} was due")]
    Sequence {
        /// Its number.
        found: u32,
        /// The due number.
        expected: u32,
    },
    /// A photon beyond the block.
    #[error("photon frame goes beyond the block's last pulse")]
    BeyondBlock,
}

/// What a frame says before its photons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u32,
    pub(super) last: bool,
    /// Slots that the frame covers, at least one.
    pub(super) span: u64,
}

/// Writes a frame; `photons` are gaps with symbols.
pub(super) fn write(header: Header, photons: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 3 * NUMBER_BYTES_MAX + photons.len() * 2);
    bytes.extend_from_slice(&[FRAME_VERSION, u8::from(header.last)]);
    bytes.extend_from_slice(&header.sequence.to_le_bytes());
    gap_code::write_number(&mut bytes, header.span);
    gap_code::encode(&mut bytes, photons, PHOTON_SYMBOL_BITS);
    bytes
}

/// Reads a frame's header; the rest is for [`read_photons`].
pub(super) fn read_header(frame: &[u8]) -> Result<(Header, &[u8]), FrameError> {
    let (head, mut body) = frame.split_at_checked(HEADER_BYTES).ok_or(FrameError::Malformed)?;
    if frame.len() > FRAME_BYTES_MAX || head[0] != FRAME_VERSION || head[1] > 1 {
        return Err(FrameError::Malformed);
    }
    let sequence = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
    let span = gap_code::read_number(&mut body).filter(|&span| span > 0).ok_or(FrameError::Malformed)?;
    Ok((Header { sequence, last: head[1] == 1, span }, body))
}

/// Reads a frame's photons: gaps with symbols.
pub(super) fn read_photons(body: &[u8], photons: &mut Vec<u64>) -> Result<(), FrameError> {
    gap_code::decode(body, PHOTON_SYMBOL_BITS, PHOTONS_PER_FRAME, photons).ok_or(FrameError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_round_trip(sequence in any::<u32>(), last in any::<bool>(), gaps in proptest::collection::vec(1..99u64, 0..50)) {
            let header = Header { sequence, last, span: 5_000 };
            let photons: Vec<u64> = gaps.iter().map(|gap| gap << 2 | gap & 3).collect();
            let frame = write(header, &photons);
            let (found, body) = read_header(&frame).unwrap();
            let mut again = Vec::new();
            prop_assert_eq!(read_photons(body, &mut again), Ok(()));
            prop_assert_eq!((found, again), (header, photons));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), known in any::<bool>()) {
            let mut bytes = bytes;
            if known && bytes.len() > 1 {
                (bytes[0], bytes[1]) = (FRAME_VERSION, 1);
            }
            if let Ok((_, body)) = read_header(&bytes) {
                let _ = read_photons(body, &mut Vec::new());
            }
        }
    }
}
