//! What is said on the one stream of a connection between nodes, behind the proofs: a frame with the question, frames with the
//! answer. A frame is `length u32 LE, body`, its body bincode; the payloads of a block follow on its frame as they are, so
//! that nothing of them is copied or decoded here.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use quip_protocol::codec::{self, CodecError};
use quip_protocol::error::close;
use quip_protocol::{Epoch, NodeName, Position};
use quip_storage::journal::MAX_PAYLOAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The protocol between nodes.
pub const ALPN: &[u8] = b"quip-node/1";
/// Payloads of a block, in bytes; a record that has more is a block of its own.
pub(super) const BLOCK_BYTES: usize = 1024 * 1024;
/// Records of a block: so that its frame is within [`MAX_FRAME`].
pub(super) const BLOCK_RECORDS: usize = 2_048;
/// Longest frame, in bytes.
const MAX_FRAME: usize = 64 * 1024;
/// Who says nothing, or takes nothing, for so long is gone.
pub(super) const STALL: Duration = Duration::from_secs(15);
/// Who has ended a stream says why within this.
const WHY_WITHIN: Duration = Duration::from_secs(2);
/// What is written at once, in bytes: as much has to be taken within [`STALL`].
const MOST_AT_ONCE: usize = 256 * 1024;
/// The code of the QUIC close of who does not have the key.
const WRONG_KEY: u32 = 0x100;

/// The first frame of who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Of which cluster.
    pub cluster: [u8; 16],
    /// Who asks.
    pub from: NodeName,
    /// Who is asked.
    pub to: NodeName,
    /// What.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// The outline of the journal. → [`Told::Epochs`]
    Epochs,
    /// The records behind one. → [`Told::Records`], [`Told::Block`]…, [`Told::End`]
    Records { after: Position },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// Nothing.
    Refused(Refused),
    /// The newest ones, in order, each with the offsets of its first and last record.
    Epochs(Vec<(Epoch, u64, u64)>),
    /// Blocks follow, up to here.
    Records { last: Position },
    /// Places and lengths of records, whose payloads follow.
    Block(Vec<(Position, u32)>),
    /// That was all; the journal ends here by now.
    End { last: Position },
}

