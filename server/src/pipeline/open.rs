//! Opening a data directory: the store as it was, and behind it what the journal has more.
//!
//! The store also vouches for the journal: one that ends before the store has lost something that was acknowledged.
//! Where it has, or where no store can say that it has not, the epoch is raised before anything is served (`epoch.rs`). Places
//! that were given before may be given again, but never with the same epoch, so that a reader who saw what is lost
//! finds that its cursor is not good any more.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quip_protocol::Position;
use quip_storage::data_dir::{DataDir, DataDirError};
use quip_storage::journal::{Journal, JournalError, JournalOptions};
use quip_storage::record::Applied;
use quip_storage::store::{Opened, Store, StoreError, StoreOptions};
use tracing::{info, warn};

use crate::engine::{Engine, Entry, NotApplied, Terms};
use crate::feed::Feeds;

use super::epoch;
use super::past::{Applied as AppliedPast, Unpublished};
use super::stopping::Stopping;

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
    /// There is no room for what has to be written before anything can be served.
    #[error("the disk of {} is full, and the server cannot start without some room there ({why}); free some and start it again", dir.display())]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// What failed.
        why: String,
    },
    /// The file that says which epoch is to be opened.
    #[error("cannot use {}, which says to which epoch the log is to be raised: {source}", file.display())]
    Note {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An epoch cannot be raised beyond the greatest number.
    #[error("the log has used up all epochs; export the rooms and begin with an empty data directory")]
    NoEpochLeft,
    /// The process was told to stop. The next opening goes on from where this one came to.
    #[error("it was stopped while the store was made from the journal; the next start goes on with that")]
    Stopped,
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

impl OpenError {
    /// What failed, if it did because there is no room.
    fn full_disk(&self) -> Option<String> {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        let causes = std::iter::successors(self.source(), |error| (*error).source());
        let full = |error: &io::Error| matches!(error.kind(), QuotaExceeded | StorageFull);
        let is_full = causes.filter_map(|error| error.downcast_ref()).any(full);
        is_full.then(|| self.to_string())
    }
}

/// A data directory, opened and brought up to the end of its journal.
#[derive(Debug)]
pub struct OpenedDir {
    /// Holds the lock.
    pub dir: Arc<DataDir>,
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
/// any case, and what the journal has lost is accepted as lost. It is left when `stopping` begins.
///
/// # Errors
/// See [`OpenError`].
pub fn open(
    path: &Path,
    store_options: StoreOptions,
    rebuild: bool,
    stopping: &Stopping,
) -> Result<OpenedDir, OpenError> {
    let opened = open_dir(path, store_options, rebuild, stopping);
    opened.map_err(|error| or_full(path, error))
}

fn or_full(path: &Path, error: OpenError) -> OpenError {
    match error.full_disk() {
        Some(why) => OpenError::Full { dir: path.to_owned(), why },
        None => error,
    }
}

/// Opens the data directory of a node of a cluster. The shared log vouches for the journal: one that was cut, or put back
/// older, lacks nothing that does not come from there or from another node, so a store that is ahead of it is made anew, and no
/// epoch is raised.
///
/// # Errors
/// See [`OpenError`].
pub fn open_shared(
    dir: &Arc<DataDir>,
    store_options: StoreOptions,
    stopping: &Stopping,
) -> Result<OpenedDir, OpenError> {
    let opened = (|| {
        let dir = Arc::clone(dir);
        let journal = Journal::open(dir.journal(), JournalOptions::default())?;
        check_version(&journal)?;
        let (store, set_aside) = open_store(&dir, &journal, store_options, false)?;
        let engine = caught_up(&store, &journal, stopping)?;
        Ok(OpenedDir { dir, journal, store, engine, set_aside })
    })();
    opened.map_err(|error| or_full(dir.path(), error))
}

/// The store as it was, or a new one where it is not of this journal.
fn open_store(
    dir: &DataDir,
    journal: &Journal,
    options: StoreOptions,
    rebuild: bool,
) -> Result<(Store, Option<PathBuf>), OpenError> {
    let (store, opened) = Store::open(dir.store(), options.clone())?;
    let mut set_aside = None;
    if let Opened::SetAside { to, why } = opened {
        warn!(kept = %to.display(), why, "the store could not be opened: making it anew from the journal; the old one can be deleted");
        set_aside = Some(to);
    }
    if !rebuild && journal.holds(store.applied())? {
        return Ok((store, set_aside));
    }
    let to = store.set_aside()?;
    warn!(kept = %to.display(), "making the store anew from the journal");
    Ok((Store::open(dir.store(), options)?.0, Some(to)))
}

/// The directory's cluster may go on without it: its epoch is raised when it is opened next, so that no place is given twice.
///
/// # Errors
/// See [`OpenError`].
pub fn leave_cluster(dir: &DataDir) -> Result<(), OpenError> {
    let journal = Journal::open(dir.journal(), JournalOptions::default())?;
    epoch::leave(dir, journal.last())
}

fn open_dir(
    path: &Path,
    store_options: StoreOptions,
    rebuild: bool,
    stopping: &Stopping,
) -> Result<OpenedDir, OpenError> {
    let dir = DataDir::open(path)?;
    let mut journal = Journal::open(dir.journal(), JournalOptions::default())?;
    check_version(&journal)?;
    let (mut store, opened) = Store::open(dir.store(), store_options.clone())?;
    if !rebuild && store.applied() > journal.last() {
        return Err(OpenError::JournalBehind { journal: journal.last(), store: store.applied() });
    }
    let mut set_aside = None;
    if let Opened::SetAside { to, why } = opened {
        warn!(kept = %to.display(), why, "the store could not be opened: making it anew from the journal; the old one can be deleted");
        set_aside = Some(to);
    }
    // Noted first: whatever ends this process later, the store that told of the loss may be gone by then.
    let due = epoch::due(&dir, journal.last(), store.applied(), set_aside.is_some())?;
    if rebuild || !journal.holds(store.applied())? {
        let to = store.set_aside()?;
        warn!(kept = %to.display(), "making the store anew from the journal");
        set_aside = Some(to);
        store = Store::open(dir.store(), store_options)?.0;
    }
    let mut engine = caught_up(&store, &journal, stopping)?;
    if let Some(due) = due {
        epoch::raise(&dir, &mut journal, due)?;
        engine = catch_up(&store, &journal, stopping)?;
    }
    Ok(OpenedDir { dir: Arc::new(dir), journal, store, engine, set_aside })
}

/// All of what was written last can be read: of all entries it has the newest rules. One that this version does not know
/// is found before anything is changed, also where the store has it already.
fn check_version(journal: &Journal) -> Result<(), OpenError> {
    let position = journal.last();
    let last = journal.last_payload()?.map(|payload| Entry::from_bytes(&payload)).transpose();
    last.map_err(|e| OpenError::Replay { position, why: e.to_string() })?;
    Ok(())
}

/// Sets a store aside that was damaged unnoticed until now, and brings up the new one.
fn caught_up(store: &Store, journal: &Journal, stopping: &Stopping) -> Result<Engine, OpenError> {
    match catch_up(store, journal, stopping) {
        Err(e) if store.is_given_up() => {
            warn!(error = %e, "the store is damaged: it is set aside and rebuilt from the journal");
            store.reopen()?;
            catch_up(store, journal, stopping)
        }
        caught_up => caught_up,
    }
}

/// Brings the store up to the end of the journal, and makes its engine.
///
/// # Errors
/// See [`OpenError`].
pub(super) fn catch_up(store: &Store, journal: &Journal, stopping: &Stopping) -> Result<Engine, OpenError> {
    let mut engine = Engine::from_snapshot(store.load()?);
    let (unpublished, feeds) = (Unpublished::default(), Feeds::default());
    Replay { store, engine: &mut engine, unpublished, feeds, stopping }.run(journal)?;
    Ok(engine)
}

struct Replay<'a> {
    store: &'a Store,
    engine: &'a mut Engine,
    unpublished: Unpublished,
    /// Empty: while a directory is opened nothing is live.
    feeds: Feeds,
    stopping: &'a Stopping,
}

impl Replay<'_> {
    fn run(&mut self, journal: &Journal) -> Result<(), OpenError> {
        let (from, last) = (self.store.applied(), journal.last());
        if from >= last {
            return Ok(());
        }
        info!(from = %from, to = %last, "the store is brought up from the journal");
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
            if self.stopping.has_begun() {
                return self.leave();
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

    /// What the store has by now is kept: it is behind, as after a crash, and the next opening goes on from there.
    fn leave(&self) -> Result<(), OpenError> {
        self.store.sync()?;
        info!(at = %self.store.applied(), "stopped while the store was brought up from the journal");
        Err(OpenError::Stopped)
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
                // As it was when the entry was applied; it changed nothing.
                Err(NotApplied::Refused(_)) if entry.batch.is_some() => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_full_disk_is_found_below_every_other() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let store = |kind| {
            OpenError::from(StoreError::Io { action: "use", path: "the store".into(), source: io(kind) })
        };
        let journal = |kind| {
            OpenError::from(JournalError::Io { action: "repair", file: "1.log".into(), source: io(kind) })
        };
        let dir = |kind| OpenError::from(DataDirError::Io { dir: "data".into(), source: io(kind) });
        let note = |kind| OpenError::Note { file: "epoch".into(), source: io(kind) };
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            for error in [store(full), journal(full), dir(full), note(full)] {
                assert_eq!(error.full_disk(), Some(error.to_string()));
            }
        }
        assert_eq!(store(io::ErrorKind::PermissionDenied).full_disk(), None);
        assert_eq!(OpenError::NoEpochLeft.full_disk(), None);
    }
}
