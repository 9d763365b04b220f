//! Raising the epoch when the journal may have lost something. Imports the journal, the data directory and entries.
//!
//! The entry that does it is written last, when all that an opening can fail at has succeeded; until then a file in the
//! data directory says which epoch it is to be. So a start that fails time after time uses up one epoch, and writes
//! nothing to the journal; and the store, which vouches for the journal as soon as it was made of it, hides no loss.

use std::fs;
use std::io;
use std::path::PathBuf;

use quip_protocol::{Epoch, Position};
use quip_storage::data_dir::DataDir;
use quip_storage::journal::Journal;
use tracing::{info, warn};

use crate::engine::Entry;
use crate::ops::disk::write_private;

use super::open::OpenError;

/// The file that says to which epoch the log is to be raised, as a decimal number.
const FILE: &str = "epoch";
/// What follows on the number where nothing is lost.
const LEFT: &str = " left";

/// The epoch to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    epoch: Epoch,
    /// Whether the journal may lack what somebody has seen; otherwise its cluster may go on without it.
    may_be_lost: bool,
}

/// The epoch to go on with, unless the store vouches for the journal. It is noted, until [`raise`] was done.
pub(super) fn due(
    dir: &DataDir,
    journal: Position,
    store: Position,
    unreadable: bool,
) -> Result<Option<Due>, OpenError> {
    let noted = noted(dir)?;
    let is_due = needed(journal, store, unreadable);
    // Raised already, and then the process ended.
    if !is_due && noted.is_some_and(|noted| noted.epoch <= journal.epoch) {
        forget(dir)?;
        return Ok(None);
    }
    let last = journal.epoch.max(store.epoch);
    let epoch = match noted.filter(|noted| noted.epoch > last) {
        None if !is_due => return Ok(None),
        Some(noted) if noted.may_be_lost || !is_due => return Ok(Some(noted)),
        Some(Due { epoch, .. }) => epoch,
        None => next(journal, store)?,
    };
    let due = Due { epoch, may_be_lost: true };
    note(dir, due)?;
    Ok(Some(due))
}

/// The next opening raises the epoch, whatever the store vouches for: the cluster that it leaves may go on from this journal.
pub(super) fn leave(dir: &DataDir, journal: Position) -> Result<(), OpenError> {
    match noted(dir)?.filter(|noted| noted.epoch > journal.epoch) {
        Some(_) => Ok(()),
        // Of a store that is not newer nothing can be told.
        None => note(dir, Due { epoch: next(journal, Position::ZERO)?, may_be_lost: false }),
    }
}

fn needed(journal: Position, store: Position, unreadable: bool) -> bool {
    store > journal || ((unreadable || store == Position::ZERO) && journal != Position::ZERO)
}

fn next(journal: Position, store: Position) -> Result<Epoch, OpenError> {
    // A journal put back from a backup does not know what epochs there were since, and may be put back again: at
    // random, because no clock says what was not used before.
    let mut skipped = [0; 2];
    if store <= journal {
        getrandom::fill(&mut skipped)?;
    }
    let skipped = if store > journal { 0 } else { 1 + u32::from(u16::from_le_bytes(skipped)) };
    let next = journal.epoch.max(store.epoch).0.checked_add(1 + skipped);
    next.map(Epoch).ok_or(OpenError::NoEpochLeft)
}

/// Opens the epoch with an entry of its own.
pub(super) fn raise(dir: &DataDir, journal: &mut Journal, due: Due) -> Result<(), OpenError> {
    let position = Position { epoch: due.epoch, offset: journal.last().offset + 1 };
    journal.append(position, &Entry::default().to_bytes())?;
    match due.may_be_lost {
        true => {
            warn!(%position, "the epoch is raised: something may be lost, and who saw it is told to fetch again");
        }
        false => info!(%position, "the epoch is raised: the cluster may go on from the one before"),
    }
    forget(dir)
}

fn path(dir: &DataDir) -> PathBuf {
    dir.path().join(FILE)
}

fn noted(dir: &DataDir) -> Result<Option<Due>, OpenError> {
    match fs::read_to_string(path(dir)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        text => {
            let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it is not a number");
            let due = text.and_then(|text| parsed(text.trim()).ok_or_else(malformed));
            due.map(Some).map_err(|e| failed(dir, e))
        }
    }
}

fn parsed(text: &str) -> Option<Due> {
    let left = text.strip_suffix(LEFT);
    let epoch = left.unwrap_or(text).parse().ok()?;
    Some(Due { epoch: Epoch(epoch), may_be_lost: left.is_none() })
}

fn note(dir: &DataDir, Due { epoch, may_be_lost }: Due) -> Result<(), OpenError> {
    let why = if may_be_lost { "" } else { LEFT };
    write_private(&path(dir), format!("{epoch}{why}\n").as_bytes()).map_err(|e| failed(dir, e))
}

fn forget(dir: &DataDir) -> Result<(), OpenError> {
    fs::remove_file(path(dir)).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(failed(dir, e)),
    })
}

fn failed(dir: &DataDir, source: io::Error) -> OpenError {
    OpenError::Note { file: path(dir), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_a_cluster_has_lost_nothing_unless_the_store_cannot_say_so() {
        let at = |epoch, offset| Position { epoch: Epoch(epoch), offset };
        let (last, behind, ahead) = (at(3, 9), at(3, 4), at(3, 12));
        let table = [
            // The store, whether it is unreadable, what was noted before, and whether something may be lost.
            (last, false, None, false),
            (behind, false, None, false),
            (last, true, None, true),
            (Position::ZERO, false, None, true),
            (ahead, false, None, true),
            (last, false, Some("70000\n"), true),
            (last, true, Some("70000 left\n"), true),
        ];
        for (store, unreadable, before, may_be_lost) in table {
            let folder = tempfile::tempdir().unwrap();
            let dir = DataDir::open(folder.path()).unwrap();
            before.inspect(|text| fs::write(path(&dir), text).unwrap());
            leave(&dir, last).unwrap();
            let found = due(&dir, last, store, unreadable).unwrap().unwrap();
            assert_eq!(found.may_be_lost, may_be_lost, "{store} {unreadable} {before:?}");
            assert!(found.epoch > last.epoch);
            // A start that fails until then, and makes the store anew.
            assert_eq!(due(&dir, last, last, false).unwrap(), Some(found));
        }
    }

    #[test]
    fn a_note_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        for wrong in ["", "left", " left", "7 lost", "7left", "-7 left"] {
            fs::write(path(&dir), wrong).unwrap();
            assert!(noted(&dir).is_err(), "{wrong}");
        }
    }
}
