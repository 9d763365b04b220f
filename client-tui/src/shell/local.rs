//! The client's own files: the outbox, written before anything is shown as pending, and the replica, which a thread of
//! its own reads and writes. Imports the storage and the app's inputs.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use quip_protocol::frame::{PageFrom, Request};
use quip_protocol::room::RoomSummary;
use quip_protocol::{
    AccountName, Cursor, ErrorCode, Event, MessageId, Refusal, RoomId, SafeLine, Seq, Target, Timestamp,
};
use quip_storage::outbox::{self, Entry, Kept};
use quip_storage::{Copied, DataDir, Outbox, Replica, ReplicaError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::mentions;
use super::search::{self, Search};
use crate::app::outbox::{Delivery, State};
use crate::app::{App, Effect, Failure, Input, Loaded};

use super::merges::Merges;

/// How long what was written may be lost if the process is killed: it is fetched again then.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Most events of a room that are written at once.
const BATCH: usize = 2_000;

/// The files. While they are open no other process uses them.
pub struct Local {
    outbox: Outbox,
    jobs: Sender<Job>,
    answers: UnboundedReceiver<Answer>,
    thread: Option<JoinHandle<()>>,
    search: Option<Search>,
    /// The rooms as they were written last.
    rooms: BTreeMap<RoomId, RoomSummary>,
    _lock: DataDir,
}

/// What the thread is to do, in order.
enum Job {
    Event(Event),
    Page {
        room: RoomId,
        events: Vec<Event>,
        head: Seq,
    },
    Cut {
        room: RoomId,
        keep: Cursor,
        head: Seq,
    },
    /// The room's log may have been repaired some time ago.
    Merge(RoomId),
    Owner(AccountName),
    Rooms(Vec<RoomSummary>),
    Remove(RoomId),
    Fetch(Effect),
    Mentions(AccountName),
    /// Do not wait until there is nothing else to do.
    Sync,
    End,
}

/// What the thread found.
pub enum Answer {
    /// Events that are there.
    Found(Input),
    /// They are not there; this is what was asked for.
    Missing(Effect),
}

impl Local {
    /// Opens what lies in `dir`. Also returns what the app begins with, and what the network is to deliver.
    ///
    /// # Errors
    /// One line, when another process uses it or it cannot be used.
    pub fn open(dir: &Path) -> Result<(Local, Loaded, Vec<Effect>), String> {
        let lock = DataDir::open(dir).map_err(|error| error.to_string())?;
        let outbox = Outbox::open(dir.join("outbox")).map_err(|error| error.to_string())?;
        let (replica, me, copied) = open_replica(&dir.join("replica")).map_err(|error| error.to_string())?;
        let rooms: BTreeMap<RoomId, RoomSummary> =
            copied.iter().map(|room| (room.summary.id, room.summary.clone())).collect();
        let loaded = Loaded {
            me,
            rooms: copied.into_iter().map(|room| (room.summary, room.cursor)).collect(),
            deliveries: outbox.kept().iter().filter_map(delivery).collect(),
        };
        let waiting = outbox.kept().iter().filter(|kept| kept.refused.is_none());
        let deliver = waiting.map(|kept| Effect::Deliver(kept.entry.request.clone())).collect();
        let (jobs, queue) = channel();
        // The receiver is at hand, so they arrive.
        rooms.keys().for_each(|room| drop(jobs.send(Job::Merge(*room))));
        let (found, answers) = unbounded_channel();
        let replica = Arc::new(replica);
        let search = Search::start(dir, replica.clone(), found.clone())?;
        let poke = search.poke();
        let thread = std::thread::Builder::new()
            .name("replica".into())
            .spawn(move || work(&replica, &queue, &found, &poke));
        let thread = Some(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
        let search = Some(search);
        Ok((Local { outbox, jobs, answers, thread, search, rooms, _lock: lock }, loaded, deliver))
    }

    /// Writes down what came from the server. Returns what the server is to be told.
    pub fn note(&mut self, input: &Input) -> Vec<Effect> {
        let done = match input {
            Input::Receipt(receipt) => self.outbox.end(receipt.id),
            Input::Refused { id, refusal } => self.outbox.refused(*id, refusal.clone()),
            Input::Marked { room, seq } => self.outbox.told(*room, *seq),
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
            Input::Up(welcome) => {
                welcome.account.iter().for_each(|me| self.job(Job::Owner(me.clone())));
                return self.outbox.marks().map(|(room, seq)| Effect::Mark { room, seq }).collect();
            }
            _ => {}
        }
        Vec::new()
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
            Effect::FetchPage { from, .. } if matches!(from, PageFrom::Before(_)) || !connected => {
                self.job(Job::Fetch(effect));
                Ok(None)
            }
            Effect::FindMentions(me) => {
                self.job(Job::Mentions(me));
                Ok(None)
            }
            Effect::Search { query, most } => {
                self.search.iter().for_each(|search| search.ask(query.clone(), most));
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

    /// Writes everything down and lets go.
    pub fn close(mut self, app: &App) {
        self.keep_rooms(app);
        if let Some(search) = self.search.take() {
            search.close();
        }
        self.job(Job::End);
        if let Some(thread) = self.thread.take() {
            // It has said in the log what went wrong.
            let _ = thread.join();
        }
    }

    fn job(&self, job: Job) {
        // A thread that gave up needs nothing any more.
        let _ = self.jobs.send(job);
    }
}

/// What is found to be damaged is set aside when it is opened again.
fn open_replica(dir: &Path) -> Result<(Replica, Option<AccountName>, Vec<Copied>), ReplicaError> {
    let read = || {
        let (replica, _) = Replica::open(dir)?;
        let (me, rooms) = (replica.owner()?, replica.rooms()?);
        Ok((replica, me, rooms))
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

/// The thread's work, until it is told to end. If the replica fails, the client goes on without.
fn work(replica: &Replica, queue: &Receiver<Job>, found: &UnboundedSender<Answer>, written: &search::Poke) {
    let mut waiting: BTreeMap<RoomId, Vec<Event>> = BTreeMap::new();
    let mut dirty = false;
    let mut failed = false;
    let mut merges = Merges::default();
    loop {
        let idle = waiting.is_empty();
        let job = if idle { queue.recv_timeout(SYNC_EVERY) } else { queue.recv_timeout(Duration::ZERO) };
        let timed_out = matches!(job, Err(RecvTimeoutError::Timeout));
        let end = matches!(job, Ok(Job::End) | Err(RecvTimeoutError::Disconnected));
        if let Ok(Job::Cut { room, .. } | Job::Merge(room)) = &job {
            merges.begin(*room);
        }
        let done = match job {
            Ok(Job::Event(event)) => {
                let events = waiting.entry(event.room).or_default();
                events.push(event);
                if events.len() < BATCH { continue } else { write(replica, &mut waiting) }
            }
            Ok(job) if !failed => write(replica, &mut waiting).and_then(|()| perform(replica, job, found)),
            Ok(Job::Fetch(asked)) => miss(asked, found),
            Err(RecvTimeoutError::Timeout) if idle => {
                if std::mem::take(&mut dirty) {
                    replica.sync()
                } else {
                    Ok(())
                }
            }
            _ => write(replica, &mut waiting),
        };
        let done = done.and_then(|()| tell_lost(replica, &mut merges, found));
        dirty |= !timed_out || !idle;
        if !timed_out || !idle {
            search::poke(written);
        }
        if let (Err(error), false) = (&done, failed) {
            tracing::error!(%error, "the local copy is not kept up any more");
            failed = true;
        }
        if failed {
            waiting.clear();
        }
        if end {
            let _ = replica.sync();
            return;
        }
    }
}

fn write(replica: &Replica, waiting: &mut BTreeMap<RoomId, Vec<Event>>) -> Result<(), ReplicaError> {
    for (room, events) in std::mem::take(waiting) {
        let before = events.first().map_or(0, |event| event.seq.0.saturating_sub(1));
        replica.insert(room, &events, Seq(before))?;
    }
    Ok(())
}

fn perform(replica: &Replica, job: Job, found: &UnboundedSender<Answer>) -> Result<(), ReplicaError> {
    match job {
        Job::Page { room, events, head } => replica.insert(room, &events, head),
        Job::Cut { room, keep, head } => replica.cut(room, keep, head),
        Job::Owner(me) => replica.set_owner(&me),
        Job::Rooms(rooms) => replica.put_rooms(&rooms),
        Job::Remove(room) => replica.remove(room),
        Job::Fetch(asked) => fetch(replica, asked, found),
        Job::Mentions(me) => {
            // A client that has ended needs no answer.
            let _ = found.send(Answer::Found(Input::Mentions(mentions::find(replica, &me)?)));
            Ok(())
        }
        Job::Sync => replica.sync(),
        Job::Event(_) | Job::Merge(_) | Job::End => Ok(()),
    }
}

fn tell_lost(
    replica: &Replica,
    merges: &mut Merges,
    found: &UnboundedSender<Answer>,
) -> Result<(), ReplicaError> {
    for news in merges.news(replica)? {
        // A client that has ended needs no answer.
        let _ = found.send(Answer::Found(news));
    }
    Ok(())
}

fn miss(asked: Effect, found: &UnboundedSender<Answer>) -> Result<(), ReplicaError> {
    // A client that has ended needs no answer.
    let _ = found.send(Answer::Missing(asked));
    Ok(())
}

fn fetch(replica: &Replica, asked: Effect, found: &UnboundedSender<Answer>) -> Result<(), ReplicaError> {
    let Effect::FetchPage { room, from, limit, .. } = asked else { return Ok(()) };
    let page =
        replica.page(room, from, limit as usize).and_then(|events| Ok((events, replica.newest(room)?)));
    match page {
        Ok((events, Some(head))) if joins(&events, from) => {
            let _ = found.send(Answer::Found(Input::Page { room, from, events, head }));
            Ok(())
        }
        Ok(_) => miss(asked, found),
        Err(error) => miss(asked, found).and(Err(error)),
    }
}

/// Whether there is no hole between what was asked for and what is there.
fn joins(events: &[Event], from: PageFrom) -> bool {
    match (from, events.first(), events.last()) {
        (PageFrom::Latest, Some(_), _) => true,
        (PageFrom::Before(seq), _, Some(last)) => last.seq.next() == seq,
        (PageFrom::After(seq), Some(first), _) => first.seq == seq.next(),
        _ => false,
    }
}

/// What the user is told where nothing can be kept.
pub fn not_kept(why: &str) -> SafeLine {
    SafeLine::new(&format!("nothing is kept on this disk, and drafts end with this client: {why}"))
}

/// What the app is told where a page is neither here nor can be asked for.
pub fn page_failed(asked: &Effect) -> Option<Input> {
    let Effect::FetchPage { room, .. } = asked else { return None };
    let why = SafeLine::new("it is not in the local copy; it comes when the server answers");
    Some(Input::PageFailed { room: *room, why: Failure::Unanswered(why) })
}

/// The idempotency key of what the app delivers.
pub fn id_of(request: &Request) -> MessageId {
    // The app delivers nothing that has none.
    outbox::id(request).unwrap_or_else(|| MessageId::from_bytes([0; 16]))
}
