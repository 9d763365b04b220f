//! The async client, for bots, scripts and the terminal client. Knows the protocol's types, QUIC and tokio; never a
//! terminal, a disk or (but for `from_env`) the environment.
//!
//! A [`Client`] is a [`Handle`], which asks, and a receiver of [`Event`]s. A task of its own keeps the connection:
//! it reconnects with backoff, watches every room again from where the user is, and drops what comes twice. What
//! [`Client::next`] returns of a room has no hole.

mod backoff;
mod bulk;
mod command;
mod config;
mod connection;
mod dial;
mod driver;
mod error;
mod handle;
mod nodes;
mod patience;
mod requests;
mod restore;
mod resume;
mod roaming;
mod silence;
mod typing;

use std::ops::Deref;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cursor::{Cursor, Seq};
use crate::datagram::Presence;
use crate::error::Refusal;
use crate::event::{EventBody, Notice};
use crate::frame::Welcome;
use crate::message::Message;
use crate::name::{AccountName, Target};
use crate::node::NodeSummary;
use crate::room::{Digest, RoomId, RoomSummary};
use crate::safe_text::SafeLine;

/// What a client's connection is made with, for programs that hold thousands of connections and read their frames
/// themselves. Everything else connects with a [`Client`].
pub mod raw {
    pub use super::connection::transport;
}

pub use crate::frame::Watch;
pub use bulk::{Page, PageStream};
pub use config::{CONNECT_TIMEOUT, Config, Trust};
pub use error::Error;
pub use handle::{Handle, MemberList, Post};
pub use patience::PATIENCE;

use connection::Connection;
use driver::{Driver, Item, Link};
use nodes::Nodes;

/// Events that wait for the user; beyond it QUIC holds the server back.
const EVENTS: usize = 256;
/// Commands that wait for the driver.
const COMMANDS: usize = 64;

/// A connection to a server that keeps itself up. Dropping it ends the connection, also for its handles.
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    events: mpsc::Receiver<Item>,
    driver: JoinHandle<()>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message in a watched room.
    Message(Received),
    /// Anything else that took a place in a watched room's log: an edit, a reaction, a join.
    Other(crate::Event),
    /// A notice of the watched inbox.
    Notice(Notice),
    /// The server's log is not the one the cursor was of: what is behind `keep` is not true any more. The events
    /// behind it follow.
    Reset {
        /// The room.
        room: RoomId,
        /// The last event that is surely the same.
        keep: Cursor,
        /// The newest event: once it came, all that the server still has was seen again.
        head: Cursor,
    },
    /// Where a very large room stands that is watched by [`Watch::Digest`]. What of it has not come up to there does
    /// not come; what follows may. To have it, ask for a page, or watch the room [`Watch::Live`] from the last event
    /// before which nothing is missing.
    Digest(Digest),
    /// Somebody else writes a message in a watched room; told again after some seconds while they do. May be lost:
    /// it is told to whoever takes events as they come.
    Typing {
        /// The room.
        room: RoomId,
        /// Who.
        who: AccountName,
    },
    /// Somebody comes, goes or is away, of a small room that is watched. May be lost, as typing may.
    Presence {
        /// Who.
        who: AccountName,
        /// How they are now.
        now: Presence,
    },
    /// No more events of this room.
    Unwatched {
        /// The room.
        room: RoomId,
        /// Why.
        refusal: Refusal,
    },
    /// The nodes of the cluster are these now, the one that this client is connected to first. To be remembered, and given
    /// to the next client as [`Config::nodes`]. Not told to a user who takes no events; [`Handle::nodes`] always has them.
    Nodes(Vec<NodeSummary>),
    /// The server can write nothing now; reading goes on. What is posted meanwhile waits.
    ReadOnly {
        /// In a few words.
        why: SafeLine,
    },
    /// The server writes again.
    Writable,
    /// Connected, perhaps to another node than before; every room is watched again. It writes, unless
    /// [`Event::ReadOnly`] follows.
    Up(Welcome),
    /// Disconnected.
    Down {
        /// In a few words.
        why: SafeLine,
        /// When the next attempt is made.
        retry_in: Option<Duration>,
    },
}

