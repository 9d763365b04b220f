//! The client as a pure machine: [`App::handle`] takes an [`Input`] and the time, and returns [`Effect`]s. Imports
//! the protocol's types; no terminal, no socket, no clock, no randomness of its own.

mod alerts;
pub mod blocks;
pub mod commands;
pub mod complete;
pub mod composer;
pub mod dates;
pub mod desk;
pub mod digests;
pub mod effect;
pub mod emoji;
mod execute;
pub mod first_run;
mod fuzzy;
mod held;
pub mod highlights;
mod holes;
pub mod input;
mod keep_up;
pub mod keymap;
mod keys;
mod line;
pub mod list;
pub mod local;
mod lost;
mod markers;
pub mod mentions;
mod mouse;
mod network;
mod noise;
mod notices;
pub mod older;
pub mod outbox;
pub mod panes;
pub mod plain;
pub mod presence;
pub mod prompt;
mod prompting;
pub mod query;
mod refused;
pub mod room;
pub mod rows;
pub mod runs;
mod said;
pub mod scroll;
pub mod search;
mod selected;
pub mod sheet;
pub mod status;
pub mod text;
pub mod timeline;
mod typing;
mod watching;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::tz::TimeZone;
use quip_protocol::frame::Request;
use quip_protocol::limits::Limits;
use quip_protocol::room::AccountSummary;
use quip_protocol::{AccountName, Cursor, MessageId, RoomId, SafeLine, Seq, ServerLink, Target, Timestamp};

pub use alerts::Level;
pub use complete::Completion;
pub use composer::{About, Composer};
pub use desk::{Beside, Desk, Seen, Server};
pub use effect::Effect;
pub use input::{Code, Failure, Input, Key};
pub use local::Loaded;
pub use prompt::Prompt;
pub use sheet::Sheet;

use composer::History;
use highlights::Highlights;
use outbox::Outbox;
use panes::Panes;
use room::Rooms;
use rows::Layout;

/// Events in one page.
pub const PAGE: u32 = 50;
/// Events in one page where much is missing.
const LARGE_PAGE: u32 = 500;
/// What failed is asked again after this long, in milliseconds.
const AGAIN_MS: u64 = 3_000;
/// The member list that is seen is asked for this often, in milliseconds: of a room in which the server tells of changes,
/// and of a larger one.
const TOLD_MEMBERS_EVERY_MS: u64 = 300_000;
const MEMBERS_EVERY_MS: u64 = 30_000;
/// The bell rings at most this often, in milliseconds.
const BELL_EVERY_MS: u64 = 2_000;
/// What is said in the status line is said this long, in milliseconds.
const SAID_MS: u64 = 8_000;

/// What an [`App`] begins with.
pub struct Setup {
    /// The server's address, or its link with the fingerprint, which invite links are then made of.
    pub server: String,
    /// The user's zone.
    pub zone: TimeZone,
    /// Makes idempotency keys.
    pub new_id: Box<dyn FnMut() -> MessageId + Send>,
}

/// What the user prefers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preferences {
    /// Keys.
    pub keys: keymap::Keymap,
    /// What calls the user in rooms without a level of their own.
    pub notify: Level,
    /// What calls the user, by room.
    pub levels: BTreeMap<Target, Level>,
    /// Whether the mouse does something.
    pub mouse: bool,
    /// Whether the others are told that the user types.
    pub typing: bool,
    /// The user counts as away after so many milliseconds without a key; never with 0.
    pub away_after_ms: u64,
    /// How much of each room is brought into the local copy.
    pub keep: older::Keep,
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// It is being made.
    Connecting,
    /// It is there.
    Up,
    /// It is lost.
    Down {
        /// Why.
        why: SafeLine,
        /// When it is tried again.
        retry_at: Option<Timestamp>,
    },
}

/// A word to the user in the status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The word.
    pub text: String,
    /// Whether something did not work.
    pub is_error: bool,
    until: Timestamp,
}

