//! Going on by itself: what the writer does when journal or store failed, and while the disk is full.
//!
//! A journal that found no room is opened again, which cuts off what was never acknowledged; a store that failed is
//! opened again, or made again from the journal; the engine is what the store then has. Only after another failure of
//! the journal a restart is needed, since what such a disk has is not known; and where the store cannot be made again,
//! twice for the same reason.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quip_protocol::{Position, Refusal, Timestamp};
use quip_storage::journal::{Journal, JournalError, JournalOptions};
use quip_storage::store::{Opened, StoreError};
use tracing::{error, info, warn};

use crate::engine::Engine;
use crate::node::Node;

use super::behind::Behind;
use super::open::{OpenError, catch_up};
use super::past::Unpublished;
use super::recent::Recent;
use super::{Group, Results, Writer, degraded};

/// How long it is waited at first before what failed is opened again.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// And at most, where it fails time after time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What went well for so long did not fail time after time.
const WELL: Duration = Duration::from_secs(600);

/// What has to be done before writing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// Open the journal again: it found no room.
    Journal,
    /// Open the store again.
    Store,
    /// Start the server again.
    Restart,
}

impl Cure {
    /// What an error of the journal needs.
    pub(super) fn of(error: &JournalError) -> Cure {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match error {
            JournalError::Io { source, .. } if matches!(source.kind(), QuotaExceeded | StorageFull) => {
                Cure::Journal
            }
            _ => Cure::Restart,
        }
    }
}

/// Why nothing is written now, and what is done about it.
pub(super) struct Stall {
    cure: Cure,
    /// When that is done.
    due: Instant,
    mending: Option<JoinHandle<Mended>>,
}

/// What came of mending.
struct Mended {
    journal: Option<Journal>,
    engine: Result<Engine, Hindrance>,
}

/// Why writing does not go on.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the journal ends at {found}, the last acknowledged record is {last}: restart quipd when the disk is well"
    )]
    Doubtful { found: Position, last: Position },
    #[error(
        "the store cannot be made from the journal, twice for the same reason: {why}; stop quipd and run `quipd check --rebuild`, which says what is wrong"
    )]
    Hopeless { why: String },
    #[error("the operating system gives no thread: {0}")]
    Thread(#[from] io::Error),
}

impl Writer {
    /// Looks after disk and store, and lets writing go on when it can.
    pub(super) fn tend(&mut self) {
        // What were begun now would only be waited for.
        if self.node.stopping.has_begun() {
            return;
        }
        // It is kept: who writes next is refused by it.
        let _ = self.note_room();
        let Some(stall) = &mut self.stall else {
            if self.node.store.is_given_up() || self.behind.as_ref().is_none_or(Behind::is_over) {
                self.stall("the store failed", Cure::Store);
            }
            return;
        };
        match stall.mending.take_if(|mending| mending.is_finished()) {
            Some(mending) => self.finish_mending(mending),
            None if stall.mending.is_none() && stall.cure != Cure::Restart && stall.due <= Instant::now() => {
                self.begin_mending();
            }
            None => {}
        }
    }

    /// Refuses while the disk is full; says when it begins to be, and when it no longer is.
    pub(super) fn note_room(&mut self) -> Result<(), Refusal> {
        let room = self.node.room_on_disk();
        match (self.is_low, room.is_err()) {
            (false, true) => {
                error!("the disk is full: nothing is written until there is room; reading goes on")
            }
            (true, false) => info!("the disk has room again"),
            _ => {}
        }
        self.is_low = room.is_err();
        room
    }

    /// Stops writing.
    pub(super) fn stall(&mut self, why: &str, cure: Cure) {
        match cure {
            Cure::Restart => {
                error!(why, "writing stopped: restart quipd when the disk is well again; reading goes on");
            }
            _ => warn!(why, "writing stopped until it can go on by itself; reading goes on"),
        }
        self.node.durable.stall();
        self.pause = match self.mended {
            Some(mended) if mended.elapsed() < WELL => (self.pause * 2).min(LONGEST_PAUSE),
            _ => PAUSE,
        };
        self.store_failed |= cure == Cure::Store;
        self.stall = Some(Stall { cure, due: Instant::now() + self.pause, mending: None });
    }

    /// Stops writing after a group was applied: it is not durable, so nobody is told that it is.
    pub(super) fn fail(&mut self, group: Group, why: &str, cure: Cure) -> Results {
        self.stall(why, cure);
        if self.group > self.durable {
            self.node.durable.lose(self.group);
            self.take_back();
        }
        group.results.into_iter().map(|(waiter, _)| (waiter, Err(degraded()))).collect()
    }

    /// Puts the engine back to where it was before the group that is not durable, so that reading goes on: to what
    /// the store has, once it has everything that is durable. If it cannot have that, nothing is told any more.
    fn take_back(&mut self) {
        if let Some(behind) = self.behind.take() {
            self.store_failed |= !behind.finish();
        }
        if self.node.store.applied() != self.last {
            return warn!("the store is not as new as the journal: reading is refused too until it is");
        }
        match self.node.store.load() {
            Ok(snapshot) => self.put_engine(Engine::from_snapshot(snapshot)),
            Err(e) => warn!(error = %e, "the store cannot be read: reading is refused too until it can"),
        }
    }

    /// Takes an engine that has everything durable, and nothing else.
    fn put_engine(&mut self, engine: Engine) {
        let mut held = self.node.engine.write();
        *held = engine;
        self.node.applied.store(self.durable, Ordering::Release);
    }

