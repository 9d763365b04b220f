//! The thread that reads and writes the replica, one job after the other. Imports the storage and the app's inputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{AccountName, Cursor, Event, RoomId, Seq};
use quip_storage::{Behind, Replica, ReplicaError};
use tokio::sync::mpsc::UnboundedSender;

use super::mentions;
use super::merges::Merges;
use super::search::{self, Poke};
use crate::app::{Effect, Input};

/// How long what was written may be lost if the process is killed: it is fetched again then.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Most events of a room that are written at once.
const BATCH: usize = 2_000;
/// How much longer it writes at the end: a little less than is waited for it.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// What the thread is to do, in order.
pub enum Job {
    Event(Event),
    Page {
        room: RoomId,
        events: Vec<Event>,
        head: Seq,
    },
    /// Events that were missing, down to `floor` if they are none.
    Older {
        room: RoomId,
        floor: Seq,
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
    /// The newest notice.
    Inbox(Cursor),
    Rooms(Vec<RoomSummary>),
    Remove(RoomId),
    Fetch(Effect),
    /// Say what is missing behind what the app has.
    Bring(Effect),
    Mentions(AccountName),
    /// Do not wait until there is nothing else to do.
    Sync,
    End,
}

/// What the thread found.
pub enum Answer {
    /// Events that are there.
    Found(Input),
    /// They are not there; this is what is to be asked for, and what lies behind the hole.
    Missing(Effect, Option<Box<Input>>),
}

/// The thread's state.
pub struct Copier {
    replica: Arc<Replica>,
    found: UnboundedSender<Answer>,
    written: Poke,
    /// Nobody needs answers any more.
    ending: Arc<AtomicBool>,
    /// Events that are to be written together.
    waiting: BTreeMap<RoomId, Vec<Event>>,
    merges: Merges,
    /// There is something that a power cut would take.
    dirty: bool,
    /// The replica does not work any more; the client goes on without.
    failed: bool,
    synced_at: Instant,
}

impl Copier {
    pub fn new(
        replica: Arc<Replica>,
        found: UnboundedSender<Answer>,
        written: Poke,
        ending: Arc<AtomicBool>,
    ) -> Copier {
        Copier {
            replica,
            found,
            written,
            ending,
            waiting: BTreeMap::new(),
            merges: Merges::default(),
            dirty: false,
            failed: false,
            synced_at: Instant::now(),
        }
    }

    /// Works until it is told to end, and then no longer than is waited for.
    pub fn run(mut self, queue: &Receiver<Job>) {
        let mut until: Option<Instant> = None;
        loop {
            let idle = self.waiting.is_empty();
            let job = queue.recv_timeout(if idle { SYNC_EVERY } else { Duration::ZERO });
            let end = matches!(job, Ok(Job::End) | Err(RecvTimeoutError::Disconnected));
            let done = self.step(job, idle);
            self.fail(done);
            if until.is_none() && self.ending.load(Ordering::Relaxed) {
                until = Some(Instant::now() + LAST_WORDS);
            }
            if end || until.is_some_and(|until| Instant::now() > until) {
                let synced = if self.failed { Ok(()) } else { self.replica.sync() };
                return self.fail(synced);
            }
        }
    }

    fn fail(&mut self, done: Result<(), ReplicaError>) {
        if let (Err(error), false) = (done, self.failed) {
            tracing::error!(%error, "the local copy is not kept up any more");
            self.failed = true;
        }
        if self.failed {
            self.waiting.clear();
        }
    }

