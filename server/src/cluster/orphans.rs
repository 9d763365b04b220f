//! What only this node had when its log and the cluster's parted: commands in entries that the cluster went on without. They are
//! kept in a journal of their own, `DATA/orphans-<when>`, until they are appended again as new commands of this node; their
//! message ids are the same, so that nothing doubles. Imports the journal and entries.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quip_protocol::{Epoch, ErrorCode, Position};
use quip_storage::journal::{Journal, JournalError, JournalOptions};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::engine::{Command, Entry, EntryError};
use crate::log::Log;
use crate::node::{Shared, submit};

/// Before the name of each of these journals.
pub(super) const PREFIX: &str = "orphans-";
/// One that is being removed.
const GONE: &str = "gone-orphans";
/// When to try again what could not be taken.
const AGAIN: Duration = Duration::from_millis(500);

/// Why they were not read.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The directory.
    #[error("cannot use {}: {source}", dir.display())]
    Io {
        /// Which.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// An entry of it.
    #[error("entry {position} of {} cannot be read: {why}", dir.display())]
    Entry {
        /// In which.
        dir: PathBuf,
        /// Where.
        position: Position,
        /// Why.
        why: EntryError,
    },
}

/// Keeps entries that have commands, durably, in a new journal in `dir`; how many commands these are. No journal is made for
/// none.
pub(super) fn keep(
    dir: &Path,
    entries: impl Iterator<Item = Result<(Position, Vec<u8>), JournalError>>,
) -> Result<usize, OrphanError> {
    let mut journal = None;
    let (mut count, mut offset) = (0, 0);
    for record in entries {
        let (position, payload) = record?;
        let entry = entry_of(dir, position, &payload)?;
        if entry.commands.is_empty() {
            continue;
        }
        let journal = match &mut journal {
            Some(journal) => journal,
            none => {
                none.insert(Journal::open(dir, JournalOptions { compress: false, ..Default::default() })?)
            }
        };
        offset += 1;
        journal.append(Position { epoch: Epoch::FIRST, offset }, &payload)?;
        count += entry.commands.len();
    }
    Ok(count)
}

/// Whether there are any.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn are_kept(data_dir: &Path) -> Result<bool, OrphanError> {
    Ok(!kept(data_dir)?.is_empty())
}

/// All there are, oldest first.
fn kept(data_dir: &Path) -> Result<Vec<PathBuf>, OrphanError> {
    let io = |source| OrphanError::Io { dir: data_dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Appends again what is kept, until it is told to stop; the next start goes on.
pub async fn append_until(shared: Shared, mut stop: watch::Receiver<bool>) {
    let appended = tokio::select! {
        appended = append_again(&shared.node.data_dir, &shared.log) => appended,
        _ = stop.wait_for(|stop| *stop) => Ok(()),
    };
    if let Err(e) = appended {
        error!(error = %e, "what only this node had is not appended again; it stays where it is until the next start");
    }
}

/// Appends everything that is kept, in its order, and forgets it when it is durable. What is refused now (of a device that was
/// revoked meanwhile, a room that is archived) is refused as it would be for anybody.
///
/// # Errors
/// When they cannot be read; they stay where they are.
async fn append_again(data_dir: &Path, log: &Log) -> Result<(), OrphanError> {
    for dir in kept(data_dir)? {
        let from = dir.clone();
        let commands = tokio::task::spawn_blocking(move || read(&from)).await;
        let commands = commands.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let (count, mut refused) = (commands.len(), 0_usize);
        for command in commands {
            refused += usize::from(!append(log, command).await);
        }
        forget(data_dir, &dir).map_err(|source| OrphanError::Io { dir: dir.clone(), source })?;
        info!(count, refused, "what only this node had is appended again");
    }
    Ok(())
}

/// At once as a whole: what is left of it after a crash is not appended once more.
fn forget(data_dir: &Path, dir: &Path) -> io::Result<()> {
    let gone = data_dir.join(GONE);
    if gone.exists() {
        fs::remove_dir_all(&gone)?;
    }
    fs::rename(dir, &gone)?;
    File::open(data_dir)?.sync_all()?;
    fs::remove_dir_all(&gone)
}

/// Until it is taken or refused for good; says whether it was taken.
async fn append(log: &Log, command: Command) -> bool {
    loop {
        match submit(log, command.clone()).await {
            Ok(_) => return true,
            Err(refusal) if refusal.retry_after_ms.is_some() && refusal.code != ErrorCode::RateLimited => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(refusal) => {
                warn!(why = %refusal, "a command that only this node had is refused now");
                return false;
            }
        }
    }
}

fn entry_of(dir: &Path, position: Position, payload: &[u8]) -> Result<Entry, OrphanError> {
    let entry = Entry::from_bytes(payload);
    entry.map_err(|why| OrphanError::Entry { dir: dir.to_owned(), position, why })
}

fn read(dir: &Path) -> Result<Vec<Command>, OrphanError> {
    let journal = Journal::open(dir, JournalOptions { compress: false, ..Default::default() })?;
    let mut commands = Vec::new();
    for record in journal.replay(Position::ZERO)? {
        let (position, payload) = record?;
        let entry = entry_of(dir, position, &payload)?;
        commands.extend(entry.commands);
    }
    Ok(commands)
}
