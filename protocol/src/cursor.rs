//! Places in logs: sequence numbers, epochs, cursors, positions, receipts. Imports only names of ids.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::message::MessageId;
use crate::room::RoomId;

/// A place in a room's log (or an inbox). Dense: the first event has 1, and none is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The place behind this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Raised when the shared log had to be repaired; events of one epoch never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Default for Epoch {
    fn default() -> Self {
        Epoch::FIRST
    }
}

impl Epoch {
    /// The epoch every log starts in.
    pub const FIRST: Epoch = Epoch(1);
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The last event a reader has seen. Good if the server's event at `seq` is of `epoch`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch of that event.
    pub epoch: Epoch,
    /// Its place; [`Seq::ZERO`] has seen nothing.
    pub seq: Seq,
}

/// A place in the log of commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// Counts entries from 1; 0 is before the first.
    pub offset: u64,
}

impl Position {
    /// Before the first entry.
    pub const ZERO: Position = Position { epoch: Epoch::FIRST, offset: 0 };

    /// The place behind this one, in the same epoch.
    #[must_use]
    pub fn next(self) -> Position {
        Position { offset: self.offset + 1, ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

/// The acknowledgement of a message, edit, deletion or reaction: it is durable, and this is its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The room.
    pub room: RoomId,
    /// The epoch of the event.
    pub epoch: Epoch,
    /// Its place in the room.
    pub seq: Seq,
    /// The id the sender made.
    pub id: MessageId,
}

/// Milliseconds since 1970-01-01T00:00:00Z. Shown, never trusted for order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The wall clock. For shells only: what decides takes the time as an argument.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// This time and `ms` milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}
