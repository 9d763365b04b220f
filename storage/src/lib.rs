//! The storage of Quip: the journal that makes a command durable, and the store that is queried.
//!
//! Knows the types of `quip-protocol` and nothing of servers, sockets or terminals. Everything here blocks.

pub mod data_dir;
pub mod journal;
pub mod outbox;
pub mod problem;
pub mod record;
pub mod replica;
#[cfg(feature = "search")]
pub mod search;
pub mod store;

mod check;
mod database;
mod draft;
mod durable;
mod keys;
mod message_index;
mod outdated;
mod patch;
mod read;
mod timeline;
mod whole;

pub use data_dir::{DataDir, DataDirError};
pub use journal::{Checked, EpochSpan, Journal, JournalError, JournalOptions, JournalReader, Replay};
pub use outbox::{Outbox, OutboxError};
pub use outdated::{Piece, Stretch};
pub use problem::Problem;
pub use replica::{Copied, Replica, ReplicaError};
pub use store::{Frames, Ids, Opened, Store, StoreError, StoreOptions};
pub use whole::Behind;
