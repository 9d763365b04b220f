//! The client's own files: the outbox, written before anything is shown as pending, and the replica, which a thread of
//! its own reads and writes (`copy`). Imports the storage and the app's inputs.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use quip_protocol::frame::{PageFrom, Reply, Request};
use quip_protocol::room::RoomSummary;
use quip_protocol::{
    AccountName, Cursor, ErrorCode, Event, MessageId, Notice, NoticeBody, Refusal, RoomId, SafeLine, Seq,
    Target, Timestamp,
};
use quip_storage::outbox::{self, Entry, Kept};
use quip_storage::{Copied, DataDir, DataDirError, Outbox, Replica, ReplicaError};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::copy::{self, Answer, Job};
use super::search::Search;
use crate::app::outbox::{Delivery, State};
use crate::app::{App, Effect, Failure, Input, Loaded};
use crate::config::write_atomically;

/// How long the end waits for what is being written to the replica and the index; what is not written until then is
/// fetched, or looked at, again.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The file with the room where the user was last.
const LAST: &str = "last";

/// The files. While they are open no other process uses them.
pub struct Local {
    outbox: Outbox,
    jobs: Sender<Job>,
    answers: UnboundedReceiver<Answer>,
    search: Search,
    ending: Arc<AtomicBool>,
    /// Disconnected once all threads have ended.
    ended: Receiver<()>,
    /// The rooms as they were written last.
    rooms: BTreeMap<RoomId, RoomSummary>,
    lock: DataDir,
}

impl Local {
    /// Opens what lies in `dir`. Also returns what the app begins with, and what the network is to deliver.
    ///
    /// # Errors
    /// One line, when another process uses it or it cannot be used.
    pub fn open(dir: &Path) -> Result<(Local, Loaded, Vec<Effect>), String> {
        let lock = DataDir::open(dir).map_err(|error| why_locked(&error))?;
        let outbox = Outbox::open(dir.join("outbox")).map_err(|error| error.to_string())?;
        let Opened { replica, me, inbox, copied } =
            open_replica(&dir.join("replica")).map_err(|error| error.to_string())?;
        let rooms: BTreeMap<RoomId, RoomSummary> =
            copied.iter().map(|room| (room.summary.id, room.summary.clone())).collect();
        let loaded = Loaded {
            me,
            inbox,
            rooms: copied,
            last: last(dir),
            deliveries: outbox.kept().iter().filter_map(delivery).collect(),
        };
        let waiting = outbox.kept().iter().filter(|kept| kept.refused.is_none());
        let deliver = waiting.map(|kept| Effect::Deliver(kept.entry.request.clone())).collect();
        let (jobs, queue) = channel();
        // The receiver is at hand, so they arrive.
        rooms.keys().for_each(|room| drop(jobs.send(Job::Merge(*room))));
        let (found, answers) = unbounded_channel();
        let replica = Arc::new(replica);
        let (alive, ended) = channel();
        let search = Search::start(dir, replica.clone(), found.clone(), &alive)?;
        let ending = Arc::new(AtomicBool::new(false));
        let copier = copy::Copier::new(replica, found, search.poke(), ending.clone());
        let work = move || {
            copier.run(&queue);
            drop(alive);
        };
        let started = std::thread::Builder::new().name("replica".into()).spawn(work);
        started.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok((Local { outbox, jobs, answers, search, ending, ended, rooms, lock }, loaded, deliver))
    }

