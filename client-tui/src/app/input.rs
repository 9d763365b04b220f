//! What happens to the client: keys, pastes, sizes, and what comes from the server, as plain data. Imports types of
//! the protocol alone.

use quip_protocol::frame::{Reply, Request, Welcome};
use quip_protocol::{Cursor, Event, MessageId, NodeSummary, Notice, Receipt, Refusal, RoomId, SafeLine, Seq};
use quip_storage::search::{Found, Query};

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
    /// Arrow up with Shift, where Alt is pressed as well.
    ShiftUp,
    /// Arrow down with Shift, where Alt is pressed as well.
    ShiftDown,
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

/// What a mouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mouse {
    /// Its wheel turns up.
    WheelUp,
    /// Its wheel turns down.
    WheelDown,
    /// Its left button is pressed.
    Click,
}

/// Keys with names.
const NAMED: &[(&str, Code)] = &[
    ("enter", Code::Enter),
    ("esc", Code::Esc),
    ("tab", Code::Tab),
    ("backtab", Code::BackTab),
    ("backspace", Code::Backspace),
    ("delete", Code::Delete),
    ("left", Code::Left),
    ("right", Code::Right),
    ("up", Code::Up),
    ("down", Code::Down),
    ("shift-up", Code::ShiftUp),
    ("shift-down", Code::ShiftDown),
    ("home", Code::Home),
    ("end", Code::End),
    ("pageup", Code::PageUp),
    ("pagedown", Code::PageDown),
    ("space", Code::Char(' ')),
];

impl std::str::FromStr for Key {
    type Err = String;

    /// Reads `ctrl+k`, `alt+enter`, `f5`.
    fn from_str(text: &str) -> Result<Key, String> {
        let text = text.trim().to_lowercase();
        let (mut ctrl, mut alt, mut rest) = (false, false, text.as_str());
        loop {
            let shorter = match (rest.strip_prefix("ctrl+"), rest.strip_prefix("alt+")) {
                (Some(shorter), _) => (&mut ctrl, shorter),
                (_, Some(shorter)) => (&mut alt, shorter),
                (None, None) => break,
            };
            *shorter.0 = true;
            rest = shorter.1;
        }
        let named = NAMED.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
        let function = rest.strip_prefix('f').and_then(|n| n.parse().ok()).filter(|n| (1..=24).contains(n));
        let mut chars = rest.chars();
        let code = match (named, function, chars.next(), chars.next()) {
            (Some(code), ..) => code,
            (None, Some(number), ..) => Code::F(number),
            (None, None, Some(c), None) if ctrl || alt => Code::Char(c),
            (None, None, Some(_), None) => return Err("a letter alone is for writing".to_owned()),
            _ => return Err(format!("{rest} is no key")),
        };
        Ok(Key { code, ctrl, alt })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ctrl = if self.ctrl { "Ctrl+" } else { "" };
        let alt = if self.alt { "Alt+" } else { "" };
        write!(f, "{ctrl}{alt}")?;
        match (NAMED.iter().find(|(_, code)| *code == self.code), self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, Code::Char(c)) => write!(f, "{}", c.to_uppercase()),
            (None, Code::F(number)) => write!(f, "F{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
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
    /// A line was typed, where there are no keys.
    Line(String),
    /// The mouse did something at a cell.
    Mouse {
        /// What.
        what: Mouse,
        /// The cell's column.
        x: u16,
        /// The cell's row.
        y: u16,
    },
    /// The terminal's window is looked at, or not any more.
    Focus(bool),
    /// What the user's editor left, or why it did not work.
    Composed(Result<String, SafeLine>),
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
    /// Where a very large room stands: events up to there that have not come do not come.
    Digest(quip_protocol::room::Digest),
    /// Somebody writes a message.
    Typing {
        /// Where.
        room: RoomId,
        /// Who.
        who: quip_protocol::AccountName,
    },
    /// Somebody comes, goes or is away.
    Presence {
        /// Who.
        who: quip_protocol::AccountName,
        /// How they are now.
        now: quip_protocol::datagram::Presence,
    },
    /// Events behind `keep` are not of the server's log any more; what replaces them follows.
    Reset {
        /// The room.
        room: RoomId,
        /// The last event that is surely the same.
        keep: Cursor,
        /// The newest of what follows.
        head: Cursor,
    },
    /// These messages did not come again after a reset.
    Lost {
        /// The room.
        room: RoomId,
        /// As they were, by their old places.
        events: Vec<Event>,
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
    /// Older events that are for the local copy alone.
    Older {
        /// The room.
        room: RoomId,
        /// Down to where they were asked for.
        floor: Seq,
        /// Oldest first, up to where they were asked for; those are missing first that are nearer to `floor`.
        events: Vec<Event>,
        /// The room's newest event when they were read.
        head: Cursor,
    },
    /// The local copy has all of the room's events from here on.
    Brought {
        /// The room.
        room: RoomId,
        /// The first of them.
        whole: Seq,
    },
    /// Older events did not come.
    NotBrought {
        /// The room.
        room: RoomId,
        /// Why.
        why: Failure,
    },
    /// A delivery is durable.
    Receipt(Receipt),
    /// A delivery is not taken for now, and sent again until it is.
    HeldUp(Refusal),
    /// The server writes nothing now, and why.
    ReadOnly(SafeLine),
    /// It writes again.
    Writable,
    /// The nodes of the cluster, the one that this client is connected to first.
    Nodes(Vec<NodeSummary>),
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
    /// What lay on the disk, once, at the start; or why nothing can be kept there.
    Local(Result<super::Loaded, SafeLine>),
    /// A block of code was read.
    Highlighted {
        /// As it is written: the language, a line end, the code.
        block: String,
        /// Its words; `None` if the language is not known.
        words: Option<super::highlights::Words>,
    },
    /// The search index has looked at more of the local copy.
    Indexed,
    /// What came of [`super::Effect::Search`].
    Found {
        /// What was looked for.
        query: Query,
        /// Messages that fit, the newest first; or why it could not be looked for.
        found: Result<Vec<Found>, SafeLine>,
        /// How many events the index has yet to look at; `u64::MAX` while that is not known.
        remaining: u64,
    },
    /// The server knows that the account has read up to here, or does not want to.
    Marked {
        /// The room.
        room: RoomId,
        /// Up to where.
        seq: Seq,
    },
    /// Messages of the local copy that name the account.
    Mentions(Vec<super::mentions::Mention>),
    /// The read marker could not be moved.
    MarkFailed {
        /// The room.
        room: RoomId,
        /// Up to where.
        seq: Seq,
    },
}
