//! The search index of the copy that this process has open: one thread keeps it up, another one looks in it, and the
//! owner's door lets other processes look. Imports the index and the door.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quip_protocol::SafeLine;
use quip_storage::Replica;
use quip_storage::search::{Index, Query, SearchError, Seeker};
use tokio::sync::mpsc::UnboundedSender;

use super::copy;
use crate::app::Input;
use crate::owner::{self, Answer, Door};

/// What comes within this time is looked at together: each time costs two writes to the disk.
const GATHER: Duration = Duration::from_millis(250);
/// What failed is tried again after this, where nothing else happens.
const AGAIN: Duration = Duration::from_secs(5);

/// The threads.
pub struct Search {
    shared: Arc<Shared>,
    asked: Sender<(Query, u32)>,
    _door: Option<Door>,
}

/// Says that the replica was written to.
pub type Poke = SyncSender<()>;

struct Shared {
    dir: PathBuf,
    replica: Arc<Replica>,
    poke: Poke,
    /// Events that the index has yet to look at.
    remaining: AtomicU64,
    /// How often an index was opened or made; 0 until there is one.
    made: AtomicU64,
    damaged: AtomicBool,
    ending: AtomicBool,
}

impl Search {
    /// Keeps up the index of `replica`, which lies in `dir`, and answers with what is found. Each thread holds an
    /// `alive` until it has ended.
    ///
    /// # Errors
    /// One line, when a thread cannot be started.
    pub fn start(
        dir: &Path,
        replica: Arc<Replica>,
        found: UnboundedSender<copy::Answer>,
        alive: &Sender<()>,
    ) -> Result<Search, String> {
        let (poke, pokes) = sync_channel(1);
        let tell = found.clone();
        let (asked, questions) = channel();
        let shared = Arc::new(Shared {
            dir: dir.join("search"),
            replica,
            poke,
            remaining: AtomicU64::new(0),
            made: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let keeper = shared.clone();
        let keep = move || {
            if let Err(error) = keep_up(&keeper, &pokes, &tell) {
                tracing::error!(%error, "the search index is not kept up any more");
            }
        };
        let seeker = Looker { shared: shared.clone(), open: None };
        spawn("index", alive, keep)?;
        spawn("search", alive, move || look(seeker, &questions, &found))?;
        let door = open_door(dir, &shared);
        Ok(Search { shared, asked, _door: door })
    }

    /// What the replica's thread pokes when it has written.
    pub fn poke(&self) -> Poke {
        self.shared.poke.clone()
    }

    /// Looks for something; only the last question is surely answered.
    pub fn ask(&self, query: Query, most: u32) {
        // A thread that has ended has said why.
        let _ = self.asked.send((query, most));
    }

    /// Has the threads end when they have done what they are at; what is not looked at yet is looked at the next time.
    pub fn end(self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        poke(&self.shared.poke);
    }
}

/// Says that there is something to look at. That this was said already is enough.
pub fn poke(poke: &Poke) {
    if let Err(TrySendError::Disconnected(())) = poke.try_send(()) {
        tracing::debug!("nobody keeps up the search index");
    }
}

fn spawn(name: &str, alive: &Sender<()>, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let alive = alive.clone();
    let work = move || {
        work();
        drop(alive);
    };
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned.map(drop).map_err(|error| format!("cannot start a thread: {error}"))
}

/// Without it other processes are told who has the copy.
fn open_door(dir: &Path, shared: &Arc<Shared>) -> Option<Door> {
    let looker = Mutex::new(Looker { shared: shared.clone(), open: None });
    let replica = shared.replica.clone();
    let answer = move |question: &owner::Question| {
        let mut looker = looker.lock().unwrap_or_else(PoisonError::into_inner);
        owner::answer(&replica, question, |query, most| looker.find(query, most))
    };
    match Door::open(dir, Arc::new(answer)) {
        Ok(door) => Some(door),
        Err(error) => {
            tracing::warn!(%error, "other quip commands cannot ask this one");
            None
        }
    }
}

/// Keeps the index up until the end.
fn keep_up(
    shared: &Shared,
    pokes: &Receiver<()>,
    tell: &UnboundedSender<copy::Answer>,
) -> Result<(), SearchError> {
    let replica = &shared.replica;
    let mut index = Index::open(&shared.dir, replica)?;
    shared.made.fetch_add(1, Ordering::Release);
    while !shared.ending.load(Ordering::Relaxed) {
        let done = if shared.damaged.swap(false, Ordering::Relaxed) {
            Err(SearchError::Damaged { why: "it was found while something was looked for".to_owned() })
        } else {
            index.catch_up(replica)
        };
        match done {
            Ok(remaining) => {
                shared.remaining.store(remaining, Ordering::Relaxed);
                // A client that has ended needs not know.
                let _ = tell.send(copy::Answer::Found(Input::Indexed));
                if remaining == 0 {
                    wait(shared, pokes);
                }
            }
            Err(error @ SearchError::Damaged { .. }) => {
                tracing::warn!(%error, "the search index is made again");
                index = index.make_again(replica)?;
                shared.made.fetch_add(1, Ordering::Release);
            }
            Err(error) => {
                tracing::warn!(%error, "the search index is behind");
                let _ = pokes.recv_timeout(AGAIN);
            }
        }
    }
    Ok(())
}

/// Waits for something to look at, and then for what comes with it.
fn wait(shared: &Shared, pokes: &Receiver<()>) {
    if pokes.recv().is_err() {
        return;
    }
    let until = Instant::now() + GATHER;
    while !shared.ending.load(Ordering::Relaxed) {
        match pokes.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Answers until nobody can ask any more. What was asked before something else was typed needs no answer.
fn look(mut looker: Looker, questions: &Receiver<(Query, u32)>, found: &UnboundedSender<copy::Answer>) {
    while let Ok(question) = questions.recv() {
        let (query, most) = questions.try_iter().last().unwrap_or(question);
        let (messages, remaining) = match looker.find(&query, most as usize) {
            Answer::Found { found, remaining } => (Ok(found), remaining),
            Answer::NoRoom(room) => (Err(SafeLine::new(&SearchError::NoRoom(room).to_string())), 0),
            Answer::Failed(why) => (Err(SafeLine::new(&why)), 0),
            Answer::Rooms(_) | Answer::Page { .. } => continue,
        };
        let input = Input::Found { query, found: messages, remaining };
        if found.send(copy::Answer::Found(input)).is_err() {
            return;
        }
    }
}

/// Looks in the index as it is now.
struct Looker {
    shared: Arc<Shared>,
    /// The index that was opened last, and which one that was.
    open: Option<(u64, Seeker)>,
}

impl Looker {
    fn find(&mut self, query: &Query, most: usize) -> Answer {
        match self.try_find(query, most) {
            Ok(answer) => answer,
            Err(error) => {
                self.open = None;
                if matches!(error, SearchError::Damaged { .. }) {
                    self.shared.damaged.store(true, Ordering::Relaxed);
                    poke(&self.shared.poke);
                }
                Answer::Failed(error.to_string())
            }
        }
    }

    fn try_find(&mut self, query: &Query, most: usize) -> Result<Answer, SearchError> {
        let made = self.shared.made.load(Ordering::Acquire);
        if made == 0 {
            // It is being opened.
            return Ok(Answer::Found { found: Vec::new(), remaining: u64::MAX });
        }
        let known = self.open.take().filter(|(open, _)| *open == made);
        let (_, seeker) = match known {
            Some(known) => self.open.insert(known),
            None => self.open.insert((made, Seeker::open(&self.shared.dir)?)),
        };
        let remaining = self.shared.remaining.load(Ordering::Relaxed);
        owner::found(seeker, &self.shared.replica, (query, most), remaining)
    }
}
