//! How a room is watched, and what the server makes of it. Imports the words of rooms.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::cursor::Cursor;
use crate::error::Refusal;
use crate::room::{Digest, RoomId};

/// How rooms are watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Watch {
    /// Every event comes.
    #[default]
    Live,
    /// Of a very large room it is told now and then where it stands; of others every event comes.
    Digest,
}

impl Watch {
    /// The request to watch rooms so.
    pub fn request(self, rooms: Vec<(RoomId, Option<Cursor>)>) -> Request {
        match self {
            Watch::Live => Request::Watch { rooms },
            Watch::Digest => Request::Digest { rooms },
        }
    }
}

/// What became of one watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchState {
    /// Events behind `from` follow.
    Live {
        /// The room.
        room: RoomId,
        /// The last event that the reader is taken to have.
        from: Cursor,
        /// The newest event now.
        head: Cursor,
    },
    /// The cursor is not of this log: what the reader has behind `keep` is to be thrown away and fetched again.
    /// Events behind `keep` follow.
    Reset {
        /// The room.
        room: RoomId,
        /// The last event that is surely the same.
        keep: Cursor,
        /// The newest event now.
        head: Cursor,
    },
    /// This account may not read the room.
    Refused {
        /// The room.
        room: RoomId,
        /// Why.
        refusal: Refusal,
    },
    /// Only to [`Request::Digest`]: this is where the room stands now. Events up to there do not come.
    Digest(Digest),
}