    /// Writes down what came from the server. Returns what the server is to be told.
    pub fn note(&mut self, input: &Input) -> Vec<Effect> {
        let done = match input {
            Input::Receipt(receipt) => self.outbox.end(receipt.id),
            Input::Refused { id, refusal } => self.outbox.refused(*id, refusal.clone()),
            Input::Marked { room, seq } => self.outbox.told(*room, *seq),
            // What was read before that is not to be told after it.
            Input::Notice(Notice { body: NoticeBody::Unread { room, .. }, .. }) => {
                self.outbox.told(*room, Seq(u64::MAX))
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a delivery is repeated at the next start");
        }
        match input {
            Input::Event(event) => self.job(Job::Event(event.clone())),
            Input::Page { room, events, head, .. } => {
                self.job(Job::Page { room: *room, events: events.clone(), head: head.seq });
            }
            Input::Reset { room, keep, head } => {
                self.job(Job::Cut { room: *room, keep: *keep, head: head.seq });
            }
            Input::Notice(notice) => {
                self.job(Job::Inbox(Cursor { epoch: notice.epoch, seq: notice.seq }));
            }
            // All notices up to here are in the list of rooms that is asked for next.
            Input::Answer {
                request: Request::WatchInbox { from: None },
                answer: Ok(Reply::Inbox { head }),
            } => {
                self.job(Job::Inbox(*head));
            }
            Input::Up(welcome) => {
                welcome.account.iter().for_each(|me| self.job(Job::Owner(me.clone())));
                return self.outbox.marks().map(|(room, seq)| Effect::Mark { room, seq }).collect();
            }
            _ => {}
        }
        Vec::new()
    }

    /// Writes down older events of a room, which the app does not need. Returns what it is told at once: as long as it
    /// waits for one room it asks for no other.
    pub fn older(&mut self, room: RoomId, floor: Seq, events: Vec<Event>, head: Seq) -> Option<Input> {
        if self.rooms.contains_key(&room) {
            self.job(Job::Older { room, floor, events, head });
            return None;
        }
        let why = SafeLine::new("nobody is in a room that went meanwhile");
        Some(Input::NotBrought { room, why: Failure::Unanswered(why) })
    }

    /// Takes what is for the files; returns what is for the network. What could not be written is not delivered.
    pub fn perform(
        &mut self,
        effect: Effect,
        app: &App,
        at: Timestamp,
    ) -> Result<Option<Effect>, Box<Input>> {
        let connected = app.is_up();
        match effect {
            Effect::Deliver(request) => {
                self.add(request, app, at).map(|request| Some(Effect::Deliver(request)))
            }
            Effect::Forget(id) => {
                self.warned(|outbox| outbox.end(id));
                Ok(None)
            }
            Effect::Mark { room, seq } => {
                self.warned(|outbox| outbox.read(room, seq));
                Ok(connected.then_some(Effect::Mark { room, seq }))
            }
            Effect::FetchPage { from, .. } if from != PageFrom::Latest || !connected => {
                self.job(Job::Fetch(effect));
                Ok(None)
            }
            Effect::Bring { .. } => {
                self.job(Job::Bring(effect));
                Ok(None)
            }
            Effect::FindMentions(me) => {
                self.job(Job::Mentions(me));
                Ok(None)
            }
            Effect::Search { query, most } => {
                self.search.ask(query, most);
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    fn add(&mut self, request: Request, app: &App, at: Timestamp) -> Result<Request, Box<Input>> {
        let (Some(id), Some(target)) = (outbox::id(&request), target(&request, app)) else {
            return Ok(request);
        };
        match self.outbox.add(Entry { target, at, request: request.clone() }) {
            Ok(()) => Ok(request),
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::Unavailable, error.to_string());
                Err(Box::new(Input::Refused { id, refusal }))
            }
        }
    }

    fn warned(&mut self, write: impl FnOnce(&mut Outbox) -> Result<(), quip_storage::OutboxError>) {
        if let Err(error) = write(&mut self.outbox) {
            tracing::warn!(%error, "this is done again at the next start");
        }
    }

    /// The next answer of the thread. Dropping the future loses none.
    pub async fn next(&mut self) -> Answer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => pending().await,
        }
    }

