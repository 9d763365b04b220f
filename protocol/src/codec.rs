//! Bytes: the frame layout and the one place that knows bincode.
//!
//! A frame is `length: u32 (little endian)`, `kind: u8`, `body`; the length counts kind and body. Bodies are
//! bincode 1.3 with variable-length integers. bincode ignores its limit on slices and so makes 20 million elements
//! of 9 bytes (facts.md); here it only ever reads through a reader that is bounded by the frame, which is itself
//! bounded before anything is allocated.
//!
//! What is stored of an event is its frame without the length: `kind` is the version byte. So a page copies bytes.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bincode::Options;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::datagram::Datagram;
use crate::event::{Event, Notice};
use crate::limits::MAX_DATAGRAM;

/// Bytes of the length prefix.
pub const LENGTH_BYTES: usize = 4;

/// What a frame's body is, and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// [`crate::frame::Hello`]
    Hello = 1,
    /// [`crate::frame::Welcome`]
    Welcome = 2,
    /// [`crate::frame::Labelled`]`<`[`crate::frame::Request`]`>`
    Request = 3,
    /// [`crate::frame::Labelled`]`<`[`crate::frame::Reply`]`>`
    Reply = 4,
    /// [`crate::frame::Push`]
    Push = 5,
    /// [`crate::frame::PageRequest`]
    Page = 6,
    /// [`crate::frame::PageEnd`]
    PageEnd = 7,
    /// [`crate::datagram::Datagram`]
    Datagram = 8,
    /// [`crate::event::Event`], first version.
    Event = 0x11,
    /// [`crate::event::Notice`], first version.
    Notice = 0x12,
}

impl FrameKind {
    const ALL: [FrameKind; 10] = [
        FrameKind::Hello,
        FrameKind::Welcome,
        FrameKind::Request,
        FrameKind::Reply,
        FrameKind::Push,
        FrameKind::Page,
        FrameKind::PageEnd,
        FrameKind::Datagram,
        FrameKind::Event,
        FrameKind::Notice,
    ];

    fn from_byte(byte: u8) -> Option<FrameKind> {
        FrameKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A frame that says it is longer than its reader takes.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// What it says.
        length: u64,
        /// What is taken.
        limit: usize,
    },
    /// A frame without a kind, or of a kind that is not known here.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A frame of another kind than the one expected.
    #[error("expected a frame of kind {expected:?}, got {found:?}")]
    Unexpected {
        /// Expected.
        expected: FrameKind,
        /// Found.
        found: FrameKind,
    },
    /// The body is not a value of its kind.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The body has a list that is longer than its limit.
    #[error("a list in a {0} is over its limit")]
    TooMany(&'static str),
}

fn options(limit: usize) -> impl Options {
    bincode::DefaultOptions::new().with_varint_encoding().with_limit(limit as u64).reject_trailing_bytes()
}

/// Encodes a value without a frame, as it is kept in journal and store.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, value);
    bytes
}

fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    options(usize::MAX)
        .serialize_into(bytes, value)
        .expect("protocol types have no maps of unknown length and writing to memory does not fail");
}

/// Decodes a value that fills `bytes`. Never allocates more than a small multiple of their length.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, CodecError> {
    let mut rest = bytes;
    let value = options(bytes.len()).deserialize_from(&mut rest).map_err(|error| match *error {
        bincode::ErrorKind::Custom(text) if text == TOO_MANY => CodecError::TooMany(what),
        _ => CodecError::Malformed(what),
    })?;
    // The reader functions do not look at what is left.
    if rest.is_empty() { Ok(value) } else { Err(CodecError::Malformed(what)) }
}

/// How a list over its limit says so through serde.
const TOO_MANY: &str = "a list over its limit";

/// Decodes a list of at most `MAX` elements. A length over that is refused before an element is read, and any other
/// is not believed: serde would set aside up to 1 MiB for nine bytes that claim millions of elements. For
/// `#[serde(deserialize_with)]` on every list of the protocol.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    struct Elements<T, const MAX: usize>(PhantomData<T>);
    impl<'de, T: serde::Deserialize<'de>, const MAX: usize> serde::de::Visitor<'de> for Elements<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            // bincode knows the length beforehand.
            if elements.size_hint().is_none_or(|length| length > MAX) {
                return Err(serde::de::Error::custom(TOO_MANY));
            }
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                list.push(element);
            }
            Ok(list)
        }
    }
    deserializer.deserialize_seq(Elements::<T, MAX>(PhantomData))
}

