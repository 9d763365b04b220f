//! The index: words of a replica's messages in SQLite's FTS5, by time, so that the newest that fit are found first and
//! the others are never read. The one file that calls SQLite.
//!
//! It is a view: one that is missing, damaged or of another replica or version is made again. The order of writing
//! keeps it true whenever the process is killed: first the replica is durable, then the index, then the note that a
//! stretch was yet to be looked at is removed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use quip_protocol::{AccountName, Event, RoomId, Seq, Target, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::query::{Query, Term};
use super::words::words;
use crate::outdated::{Piece, Stretch};
use crate::replica::{Replica, ReplicaError};

/// Which layout the index has.
const SCHEMA: i32 = 1;
/// Events that are looked at in one transaction; it also ends with this many bytes of text.
const BATCH: usize = 8_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bits of an id below the time: they tell apart what was said within one millisecond.
const TIE_BITS: u32 = 20;
/// The last millisecond that has an id.
const LAST_MS: u64 = (1 << (63 - TIE_BITS)) - 1;

/// Pages in memory, of each connection, in KiB; beside it FTS5 gathers up to 4 MiB before it writes.
const SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; \
    PRAGMA journal_size_limit = 16777216;";

/// Beginnings of one to three letters are indexed as well: as one types, they fit to much. Of longer ones FTS5 gathers
/// what fits itself.
const TABLES: &str = "
    CREATE TABLE messages(id INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL);
    CREATE UNIQUE INDEX by_place ON messages(room, seq);
    CREATE VIRTUAL TABLE words USING fts5(
        text, about, content = '', contentless_delete = 1, tokenize = 'ascii', prefix = '1 2 3');
    INSERT INTO words(words, rank) VALUES('hashsize', 4194304);
    CREATE TABLE replica(id INTEGER NOT NULL);";

const FIND: &str = "SELECT messages.room, messages.seq FROM words JOIN messages ON messages.id = words.rowid
    WHERE words MATCH ?1 AND words.rowid >= ?2 AND words.rowid < ?3 ORDER BY words.rowid DESC";

/// Why the index did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// It is damaged, and is to be made again.
    #[error("the search index is damaged ({why}); it is made again")]
    Damaged {
        /// What SQLite said.
        why: String,
    },
    /// SQLite or the operating system refused.
    #[error("the search index cannot be used: {why}; check that the disk has room")]
    Unusable {
        /// What was said.
        why: String,
    },
    /// The room that is looked in is not in the replica.
    #[error("{0} is not in the local copy; `quip rooms` lists what is")]
    NoRoom(Target),
    /// The replica failed.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
}

impl From<rusqlite::Error> for SearchError {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SearchError::Damaged { why },
            _ => SearchError::Unusable { why },
        }
    }
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where.
    pub room: Target,
    /// The message, as it is now.
    pub event: Event,
}

/// The index, to be kept up. One at a time.
#[derive(Debug)]
pub struct Index {
    dir: PathBuf,
    database: Connection,
}

