//! Limits of the protocol. A server announces the ones it enforces in `Welcome`; the constants are the most any
//! server announces, so that both ends can bound what they read before they allocate.

use serde::{Deserialize, Serialize};

/// Longest message, in bytes of UTF-8 after unsafe characters were made visible.
///
/// With its reactions and [`MAX_ORIGINAL`] it must stay below the 32 KiB above which sled puts a value into a file of its own that is
/// never synced (facts.md).
pub const MAX_TEXT: usize = 16 * 1024;
/// Longest topic, reason, label or server name, in bytes.
pub const MAX_LINE: usize = 512;
/// Longest emoji or reaction word, in bytes.
pub const MAX_EMOJI: usize = 32;
/// Most different emoji on one message.
pub const MAX_REACTIONS: usize = 16;
/// Most reactions on one message, all emoji together.
pub const MAX_REACTORS: usize = 128;
/// The text that a message was first sent with is kept up to here once it was edited, in bytes.
pub const MAX_ORIGINAL: usize = 4 * 1024;
/// The last so many edits of a message keep their texts.
pub const MAX_EDITS_KEPT: usize = 32;
/// Most accounts named in one request (the initial members of a room).
pub const MAX_NAMES: usize = 10_000;
/// Most accounts that an `Invited` event names; the rest are counted.
pub const MAX_NAMED_IN_EVENT: usize = 16;
/// Most rooms in one `Watch` request.
pub const MAX_WATCHES: usize = 1_000;
/// Most rooms that one connection watches at a time.
pub const MAX_WATCHED: usize = 20_000;
/// Most accounts that one message mentions; the names behind them are only text.
pub const MAX_MENTIONS: usize = 32;
/// Most durable cursors of one account, in all rooms together.
pub const MAX_CONSUMERS: usize = 1_000;
/// Mentions are counted up to here.
pub const MAX_UNREAD_MENTIONS: u32 = 100;
/// Most items in one page of a listing (rooms, members), and in a listing without pages (devices, bots).
pub const MAX_LISTED: u32 = 500;
/// Most events in one `Page`; a page streams, so this bounds work, not memory.
pub const MAX_PAGE: u32 = 1_000_000;

/// Most nodes of a cluster that a client is told of.
pub const MAX_NODES: usize = 64;

/// Longest text of who is away, in bytes.
pub const MAX_AWAY: usize = 128;

/// Longest frame before the peer has said who it is, in bytes.
pub const MAX_HELLO_FRAME: usize = 4 * 1024;
/// Longest `Welcome`, in bytes: [`MAX_NODES`] nodes with hosts and names as long as they may be.
pub const MAX_WELCOME_FRAME: usize = 32 * 1024;
/// Longest request, in bytes: [`MAX_NAMES`] names of 32 bytes and their lengths.
pub const MAX_REQUEST_FRAME: usize = 384 * 1024;
/// Longest event or notice, in bytes.
pub const MAX_EVENT_FRAME: usize = 32 * 1024;
/// Longest reply, in bytes.
pub const MAX_REPLY_FRAME: usize = 384 * 1024;

/// Longest datagram, in bytes. An account name and why it is away take less.
pub const MAX_DATAGRAM: usize = 192;
/// Members of a room of at most so many are told when another one comes, goes or is away; of larger ones it is asked.
pub const MAX_TOLD_MEMBERS: u32 = 50;

/// What a server enforces, announced in `Welcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest message, in bytes.
    pub text_bytes: u32,
    /// Messages a device may send in a burst.
    pub burst_messages: u32,
    /// Messages a device may send per second after that.
    pub messages_per_second: u32,
    /// Requests a device may have unanswered.
    pub requests_in_flight: u32,
    /// A connection without a packet for this long is closed, in milliseconds.
    pub idle_timeout_ms: u32,
}
