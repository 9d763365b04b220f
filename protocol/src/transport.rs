//! Frames on byte streams, and the limits of a QUIC connection that both ends share.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::RecvStream;

use crate::codec::{CodecError, Frame, take_frame};

/// A connection without a packet for this long is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a client says that it is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Datagrams that wait in one direction, in bytes; beyond it the oldest are dropped. Nor may one be longer.
pub const DATAGRAM_BUFFER: usize = 2 * 1024;

/// Packets that may be received before they are acknowledged at once; fewer are within the delay of QUIC, 25 ms at
/// most. Every acknowledgement is a packet that is received, decrypted and wakes a task, so that with QUIC's own 1 a
/// page of six packets had three answers. More than this would let a connection that begins (10 packets, RFC 9002)
/// wait for the delay.
const UNACKNOWLEDGED: u32 = 4;

/// How often each end asks the other to acknowledge (draft-ietf-quic-ack-frequency).
pub fn ack_frequency() -> quinn::AckFrequencyConfig {
    let mut frequency = quinn::AckFrequencyConfig::default();
    frequency.ack_eliciting_threshold(UNACKNOWLEDGED.into());
    frequency
}

/// The most a reader takes from its stream at once, in bytes.
const MOST_AT_ONCE: usize = 64 * 1024;

/// Why reading a frame ended.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream or connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The peer sent what is no frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A frame was begun and not ended in time.
    #[error("a frame was not complete within {0:?}")]
    Deadline(Duration),
    /// The stream ended within a frame.
    #[error("the stream ended within a frame")]
    Cut,
}

/// Reads frames from a byte stream. Dropping a future of it loses no byte, and one that waits behind a whole frame
/// holds no buffer.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
    limit: usize,
}

impl FrameReader {
    /// Takes frames of at most `limit` bytes.
    pub fn new(stream: RecvStream, limit: usize) -> FrameReader {
        FrameReader { stream, buffer: BytesMut::new(), limit }
    }

    /// From now on takes frames of at most `limit` bytes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next frame; `None` when the stream ended behind one.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer, self.limit)? {
                return Ok(Some(frame));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Cut) };
            }
        }
    }

    /// Like [`FrameReader::next`], but a frame that has begun must be complete within `deadline`: a peer that
    /// sends a byte now and then holds nothing open.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub async fn next_within(&mut self, deadline: Duration) -> Result<Option<Frame>, FrameError> {
        if self.buffer.is_empty() && !self.fill().await? {
            return Ok(None);
        }
        tokio::time::timeout(deadline, self.next()).await.map_err(|_| FrameError::Deadline(deadline))?
    }

    async fn fill(&mut self) -> Result<bool, FrameError> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        let chunk = self.stream.read_chunk(MOST_AT_ONCE, true).await.map_err(std::io::Error::from)?;
        if let Some(chunk) = &chunk {
            self.buffer.extend_from_slice(&chunk.bytes);
        }
        Ok(chunk.is_some())
    }
}

/// Writes a whole frame.
///
/// # Errors
/// When the stream or connection is gone.
pub async fn write_frame(stream: &mut quinn::SendStream, frame: Bytes) -> Result<(), quinn::WriteError> {
    stream.write_chunk(frame).await
}
