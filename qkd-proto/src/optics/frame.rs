//! Photon frames: arrivals as plain bytes, for the device to seal. In: gaps and symbols. Out: bytes
//! of at most [`PHOTONS_PER_FRAME`] photons, or the photons again. Always: decoding is bounded, and
//! a number has one form only.
//!
//! A frame is: version 1, flags (1 = last), sequence number (4 bytes, little-endian), then one
//! variable-length number per photon: gap to the photon before (in slots) times 4, plus basis
//! (2 = test) and bit.

/// Most photons of a frame.
pub const PHOTONS_PER_FRAME: usize = 1 << 16;
/// Most bytes of a frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + PHOTONS_PER_FRAME * NUMBER_BYTES_MAX;
/// Bytes before the photons.
pub(super) const HEADER_BYTES: usize = 6;
/// Version of the format.
const FRAME_VERSION: u8 = 1;
/// Most bytes of one number (63 bits).
const NUMBER_BYTES_MAX: usize = 9;

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
    /// The last frame has not come.
    #[error("the block's last photon frame has not come")]
    Incomplete,
}

/// Writes a frame's header.
pub(super) fn header(sequence: u32, last: bool) -> Vec<u8> {
    let mut bytes = vec![FRAME_VERSION, u8::from(last)];
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes
}

/// Reads a frame's header: its number, whether it is the last, and the photons.
pub(super) fn read_header(frame: &[u8]) -> Result<(u32, bool, &[u8]), FrameError> {
    let (head, body) = frame.split_at_checked(HEADER_BYTES).ok_or(FrameError::Malformed)?;
    if frame.len() > FRAME_BYTES_MAX || head[0] != FRAME_VERSION || head[1] > 1 {
        return Err(FrameError::Malformed);
    }
    let sequence = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
    Ok((sequence, head[1] == 1, body))
}

/// Appends `number` (below 2^63), seven bits to a byte, lowest first.
pub(crate) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes one number off the front of `bytes`; `None` if there is none in its one form.
pub(crate) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for (i, &byte) in bytes.iter().enumerate().take(NUMBER_BYTES_MAX) {
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return if byte == 0 && i > 0 { None } else { Some(number) };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_round_trip(number in 0..1u64 << 63) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_number(&mut rest), Some(number));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut rest = bytes.as_slice();
            while read_number(&mut rest).is_some() {}
            let _ = read_header(&bytes);
        }
    }
}
