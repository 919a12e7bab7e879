//! Frames on a link's streams: a big-endian length of four bytes, then the body. In: a stream and
//! the limit of its channel. Out: bodies. Always: the length is checked before anything is read or
//! allocated, and memory grows only with what really arrives.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use qkd_proto::labels;

/// Longest greeting: an attempt number and the link's name.
pub(super) const GREETING_BYTES_MAX: usize = 8 + qkd_proto::id::LINK_NAME_CHARS_MAX;
/// Memory set aside at once for a body; more is taken as it arrives.
const FIRST_ALLOCATION_BYTES: usize = 64 << 10;

/// One of the three streams of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Pool and relay messages.
    Link,
    /// The talk of distillation.
    Block,
    /// Sealed photons.
    Photons,
}

impl Channel {
    /// All, in the order in which they are opened.
    pub(super) const ALL: [Self; 3] = [Self::Link, Self::Block, Self::Photons];

    /// The libp2p protocol of the stream.
    pub(super) fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Self::Link => labels::STREAM_LINK,
            Self::Block => labels::STREAM_BLOCK,
            Self::Photons => labels::STREAM_PHOTONS,
        })
    }

    /// Longest body: a relayed message with its tag, a block's detections, a batch of photons.
    pub(super) fn frame_bytes_max(self) -> usize {
        match self {
            Self::Link => (64 << 10) + (4 << 10),
            Self::Block => 64 << 20,
            Self::Photons => 1 << 20,
        }
    }
}

/// Why a frame was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// Longer than its channel allows.
    #[error("a frame of {length} bytes where {limit} are allowed")]
    Oversize {
        /// As announced.
        length: usize,
        /// As allowed.
        limit: usize,
    },
    /// The stream ended or broke.
    #[error("stream: {0}")]
    Stream(#[from] io::Error),
}

/// Reads the length of the next frame.
pub(super) async fn read_length(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<usize, FrameError> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > limit { Err(FrameError::Oversize { length, limit }) } else { Ok(length) }
}

/// Reads the body of a frame whose length is known and checked.
pub(super) async fn read_body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Vec<u8>, FrameError> {
    let mut body = Vec::with_capacity(length.min(FIRST_ALLOCATION_BYTES));
    stream.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(body)
}

/// Reads one whole frame.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<Vec<u8>, FrameError> {
    let length = read_length(stream, limit).await?;
    read_body(stream, length).await
}

/// Appends a frame to what will be written. The body is within its channel's limit.
pub(super) fn append(buffer: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(body);
}

/// Writes one frame and flushes it.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(4 + body.len());
    append(&mut frame, body);
    stream.write_all(&frame).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        append(&mut bytes, b"one");
        append(&mut bytes, b"");
        let mut stream = Cursor::new(bytes);
        assert_eq!(read(&mut stream, 3).await.unwrap(), b"one");
        assert_eq!(read(&mut stream, 3).await.unwrap(), b"");
        assert!(matches!(read(&mut stream, 3).await, Err(FrameError::Stream(_))));
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_unread() {
        let mut stream = Cursor::new(u32::MAX.to_be_bytes());
        let limit = Channel::Block.frame_bytes_max();
        assert!(matches!(read(&mut stream, limit).await, Err(FrameError::Oversize { .. })));
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_an_error() {
        let mut stream = Cursor::new([0, 0, 0, 9, 1, 2]);
        assert!(matches!(read(&mut stream, 64).await, Err(FrameError::Stream(_))));
    }
}