    /// Writes down which rooms there are, and how they are.
    pub fn keep_rooms(&mut self, app: &App) {
        let now: BTreeMap<RoomId, &RoomSummary> = app
            .rooms()
            .listed()
            .filter(|(_, room)| !room.held)
            .map(|(id, room)| (id, &room.summary))
            .collect();
        let gone: Vec<RoomId> = self.rooms.keys().copied().filter(|id| !now.contains_key(id)).collect();
        let changed: Vec<RoomSummary> = now
            .into_iter()
            .filter(|(id, summary)| self.rooms.get(id) != Some(*summary))
            .map(|(_, summary)| summary.clone())
            .collect();
        for id in gone {
            self.rooms.remove(&id);
            self.job(Job::Remove(id));
        }
        // A room that is new to the copy is to be there at the next start, however this process ends.
        let new = changed.iter().any(|room| !self.rooms.contains_key(&room.id));
        if !changed.is_empty() {
            self.rooms.extend(changed.iter().map(|room| (room.id, room.clone())));
            self.job(Job::Rooms(changed));
            if new {
                self.job(Job::Sync);
            }
        }
    }

    /// Writes down where the user is.
    fn keep_last(&self, app: &App) {
        let Some(room) = app.rooms().current() else { return };
        let target = room.summary.target.to_string();
        if let Err(error) = write_atomically(&self.lock.path().join(LAST), target.as_bytes()) {
            tracing::debug!(%error, "the next start shows another room first");
        }
    }

    /// Writes everything down and lets go; what takes too long is left.
    pub fn close(mut self, app: &App) {
        self.keep_rooms(app);
        // The rooms are kept as read; the server is told with the next start.
        for (room, seq) in app.untold() {
            self.warned(|outbox| outbox.read(room, seq));
        }
        self.keep_last(app);
        self.job(Job::End);
        let Local { search, ending, ended, .. } = self;
        ending.store(true, Ordering::Relaxed);
        search.end();
        // What the threads had to say is in the log.
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LAST_WORDS) {
            tracing::info!("the local copy is behind; what is missing comes with the next start");
        }
    }

    fn job(&self, job: Job) {
        // A thread that gave up needs nothing any more.
        let _ = self.jobs.send(job);
    }
}

/// Where the user was when the files in `dir` were closed.
fn last(dir: &Path) -> Option<Target> {
    std::fs::read_to_string(dir.join(LAST)).ok()?.trim().parse().ok()
}

/// What a replica begins with.
struct Opened {
    replica: Replica,
    me: Option<AccountName>,
    inbox: Option<Cursor>,
    copied: Vec<Copied>,
}

/// What is found to be damaged is set aside when it is opened again.
fn open_replica(dir: &Path) -> Result<Opened, ReplicaError> {
    let read = || {
        let (replica, _) = Replica::open(dir)?;
        let (me, inbox, copied) = (replica.owner()?, replica.inbox()?, replica.rooms()?);
        Ok(Opened { replica, me, inbox, copied })
    };
    match read() {
        Err(ReplicaError::Damaged { .. }) => read(),
        other => other,
    }
}

fn delivery(kept: &Kept) -> Option<Delivery> {
    let Entry { target, at, request } = &kept.entry;
    let mut delivery = Delivery::new(target.clone(), request, *at)?;
    if let Some(refusal) = &kept.refused {
        delivery.state = State::Refused(refusal.clone());
    }
    Some(delivery)
}

fn target(request: &Request, app: &App) -> Option<Target> {
    let of = |room: &RoomId| app.rooms().get(*room).map(|room| room.summary.target.clone());
    match request {
        Request::Post { target, .. } => Some(target.clone()),
        Request::Edit { room, .. } | Request::Delete { room, .. } | Request::React { room, .. } => of(room),
        _ => None,
    }
}

/// What the user is told where nothing can be kept.
pub fn not_kept(why: &str) -> SafeLine {
    SafeLine::new(&format!(
        "{why}; so this client keeps nothing: what it has not delivered when it ends is lost, and it cannot search"
    ))
}

/// Whoever has the files open is another client, as a rule the user's own in another window.
fn why_locked(error: &DataDirError) -> String {
    match error {
        DataDirError::InUse { pid, .. } => {
            format!("another quip (process {pid}) is open on this server, and keeps what is said")
        }
        other => other.to_string(),
    }
}

