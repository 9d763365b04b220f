//! Opening a data directory: the store as it was, and behind it what the journal has more.
//!
//! The store also vouches for the journal: one that ends before the store has lost something that was acknowledged.
//! Where it has, or where no store can say that it has not, the epoch is raised before anything is served. Places
//! that were given before may be given again, but never with the same epoch, so that a reader who saw what is lost
//! finds that its cursor is not good any more.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use quip_protocol::{Epoch, Position};
use quip_storage::data_dir::{DataDir, DataDirError};
use quip_storage::journal::{Journal, JournalError, JournalOptions};
use quip_storage::record::Applied;
use quip_storage::store::{Opened, Store, StoreError, StoreOptions};
use tracing::{info, warn};

use crate::engine::{Engine, Entry, NotApplied, Terms};
use crate::feed::Feeds;

use super::past::{Applied as AppliedPast, Unpublished};

/// Changes that are applied to the store at once while it is brought up.
const BATCH: usize = 20_000;
/// How often the progress of a rebuild is told.
const PROGRESS: Duration = Duration::from_secs(2);

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal ends before what the store has: something acknowledged is missing from it. Going on would give the
    /// same places to other events.
    #[error(
        "the journal ends at {journal}, the store is at {store}: the journal is missing, cut or an older copy; put the right one back, or accept the loss with quipd check --rebuild"
    )]
    JournalBehind {
        /// Where the journal ends.
        journal: Position,
        /// Where the store is.
        store: Position,
    },
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Random(#[from] getrandom::Error),
    /// The journal has an entry that this version cannot apply.
    #[error("journal entry {position} cannot be replayed: {why}")]
    Replay {
        /// Which.
        position: Position,
        /// Why.
        why: String,
    },
}

/// A data directory, opened and brought up to the end of its journal.
#[derive(Debug)]
pub struct OpenedDir {
    /// Holds the lock.
    pub dir: DataDir,
    /// Ready to append.
    pub journal: Journal,
    /// Has everything in the journal.
    pub store: Store,
    /// Likewise.
    pub engine: Engine,
    /// Where the store of before lies, if there is a new one. Nothing needs it any more; but what the journal has
    /// lost is nowhere else.
    pub set_aside: Option<PathBuf>,
}

/// Opens the data directory, rebuilding the store from the journal where that is needed. With `rebuild` it is done in
/// any case, and what the journal has lost is accepted as lost.
///
/// # Errors
/// See [`OpenError`].
pub fn open(path: &Path, store_options: StoreOptions, rebuild: bool) -> Result<OpenedDir, OpenError> {
    let dir = DataDir::open(path)?;
    let mut journal = Journal::open(dir.journal(), JournalOptions::default())?;
    let (mut store, opened) = Store::open(dir.store(), store_options.clone())?;
    if !rebuild && store.applied() > journal.last() {
        return Err(OpenError::JournalBehind { journal: journal.last(), store: store.applied() });
    }
    let mut set_aside = None;
    if let Opened::SetAside { to, why } = opened {
        warn!(kept = %to.display(), why, "the store could not be opened: making it anew from the journal; the old one can be deleted");
        set_aside = Some(to);
    }
    // First of all: whatever ends this process later, the store that told of the loss may be gone by then.
    if let Some(epoch) = next_epoch(journal.last(), store.applied(), set_aside.is_some())? {
        raise_epoch(&mut journal, epoch)?;
    }
    if rebuild || !journal.holds(store.applied())? {
        let to = store.set_aside()?;
        warn!(kept = %to.display(), "making the store anew from the journal");
        set_aside = Some(to);
        store = Store::open(dir.store(), store_options)?.0;
    }
    let engine = match catch_up(&store, &journal) {
        Err(e) if store.is_given_up() => {
            warn!(error = %e, "the store is damaged: it is set aside and rebuilt from the journal");
            store.reopen()?;
            catch_up(&store, &journal)?
        }
        caught_up => caught_up?,
    };
    Ok(OpenedDir { dir, journal, store, engine, set_aside })
}