    fn step(&mut self, job: Result<Job, RecvTimeoutError>, idle: bool) -> Result<(), ReplicaError> {
        if let Ok(Job::Cut { room, .. } | Job::Merge(room)) = &job {
            self.merges.begin(*room);
        }
        match job {
            Ok(Job::Event(event)) => {
                let events = self.waiting.entry(event.room).or_default();
                events.push(event);
                if events.len() < BATCH {
                    return Ok(());
                }
                self.write()?;
            }
            Ok(Job::Fetch(asked)) if self.failed => self.miss(asked, None),
            Ok(_) if self.failed => {}
            Ok(job) => {
                self.write()?;
                self.perform(job)?;
            }
            Err(_) if idle => return self.sync(),
            Err(_) => self.write()?,
        }
        self.dirty = true;
        search::poke(&self.written);
        self.tell_lost()?;
        // What comes without an end is to survive this process too.
        if self.synced_at.elapsed() >= SYNC_EVERY { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), ReplicaError> {
        self.synced_at = Instant::now();
        if std::mem::take(&mut self.dirty) && !self.failed { self.replica.sync() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), ReplicaError> {
        for (room, events) in std::mem::take(&mut self.waiting) {
            let before = events.first().map_or(0, |event| event.seq.0.saturating_sub(1));
            self.replica.insert(room, &events, Seq(before))?;
        }
        Ok(())
    }

    fn perform(&self, job: Job) -> Result<(), ReplicaError> {
        let replica = &self.replica;
        match job {
            Job::Page { room, events, head } => replica.insert(room, &events, head),
            Job::Older { room, floor, events, head } => self.older(room, floor, &events, head),
            Job::Cut { room, keep, head } => replica.cut(room, keep, head),
            Job::Owner(me) => replica.set_owner(&me),
            Job::Inbox(at) => replica.set_inbox(at),
            Job::Rooms(rooms) => replica.put_rooms(&rooms),
            Job::Remove(room) => replica.remove(room),
            Job::Sync => replica.sync(),
            Job::Event(_) | Job::Merge(_) | Job::End => Ok(()),
            _ if self.ending.load(Ordering::Relaxed) => Ok(()),
            Job::Fetch(asked) => self.fetch(asked),
            Job::Bring(asked) => self.bring(asked),
            Job::Mentions(me) => {
                self.tell(Input::Mentions(mentions::find(replica, &me)?));
                Ok(())
            }
        }
    }

    fn tell(&self, input: Input) {
        // A client that has ended needs no answer.
        let _ = self.found.send(Answer::Found(input));
    }

    fn miss(&self, asked: Effect, behind: Option<Input>) {
        // As above.
        let _ = self.found.send(Answer::Missing(asked, behind.map(Box::new)));
    }

    fn tell_lost(&mut self) -> Result<(), ReplicaError> {
        for news in self.merges.news(&self.replica)? {
            self.tell(news);
        }
        Ok(())
    }

    fn fetch(&self, asked: Effect) -> Result<(), ReplicaError> {
        let Effect::FetchPage { room, from, limit, .. } = asked else { return Ok(()) };
        let page = self.replica.page(room, from, limit as usize);
        match page.and_then(|events| Ok((events, self.replica.newest(room)?))) {
            Ok((events, Some(head))) => {
                let joins = joins(&events, from);
                let page = Input::Page { room, from, events, head };
                if joins {
                    self.tell(page)
                } else {
                    self.miss(asked, Some(page))
                }
                Ok(())
            }
            Ok((_, None)) => {
                self.miss(asked, None);
                Ok(())
            }
            Err(error) => {
                self.miss(asked, None);
                Err(error)
            }
        }
    }

    /// Looks for what is missing; the network fetches that, and `older` takes it.
    fn bring(&self, asked: Effect) -> Result<(), ReplicaError> {
        let Effect::Bring { room, target, below, floor } = asked else { return Ok(()) };
        match self.replica.behind(room, below, floor)? {
            Behind::Hole(first, last) => {
                self.miss(Effect::Bring { room, target, below: last.next(), floor: first }, None);
                Ok(())
            }
            Behind::Whole(whole) => self.brought(room, whole),
        }
    }

    fn older(&self, room: RoomId, floor: Seq, events: &[Event], head: Seq) -> Result<(), ReplicaError> {
        // Newest first: if this is the last that is written, there is no hole behind what is.
        for events in events.rchunks(BATCH) {
            self.replica.insert(room, events, head)?;
        }
        self.brought(room, events.first().map_or(floor, |event| event.seq))
    }

    fn brought(&self, room: RoomId, whole: Seq) -> Result<(), ReplicaError> {
        self.replica.set_whole(room, whole)?;
        self.tell(Input::Brought { room, whole });
        Ok(())
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
