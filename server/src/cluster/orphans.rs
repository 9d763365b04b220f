//! What only this node had when its log and the cluster's parted: commands in entries that the cluster went on without. They are
//! kept in a journal of their own, `DATA/unjudged-<when>`, until it was seen which of them were refused at their old places: whoever
//! sent those was told so. The others are in `DATA/orphans-<when>` until they are appended again as new commands of this node. Their
//! message ids are the same, so that nothing doubles; what has no id is looked for in the log first. A message among them that others
//! name has another place then: the file `named` in that directory has its id. Imports the journal and entries.

mod again;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quip_protocol::codec::{CodecError, decode, encode};
use quip_protocol::{MessageId, Position};
use quip_storage::journal::{Journal, JournalError, JournalOptions};
use quip_storage::store::Store;
use tracing::{info, warn};

pub use self::again::append_until;
use crate::engine::{Command, Entry, EntryError};
use crate::ops::disk::{sync_dir, write_private};
use crate::pipeline::judge::{Judge, Judged};
use crate::pipeline::open::OpenError;

/// Before the name of each of these journals.
pub(super) const PREFIX: &str = "orphans-";
/// The same, as long as what was refused is among them.
pub(super) const UNJUDGED: &str = "unjudged-";
/// Where one is made.
const JUDGING: &str = "judging.new";
/// One that is being removed.
const GONE: &str = "gone-orphans";
/// The file of ids in such a directory, where there are any: of a command, and of the message that it names by its place.
const NAMED: &str = "named";

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
    /// What they came to cannot be told.
    #[error(transparent)]
    Judge(#[from] OpenError),
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
    /// The ids of what they name.
    #[error("{} cannot be read: {why}", file.display())]
    Named {
        /// Which file.
        file: PathBuf,
        /// Why.
        why: CodecError,
    },
}

/// What is appended again.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    /// The offset behind which the log went on without it.
    common: u64,
    /// In order.
    commands: Vec<Command>,
    /// Of those with an id that name one of the others by its place: the id of that one.
    named: HashMap<MessageId, MessageId>,
}

/// Keeps entries with their places, durably, in a new journal in `dir`; how many commands are in them. No journal is left for
/// none.
pub(super) fn keep(
    dir: &Path,
    entries: impl Iterator<Item = Result<(Position, Vec<u8>), JournalError>>,
) -> Result<usize, OrphanError> {
    let mut journal = open(dir)?;
    let mut count = 0;
    for record in entries {
        let (position, payload) = record?;
        count += entry_of(dir, position, &payload)?.commands.len();
        journal.append(position, &payload)?;
    }
    if count == 0 {
        drop(journal);
        fs::remove_dir_all(dir).map_err(|source| OrphanError::Io { dir: dir.to_owned(), source })?;
    }
    Ok(count)
}

/// Leaves out what was refused at its old place. To be done before anything is written behind the journal's `last`: until then the
/// store is as it was before the first of them. A crash leaves it to the next start.
///
/// # Errors
/// See [`OrphanError`].
pub(super) fn judge(data_dir: &Path, store: &Store, last: Position) -> Result<(), OrphanError> {
    let io = |source| OrphanError::Io { dir: data_dir.to_owned(), source };
    for unjudged in named(data_dir, UNJUDGED)? {
        let name = unjudged.file_name().unwrap_or_default().to_string_lossy().replacen(UNJUDGED, PREFIX, 1);
        let judged = data_dir.join(name);
        if !judged.exists() {
            let making = data_dir.join(JUDGING);
            remove(&making).map_err(io)?;
            decide(&unjudged, &making, store, last)?;
            fs::rename(&making, &judged).and_then(|()| sync_dir(data_dir)).map_err(io)?;
        }
        remove(&unjudged).and_then(|()| sync_dir(data_dir)).map_err(io)?;
    }
    Ok(())
}