/// The epoch to go on with, unless the store vouches for the journal.
fn next_epoch(journal: Position, store: Position, unreadable: bool) -> Result<Option<Epoch>, OpenError> {
    let next = journal.epoch.max(store.epoch).0.saturating_add(1);
    if store > journal {
        return Ok(Some(Epoch(next)));
    }
    if !unreadable && (store != Position::ZERO || journal == Position::ZERO) {
        return Ok(None);
    }
    // A journal put back from a backup does not know what epochs there were since, and may be put back again: at
    // random, because no clock says what was not used before.
    let mut skipped = [0; 2];
    getrandom::fill(&mut skipped)?;
    Ok(Some(Epoch(next.saturating_add(1 + u32::from(u16::from_le_bytes(skipped))))))
}

fn raise_epoch(journal: &mut Journal, epoch: Epoch) -> Result<(), OpenError> {
    let position = Position { epoch, offset: journal.last().offset + 1 };
    journal.append(position, &Entry::default().to_bytes())?;
    warn!(%position, "the epoch is raised: something may be lost, and who saw it is told to fetch again");
    Ok(())
}

/// Brings the store up to the end of the journal, and makes its engine.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn catch_up(store: &Store, journal: &Journal) -> Result<Engine, OpenError> {
    let mut engine = Engine::from_snapshot(store.load()?);
    Replay { store, engine: &mut engine, unpublished: Unpublished::default(), feeds: Feeds::default() }
        .run(journal)?;
    Ok(engine)
}

struct Replay<'a> {
    store: &'a Store,
    engine: &'a mut Engine,
    unpublished: Unpublished,
    /// Empty: while a directory is opened nothing is live.
    feeds: Feeds,
}

impl Replay<'_> {
    fn run(&mut self, journal: &Journal) -> Result<(), OpenError> {
        let (from, last) = (self.store.applied(), journal.last());
        if from >= last {
            return Ok(());
        }
        let mut batch = Vec::new();
        let mut changes = 0;
        let mut told = Instant::now();
        for record in journal.replay(from)? {
            let (position, payload) = record?;
            let applied = self.apply(position, &payload)?;
            changes += applied.changes.len();
            batch.push(applied);
            if changes >= BATCH {
                self.store(&mut batch)?;
                changes = 0;
            }
            if told.elapsed() >= PROGRESS {
                let percent = position.offset.saturating_mul(100) / last.offset.max(1);
                info!(percent, position = %position, "replaying the journal into the store");
                told = Instant::now();
            }
        }
        self.store(&mut batch)?;
        self.store.sync()?;
        info!(from = %from, to = %last, "replayed the journal");
        Ok(())
    }

    fn apply(&mut self, position: Position, payload: &[u8]) -> Result<Applied, OpenError> {
        let damaged = |why: String| OpenError::Replay { position, why };
        let entry = Entry::from_bytes(payload).map_err(|e| damaged(e.to_string()))?;
        let terms = Terms { epoch: position.epoch, rules: entry.rules };
        let mut changes = Vec::new();
        for command in &entry.commands {
            let before = changes.len();
            let past = AppliedPast { unpublished: &self.unpublished, feeds: &self.feeds, store: self.store };
            match self.engine.apply(&past, terms, command, &mut changes) {
                Ok(_) => {}
                Err(NotApplied::Refused(refusal)) => {
                    return Err(damaged(format!("it was accepted, and is refused now: {refusal}")));
                }
                Err(NotApplied::Unreadable(unreadable)) => return Err(damaged(unreadable.to_string())),
            }
            let noted = self.unpublished.note(&self.feeds, self.store, &changes[before..]);
            noted.map_err(|e| damaged(e.to_string()))?;
        }
        Ok(Applied { position, changes })
    }

    fn store(&mut self, batch: &mut Vec<Applied>) -> Result<(), OpenError> {
        if !batch.is_empty() {
            self.store.apply(batch)?;
            batch.clear();
            self.unpublished = Unpublished::default();
        }
        Ok(())
    }
}
