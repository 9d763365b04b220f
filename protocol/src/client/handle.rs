//! The requests of a client. Anything that changes what events come goes through the driver; the rest goes straight
//! to the request stream.

use std::fmt;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::bulk::{Page, PageStream};
use super::command::{Answer, Command};
use super::connection::Connection;
use super::driver::{Link, State};
use super::patience::{Again, PATIENCE, Patience, again};
use super::restore::leave_alone;
use super::{Error, Room, ToTarget, Watch};
use crate::cursor::{Cursor, Receipt, Seq};
use crate::datagram::Datagram;
use crate::error::{ErrorCode, Refusal};
use crate::frame::{PageFrom, PageRequest, Reply, Request, WatchState, Welcome};
use crate::limits::{MAX_TEXT, MAX_WATCHES};
use crate::message::{MessageId, MessageKind};
use crate::name::Target;
use crate::node::{NodeAddress, NodeSummary};
use crate::room::{AwaySummary, MemberSummary, RoomId, RoomSummary};
use crate::safe_text::{SafeLine, SafeText};

/// What waited for a server that writes again comes after this, and up to half as long again.
const SOON: Duration = Duration::from_millis(100);

/// A message to send, with the id that makes it safe to send again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Where.
    pub target: Target,
    /// The idempotency key.
    pub id: MessageId,
    /// How it is shown.
    pub kind: MessageKind,
    /// What it says.
    pub text: SafeText,
    /// The message it answers.
    pub reply_to: Option<Seq>,
}

impl Post {
    /// A plain message with a new id.
    pub fn new(target: Target, text: &str) -> Post {
        let (id, text) = (MessageId::generate(), SafeText::new(text));
        Post { target, id, kind: MessageKind::Plain, text, reply_to: None }
    }
}

/// The members of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberList {
    /// By name.
    pub members: Vec<MemberSummary>,
    /// How many there are.
    pub total: u32,
    /// How many of them are connected.
    pub online: u32,
}