fn decide(from: &Path, to: &Path, store: &Store, last: Position) -> Result<(), OrphanError> {
    let (from_journal, mut judged) = (open(from)?, open(to)?);
    let (mut judge, mut refused, mut left_out) = (Judge::new(store)?, 0, 0);
    let mut before = last.offset;
    for record in from_journal.replay(Position::ZERO)? {
        let (position, payload) = record?;
        let entry = entry_of(from, position, &payload)?;
        if position.offset != before + 1 {
            let why = EntryError::Malformed(format!("it does not follow on {before}"));
            return Err(OrphanError::Entry { dir: from.to_owned(), position, why });
        }
        before = position.offset;
        let (rules, batch) = (entry.rules, entry.batch);
        let Judged { commands, refused: now_refused, left_out: now_left_out } =
            judge.judged(position, entry)?;
        (refused, left_out) = (refused + now_refused, left_out + now_left_out);
        judged.append(position, &Entry { rules, batch, commands }.to_bytes())?;
    }
    keep_named(to, judge.into_named())?;
    info!(refused, "what was refused at its old place is not appended again");
    if left_out > 0 {
        warn!(
            left_out,
            "read positions in rooms that only this node had are not appended again: they name places there"
        );
    }
    Ok(())
}

fn keep_named(dir: &Path, named: HashMap<MessageId, MessageId>) -> Result<(), OrphanError> {
    if named.is_empty() {
        return Ok(());
    }
    let named: Vec<(MessageId, MessageId)> = named.into_iter().collect();
    let written = write_private(&dir.join(NAMED), &encode(&named));
    written.map_err(|source| OrphanError::Io { dir: dir.to_owned(), source })
}

/// Whether there are any.
///
/// # Errors
/// When the directory cannot be read.
pub(super) fn are_kept(data_dir: &Path) -> Result<bool, OrphanError> {
    Ok(!named(data_dir, PREFIX)?.is_empty() || !named(data_dir, UNJUDGED)?.is_empty())
}