    /// Opens what failed again, in a thread of its own: the writer goes on refusing. Not while the disk is full.
    fn begin_mending(&mut self) {
        let Some(stall) = &mut self.stall else { return };
        if self.is_low {
            return;
        }
        let journal = self.journal.take().filter(|_| stall.cure != Cure::Journal);
        let (node, dir, last) = (Arc::clone(&self.node), self.journal_dir.clone(), self.last);
        let (behind, store_failed) = (self.behind.take(), self.store_failed);
        let mend = move || {
            // What is in the queue is in the journal too.
            if let Some(behind) = behind {
                behind.finish();
            }
            mend(&node, &dir, last, journal, store_failed)
        };
        match thread::Builder::new().name("quip-mend".into()).spawn(mend) {
            Ok(mending) => stall.mending = Some(mending),
            // The journal went with the thread that is not.
            Err(e) => self.put_off(Cure::Journal, &Hindrance::Thread(e)),
        }
    }

    fn finish_mending(&mut self, mending: JoinHandle<Mended>) {
        let Mended { journal, engine } =
            mending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Without a journal, opening it is what is to be done first.
        let next = if journal.is_some() { Cure::Store } else { Cure::Journal };
        self.store_failed |= journal.is_some();
        self.journal = journal;
        match engine {
            Ok(engine) => self.go_on(engine),
            Err(doubt @ Hindrance::Doubtful { .. }) => self.put_off(Cure::Restart, &doubt),
            Err(hindrance) => {
                let why = hindrance.to_string();
                match self.is_hopeless(&why) {
                    true => self.put_off(Cure::Restart, &Hindrance::Hopeless { why }),
                    false => self.put_off(next, &hindrance),
                }
            }
        }
    }

    /// Whether the store was to be made again from the journal, and failed as it did the time before.
    fn is_hopeless(&mut self, why: &str) -> bool {
        let failed = self.node.store.is_given_up();
        let again = failed && self.unmade.as_deref() == Some(why);
        self.unmade = failed.then(|| why.to_owned());
        again
    }

    fn put_off(&mut self, cure: Cure, why: &Hindrance) {
        error!(error = %why, "writing cannot go on yet");
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.stall = Some(Stall { cure, due: Instant::now() + self.pause, mending: None });
    }

    fn go_on(&mut self, engine: Engine) {
        let recent = Recent::load(&self.node.store, Timestamp::now());
        self.recent = recent.unwrap_or_else(|_| Recent::unknown());
        match Behind::start(Arc::clone(&self.node)) {
            Ok(behind) => self.behind = Some(behind),
            Err(e) => return self.put_off(Cure::Store, &Hindrance::Thread(e)),
        }
        self.put_engine(engine);
        // What was applied and lost is forgotten, what is durable is in the store.
        self.unpublished = Unpublished::default();
        // First: whoever is woken reads the store.
        self.node.whole.mended();
        self.node.feeds.all_stored();
        (self.stall, self.store_failed, self.unmade) = (None, false, None);
        self.mended = Some(Instant::now());
        self.node.durable.resume();
        info!(position = %self.last, "writing goes on");
    }

    /// Writes what is left to write.
    pub(super) fn end(mut self) {
        if let Some(mending) = self.stall.take().and_then(|stall| stall.mending)
            && mending.join().is_err()
        {
            error!("mending panicked; the journal has everything that was acknowledged");
        }
        if let Some(behind) = self.behind {
            behind.finish();
        }
    }
}

fn mend(
    node: &Node,
    journal_dir: &Path,
    last: Position,
    journal: Option<Journal>,
    store_failed: bool,
) -> Mended {
    let journal = match journal.map_or_else(|| reopen_journal(node, journal_dir, last), Ok) {
        Ok(journal) => journal,
        Err(hindrance) => return Mended { journal: None, engine: Err(hindrance) },
    };
    // A store that the journal's failure left alone is as it was.
    let store = if store_failed { reopen_store(node) } else { Ok(()) };
    let engine =
        store.map_err(OpenError::from).and_then(|()| catch_up(&node.store, &journal, &node.stopping));
    if let Err(e @ (OpenError::Replay { .. } | OpenError::Store(StoreError::OutOfOrder(_)))) = &engine {
        // What the journal does not follow on is not what the journal made.
        node.store.give_up(&e.to_string());
    }
    Mended { journal: Some(journal), engine: engine.map_err(Hindrance::from) }
}

/// Opens the journal again. A record that was written as a whole and not acknowledged means that the disk failed to
/// sync it: it may be in memory alone, and nothing is to follow on it. Of a shared log the next entries are taken again, and
/// written over it.
fn reopen_journal(node: &Node, dir: &Path, last: Position) -> Result<Journal, Hindrance> {
    let mut journal = Journal::open(dir, JournalOptions::default()).map_err(OpenError::from)?;
    if node.cluster.is_some() {
        journal.cut_behind(last).map_err(OpenError::from)?;
    }
    let found = journal.last();
    if found != last {
        return Err(Hindrance::Doubtful { found, last });
    }
    journal.show_to(&node.journal);
    Ok(journal)
}

fn reopen_store(node: &Node) -> Result<(), StoreError> {
    node.whole.broken();
    match node.store.reopen()? {
        Opened::SetAside { to, why } => {
            warn!(set_aside = %to.display(), why, "the store was damaged: rebuilding it from the journal");
        }
        opened => info!(?opened, applied = %node.store.applied(), "the store was opened again"),
    }
    Ok(())
}