/// The client.
pub struct App {
    /// The account.
    pub(crate) me: Option<AccountName>,
    /// What the server is called.
    pub(crate) server: SafeLine,
    link: Option<ServerLink>,
    pub(crate) zone: TimeZone,
    new_id: Box<dyn FnMut() -> MessageId + Send>,
    /// The terminal's columns and rows.
    pub(crate) size: (u16, u16),
    /// When the last input came.
    pub(crate) now: Timestamp,
    pub(crate) connection: Connection,
    /// Since when it is so.
    link_since: Timestamp,
    /// Why the server takes nothing for now.
    held: Option<held::Held>,
    /// The node of a cluster that this client is connected to, or was last.
    node: Option<held::OwnNode>,
    /// The refused message that is selected.
    picked: Option<MessageId>,
    limits: Option<Limits>,
    inbox_watched: bool,
    /// Something could not be watched, or the rooms not be listed: it is tried again then.
    watch_at: Option<Timestamp>,
    /// The newest notice that was taken when this began.
    inbox: Option<Cursor>,
    /// What came of the notices up to here is in the list of rooms that was asked for after them.
    inbox_told: Seq,
    older: older::Older,
    /// There are a replica and an outbox on the disk.
    pub(crate) local: bool,
    pub(crate) rooms: Rooms,
    /// Rooms as they come, until the list is complete.
    listing: Vec<quip_protocol::room::RoomSummary>,
    pub(crate) listed_once: bool,
    /// The user wants to be here as soon as it is known.
    going: Option<Target>,
    /// The user wants to see this room's members.
    asked_members: Option<RoomId>,
    /// The user wants to see this account; whether it is away is yet to come.
    asked_account: Option<AccountSummary>,
    commanded: Option<refused::Commanded>,
    pub(crate) outbox: Outbox,
    pub(crate) composer: Composer,
    history: History,
    cut: String,
    pub(crate) completion: Option<Completion>,
    pub(crate) sheet: Option<Sheet>,
    /// What is asked in the composer's place.
    pub(crate) prompt: Option<Prompt>,
    /// A message that was looked for is shown.
    jump: Option<search::Jump>,
    /// Long messages that are shown whole.
    unfolded: BTreeSet<(RoomId, Seq)>,
    highlights: Highlights,
    /// Ctrl+X was pressed.
    prefixed: bool,
    /// There are other servers on the desk.
    beside: bool,
    preferences: Preferences,
    /// The terminal's window is looked at, as far as it says so.
    focused: bool,
    /// The user types lines, and has no keys.
    lines: bool,
    /// The room that is seen is looked at without being read.
    pub(crate) peeking: bool,
    own: presence::Own,
    typing: typing::Typing,
    pub(crate) said: Option<Said>,
    quit_asked: bool,
    rang_at: Timestamp,
    changed: bool,
    effects: Vec<Effect>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("me", &self.me)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl App {
    /// A client that knows nothing yet.
    pub fn new(setup: Setup, now: Timestamp) -> App {
        let link = setup.server.parse::<ServerLink>().ok();
        let server = link.as_ref().map_or_else(|| setup.server.clone(), ServerLink::address);
        let server = server.strip_prefix("quip://").unwrap_or(&server);
        App {
            me: None,
            server: SafeLine::new(server),
            link,
            zone: setup.zone,
            new_id: setup.new_id,
            size: (80, 24),
            now,
            connection: Connection::Connecting,
            link_since: now,
            held: None,
            node: None,
            picked: None,
            limits: None,
            inbox_watched: false,
            watch_at: None,
            inbox: None,
            inbox_told: Seq::ZERO,
            older: older::Older::default(),
            local: false,
            rooms: Rooms::default(),
            listing: Vec::new(),
            listed_once: false,
            going: None,
            asked_members: None,
            asked_account: None,
            commanded: None,
            outbox: Outbox::default(),
            composer: Composer::default(),
            history: History::default(),
            cut: String::new(),
            completion: None,
            sheet: None,
            prompt: None,
            jump: None,
            unfolded: BTreeSet::new(),
            highlights: Highlights::default(),
            prefixed: false,
            beside: false,
            preferences: Preferences::default(),
            focused: true,
            lines: false,
            peeking: false,
            own: presence::Own::new(now),
            typing: typing::Typing::default(),
            said: None,
            quit_asked: false,
            rang_at: Timestamp::default(),
            changed: true,
            effects: Vec::new(),
        }
    }

    /// The server called itself so the last time.
    pub fn call_server(&mut self, name: SafeLine) {
        self.server = name;
    }

    /// Follows what the user prefers from now on.
    pub fn prefer(&mut self, preferences: Preferences) {
        self.preferences = preferences;
    }

    /// Takes what happened at `now`. Returns what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.now = now;
        let shown = self.said.is_some();
        self.said = self.said.take().filter(|said| said.until > now);
        let counting = matches!(self.connection, Connection::Down { retry_at: Some(_), .. });
        // Only what is said of the connection depends on the time.
        let counting = counting || self.connection == Connection::Connecting;
        self.changed |= input != Input::Tick || counting || shown != self.said.is_some();
        self.changed |= self.typing.pass(now);
        self.note_activity(&input);
        let is_event = matches!(input, Input::Event(_));
        let looks = matches!(
            input,
            Input::Key(_)
                | Input::Line(_)
                | Input::Mouse { .. }
                | Input::Resize { .. }
                | Input::Page { .. }
                | Input::Tick
        );
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Line(text) => self.line(&text),
            Input::Resize { columns, rows } => self.size = (columns, rows),
            Input::Tick => self.tell_read_again(),
            Input::Mouse { what, x, y } => self.mouse(what, x, y),
            Input::Focus(focused) => {
                self.focused = focused;
                self.tell_read();
            }
            Input::Composed(_) => self.outside(input),
            Input::Highlighted { block, words } => self.highlights.learn(&block, words),
            other => self.network(other),
        }
        self.keep_up(looks);
        if !is_event {
            self.bring_older();
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether what is seen may have changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Blocks of code that were laid out and that nobody has read yet: [`Input::Highlighted`] says what came of each.
    pub fn unread_code(&mut self) -> Vec<String> {
        self.highlights.wanted(self.now)
    }

    /// The division of the screen.
    pub fn panes(&self) -> Panes {
        let (columns, rows) = self.size;
        let lines = text::wrap(self.composer.text(), panes::composer_width(columns)).len();
        let lines = if self.prompt.is_some() { 1 } else { lines };
        let wish = panes::Wish {
            composer: u16::try_from(lines).unwrap_or(u16::MAX),
            status: u16::try_from(self.status_rows()).unwrap_or(u16::MAX),
            banner: self.composer.about != About::New && self.prompt.is_none(),
            members: self.rooms.current().is_some_and(|room| !room.is_direct()),
        };
        panes::divide(columns, rows, wish)
    }

    /// The current room's timeline at the width of its pane.
    pub fn layout(&self) -> Option<Layout<'_>> {
        let room = self.rooms.current()?;
        let edits = self.outbox.edits(&room.summary.target).collect();
        Some(Layout {
            room,
            posts: self.outbox.posts(&room.summary.target).collect(),
            edits,
            me: self.me.as_ref(),
            zone: &self.zone,
            now: self.now,
            width: usize::from(self.panes().timeline.width),
            find: self.jump.as_ref().map(|jump| &jump.query),
            unfolded: &self.unfolded,
            picked: self.picked,
            highlights: &self.highlights,
            is_up: self.is_up(),
        })
    }