/// Asks the server. Cheap to clone; lives as long as its [`super::Client`], without which everything fails with
/// [`Error::Disconnected`].
#[derive(Clone)]
pub struct Handle {
    link: watch::Receiver<Link>,
    commands: mpsc::Sender<Command>,
    reconnect: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("reconnect", &self.reconnect).finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) fn new(
        link: watch::Receiver<Link>,
        commands: mpsc::Sender<Command>,
        reconnect: bool,
    ) -> Handle {
        Handle { link, commands, reconnect }
    }

    /// What the server said when the current or last connection began; `None` if there was none.
    pub fn welcome(&self) -> Option<Welcome> {
        self.link.borrow().welcome.as_deref().cloned()
    }

    /// The nodes of the cluster, as they were told last, that of the current or last connection first; none of a server
    /// alone.
    pub fn nodes(&self) -> Vec<NodeSummary> {
        self.link.borrow().welcome.as_ref().map(|welcome| welcome.nodes.clone()).unwrap_or_default()
    }

    /// The node of the current or last connection; `None` of a server alone.
    pub fn node(&self) -> Option<NodeAddress> {
        self.link.borrow().welcome.as_ref()?.nodes.first().map(|summary| summary.node.clone())
    }

    /// Why the server writes nothing now; `None` while it writes, as far as is known.
    pub fn read_only(&self) -> Option<SafeLine> {
        self.link.borrow().read_only.clone()
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server said no, [`Error::Disconnected`] if there is no connection or it broke
    /// (then the request may or may not have been carried out), [`Error::TimedOut`] after 30 s. The methods below
    /// that only ask wait for a busy server for up to 30 s; this one does not.
    pub async fn request(&self, request: Request) -> Result<Reply, Error> {
        self.connection()?.requests.ask(request).await
    }

    /// Sends a plain message: [`Handle::post`] with a new id.
    ///
    /// # Errors
    /// As [`Handle::post`].
    pub async fn send(&self, to: &impl ToTarget, text: &str) -> Result<Receipt, Error> {
        self.post(Post::new(to.to_target(), text)).await
    }

    /// Sends a message until the server has it on disk, or refuses it. The same id is sent over every reconnect, so
    /// it is never doubled.
    ///
    /// # Errors
    /// As [`Handle::submit`]; a text over the server's limit is refused here, with the limit in the text.
    pub async fn post(&self, post: Post) -> Result<Receipt, Error> {
        self.fits(&post.text)?;
        let Post { target, id, kind, text, reply_to } = post;
        self.submit(Request::Post { target, id, kind, text, reply_to }).await
    }

    /// Sends a post, edit, deletion or reaction until there is a receipt or a refusal. A server that is busy is
    /// asked again when it says so.
    ///
    /// # Errors
    /// [`Error::Refused`]; what ended the client. Without [`super::Config::reconnect`] also
    /// [`Error::Disconnected`], [`Error::TimedOut`], and the refusal of a server that stays busy for 30 s.
    pub async fn submit(&self, request: Request) -> Result<Receipt, Error> {
        match self.insist(request).await? {
            Reply::Receipt(receipt) => Ok(receipt),
            _ => Err(unexpected()),
        }
    }

    /// Asks until there is an answer, as [`Handle::submit`] does: for what is safe to be asked twice.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub async fn insist(&self, request: Request) -> Result<Reply, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let connection = self.connected().await?;
            let writes = self.link.borrow().writes;
            let error = match connection.requests.ask(request.clone()).await {
                Err(error) => error,
                answer => return answer,
            };
            match again(error, self.reconnect, until.saturating_duration_since(Instant::now()))? {
                Again::Connected => self.gone(&connection).await,
                Again::Now => {}
                Again::After(wait) => self.leave_alone(wait, writes).await,
            }
        }
    }

    /// Enters `#room` (if it is public and this account is not in it) or opens `@user`, and watches it from now on.
    ///
    /// # Errors
    /// [`Error::Name`], and those of [`Handle::request`].
    pub async fn join(&self, room: &str) -> Result<Room, Error> {
        let target: Target = room.parse()?;
        let mut summary = self.room(Request::Open { target: target.clone() }).await?;
        if let (None, Target::Room(room)) = (summary.role, target) {
            summary = self.room(Request::Join { room }).await?;
        }
        match self.watch(vec![(summary.id, Some(summary.head))]).await?.pop() {
            Some(WatchState::Refused { refusal, .. }) => Err(refusal.into()),
            _ => Ok(Room { id: summary.id, target: summary.target.clone(), summary }),
        }
    }

    async fn room(&self, request: Request) -> Result<RoomSummary, Error> {
        match self.ask(request).await? {
            Reply::Room(summary) => Ok(summary),
            _ => Err(unexpected()),
        }
    }

    /// From now on the rooms' events come, from each cursor on (`None`: from now on), over every reconnect. One
    /// answer each, in order. A cursor that is not of the server's log also comes as [`super::Event::Reset`], before
    /// the events behind it: that one is the one to act on.
    ///
    /// # Errors
    /// Those of [`Handle::request`]; rooms before the one that failed may be watched.
    pub async fn watch(&self, rooms: Vec<(RoomId, Option<Cursor>)>) -> Result<Vec<WatchState>, Error> {
        self.watch_as(rooms, Watch::Live).await
    }

    /// The same, and whether every event is wanted: [`Watch::Digest`] is for rooms that nobody looks at, and in very
    /// large ones brings [`super::Event::Digest`] instead of their events. Each watch of a room replaces the one before, so
    /// that watching it [`Watch::Live`] from the last event before which nothing is missing goes on without a hole.
    ///
    /// # Errors
    /// As [`Handle::watch`].
    pub async fn watch_as(
        &self,
        rooms: Vec<(RoomId, Option<Cursor>)>,
        watch: Watch,
    ) -> Result<Vec<WatchState>, Error> {
        let mut states = Vec::with_capacity(rooms.len());
        for rooms in rooms.chunks(MAX_WATCHES) {
            states.extend(self.command(|answer| Command::Watch(rooms.to_vec(), watch, answer)).await?);
        }
        Ok(states)
    }

    /// No more events of the room.
    ///
    /// # Errors
    /// Those of [`Handle::request`].
    pub async fn unwatch(&self, room: RoomId) -> Result<(), Error> {
        self.command(|answer| Command::Unwatch(room, answer)).await
    }

    /// From now on the account's notices come, behind `from` (`None`: from now on), over every reconnect.
    /// `Some(Cursor::default())` is all of them. Returns the newest notice there is now: who has that one is caught
    /// up.
    ///
    /// # Errors
    /// Those of [`Handle::request`]; [`Error::Refused`] with [`ErrorCode::BadCursor`] if `from` is of another inbox
    /// than the server's: begin anew.
    pub async fn watch_inbox(&self, from: Option<Cursor>) -> Result<Cursor, Error> {
        self.command(|answer| Command::WatchInbox(from, answer)).await
    }

    /// All rooms this account is in.
    ///
    /// # Errors
    /// Those of [`Handle::request`].
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, Error> {
        let mut all: Vec<RoomSummary> = Vec::new();
        loop {
            let after = all.last().map(|room| room.id);
            let Reply::Rooms { rooms, more } = self.ask(Request::Rooms { after }).await? else {
                return Err(unexpected());
            };
            let end = rooms.is_empty() || !more;
            all.extend(rooms);
            if end {
                return Ok(all);
            }
        }
    }

    /// All members of a room.
    ///
    /// # Errors
    /// Those of [`Handle::request`].
    pub async fn members(&self, target: &Target) -> Result<MemberList, Error> {
        let mut list = MemberList::default();
        loop {
            let after = list.members.last().map(|member| member.name.clone());
            let request = Request::Members { target: target.clone(), after };
            let Reply::Members { members, total, online, more } = self.ask(request).await? else {
                return Err(unexpected());
            };
            let end = members.is_empty() || !more;
            list.members.extend(members);
            (list.total, list.online) = (total, online);
            if end {
                return Ok(list);
            }
        }
    }

    /// Members who are away; of `@name` that account, if it is.
    ///
    /// # Errors
    /// Those of [`Handle::request`].
    pub async fn away(&self, target: &Target) -> Result<Vec<AwaySummary>, Error> {
        let mut all: Vec<AwaySummary> = Vec::new();
        loop {
            let after = all.last().map(|member| member.name.clone());
            let request = Request::WhoIsAway { target: target.clone(), after };
            let Reply::Away { members, more } = self.ask(request).await? else {
                return Err(unexpected());
            };
            let end = members.is_empty() || !more;
            all.extend(members);
            if end {
                return Ok(all);
            }
        }
    }

    /// Tells the others who watch the room that a message is being written, if they are few: say it again every three
    /// seconds while it is. Lost where there is no connection; never waits.
    pub fn typing(&self, room: RoomId) {
        if let Ok(connection) = self.connection() {
            connection.whisper(&Datagram::Typing { room });
        }
    }

    /// A page of history as it is now, oldest first: at most `limit` events, kept in memory.
    ///
    /// # Errors
    /// As [`PageStream::next`].
    pub async fn page(&self, target: &Target, from: PageFrom, limit: u32) -> Result<Page, Error> {
        self.stream_page(target, from, limit).await?.collect().await
    }

    /// A page of history as it is now, event by event: at most `limit`, up to [`crate::limits::MAX_PAGE`]. A busy
    /// server is asked again, until the page begins.
    ///
    /// # Errors
    /// Those of [`PageStream::next`].
    pub async fn stream_page(
        &self,
        target: &Target,
        from: PageFrom,
        limit: u32,
    ) -> Result<PageStream, Error> {
        let request = PageRequest { target: target.clone(), from, limit };
        let patience = Patience::new();
        loop {
            let connection = self.connection()?;
            match PageStream::open(&connection.quic, &request).await {
                Err(error) => patience.outlast(error).await?,
                page => return page,
            }
        }
    }

    pub(super) async fn say_close(&self) {
        // If the driver has ended there is nothing to close.
        let _ = self.commands.send(Command::Close).await;
    }

    /// Asks what changes nothing; a busy server is asked again.
    async fn ask(&self, request: Request) -> Result<Reply, Error> {
        let patience = Patience::new();
        loop {
            match self.request(request.clone()).await {
                Err(error) => patience.outlast(error).await?,
                reply => return reply,
            }
        }
    }

    /// Asks the driver; a busy server is asked again.
    async fn command<T>(&self, command: impl Fn(Answer<T>) -> Command) -> Result<T, Error> {
        let patience = Patience::new();
        loop {
            let (to, answer) = oneshot::channel();
            self.commands.send(command(Some(to))).await.map_err(|_| self.over())?;
            match answer.await.map_err(|_| self.over())? {
                Err(error) => patience.outlast(error).await?,
                answer => return answer,
            }
        }
    }

    /// Why there is no connection.
    fn over(&self) -> Error {
        self.connection().err().unwrap_or(Error::Disconnected)
    }

    fn connection(&self) -> Result<Connection, Error> {
        match &self.link.borrow().state {
            State::Up(connection) => Ok(connection.clone()),
            State::Over(error) => Err(error.clone()),
            State::Down => Err(Error::Disconnected),
        }
    }

    /// The connection; waits for it if it comes back by itself.
    async fn connected(&self) -> Result<Connection, Error> {
        if self.reconnect {
            let _ = self.link.clone().wait_for(|link| !matches!(link.state, State::Down)).await;
        }
        self.connection()
    }

    /// Waits until the driver has noticed that the connection is gone.
    async fn gone(&self, connection: &Connection) {
        let same = |link: &Link| matches!(&link.state, State::Up(other) if other.is(connection));
        let _ = self.link.clone().wait_for(|link| !same(link)).await;
    }

    /// Waits as long as a busy server said, but no longer than until it writes again, or is another one: `before` is what
    /// [`Link::writes`] was when it was asked.
    async fn leave_alone(&self, wait: Duration, before: u64) {
        let mut link = self.link.clone();
        let better = async {
            if link.wait_for(|link| link.writes != before).await.is_ok() {
                leave_alone(SOON).await;
            }
        };
        tokio::select! {
            () = leave_alone(wait) => {}
            () = better => {}
        }
    }

    fn fits(&self, text: &SafeText) -> Result<(), Error> {
        let announced = self.link.borrow().welcome.as_ref().map(|welcome| welcome.limits.text_bytes);
        let limit = announced.map_or(MAX_TEXT, |bytes| bytes as usize);
        if text.len() <= limit {
            return Ok(());
        }
        let text = format!("a message has at most {limit} bytes and this one has {}; split it", text.len());
        Err(Refusal::new(ErrorCode::TooLong, text).into())
    }
}

fn unexpected() -> Error {
    Error::protocol("a reply of another kind than asked")
}
