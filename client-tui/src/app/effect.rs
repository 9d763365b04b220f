//! What is to be done for the client: data that the shell performs. Imports types of the
//! protocol, and the index's query.

use std::collections::BTreeMap;

use quip_protocol::frame::{PageFrom, Request};
use quip_protocol::{MessageId, RoomId, SafeLine, Seq, Target};
use quip_storage::search::Query;

use super::alerts::Level;
use super::desk::Beside;

/// Something that the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a `Post`, `Edit`, `Delete` or `React`, and again after each reconnect until there is a receipt or a
    /// refusal for its id: [`super::Input::Receipt`], [`super::Input::Refused`].
    Deliver(Request),
    /// Forget a delivery: the user has its text back, or the server does not take it.
    Forget(MessageId),
    /// Ask once: [`super::Input::Answer`]. `Watch` and `WatchInbox` hold across reconnects.
    Ask(Request),
    /// Fetch events of a room: [`super::Input::Page`], [`super::Input::PageFailed`].
    FetchPage {
        /// The room.
        room: RoomId,
        /// Its name.
        target: Target,
        /// Which events.
        from: PageFrom,
        /// How many at most.
        limit: u32,
    },
    /// Bring older events of a room into the local copy, a piece of them, newest first, where nothing else is to be
    /// done: [`super::Input::Brought`], [`super::Input::NotBrought`].
    Bring {
        /// The room.
        room: RoomId,
        /// Its name.
        target: Target,
        /// From here on all are there.
        below: Seq,
        /// Down to here they are wanted.
        floor: Seq,
    },
    /// Move the account's read marker forward.
    Mark {
        /// The room.
        room: RoomId,
        /// The last event read.
        seq: Seq,
    },
    /// Tell the others in a room that the user writes a message. It may be lost.
    Typing(RoomId),
    /// Look for messages that name this account in the local copy: [`super::Input::Mentions`].
    FindMentions(quip_protocol::AccountName),
    /// Look in the local copy: [`super::Input::Found`], for the last one at least.
    Search {
        /// For what.
        query: Query,
        /// How many messages at most.
        most: u32,
    },
    /// Ring.
    Bell,
    /// Call the user, who does not look: ring, and tell the desktop.
    Alert {
        /// Where it is.
        title: SafeLine,
        /// What it is.
        text: SafeLine,
    },
    /// Keep what calls the user, by room.
    KeepLevels(BTreeMap<Target, Level>),
    /// Take the mouse, or give it back.
    Mouse(bool),
    /// Put this into the user's clipboard.
    Copy(String),
    /// Show this in the user's pager.
    Show(String),
    /// Let the user write this on in their editor: [`super::Input::Composed`].
    Compose(String),
    /// Stop as Ctrl+Z does.
    Suspend,
    /// Paint everything anew.
    Redraw,
    /// What may be about other servers: [`super::Desk`] does it.
    Beside(Beside),
    /// End the program.
    Quit,
}