/// All journals with this before their names, oldest first.
fn named(data_dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, OrphanError> {
    let io = |source| OrphanError::Io { dir: data_dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// At once as a whole: what is left of it after a crash is not appended once more.
fn forget(data_dir: &Path, dir: &Path) -> io::Result<()> {
    let gone = data_dir.join(GONE);
    remove(&gone)?;
    fs::rename(dir, &gone)?;
    sync_dir(data_dir)?;
    fs::remove_dir_all(&gone)
}

/// Nothing where it is not there any more.
fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn open(dir: &Path) -> Result<Journal, OrphanError> {
    Ok(Journal::open(dir, JournalOptions { compress: false, ..Default::default() })?)
}

pub(super) fn entry_of(dir: &Path, position: Position, payload: &[u8]) -> Result<Entry, OrphanError> {
    let entry = Entry::from_bytes(payload);
    entry.map_err(|why| OrphanError::Entry { dir: dir.to_owned(), position, why })
}

fn read(dir: &Path) -> Result<Kept, OrphanError> {
    let (mut common, mut commands) = (None, Vec::new());
    for record in open(dir)?.replay(Position::ZERO)? {
        let (position, payload) = record?;
        common.get_or_insert(position.offset.saturating_sub(1));
        commands.extend(entry_of(dir, position, &payload)?.commands);
    }
    Ok(Kept { common: common.unwrap_or(0), commands, named: read_named(dir)? })
}

fn read_named(dir: &Path) -> Result<HashMap<MessageId, MessageId>, OrphanError> {
    let file = dir.join(NAMED);
    let bytes = match fs::read(&file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        read => read.map_err(|source| OrphanError::Io { dir: dir.to_owned(), source })?,
    };
    let named: Vec<(MessageId, MessageId)> =
        decode(&bytes, "ids").map_err(|why| OrphanError::Named { file, why })?;
    Ok(named.into_iter().collect())
}

#[cfg(test)]
mod places;

#[cfg(test)]
mod tests {
    use quip_protocol::{Epoch, Timestamp};
    use quip_storage::store::StoreOptions;

    use super::again::append_all;
    use super::*;
    use crate::engine::{Actor, CommandBody};
    use crate::log::shared::contract::BatchId;
    use crate::pipeline::open::{OpenedDir, open as open_dir};
    use crate::start::Core;
    use crate::{Config, Stopping};

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch::FIRST, offset }
    }

    fn command(body: CommandBody) -> Command {
        Command { at: Timestamp(7), by: Actor::Operator, body }
    }

    /// Accepted as long as nobody has an account, each time anew.
    pub(super) fn accepted(owner: u8) -> Command {
        command(CommandBody::Bootstrap { owner: [owner; 32], expires: Timestamp(1_000_000) })
    }

    /// There is no such account.
    fn refused() -> Command {
        command(CommandBody::Suspend { name: "nobody".parse().unwrap(), on: true })
    }

    pub(super) fn keep_them(dir: &Path, first: u64, entries: &[&[Command]]) -> usize {
        let record = |(number, commands): (usize, &&[Command])| {
            let entry = Entry::undecided(BatchId([number as u8; 16]), commands.to_vec());
            Ok((at(first + number as u64), entry.to_bytes()))
        };
        keep(dir, entries.iter().enumerate().map(record)).unwrap()
    }

    pub(super) fn opened(dir: &Path) -> OpenedDir {
        let options = StoreOptions { cache_bytes: 4 << 20 };
        open_dir(dir, options, false, &Stopping::default()).unwrap()
    }

    pub(super) fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("judg") || name.contains("orphans")).collect()
    }

    #[test]
    fn what_was_refused_at_its_old_place_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let opened = opened(dir.path());
        let unjudged = dir.path().join("unjudged-77");
        let entries: &[&[Command]] = &[&[], &[refused(), accepted(1)], &[refused()], &[accepted(2)]];
        assert_eq!(keep_them(&unjudged, 1, entries), 4);
        assert!(are_kept(dir.path()).unwrap());
        // Of an attempt that was left.
        fs::create_dir(dir.path().join(JUDGING)).unwrap();
        judge(dir.path(), &opened.store, opened.journal.last()).unwrap();
        assert_eq!(names(dir.path()), ["orphans-77"]);
        let kept = Kept { commands: vec![accepted(1), accepted(2)], ..Kept::default() };
        assert_eq!(read(&dir.path().join("orphans-77")).unwrap(), kept);
        judge(dir.path(), &opened.store, opened.journal.last()).unwrap();
        assert!(are_kept(dir.path()).unwrap());
    }

    #[test]
    fn a_crash_behind_the_judgement_does_not_judge_again() {
        let dir = tempfile::tempdir().unwrap();
        let opened = opened(dir.path());
        keep_them(&dir.path().join("unjudged-77"), 1, &[&[accepted(1)]]);
        keep_them(&dir.path().join("orphans-77"), 1, &[&[accepted(2)]]);
        judge(dir.path(), &opened.store, opened.journal.last()).unwrap();
        assert_eq!(names(dir.path()), ["orphans-77"]);
        assert_eq!(read(&dir.path().join("orphans-77")).unwrap().commands, [accepted(2)]);
    }

    #[test]
    fn what_does_not_follow_on_the_journal_is_not_judged() {
        let dir = tempfile::tempdir().unwrap();
        let opened = opened(dir.path());
        keep_them(&dir.path().join("unjudged-77"), 2, &[&[accepted(1)]]);
        let error = judge(dir.path(), &opened.store, opened.journal.last()).unwrap_err().to_string();
        assert!(error.contains("does not follow on 0") && error.lines().count() == 1, "{error}");
        assert_eq!(keep_them(&dir.path().join("none"), 1, &[&[], &[]]), 0);
        assert!(!dir.path().join("none").exists(), "nothing is kept of nothing");
    }

    /// As after a crash, or where another node had the same.
    #[tokio::test]
    async fn a_command_without_an_id_that_the_log_has_is_not_appended_again() {
        let dir = tempfile::tempdir().unwrap();
        let (opened, config) = (opened(dir.path()), Config::new(Vec::new(), dir.path().to_owned()));
        let core = Core::start(&config, opened).unwrap();
        let log = &core.shared.log;
        crate::node::submit(log, accepted(1)).await.unwrap();
        let common = core.shared.node.journal.last().offset;
        crate::node::submit(log, accepted(2)).await.unwrap();
        // The first one was before the two parted: that the log has it there says nothing of this one.
        keep_them(&dir.path().join("orphans-77"), common + 1, &[&[accepted(2), accepted(1), accepted(3)]]);
        append_all(&core.shared, None).await;
        assert_eq!(names(dir.path()), [""; 0]);
        let mut commands = Vec::new();
        for record in core.shared.node.journal.replay(Position::ZERO).unwrap() {
            let (position, payload) = record.unwrap();
            commands.extend(entry_of(dir.path(), position, &payload).unwrap().commands);
        }
        let all = [accepted(1), accepted(2), accepted(1), accepted(3)];
        assert_eq!(commands, all, "each once behind there");
        core.close().await;
    }
}
