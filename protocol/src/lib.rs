//! The protocol of Quip: what client, server and bots agree on.
//!
//! Types and codec are pure: no sockets, no clock, no terminal. The feature `transport` adds frames on QUIC
//! streams and TLS identities; the feature `client` adds [`client`], which bots and the terminal client use.

pub mod codec;
pub mod cursor;
pub mod error;
pub mod event;
pub mod frame;
pub mod identity;
pub mod limits;
pub mod link;
pub mod message;
pub mod name;
pub mod room;
pub mod safe_text;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "transport")]
pub mod transport;

pub use cursor::{Cursor, Epoch, Position, Receipt, Seq, Timestamp};
pub use error::{ErrorCode, Refusal};
pub use event::{Event, EventBody, Notice, NoticeBody};
pub use identity::{DeviceKey, Fingerprint, Identity};
pub use link::{InviteCode, ServerLink};
pub use message::{Message, MessageId, MessageKind, Reaction};
pub use name::{AccountName, RoomName, Target};
pub use room::{AccountId, Role, RoomId, RoomKind};
pub use safe_text::{SafeLine, SafeText};
