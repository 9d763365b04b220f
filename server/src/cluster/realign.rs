//! Stepping aside: a journal that has parted from the shared log is made again from what both have in common. What was before
//! is kept as `DATA/diverged-<when>`, and what only it had in `orphans`. Nothing serves meanwhile. A crash between any two
//! steps leaves either the old journal, which is found to have parted again, or the new one. Imports journals and files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quip_protocol::{Position, Timestamp};
use quip_storage::EpochSpan;
use quip_storage::journal::{JournalError, JournalReader};
use tracing::warn;

use super::orphans::{self, OrphanError};
use crate::ops::disk::sync_dir;

/// Where the new journal is made; renamed to [`READY`] and a time when it is complete.
const MAKING: &str = "realign.new";
/// Before the name of what is complete, and takes the old one's place.
const READY: &str = "realign-";
/// Before the name of what was there before.
const DIVERGED: &str = "diverged-";

/// Why the journal was not made again.
#[derive(Debug, thiserror::Error)]
pub enum RealignError {
    /// The files.
    #[error("cannot put the journal in {} right: {source}", dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is kept aside.
    #[error(transparent)]
    Orphans(#[from] OrphanError),
}

/// Whether a journal with these epochs has a record at this position. Offsets are dense.
pub fn holds(epochs: &[EpochSpan], position: Position) -> bool {
    let within = |span: &EpochSpan| {
        span.epoch == position.epoch && (span.first..=span.last).contains(&position.offset)
    };
    position == Position::ZERO || epochs.iter().any(within)
}

/// Makes the journal of `data_dir`, which nobody writes to, again from its records up to `common`. The rest comes from the
/// log or another node.
///
/// # Errors
/// See [`RealignError`]; then everything is as it was, or the next [`finish`] completes it.
pub fn realign(data_dir: &Path, reader: &JournalReader, common: Position) -> Result<(), RealignError> {
    prepare(data_dir, reader, common, Timestamp::now())?;
    finish(data_dir)
}

/// Everything that can be done beside the old journal; with the last rename it counts.
fn prepare(
    data_dir: &Path,
    reader: &JournalReader,
    common: Position,
    now: Timestamp,
) -> Result<(), RealignError> {
    let io = |source| RealignError::Io { dir: data_dir.to_owned(), source };
    let making = data_dir.join(MAKING);
    remove(&making).and_then(|()| fs::create_dir(&making)).map_err(io)?;
    let orphans = orphans::keep(&making.join("orphans"), reader.replay(common)?)?;
    // Whole segments are the same files: only one is written anew, whatever the journal has.
    reader.prefix(common, &making.join("journal"))?;
    sync_dir(&making)
        .and_then(|()| fs::rename(&making, data_dir.join(format!("{READY}{}", now.0))))
        .map_err(io)?;
    sync_dir(data_dir).map_err(io)?;
    let kept = data_dir.join(format!("{DIVERGED}{}", now.0));
    warn!(
        %common, last = %reader.last(), orphans, kept = %kept.display(),
        "this node and the cluster had parted: its journal is made again up to where they had not, and what only it had is appended again"
    );
    Ok(())
}

/// Puts what is complete into its place; nothing where there is none. To be done before a directory is opened.
///
/// # Errors
/// When the operating system refuses; then the next one goes on.
pub fn finish(data_dir: &Path) -> Result<(), RealignError> {
    let io = |source| RealignError::Io { dir: data_dir.to_owned(), source };
    let Some(ready) = ready(data_dir).map_err(io)? else { return Ok(()) };
    STEPS.iter().try_for_each(|step| step(data_dir, &ready)).map_err(io)
}

/// Whether a crash left something to [`finish`]: then the directory may have no journal in its place.
pub fn is_unfinished(data_dir: &Path) -> bool {
    matches!(ready(data_dir), Ok(Some(_)))
}

/// When the one that is complete was made.
fn ready(data_dir: &Path) -> io::Result<Option<String>> {
    let names = match fs::read_dir(data_dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        names => names?,
    };
    for entry in names {
        let name = entry?.file_name();
        if let Some(when) = name.to_str().and_then(|name| name.strip_prefix(READY)) {
            return Ok(Some(when.to_owned()));
        }
    }
    Ok(None)
}

/// One step of [`finish`], of what was made at that time. Done again it does nothing.
type Step = fn(&Path, &str) -> io::Result<()>;

const STEPS: [Step; 6] = [make_room, move_journal, move_store, put_orphans, put_journal, remove_ready];

fn make_room(dir: &Path, when: &str) -> io::Result<()> {
    fs::create_dir_all(dir.join(format!("{DIVERGED}{when}")))?;
    sync_dir(dir)
}

fn move_journal(dir: &Path, when: &str) -> io::Result<()> {
    // Once the new one is in its place, what is there is that.
    match dir.join(format!("{READY}{when}")).join("journal").exists() {
        true => move_away(dir, when, "journal"),
        false => Ok(()),
    }
}

fn move_store(dir: &Path, when: &str) -> io::Result<()> {
    match dir.join(format!("{READY}{when}")).join("journal").exists() {
        true => move_away(dir, when, "store"),
        false => Ok(()),
    }
}

fn put_orphans(dir: &Path, when: &str) -> io::Result<()> {
    let to = dir.join(format!("{}{when}", orphans::UNJUDGED));
    rename(&dir.join(format!("{READY}{when}")).join("orphans"), &to)?;
    sync_dir(dir)
}

fn put_journal(dir: &Path, when: &str) -> io::Result<()> {
    rename(&dir.join(format!("{READY}{when}")).join("journal"), &dir.join("journal"))?;
    sync_dir(dir)
}

fn remove_ready(dir: &Path, when: &str) -> io::Result<()> {
    remove(&dir.join(format!("{READY}{when}")))?;
    sync_dir(dir)
}

fn move_away(dir: &Path, when: &str, what: &str) -> io::Result<()> {
    let to = dir.join(format!("{DIVERGED}{when}"));
    rename(&dir.join(what), &to.join(what))?;
    sync_dir(&to)?;
    sync_dir(dir)
}

/// Nothing where it is not there any more.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::Epoch;
    use quip_storage::journal::{Journal, JournalOptions};