/// Why a node does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// It is another cluster's.
    #[error("it is a node of another cluster")]
    OtherCluster,
    /// It has another name.
    #[error("it is the node {0}: is --advertise of each node right?")]
    OtherNode(NodeName),
    /// It does not have the record that is to be gone on from.
    #[error("its journal does not have the record {0}")]
    NotHeld(Position),
    /// As many as it may are being served.
    #[error("it serves as many nodes as it may; it is asked again")]
    Busy,
    /// Its journal cannot be read.
    #[error("its journal cannot be read; its log says why")]
    Unreadable,
}

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// One of the two does not have the key of the other.
    #[error(
        "the two nodes do not have the same cluster key: copy the file cluster.key of one to the others (--cluster-key)"
    )]
    Key,
    /// An answer.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The connection.
    #[error("the connection broke: {0}")]
    Connection(#[from] ConnectionError),
    /// The stream.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// Nothing more comes.
    #[error("it was silent for {} s", STALL.as_secs())]
    Silent,
    /// What came is no frame.
    #[error("it was not understood: {0}")]
    Codec(#[from] CodecError),
    /// The stream ended before all was said. The close that says why may follow on it.
    #[error("it ended the conversation too early")]
    Cut,
    /// What came does not belong there.
    #[error("it broke the protocol between nodes: {0}")]
    Protocol(&'static str),
    /// It cannot be reached at all.
    #[error("{0}")]
    Unreachable(String),
    /// The own server stops.
    #[error("the server is stopping")]
    Stopping,
}

impl Broken {
    /// Ends the connection, and says why.
    pub(super) fn close(&self, connection: &Connection) {
        let code = match self {
            Broken::Key => WRONG_KEY,
            Broken::Silent => close::DEADLINE,
            Broken::Codec(_) | Broken::Cut | Broken::Protocol(_) => close::PROTOCOL,
            Broken::Stopping => close::STOPPING,
            Broken::Refused(_) | Broken::Connection(_) | Broken::Io(_) | Broken::Unreachable(_) => {
                close::DONE
            }
        };
        connection.close(code.into(), self.to_string().as_bytes());
    }

    /// What the other end said with its close, if that says more.
    pub(super) async fn or_said(self, connection: &Connection) -> Broken {
        if matches!(self, Broken::Cut) {
            let _ = tokio::time::timeout(WHY_WITHIN, connection.closed()).await;
        }
        match connection.close_reason() {
            Some(ConnectionError::ApplicationClosed(close)) if close.error_code == WRONG_KEY.into() => {
                Broken::Key
            }
            Some(reason @ ConnectionError::ApplicationClosed(_))
                if matches!(self, Broken::Io(_) | Broken::Cut) =>
            {
                reason.into()
            }
            _ => self,
        }
    }
}

/// Takes so many bytes.
pub(super) async fn read_exact(stream: &mut RecvStream, bytes: &mut [u8]) -> Result<(), Broken> {
    let mut taken = 0;
    while taken < bytes.len() {
        let read = tokio::time::timeout(STALL, stream.read(&mut bytes[taken..]));
        match read.await.map_err(|_| Broken::Silent)?.map_err(io::Error::from)? {
            Some(more) => taken += more,
            None => return Err(Broken::Cut),
        }
    }
    Ok(())
}

/// Takes a frame.
pub(super) async fn read<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, Broken> {
    let mut length = [0; 4];
    read_exact(stream, &mut length).await?;
    let length = u32::from_le_bytes(length);
    if length as usize > MAX_FRAME {
        return Err(CodecError::TooLong { length: length.into(), limit: MAX_FRAME }.into());
    }
    let mut body = vec![0; length as usize];
    read_exact(stream, &mut body).await?;
    Ok(codec::decode(&body, "frame between nodes")?)
}

/// Takes the payloads of a block.
pub(super) async fn read_payloads(
    stream: &mut RecvStream,
    places: Vec<(Position, u32)>,
) -> Result<Vec<(Position, Bytes)>, Broken> {
    let bytes: u64 = places.iter().map(|(_, length)| u64::from(*length)).sum();
    let most = if places.len() == 1 { MAX_PAYLOAD } else { BLOCK_BYTES };
    if bytes > most as u64 {
        return Err(Broken::Protocol("a block is too large"));
    }
    let mut records = Vec::with_capacity(places.len());
    for (position, length) in places {
        let mut payload = vec![0; length as usize];
        read_exact(stream, &mut payload).await?;
        records.push((position, payload.into()));
    }
    Ok(records)
}

/// Writes a frame.
pub(super) async fn write<T: Serialize>(stream: &mut SendStream, told: &T) -> Result<(), Broken> {
    let body = codec::encode(told);
    let length = u32::try_from(body.len()).expect("frames are bounded by MAX_FRAME");
    let frame = [length.to_le_bytes().as_slice(), &body].concat();
    write_bytes(stream, frame.into()).await
}

/// Writes bytes as they are.
pub(super) async fn write_bytes(stream: &mut SendStream, mut bytes: Bytes) -> Result<(), Broken> {
    while !bytes.is_empty() {
        let next = bytes.split_to(bytes.len().min(MOST_AT_ONCE));
        let written = tokio::time::timeout(STALL, stream.write_chunk(next));
        written.await.map_err(|_| Broken::Silent)?.map_err(io::Error::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_answers_are_within_a_frame() {
        let last = Position { epoch: Epoch(u32::MAX), offset: u64::MAX };
        let block = Told::Block(vec![(last, MAX_PAYLOAD as u32); BLOCK_RECORDS]);
        let epochs = Told::Epochs(vec![(last.epoch, u64::MAX, u64::MAX); super::super::outline::MAX_EPOCHS]);
        for told in [block, epochs] {
            let bytes = codec::encode(&told);
            assert!(bytes.len() <= MAX_FRAME, "{}", bytes.len());
            assert_eq!(codec::decode::<Told>(&bytes, "told").unwrap(), told);
        }
    }
}
