//! The task that owns a client: it connects, watches again what was watched, reads the live stream, reports.
//!
//! Live frames are read only while the user takes events and no watch is unanswered: so a slow user costs no
//! memory (QUIC holds the server back), and no event meets a cursor that is about to change. Requests have tasks
//! of their own and go on.

mod reconnect;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::command::{Command, again, answer_with, inbox_again, refuse, tell};
use super::connection::{Connection, Live, Lost};
use super::nodes::Nodes;
use super::restore::{hint, otherwise};
use super::resume::{Change, Resume, Verdict};
use super::typing::{self, Typing};
use super::{Config, Error, Event};
use crate::codec::{Frame, FrameKind};
use crate::cursor::Cursor;
use crate::datagram::Datagram;
use crate::error::{ErrorCode, Refusal};
use crate::frame::{Push, Reply, Watch, WatchState, Welcome};
use crate::node::NodeSummary;
use crate::room::RoomId;
use crate::safe_text::SafeLine;

/// A connection that held for this long was a good one: the next wait is short again.
const LASTED: Duration = Duration::from_secs(5);
/// The server may take this long to answer a watch.
const WATCH_WITHIN: Duration = Duration::from_secs(30);

/// What handles see of the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) state: State,
    /// Of the current or last connection; its nodes are those that were told last.
    pub(super) welcome: Option<Arc<Welcome>>,
    /// Why the server writes nothing now.
    pub(super) read_only: Option<SafeLine>,
    /// How often it has begun to write: when it said so, and with each connection.
    pub(super) writes: u64,
}

impl Link {
    /// At the start; up at once if the first connection is there.
    pub(super) fn new(connection: Option<&Connection>) -> Link {
        match connection {
            None => Link::default(),
            Some(connection) => {
                let welcome = Some(Arc::clone(&connection.welcome));
                Link { state: State::Up(connection.clone()), welcome, ..Link::default() }
            }
        }
    }
}

/// Where the connection is.
#[derive(Debug, Clone, Default)]
pub(super) enum State {
    #[default]
    Down,
    Up(Connection),
    /// There will be none again, and why.
    Over(Error),
}

/// What the user's end of the channel gets.
pub(super) type Item = Result<Event, Error>;

/// Owns all there is of a client.
#[derive(Debug)]
pub(super) struct Driver {
    config: Config,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Item>,
    link: watch::Sender<Link>,
    resume: Resume,
    /// What the user has yet to take; live frames wait until it is empty.
    queue: VecDeque<Event>,
    /// Commands that have yet to be asked of the server, and the one that is being asked.
    waiting: VecDeque<Command>,
    asking: Option<Asking>,
    typing: Typing,
    backoff: Backoff,
    /// Where to go next.
    nodes: Nodes,
    /// When this client began.
    began: Instant,
    /// The server said when to come back.
    hint: Option<Duration>,
    /// Where the server was last.
    server: Option<SocketAddr>,
    /// Connections that were there, so far.
    served: u64,
}

#[derive(Debug)]
struct Asking {
    command: Command,
    label: u32,
    until: Instant,
    reply: oneshot::Receiver<Reply>,
}

/// Why serving a connection ended.
enum End {
    /// The user closed or dropped the client.
    Closed,
    Lost(Lost),
}

impl<E: Into<Error>> From<E> for End {
    fn from(error: E) -> End {
        End::Lost(error.into().into())
    }
}

impl Driver {
    pub(super) fn new(
        config: Config,
        nodes: Nodes,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Item>,
        link: watch::Sender<Link>,
    ) -> Driver {
        Driver {
            config,
            commands,
            events,
            link,
            resume: Resume::default(),
            queue: VecDeque::new(),
            waiting: VecDeque::new(),
            asking: None,
            typing: Typing::default(),
            backoff: Backoff::default(),
            nodes,
            began: Instant::now(),
            hint: None,
            server: None,
            served: 0,
        }
    }