/// A buffer that frames are encoded in is kept for the next one, up to this size in bytes.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static SCRATCHED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes a whole frame. It takes exactly its length: frames are kept by the hundred thousand, and a vector that grew
/// holds up to twice that.
pub fn encode_frame<T: Serialize>(kind: FrameKind, body: &T) -> Bytes {
    let mut bytes = SCRATCHED.take();
    bytes.clear();
    bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    bytes.push(kind as u8);
    encode_into(&mut bytes, body);
    let length = u32::try_from(bytes.len() - LENGTH_BYTES).expect("bodies are bounded far below 4 GiB");
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    let frame = Bytes::copy_from_slice(&bytes);
    if bytes.capacity() <= SCRATCH {
        SCRATCHED.set(bytes);
    }
    frame
}

/// A frame as it was read: its kind, and its body yet to be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// The body.
    pub body: Bytes,
}

impl Frame {
    /// Decodes the body, which must be of `kind`.
    pub fn decode<T: DeserializeOwned>(&self, kind: FrameKind, what: &'static str) -> Result<T, CodecError> {
        if self.kind != kind {
            return Err(CodecError::Unexpected { expected: kind, found: self.kind });
        }
        decode(&self.body, what)
    }

    /// The label that a request or reply begins with, also of one whose rest cannot be decoded.
    pub fn label(&self) -> Option<u32> {
        options(self.body.len()).deserialize_from(&mut self.body.as_ref()).ok()
    }

    /// The frame without its length, as events are stored.
    pub fn from_stored(stored: &Bytes) -> Result<Frame, CodecError> {
        let byte = *stored.first().ok_or(CodecError::Malformed("frame"))?;
        let kind = FrameKind::from_byte(byte).ok_or(CodecError::Kind(byte))?;
        Ok(Frame { kind, body: stored.slice(1..) })
    }
}

/// Takes one frame from the front of `buffer` if all of it is there. A length over `limit` is an error before
/// anything is allocated for it.
pub fn take_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Frame>, CodecError> {
    let Some(length) = buffer.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_le_bytes(*bytes)) else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > limit {
        return Err(CodecError::TooLong { length: length as u64, limit });
    }
    if buffer.len() < LENGTH_BYTES + length {
        buffer.reserve(LENGTH_BYTES + length - buffer.len());
        return Ok(None);
    }
    let bytes = buffer.split_to(LENGTH_BYTES + length).freeze();
    Frame::from_stored(&bytes.slice(LENGTH_BYTES..)).map(Some)
}

/// Puts a length before stored bytes: the frame they were.
pub fn put_stored(buffer: &mut impl BufMut, stored: &[u8]) {
    buffer.put_u32_le(u32::try_from(stored.len()).expect("stored events are bounded by MAX_EVENT_FRAME"));
    buffer.put_slice(stored);
}

/// An event's whole frame, as feeds hold it and sessions write it.
pub fn encode_event(event: &Event) -> Bytes {
    encode_frame(FrameKind::Event, event)
}

/// A notice's whole frame.
pub fn encode_notice(notice: &Notice) -> Bytes {
    encode_frame(FrameKind::Notice, notice)
}

/// A whole datagram: its frame without the length, which the datagram has.
pub fn encode_datagram(datagram: &Datagram) -> Bytes {
    encode_frame(FrameKind::Datagram, datagram).slice(LENGTH_BYTES..)
}

/// Decodes a datagram.
pub fn decode_datagram(bytes: &[u8]) -> Result<Datagram, CodecError> {
    if bytes.len() > MAX_DATAGRAM {
        return Err(CodecError::TooLong { length: bytes.len() as u64, limit: MAX_DATAGRAM });
    }
    decode_stored(bytes, FrameKind::Datagram, "datagram")
}

/// Decodes stored bytes of an event (its frame without the length).
pub fn decode_stored_event(stored: &[u8]) -> Result<Event, CodecError> {
    decode_stored(stored, FrameKind::Event, "event")
}

/// Decodes stored bytes of a notice (its frame without the length).
pub fn decode_stored_notice(stored: &[u8]) -> Result<Notice, CodecError> {
    decode_stored(stored, FrameKind::Notice, "notice")
}

fn decode_stored<T: DeserializeOwned>(
    stored: &[u8],
    kind: FrameKind,
    what: &'static str,
) -> Result<T, CodecError> {
    match stored.split_first() {
        Some((byte, body)) if *byte == kind as u8 => decode(body, what),
        Some((byte, _)) => Err(CodecError::Kind(*byte)),
        None => Err(CodecError::Malformed(what)),
    }
}
