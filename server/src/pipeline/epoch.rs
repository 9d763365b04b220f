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
use tracing::warn;

use crate::engine::Entry;
use crate::ops::disk::write_private;

use super::open::OpenError;

/// The file that says to which epoch the log is to be raised, as a decimal number.
const FILE: &str = "epoch";

/// The epoch to go on with, unless the store vouches for the journal. It is noted, until [`raise`] was done.
pub(super) fn due(
    dir: &DataDir,
    journal: Position,
    store: Position,
    unreadable: bool,
) -> Result<Option<Epoch>, OpenError> {
    let noted = noted(dir)?;
    let is_due = needed(journal, store, unreadable);
    // Raised already, and then the process ended.
    if !is_due && noted.is_some_and(|noted| noted <= journal.epoch) {
        forget(dir)?;
        return Ok(None);
    }
    let last = journal.epoch.max(store.epoch);
    match noted.filter(|noted| *noted > last) {
        None if !is_due => Ok(None),
        Some(noted) => Ok(Some(noted)),
        None => {
            let epoch = next(journal, store)?;
            note(dir, epoch)?;
            Ok(Some(epoch))
        }
    }
}

/// The next opening raises the epoch, whatever the store vouches for: somebody else may have gone on from this journal.
pub(super) fn require(dir: &DataDir, journal: Position) -> Result<(), OpenError> {
    match noted(dir)?.filter(|noted| *noted > journal.epoch) {
        Some(_) => Ok(()),
        // Of a store that is not newer nothing can be told.
        None => note(dir, next(journal, Position::ZERO)?),
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
pub(super) fn raise(dir: &DataDir, journal: &mut Journal, epoch: Epoch) -> Result<(), OpenError> {
    let position = Position { epoch, offset: journal.last().offset + 1 };
    journal.append(position, &Entry::default().to_bytes())?;
    warn!(%position, "the epoch is raised: something may be lost, and who saw it is told to fetch again");
    forget(dir)
}

fn path(dir: &DataDir) -> PathBuf {
    dir.path().join(FILE)
}

fn noted(dir: &DataDir) -> Result<Option<Epoch>, OpenError> {
    match fs::read_to_string(path(dir)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        text => {
            let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it is not a number");
            let number = text.and_then(|text| text.trim().parse().map_err(|_| malformed()));
            number.map(|number| Some(Epoch(number))).map_err(|e| failed(dir, e))
        }
    }
}

fn note(dir: &DataDir, epoch: Epoch) -> Result<(), OpenError> {
    write_private(&path(dir), format!("{epoch}\n").as_bytes()).map_err(|e| failed(dir, e))
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