    /// Runs until the client is closed or dropped, or something final happens.
    pub(super) async fn run(mut self, first: Option<Connection>) {
        let error = self.live(first).await;
        let state = State::Over(error.clone().unwrap_or(Error::Disconnected));
        self.link.send_modify(|link| link.state = state);
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            refuse(command);
        }
        let Some(error) = error else { return };
        for item in self.queue.drain(..).map(Ok).chain([Err(error)]) {
            if self.events.send(item).await.is_err() {
                return;
            }
        }
    }

    /// Connection after connection; `None` if the user ended it.
    async fn live(&mut self, mut first: Option<Connection>) -> Option<Error> {
        loop {
            let served = self.served;
            let end = match first.take() {
                Some(connection) => self.serve(connection).await,
                None => self.connect().await,
            };
            let End::Lost(Lost { error, why }) = end else { return None };
            // A connection that was cut does not say whether the device is revoked or its account suspended, which
            // passes: the next attempt is told.
            let cut =
                self.served > served && matches!(&error, Error::Refused(r) if r.code == ErrorCode::Revoked);
            if !self.config.reconnect || (self.is_final(&error) && !cut) {
                return Some(error);
            }
            if let Error::Refused(Refusal { retry_after_ms: Some(ms), .. }) = error {
                self.hint = Some(hint(ms));
            }
            if let End::Closed = self.pause(why).await {
                return None;
            }
        }
    }

    /// Whether nothing helps. A node that shows another key than it should is one of many, where there are many.
    fn is_final(&self, error: &Error) -> bool {
        let is_of_node = matches!(error, Error::WrongServer { .. } | Error::ForgedServer { .. });
        error.is_final() && !(is_of_node && self.nodes.len() > 1)
    }

    /// Serves one connection to its end.
    async fn serve(&mut self, connection: Connection) -> End {
        let began = Instant::now();
        self.server = Some(connection.server());
        self.served += 1;
        // Who has no account yet is told of none.
        if connection.welcome.account.is_some() {
            self.nodes.learn(&connection.welcome.nodes);
        }
        self.report(Event::Up(connection.welcome.as_ref().clone()));
        self.link.send_modify(|link| {
            *link = Link { writes: link.writes + 1, ..Link::new(Some(&connection)) };
        });
        let end = match self.events_of(&connection).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.link.send_modify(|link| link.state = State::Down);
        self.abandon();
        match &end {
            End::Closed => connection.close().await,
            End::Lost(_) => connection.abort(),
        }
        if began.elapsed() >= LASTED {
            self.backoff.reset();
            self.nodes.lasted(&connection.place);
        }
        match self.hint {
            Some(_) => self.nodes.stopping(&connection.place),
            None => self.failed(&connection.place),
        }
        end
    }

    async fn events_of(&mut self, connection: &Connection) -> Result<std::convert::Infallible, End> {
        let events = self.events.clone();
        let (mut live, mut ended) = (Live::of(connection), false);
        let lost = connection.lost();
        tokio::pin!(lost);
        loop {
            self.ask_next(connection);
            let quiet = self.queue.is_empty() && self.asking.is_none() && !ended;
            tokio::select! {
                lost = &mut lost => return Err(End::Lost(lost)),
                () = events.closed() => return Err(End::Closed),
                permit = events.reserve(), if !self.queue.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.queue.pop_front()) {
                        permit.send(Ok(event));
                    }
                }
                command = self.commands.recv() => match command {
                    None | Some(Command::Close) => return Err(End::Closed),
                    Some(command) => self.waiting.push_back(command),
                },
                reply = answer(&mut self.asking) => self.answered(reply)?,
                datagram = connection.whispered() => self.overheard(datagram),
                frame = live.next(), if quiet => match frame {
                    // A server that is stopping still answers what it has taken.
                    Err(Error::Disconnected) if self.hint.is_some() => ended = true,
                    Err(Error::Disconnected) => return Err(End::Lost(connection.ending().await)),
                    frame => self.take(&frame?)?,
                },
            }
        }
    }

    /// Told only to a user who has taken nearly everything else: it is worth nothing later, and nothing waits for it.
    fn overheard(&mut self, datagram: Datagram) {
        let waiting = self.events.max_capacity() - self.events.capacity();
        if !self.queue.is_empty() || waiting >= typing::MOST_WAITING {
            return;
        }
        let event = match datagram {
            Datagram::TypingBy { room, who } if self.resume.is_watched(room) => {
                let is_news = self.typing.is_news(room, &who, Instant::now());
                is_news.then_some(Event::Typing { room, who })
            }
            Datagram::Presence { who, now } => Some(Event::Presence { who, now }),
            Datagram::TypingBy { .. } | Datagram::Typing { .. } => None,
        };
        if let Some(event) = event {
            // A place was free just now.
            let _ = self.events.try_send(Ok(event));
        }
    }

    /// A frame of the live stream.
    fn take(&mut self, frame: &Frame) -> Result<(), End> {
        match frame.kind {
            FrameKind::Event => {
                let event: crate::Event = frame.decode(FrameKind::Event, "event")?;
                let (verdict, room) = (self.resume.check(&event), event.room);
                let ask = |resume: &Resume, cursor| again(room, resume.watch(room), cursor);
                self.deliver(verdict, || Event::of(event), ask)
            }
            FrameKind::Notice => {
                let notice: crate::Notice = frame.decode(FrameKind::Notice, "notice")?;
                let verdict = self.resume.check_notice(&notice);
                self.deliver(verdict, || Event::Notice(notice), |_, cursor| inbox_again(cursor))
            }
            _ => self.pushed(frame.decode(FrameKind::Push, "push")?),
        }
    }

    fn deliver(
        &mut self,
        verdict: Verdict,
        event: impl FnOnce() -> Event,
        again: impl FnOnce(&Resume, Cursor) -> Command,
    ) -> Result<(), End> {
        match verdict {
            Verdict::Deliver => self.push(event()),
            Verdict::Drop => {}
            Verdict::Ask(cursor) => {
                tracing::warn!(?cursor, "the server left a hole; asking for it again");
                self.waiting.push_back(again(&self.resume, cursor));
            }
            Verdict::Broken => return Err(Error::protocol("a hole in the live events").into()),
        }
        Ok(())
    }

    fn pushed(&mut self, push: Push) -> Result<(), End> {
        match push {
            Push::Unwatched { room, watch, refusal } => {
                if self.resume.unwatched(room, watch) {
                    self.push(Event::Unwatched { room, refusal });
                }
            }
            Push::Stopping { retry_after_ms } => {
                self.hint = Some(hint(retry_after_ms));
            }
            Push::Digest(digest) => {
                let verdict = self.resume.check_digest(&digest);
                let ask = |_: &Resume, cursor| again(digest.room, Watch::Digest, cursor);
                return self.deliver(verdict, || Event::Digest(digest), ask);
            }
            Push::Nodes(nodes) => self.nodes_are(nodes),
            Push::ReadOnly { why } => {
                self.link.send_modify(|link| link.read_only = Some(why.clone()));
                self.push(Event::ReadOnly { why });
            }
            Push::Writable => {
                self.link.send_modify(|link| (link.read_only, link.writes) = (None, link.writes + 1));
                self.push(Event::Writable);
            }
        }
        Ok(())
    }

    /// Told to a user who takes events: where nobody does, years of it must not fill the channel.
    fn nodes_are(&mut self, nodes: Vec<NodeSummary>) {
        self.nodes.learn(&nodes);
        self.link.send_modify(|link| {
            if let Some(welcome) = &mut link.welcome {
                Arc::make_mut(welcome).nodes.clone_from(&nodes);
            }
        });
        if self.events.capacity() > self.events.max_capacity() / 2 {
            self.push(Event::Nodes(nodes));
        }
    }

    /// Asks the server the next command, if none is being asked.
    fn ask_next(&mut self, connection: &Connection) {
        if self.asking.is_none()
            && let Some(command) = self.waiting.pop_front()
        {
            let Some(request) = command.request() else { return };
            let (label, reply) = connection.requests.ask_now(request);
            self.asking = Some(Asking { command, label, until: Instant::now() + WATCH_WITHIN, reply });
        }
    }

    /// The server answered the command that was being asked.
    fn answered(&mut self, reply: Result<Reply, Error>) -> Result<(), End> {
        let Some(Asking { command, label, .. }) = self.asking.take() else { return Ok(()) };
        match (command, reply?) {
            (Command::Watch(rooms, watch, to), Reply::Watching { rooms: states }) => {
                self.watching((label, watch), &rooms, &states, to.is_none())?;
                tell(to, Ok(states));
            }
            (Command::Unwatch(room, to), Reply::Done) => {
                self.resume.forget(room);
                tell(to, Ok(()));
            }
            (Command::WatchInbox(from, to), Reply::Inbox { head }) => {
                self.resume.watching_inbox(from, head);
                tell(to, Ok(head));
            }
            (Command::WatchInbox(Some(from), None), Reply::Refused(refusal))
                if refusal.code == ErrorCode::BadCursor && from != Cursor::default() =>
            {
                self.resume.restart_inbox();
                self.waiting.push_front(inbox_again(Cursor::default()));
            }
            // One of the driver's own: a new connection tries again.
            (Command::Watch(_, _, None) | Command::WatchInbox(_, None), Reply::Refused(_)) => {
                return Err(Error::Disconnected.into());
            }
            (command, Reply::Refused(refusal)) => answer_with(command, Error::Refused(refusal)),
            _ => return Err(Error::protocol("a reply of another kind than asked").into()),
        }
        Ok(())
    }

    fn watching(
        &mut self,
        asked: (u32, Watch),
        rooms: &[(RoomId, Option<Cursor>)],
        states: &[WatchState],
        own: bool,
    ) -> Result<(), End> {
        let changes = self.resume.watching(asked, rooms, states).map_err(|_| otherwise())?;
        for change in changes {
            match change {
                Change::Reset { room, keep, head } => self.push(Event::Reset { room, keep, head }),
                Change::Digest(digest) => self.push(Event::Digest(digest)),
                Change::Unwatched { room, refusal } if own => self.push(Event::Unwatched { room, refusal }),
                Change::Unwatched { .. } => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Puts an `Up` or `Down` in place of what was said of connections before and nobody has taken: a user who takes
    /// nothing for days must not cost memory with each attempt.
    fn report(&mut self, event: Event) {
        while self.queue.back().is_some_and(Event::is_of_connection) {
            self.queue.pop_back();
        }
        self.push(event);
    }

    /// Tells everyone who waits that the connection is gone.
    fn abandon(&mut self) {
        let asking = self.asking.take().map(|asking| asking.command);
        asking.into_iter().chain(self.waiting.drain(..)).for_each(refuse);
    }
}

/// Any number.
pub(super) fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

/// The answer to what is being asked; for ever if nothing is.
async fn answer(asking: &mut Option<Asking>) -> Result<Reply, Error> {
    match asking {
        None => std::future::pending().await,
        Some(asking) => match tokio::time::timeout_at(asking.until, &mut asking.reply).await {
            Ok(reply) => reply.map_err(|_| Error::Disconnected),
            Err(_) => Err(Error::TimedOut),
        },
    }
}
