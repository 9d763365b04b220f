//! What happens to the client: keys, pastes, sizes, and what comes from the server, as plain data. Imports types of
//! the protocol alone.

use quip_protocol::frame::{Reply, Request, Welcome};
use quip_protocol::{Cursor, Event, MessageId, Notice, Receipt, Refusal, RoomId, SafeLine, Seq};

/// A key of the keyboard, without its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A character as typed; upper case stands for Shift.
    Char(char),
    /// A function key.
    F(u8),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
}

/// A key as pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which.
    pub code: Code,
    /// With Ctrl.
    pub ctrl: bool,
    /// With Alt.
    pub alt: bool,
}

impl Key {
    /// The key alone.
    pub const fn plain(code: Code) -> Key {
        Key { code, ctrl: false, alt: false }
    }

    /// The key with Ctrl.
    pub const fn ctrl(code: Code) -> Key {
        Key { code, ctrl: true, alt: false }
    }

    /// The key with Alt.
    pub const fn alt(code: Code) -> Key {
        Key { code, ctrl: false, alt: true }
    }
}

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The server refused it.
    Refused(Refusal),
    /// It could not be asked, or the answer did not come; one line for the user.
    Unanswered(SafeLine),
}

impl Failure {
    /// The line for the user.
    pub fn text(&self) -> &str {
        match self {
            Failure::Refused(refusal) => refusal.text.as_str(),
            Failure::Unanswered(why) => why.as_str(),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A key was pressed.
    Key(Key),
    /// A bracketed paste.
    Paste(String),
    /// The terminal's size.
    Resize {
        /// Cells across.
        columns: u16,
        /// Cells down.
        rows: u16,
    },
    /// Time has passed.
    Tick,
    /// The connection is made, again or for the first time.
    Up(Welcome),
    /// The connection is lost.
    Down {
        /// Why, in one line.
        why: SafeLine,
        /// When the next attempt is made, in milliseconds from now; `None` if there will be none.
        retry_in_ms: Option<u64>,
    },
    /// An event of a watched room.
    Event(Event),
    /// A notice of the account's inbox.
    Notice(Notice),
    /// Events behind `keep` are not of the server's log any more; what replaces them follows.
    Reset {
        /// The room.
        room: RoomId,
        /// The last event that is surely the same.
        keep: Cursor,
    },
    /// No more events of this room.
    Unwatched {
        /// The room.
        room: RoomId,
        /// Why.
        refusal: Refusal,
    },
    /// A page that was asked for.
    Page {
        /// The room.
        room: RoomId,
        /// Which page was asked for.
        from: quip_protocol::frame::PageFrom,
        /// Its events, oldest first.
        events: Vec<Event>,
        /// The room's newest event when the page was read.
        head: Cursor,
    },
    /// A page did not come.
    PageFailed {
        /// The room.
        room: RoomId,
        /// Why.
        why: Failure,
    },
    /// A delivery is durable.
    Receipt(Receipt),
    /// A delivery was refused, for good.
    Refused {
        /// The id of the delivery.
        id: MessageId,
        /// Why.
        refusal: Refusal,
    },
    /// What came of [`super::Effect::Ask`].
    Answer {
        /// What was asked.
        request: Request,
        /// The reply; never [`Reply::Refused`].
        answer: Result<Reply, Failure>,
    },
    /// Lines to show once, such as an invite link.
    Show {
        /// A headline.
        title: SafeLine,
        /// The lines.
        lines: Vec<SafeLine>,
    },
    /// The read marker could not be moved.
    MarkFailed {
        /// The room.
        room: RoomId,
        /// Up to where.
        seq: Seq,
    },
}
