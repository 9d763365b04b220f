//! What is to be done for the client: data that the shell performs. Imports types of the protocol alone.

use quip_protocol::frame::{PageFrom, Request};
use quip_protocol::{RoomId, Seq, Target};

/// Something that the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send a `Post`, `Edit`, `Delete` or `React`, and again after each reconnect until there is a receipt or a
    /// refusal for its id: [`super::Input::Receipt`], [`super::Input::Refused`].
    Deliver(Request),
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
    /// Move the account's read marker forward.
    Mark {
        /// The room.
        room: RoomId,
        /// The last event read.
        seq: Seq,
    },
    /// Ring.
    Bell,
    /// Stop as Ctrl+Z does.
    Suspend,
    /// Paint everything anew.
    Redraw,
    /// End the program.
    Quit,
}