    fn height(&self) -> usize {
        usize::from(self.panes().timeline.height)
    }

    /// All rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// What is being written.
    pub fn composer(&self) -> &Composer {
        &self.composer
    }

    /// What was said to the user.
    pub fn said(&self) -> Option<&Said> {
        self.said.as_ref()
    }

    /// Whether the connection is there.
    pub fn is_up(&self) -> bool {
        self.connection == Connection::Up
    }

    /// Whether it is known which rooms there are, or that nobody can be asked now.
    pub fn is_settled(&self) -> bool {
        self.listed_once || matches!(self.connection, Connection::Down { .. })
    }

    fn say(&mut self, text: impl Into<String>) {
        self.said = Some(Said { text: text.into(), is_error: false, until: self.now.plus_ms(SAID_MS) });
    }

    fn complain(&mut self, text: impl Into<String>) {
        self.said = Some(Said { text: text.into(), is_error: true, until: self.now.plus_ms(SAID_MS) });
    }

    fn ask(&mut self, request: Request) {
        self.effects.push(Effect::Ask(request));
    }

    /// Shows a room: its draft in the composer, the line above what is unread.
    fn show(&mut self, id: RoomId) {
        if self.rooms.current_id() == Some(id) || self.rooms.get(id).is_none() {
            return;
        }
        self.tell_read();
        // Whoever goes elsewhere meanwhile is not fetched back.
        self.going = None;
        self.peeking = false;
        self.picked = None;
        let mut composer = std::mem::take(&mut self.composer);
        if let Some(room) = self.rooms.current_mut() {
            room.draft = std::mem::take(&mut composer);
            room.unread_line = None;
            room.selected = None;
        }
        self.rooms.show(id);
        if let Some(room) = self.rooms.current_mut() {
            self.composer = std::mem::take(&mut room.draft);
            let unread = room.summary.unread > 0;
            room.unread_line = unread.then_some(room.summary.read);
        }
        // What was written where there is no room any more is not lost.
        if self.composer.is_empty() {
            self.composer.set(composer.text());
        } else {
            self.history.push(composer.text());
        }
        self.completion = None;
        self.jump = None;
    }

    /// So that `seq` of the current room is seen at the top.
    fn scroll_to(&mut self, seq: Seq) {
        let height = self.height();
        let Some((to, _)) = self.layout().map(|layout| scroll::to_top(&layout, seq, height)) else { return };
        if let Some(room) = self.rooms.current_mut() {
            room.scroll = to;
        }
    }
}
