//! Datagrams: what client and server say to each other beside frames, because it may be lost.

use serde::{Deserialize, Serialize};

use crate::name::AccountName;
use crate::room::RoomId;
use crate::safe_text::SafeLine;

/// What is said in a datagram, which is a frame without its length, of at most [`crate::limits::MAX_DATAGRAM`] bytes.
/// It may be lost without harm: it is neither stored, queued nor answered, and what is malformed or too much is
/// dropped without a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datagram {
    /// By the client: this account writes a message in the room. Said again every few seconds while it does.
    Typing {
        /// Where.
        room: RoomId,
    },
    /// By the server: somebody else writes a message in a room that is watched.
    TypingBy {
        /// Where.
        room: RoomId,
        /// Who.
        who: AccountName,
    },
    /// By the server: how another member of a small room that is watched is from now on.
    Presence {
        /// Who.
        who: AccountName,
        /// How.
        now: Presence,
    },
}

/// How an account is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Presence {
    /// No device is connected.
    Offline,
    /// Every connected device is away.
    Away {
        /// Why, of at most [`crate::limits::MAX_AWAY`] bytes.
        text: SafeLine,
    },
    /// A device is active.
    Online,
}
