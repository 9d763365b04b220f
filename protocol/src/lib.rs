//! The protocol of Quip: what client, server and bots agree on, and the async client that bots are written with.
//!
//! # A bot
//!
//! ```no_run
//! use quip_protocol::client::{Client, Event};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), quip_protocol::client::Error> {
//!     let mut client = Client::from_env().await?;               // QUIP_SERVER, QUIP_TOKEN
//!     let ops = client.join("#ops").await?;
//!     while let Some(event) = client.next().await {             // reconnects and resumes by itself
//!         if let Event::Message(message) = event? && message.text() == "ping" {
//!             client.send(&ops, "pong").await?;                 // Receipt once it is durable
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! `quip token new NAME` prints a token and what to export. `examples/` has two whole bots.
//!
//! # What is promised
//!
//! - **A receipt means durable.** [`client::Handle::send`] returns when the message is on the server's disk. Every
//!   message has an id made by its sender; it is sent again with the same id over every reconnect, and the server
//!   answers a repeated id with the first receipt. So it is there once, or you have the error.
//! - **No holes.** [`Seq`] is dense in each room. [`client::Client::next`] returns the events of a watched room in
//!   order, each once, across reconnects. If the server's log had to be repaired, [`client::Event::Reset`] says from
//!   where on what you have is not true.
//! - **A slow reader loses nothing.** It holds the server back, and is served from the log when it comes back.
//! - **The right server.** It is pinned by the [`Fingerprint`] of its key, and must sign with that key in each
//!   handshake. This device is its Ed25519 key, an [`Identity`]; there are no passwords.
//! - **Safe text.** What others wrote is [`SafeText`] or [`SafeLine`] as soon as it is decoded: no escape sequence
//!   and no direction override reaches your terminal, log or file.
//! - **Bounded.** A frame's length is checked before anything is allocated for it, and [`limits`] has them all.
//!
//! # Layers and features
//!
//! Types and [`codec`] are pure: no sockets, no clock, no terminal. The feature `transport` adds frames on QUIC
//! streams and TLS identities; the feature `client`, on by default, adds [`client`].

pub mod codec;
pub mod cursor;
pub mod datagram;
pub mod error;
pub mod event;
pub mod frame;
pub mod identity;
pub mod limits;
pub mod link;
pub mod message;
pub mod name;
pub mod node;
pub mod room;
pub mod safe_text;

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "transport")]
pub mod tls;
#[cfg(feature = "transport")]
pub mod transport;

pub use cursor::{Cursor, Epoch, Position, Receipt, Seq, Timestamp};
pub use error::{ErrorCode, Refusal};
pub use event::{Event, EventBody, Notice, NoticeBody};
pub use identity::{DeviceKey, Fingerprint, Identity};
pub use link::{InviteCode, ServerLink};
pub use message::{Message, MessageId, MessageKind, Reaction};
pub use name::{AccountName, ConsumerName, NodeName, RoomName, Target};
pub use node::{Address, NodeAddress, NodeSummary};
pub use room::{AccountId, Role, RoomId, RoomKind};
pub use safe_text::{SafeLine, SafeText};