    use super::*;
    use crate::cluster::membership::Membership;
    use crate::engine::{Actor, Command, CommandBody, Entry};
    use crate::log::shared::contract::{BatchId, ClusterId};

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn payload(number: u8) -> Vec<u8> {
        let body = CommandBody::Suspend { name: format!("p{number}").parse().unwrap(), on: true };
        let command = Command { at: Timestamp(1), by: Actor::Operator, body };
        Entry::undecided(BatchId([number; 16]), vec![command]).to_bytes()
    }

    /// Entries 1 to 6, of which the fourth only raises the epoch.
    fn journal(dir: &Path) -> Journal {
        let mut journal = Journal::open(dir.join("journal"), JournalOptions::default()).unwrap();
        for offset in 1..=6 {
            let epoch = if offset < 4 { 1 } else { 5 };
            let payload = if offset == 4 { Entry::default().to_bytes() } else { payload(offset as u8) };
            journal.append(at(epoch, offset), &payload).unwrap();
        }
        fs::create_dir(dir.join("store")).unwrap();
        fs::write(dir.join("store/db"), "of before").unwrap();
        journal
    }

    fn last(dir: &Path) -> Position {
        Journal::open(dir, JournalOptions::default()).unwrap().last()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_crash_at_every_step_leaves_the_old_journal_or_the_new_one() {
        for steps in 0..=STEPS.len() {
            for twice in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let dir = dir.path();
                let reader = journal(dir).reader();
                // Of an attempt that was left.
                fs::create_dir_all(dir.join(MAKING).join("orphans")).unwrap();
                prepare(dir, &reader, at(1, 2), Timestamp(77)).unwrap();
                for step in &STEPS[..steps] {
                    step(dir, "77").unwrap();
                    if twice {
                        step(dir, "77").unwrap();
                    }
                }
                finish(dir).unwrap();
                finish(dir).unwrap();
                assert_eq!(names(dir), ["diverged-77", "journal", "unjudged-77"], "after {steps} steps");
                assert_eq!(names(&dir.join("diverged-77")), ["journal", "store"]);
                assert_eq!(last(&dir.join("journal")), at(1, 2));
                assert_eq!(last(&dir.join("diverged-77/journal")), at(5, 6));
                let orphans = Journal::open(dir.join("unjudged-77"), JournalOptions::default()).unwrap();
                let kept: Vec<_> = orphans.replay(Position::ZERO).unwrap().map(|r| r.unwrap().1).collect();
                let raising = Entry::default().to_bytes();
                assert_eq!(kept, [payload(3), raising, payload(5), payload(6)], "in order");
            }
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_is_completed_where_no_server_runs_too() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let reader = journal(dir).reader();
        let (cluster, node) = (ClusterId([1; 16]), "a".parse().unwrap());
        Membership { cluster, node, id: [2; 16], founder: true }.write(dir).unwrap();
        prepare(dir, &reader, at(1, 2), Timestamp(77)).unwrap();
        STEPS[..3].iter().for_each(|step| step(dir, "77").unwrap());
        assert!(is_unfinished(dir) && !dir.join("journal").exists());
        let config = crate::Config::new(Vec::new(), dir.to_owned());
        let core = crate::start::open_offline(&config, None, false).await.unwrap();
        assert_eq!(core.shared.node.journal.last(), at(1, 2));
        core.close().await;
        assert!(!is_unfinished(dir));
    }

    #[test]
    fn before_it_is_complete_nothing_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        drop(journal(dir.path()));
        fs::create_dir_all(dir.path().join(MAKING).join("journal")).unwrap();
        finish(dir.path()).unwrap();
        assert_eq!(last(&dir.path().join("journal")), at(5, 6));
        assert!(names(dir.path()).contains(&"store".to_owned()));
    }

    #[test]
    fn nothing_in_common_and_nothing_only_here() {
        let dir = tempfile::tempdir().unwrap();
        let reader = journal(dir.path()).reader();
        let epochs = reader.epochs().unwrap();
        assert!(
            [at(1, 1), at(1, 3), at(5, 4), at(5, 6), Position::ZERO].map(|p| holds(&epochs, p)) == [true; 5]
        );
        assert!([at(1, 4), at(5, 3), at(5, 7), at(2, 2)].map(|p| holds(&epochs, p)) == [false; 4]);
        realign(dir.path(), &reader, Position::ZERO).unwrap();
        assert_eq!(last(&dir.path().join("journal")), Position::ZERO);
        let other = tempfile::tempdir().unwrap();
        let reader = journal(other.path()).reader();
        realign(other.path(), &reader, reader.last()).unwrap();
        assert_eq!(last(&other.path().join("journal")), at(5, 6));
        assert!(!names(other.path()).iter().any(|name| name.starts_with(orphans::UNJUDGED)));
    }
}