/// What the app is told where a page is neither here nor can be asked for.
pub fn page_failed(asked: &Effect) -> Option<Input> {
    let why = SafeLine::new("it is not in the local copy; it comes when the server answers");
    match asked {
        Effect::FetchPage { room, .. } => {
            Some(Input::PageFailed { room: *room, why: Failure::Unanswered(why) })
        }
        Effect::Bring { room, .. } => Some(Input::NotBrought { room: *room, why: Failure::Unanswered(why) }),
        _ => None,
    }
}

/// The idempotency key of what the app delivers.
pub fn id_of(request: &Request) -> MessageId {
    // The app delivers nothing that has none.
    outbox::id(request).unwrap_or_else(|| MessageId::from_bytes([0; 16]))
}

#[cfg(test)]
pub(crate) mod tests {
    use quip_protocol::RoomKind;

    use super::*;
    use crate::app::Setup;
    use crate::cli::pages::tests::message;

    pub(crate) const ROOM: RoomId = RoomId(7);

    fn opened(dir: &Path) -> Local {
        Local::open(dir).unwrap().0
    }

    fn marks(dir: &Path) -> Vec<(RoomId, Seq)> {
        Outbox::open(dir.join("outbox")).unwrap().marks().collect()
    }

    /// Somebody who looks at the newest of three messages, and has told of one.
    pub(crate) fn reader() -> App {
        let new_id = Box::new(|| MessageId::from_bytes([1; 16]));
        let setup = Setup { server: "quip://here".to_owned(), zone: jiff::tz::TimeZone::UTC, new_id };
        let now = Timestamp(1_000_000);
        let mut app = App::new(setup, now);
        let summary = RoomSummary {
            id: ROOM,
            target: "#ops".parse().unwrap(),
            kind: RoomKind::Public,
            topic: SafeLine::default(),
            archived: false,
            role: None,
            members: 2,
            head: Cursor::default(),
            active_at: now,
            read: Seq::ZERO,
            unread: 0,
            mentions: 0,
        };
        let room = Copied { summary, cursor: None, whole: None };
        app.handle(Input::Local(Ok(Loaded { rooms: vec![room], ..Loaded::default() })), now);
        for seq in 1..=3 {
            let event = Event { room: ROOM, ..message(seq, "words") };
            let head = Cursor { epoch: event.epoch, seq: event.seq };
            let from = PageFrom::Latest;
            app.handle(Input::Page { room: ROOM, from, events: vec![event], head }, now);
        }
        app
    }

    #[test]
    fn what_was_read_last_is_kept_to_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let app = reader();
        assert_eq!(app.untold().collect::<Vec<_>>(), [(ROOM, Seq(3))]);
        opened(dir.path()).close(&app);
        assert_eq!(marks(dir.path()), [(ROOM, Seq(3))]);
    }

    #[test]
    fn what_was_read_before_it_was_marked_unread_is_not_told_later() {
        let dir = tempfile::tempdir().unwrap();
        let app = reader();
        let mut local = opened(dir.path());
        let mark = Effect::Mark { room: ROOM, seq: Seq(3) };
        assert!(local.perform(mark, &app, Timestamp(1)).is_ok_and(|left| left.is_none()), "not connected");
        assert_eq!(marks(dir.path()), [(ROOM, Seq(3))]);
        let (seq, at) = (Seq(1), Timestamp(1));
        let body = NoticeBody::Unread { room: ROOM, seq: Seq(2) };
        local.note(&Input::Notice(Notice { seq, epoch: quip_protocol::Epoch::FIRST, at, body }));
        assert_eq!(marks(dir.path()), []);
    }

    #[test]
    fn what_comes_of_a_room_that_went_does_not_keep_the_others_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let mut local = opened(dir.path());
        let told = local.older(RoomId(1), Seq(1), Vec::new(), Seq(9));
        assert!(matches!(told, Some(Input::NotBrought { room: RoomId(1), .. })), "{told:?}");
    }
}