impl Event {
    /// Whether it is no news any more when the connection ends or another one is made.
    fn is_of_connection(&self) -> bool {
        matches!(
            self,
            Event::Up(_) | Event::Down { .. } | Event::Nodes(_) | Event::ReadOnly { .. } | Event::Writable
        )
    }

    fn of(event: crate::Event) -> Event {
        match event.body {
            EventBody::Message(_) => Event::Message(Received { event }),
            _ => Event::Other(event),
        }
    }
}

/// A message and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Always a message.
    event: crate::Event,
}

impl Received {
    /// The whole event.
    pub fn event(&self) -> &crate::Event {
        &self.event
    }

    /// The whole event, to keep.
    pub fn into_event(self) -> crate::Event {
        self.event
    }

    /// The message.
    pub fn message(&self) -> &Message {
        self.event.message().expect("only made of events that are messages")
    }

    /// What it says.
    pub fn text(&self) -> &str {
        self.message().text()
    }

    /// Who wrote it.
    pub fn author(&self) -> &AccountName {
        &self.event.author
    }

    /// Its place in the room.
    pub fn seq(&self) -> Seq {
        self.event.seq
    }

    /// The room.
    pub fn room(&self) -> RoomId {
        self.event.room
    }
}

/// A room that was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// The room.
    pub id: RoomId,
    /// `#name` or `@name`.
    pub target: Target,
    /// As it was when it was joined.
    pub summary: RoomSummary,
}

/// What a message can be sent to.
pub trait ToTarget {
    /// Where that is.
    fn to_target(&self) -> Target;
}

impl ToTarget for Target {
    fn to_target(&self) -> Target {
        self.clone()
    }
}

impl ToTarget for Room {
    fn to_target(&self) -> Target {
        self.target.clone()
    }
}

impl ToTarget for RoomSummary {
    fn to_target(&self) -> Target {
        self.target.clone()
    }
}

impl Client {
    /// Connects. Later connections are made by themselves, if so configured.
    ///
    /// # Errors
    /// Why the first connection failed.
    pub async fn connect(config: Config) -> Result<Client, Error> {
        let mut nodes = Nodes::new(&config);
        let dialled = dial::dial(&config, nodes.order(Duration::ZERO, driver::random)).await;
        dialled.failed.iter().for_each(|place| nodes.failed(place, Duration::ZERO));
        Ok(Client::spawn(config, nodes, Some(dialled.connection?)))
    }

    /// Begins to connect and returns: [`Event::Up`] or [`Event::Down`] follow. Needs a tokio runtime.
    pub fn start(config: Config) -> Client {
        let nodes = Nodes::new(&config);
        Client::spawn(config, nodes, None)
    }

    /// Connects as `QUIP_SERVER` and `QUIP_TOKEN` say.
    ///
    /// # Errors
    /// As [`Config::from_env`] and [`Client::connect`].
    pub async fn from_env() -> Result<Client, Error> {
        Client::connect(Config::from_env()?).await
    }

    fn spawn(config: Config, nodes: Nodes, connection: Option<Connection>) -> Client {
        let (to_user, events) = mpsc::channel(EVENTS);
        let (commands, from_handles) = mpsc::channel(COMMANDS);
        let (link, seen) = watch::channel(Link::new(connection.as_ref()));
        let handle = Handle::new(seen, commands, config.reconnect);
        let driver = tokio::spawn(Driver::new(config, nodes, from_handles, to_user, link).run(connection));
        Client { handle, events, driver }
    }

    /// What happened next. An error is final; `None` follows it.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        self.events.recv().await
    }

    /// Asks, apart from the events. The client derefs to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Says goodbye, so that the server knows at once. Wait for receipts first: what is unanswered is lost.
    pub async fn close(self) {
        let Client { handle, events, driver } = self;
        handle.say_close().await;
        drop(events);
        // It ends only by ending.
        let _ = driver.await;
    }
}

impl Deref for Client {
    type Target = Handle;
    fn deref(&self) -> &Handle {
        &self.handle
    }
}