impl Index {
    /// Opens the one in `dir` that looks at `replica`, or makes a new one, empty, in the place of whatever is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: impl Into<PathBuf>, replica: &Replica) -> Result<Index, SearchError> {
        let dir = dir.into();
        match open(&dir) {
            Ok((database, id)) if replica.index()? == Some(id) => Ok(Index { dir, database }),
            _ => Index::make(dir, replica),
        }
    }

    /// Makes it again, from nothing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_again(self, replica: &Replica) -> Result<Index, SearchError> {
        let Index { dir, database } = self;
        drop(database);
        Index::make(dir, replica)
    }

    fn make(dir: PathBuf, replica: &Replica) -> Result<Index, SearchError> {
        let unusable = |error: std::io::Error| SearchError::Unusable { why: error.to_string() };
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(unusable)?;
        }
        fs::create_dir_all(&dir).map_err(unusable)?;
        let mut database = Connection::open(file(&dir))?;
        database.execute_batch(SETTINGS)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let id = i64::try_from(now).unwrap_or_default();
        let transaction = database.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.execute("INSERT INTO replica VALUES(?1)", [id])?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()?;
        replica.begin_index(id.cast_unsigned())?;
        Ok(Index { dir, database })
    }

    /// Looks at some of what is outdated, the newest of each room first. Returns how many events are yet to be looked
    /// at, about: 0 if it is up to date.
    ///
    /// # Errors
    /// When SQLite or the replica fails; then the same is looked at again.
    pub fn catch_up(&mut self, replica: &Replica) -> Result<u64, SearchError> {
        let stretches = replica.outdated()?;
        if stretches.is_empty() {
            return Ok(0);
        }
        let (mut looked, mut events, mut bytes) = (Vec::new(), 0, 0);
        for stretch in &stretches {
            let piece = replica.piece(stretch, (BATCH - events) / 4 + 1)?;
            events += piece.events.len() + 1;
            bytes += piece.events.iter().filter_map(Event::message).map(|m| m.text().len()).sum::<usize>();
            looked.push((stretch, piece));
            if events >= BATCH || bytes >= BATCH_BYTES {
                break;
            }
        }
        replica.sync()?;
        self.replace(&looked)?;
        for (stretch, piece) in &looked {
            replica.looked_at(stretch, piece.from)?;
        }
        remaining(replica)
    }

    fn replace(&mut self, looked: &[(&Stretch, Piece)]) -> Result<(), SearchError> {
        let transaction = self.database.transaction()?;
        for (stretch, piece) in looked {
            forget(&transaction, stretch.room, piece.from, stretch.last)?;
        }
        let all = looked.iter().flat_map(|(_, piece)| &piece.events);
        let mut rows: Vec<(i64, &Event, &str)> = all
            .filter_map(|event| {
                let message = event.message().filter(|message| !message.deleted)?;
                Some((id(event), event, message.text()))
            })
            .collect();
        // FTS5 gathers rows in memory only as long as they come in their order.
        rows.sort_by_key(|(id, event, _)| (*id, event.room, event.seq));
        rows.dedup_by_key(|(_, event, _)| (event.room, event.seq));
        insert(&transaction, &rows)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Opens what is there; also whose it is.
fn open(dir: &Path) -> Result<(Connection, u64), SearchError> {
    let database = Connection::open_with_flags(
        file(dir),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    database.execute_batch(SETTINGS)?;
    let version: i32 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA {
        return Err(SearchError::Damaged { why: "it is of another version of quip".to_owned() });
    }
    let id: i64 = database.query_one("SELECT id FROM replica", [], |row| row.get(0))?;
    Ok((database, id.cast_unsigned()))
}

fn file(dir: &Path) -> PathBuf {
    dir.join("index.db")
}

/// How many events are yet to be looked at, about: what lies in holes counts as well.
fn remaining(replica: &Replica) -> Result<u64, SearchError> {
    let mut newest: HashMap<RoomId, u64> = HashMap::new();
    let mut remaining = 0u64;
    for stretch in replica.outdated()? {
        let head = match newest.get(&stretch.room) {
            Some(head) => *head,
            None => replica.newest(stretch.room)?.map_or(0, |cursor| cursor.seq.0),
        };
        newest.insert(stretch.room, head);
        let events = (stretch.last.0.min(head) + 1).saturating_sub(stretch.first.0.max(1));
        // A stretch of a room that is gone is to be looked at as well.
        remaining = remaining.saturating_add(events.max(1));
    }
    Ok(remaining)
}

/// Where in time an event is; what collides with another one comes behind it.
fn id(event: &Event) -> i64 {
    let tie = event.seq.0 & ((1 << TIE_BITS) - 1);
    start(event.at) | tie.cast_signed()
}

fn start(at: Timestamp) -> i64 {
    (at.0.min(LAST_MS) << TIE_BITS).cast_signed()
}

fn place(room: RoomId, seq: Seq) -> (i64, i64) {
    (room.0.cast_signed(), i64::try_from(seq.0).unwrap_or(i64::MAX))
}

/// Removes what it has of these events.
fn forget(transaction: &Transaction<'_>, room: RoomId, first: Seq, last: Seq) -> Result<(), SearchError> {
    let ((room, first), (_, last)) = (place(room, first), place(room, last));
    let mut there =
        transaction.prepare("SELECT id FROM messages WHERE room = ?1 AND seq BETWEEN ?2 AND ?3")?;
    let ids: Vec<i64> = there.query_map([room, first, last], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut words = transaction.prepare("DELETE FROM words WHERE rowid = ?1")?;
    for id in ids {
        words.execute([id])?;
    }
    transaction
        .execute("DELETE FROM messages WHERE room = ?1 AND seq BETWEEN ?2 AND ?3", [room, first, last])?;
    Ok(())
}

fn insert(transaction: &Transaction<'_>, rows: &[(i64, &Event, &str)]) -> Result<(), SearchError> {
    let mut taken = transaction.prepare("SELECT 1 FROM messages WHERE id = ?1")?;
    let mut messages = transaction.prepare("INSERT INTO messages(id, room, seq) VALUES(?1, ?2, ?3)")?;
    let mut texts = transaction.prepare("INSERT INTO words(rowid, text, about) VALUES(?1, ?2, ?3)")?;
    for (id, event, text) in rows {
        let mut id = *id;
        while taken.query_row([id], |_| Ok(())).optional()?.is_some() {
            id += 1;
        }
        let (room, seq) = place(event.room, event.seq);
        messages.execute(params![id, room, seq])?;
        let about = format!("{} {}", room_word(event.room), author_word(&event.author));
        texts.execute(params![id, folded(text), about])?;
    }
    Ok(())
}

/// The words as FTS5's own tokenizer will see them: it parts at spaces, and leaves everything else as it is.
fn folded(text: &str) -> String {
    let words: Vec<String> = words(text).into_iter().map(|word| word.folded).collect();
    words.join(" ")
}

fn room_word(room: RoomId) -> String {
    format!("r{}", room.0)
}

/// What is neither letter nor digit would part it.
fn author_word(author: &AccountName) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() { c } else { char::from_u32(0xE000 + c as u32).unwrap_or('-') }
    };
    std::iter::once('a').chain(author.as_str().chars().map(letter)).collect()
}

/// Finds messages while the index is kept up elsewhere.
#[derive(Debug)]
pub struct Seeker {
    database: Connection,
}

impl Seeker {
    /// Opens the index in `dir`, which is there.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub fn open(dir: &Path) -> Result<Seeker, SearchError> {
        Ok(Seeker { database: open(dir)?.0 })
    }

    /// At most `most` messages that fit, the newest first, as they are in the replica.
    ///
    /// # Errors
    /// When the room is not there, or SQLite or the replica fails.
    pub fn find(&self, replica: &Replica, query: &Query, most: usize) -> Result<Vec<Found>, SearchError> {
        if query.is_empty() || most == 0 {
            return Ok(Vec::new());
        }
        let rooms: HashMap<RoomId, Target> =
            replica.rooms()?.into_iter().map(|room| (room.summary.id, room.summary.target)).collect();
        let room = query.room.as_ref().map(|target| in_room(&rooms, target)).transpose()?;
        let from = query.after.map_or(0, start);
        let before = query.before.map_or(i64::MAX, start);
        let mut statement = self.database.prepare(FIND)?;
        let mut rows = statement.query(params![expression(query, room), from, before])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (room, seq): (i64, i64) = (row.get(0)?, row.get(1)?);
            let (room, seq) = (RoomId(room.cast_unsigned()), Seq(seq.cast_unsigned()));
            let Some(target) = rooms.get(&room) else { continue };
            let Some(event) = replica.event(room, seq)?.filter(|event| query.fits(event)) else { continue };
            found.push(Found { room: target.clone(), event });
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }
}

fn in_room(rooms: &HashMap<RoomId, Target>, wanted: &Target) -> Result<RoomId, SearchError> {
    let room = rooms.iter().find(|(_, target)| *target == wanted).map(|(id, _)| *id);
    room.ok_or_else(|| SearchError::NoRoom(wanted.clone()))
}

/// The query in the language of FTS5.
fn expression(query: &Query, room: Option<RoomId>) -> String {
    let room = room.map(|room| format!("about : \"{}\"", room_word(room)));
    let from = query.from.as_ref().map(|from| format!("about : \"{}\"", author_word(from)));
    let terms: Vec<String> = query.terms.iter().map(Term::expression).collect();
    let terms = (!terms.is_empty()).then(|| format!("text : ({})", terms.join(" AND ")));
    let parts: Vec<String> = [terms, room, from].into_iter().flatten().collect();
    parts.join(" AND ")
}
