//! The store: what is queried, as a view behind the journal that can be thrown away and made again. Imports records,
//! blocks and the database.
//!
//! Everything lies in one tree, with the position up to which the journal is applied in the same batch. Stored bytes
//! are never trusted: what can't be decoded is an error that names the record.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quip_protocol::codec::{LENGTH_BYTES, decode, encode};
use quip_protocol::{AccountId, MessageId, Position, Receipt, RoomId, Seq};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::IVec;

use crate::database::{Database, Pair};
use crate::draft::Draft;
use crate::durable::sync_parent;
use crate::message_index;
use crate::problem::Problem;
use crate::record::{Applied, Head, Room, Snapshot};
pub use crate::timeline::Frames;
use crate::timeline::{BlockBytes, Collector};
use crate::{check, keys};

/// The layout of keys and values. Another one in a directory means that it is made again from the journal.
const SCHEMA: &[u8] = b"quip store 2";
/// The version byte before each record.
const RECORD_VERSION: u8 = 1;

/// How a store is kept.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Memory for what was read and written last, in bytes.
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions { cache_bytes: 64 * 1024 * 1024 }
    }
}

/// What was found when a store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: it is new and empty.
    New,
    /// A store, which is up to [`Store::applied`].
    Found,
    /// Something that can't be used. It was renamed, and the store is new and empty.
    SetAside {
        /// Where it lies now.
        to: PathBuf,
        /// Why it can't be used.
        why: String,
    },
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Stored bytes are not what they should be.
    #[error("the store is damaged: {key}: {why}; run `quipd check --rebuild`")]
    Corrupt {
        /// Which record.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// sled failed or panicked. The next start sets it aside and makes a new one from the journal.
    #[error("the store failed: {why}; restart to have it made again from the journal")]
    Broken {
        /// What sled said.
        why: String,
    },
    /// Another store of this or another process is open on the directory.
    #[error("the store is in use by another process; stop that process first")]
    Locked,
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// What is to be applied does not follow on what is stored.
    #[error("this does not follow on what the store holds: {0}; run `quipd check --rebuild`")]
    OutOfOrder(String),
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn broken(why: impl Into<String>) -> StoreError {
        StoreError::Broken { why: why.into() }
    }

    pub(crate) fn corrupt(key: &[u8], why: impl Into<String>) -> StoreError {
        StoreError::Corrupt { key: keys::describe(key), why: why.into() }
    }
}

/// The store. One writer at a time, any number of readers. Its calls block; while a batch is being applied, reads
/// wait for it (some 15 ms for 10,000 short messages), since sled lets none in between.
#[derive(Debug)]
pub struct Store {
    database: Database,
    dir: PathBuf,
    /// Held by the one who applies.
    writing: Mutex<()>,
    applied: Mutex<Position>,
}

impl Store {
    /// Opens or makes the store in `dir`. What can't be opened, or has another layout, is renamed to
    /// `<dir>.broken-<unix seconds>` and a new one is made; the caller then applies the journal again.
    ///
    /// # Errors
    /// When the directory can't be made, read, written or renamed, or is in use.
    pub fn open(dir: impl Into<PathBuf>, options: StoreOptions) -> Result<(Store, Opened), StoreError> {
        let dir = dir.into();
        match Store::open_as_it_is(&dir, &options) {
            Ok(opened) => Ok(opened),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Broken { .. })) => {
                replace(&dir, &options, &error.to_string())
            }
            Err(error) => Err(error),
        }
    }

    fn open_as_it_is(dir: &Path, options: &StoreOptions) -> Result<(Store, Opened), StoreError> {
        let database = Database::open(dir, options.cache_bytes)?;
        let (applied, opened) = match start(&database) {
            Ok(found) => found,
            Err(error) => {
                database.close();
                return Err(error);
            }
        };
        let store =
            Store { database, dir: dir.to_owned(), writing: Mutex::new(()), applied: Mutex::new(applied) };
        Ok((store, opened))
    }

    /// Gives this store up, for a reason that its user found (it is ahead of the journal, say): renames it and says
    /// where to. [`Store::open`] then makes a new one.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub fn set_aside(self) -> Result<PathBuf, StoreError> {
        let Store { database, dir, .. } = self;
        database.close();
        set_aside(&dir)
    }

    /// Up to where the journal is applied.
    pub fn applied(&self) -> Position {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies journal entries in one batch, or in a few if they have many megabytes; each is there as a whole or
    /// not at all, also after a crash, and with it the position. After an error the store is as it was at
    /// [`Store::applied`].
    ///
    /// # Errors
    /// [`StoreError::OutOfOrder`] if a position or a seq does not follow; the others as they are described there.
    pub fn apply(&self, entries: &[Applied]) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = entries;
        while !rest.is_empty() {
            let mut draft = Draft::new(&self.database, self.applied());
            while let Some((entry, behind)) = rest.split_first()
                && !draft.is_full()
            {
                draft.add(entry)?;
                rest = behind;
            }
            let (batch, position) = draft.finish()?;
            self.database.apply(batch)?;
            *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = position;
        }
        Ok(())
    }

    /// Makes everything applied so far survive a power cut.
    ///
    /// # Errors
    /// When sled or the operating system fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.database.sync()
    }

    /// Everything but timelines and inboxes.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        let mut rooms = Vec::new();
        for room in records::<Room>(&self.database, keys::ROOM) {
            let room = room?;
            let head = self.head(room.id)?.unwrap_or_default();
            rooms.push((room, head));
        }
        Ok(Snapshot {
            accounts: records(&self.database, keys::ACCOUNT).collect::<Result<_, _>>()?,
            devices: records(&self.database, keys::DEVICE).collect::<Result<_, _>>()?,
            invites: records(&self.database, keys::INVITE).collect::<Result<_, _>>()?,
            rooms,
            members: records(&self.database, keys::MEMBER).collect::<Result<_, _>>()?,
            consumers: records(&self.database, keys::CONSUMER).collect::<Result<_, _>>()?,
            epoch: self.applied().epoch,
        })
    }

    /// Where a room's log stands; nothing if it has no event.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn head(&self, room: RoomId) -> Result<Option<Head>, StoreError> {
        head(&self.database, room)
    }

    /// The stored bytes of an event: its frame without the length.
    ///
    /// # Errors
    /// When its block is damaged.
    pub fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Bytes>, StoreError> {
        let Some((key, value)) = block_at(&self.database, room, seq)? else { return Ok(None) };
        let frame = BlockBytes::parse(&key, &value).and_then(|block| block.frame(seq));
        let frame = frame.map_err(|why| StoreError::corrupt(&key, why))?;
        Ok(frame.map(|frame| Bytes::copy_from_slice(&frame[LENGTH_BYTES..])))
    }

    /// The events behind `after` up to and with `upto`, as long as their frames are within `max_bytes` together; at
    /// least one if there is one.
    ///
    /// # Errors
    /// When a block is damaged or missing.
    pub fn events(
        &self,
        room: RoomId,
        after: Seq,
        upto: Seq,
        max_bytes: usize,
    ) -> Result<Frames, StoreError> {
        let mut page = Page { room, next: after.next(), upto, collector: Collector::new(max_bytes) };
        let first = if after < upto { block_at(&self.database, room, after.next())? } else { None };
        let Some((key, value)) = first else { return Ok(Frames::default()) };
        if page.take(&key, &value)? {
            let behind = [&key, [0].as_slice()].concat();
            for pair in self.database.scan(&behind, &keys::block(room, upto)) {
                let (key, value) = pair?;
                if !page.take(&key, &value)? {
                    break;
                }
            }
        }
        Ok(page.collector.finish())
    }

    /// The notices of an inbox behind `after` up to and with `upto`, as long as their frames are within `max_bytes`
    /// together; at least one if there is one.
    ///
    /// # Errors
    /// When one is damaged or missing.
    pub fn notices(
        &self,
        account: AccountId,
        after: Seq,
        upto: Seq,
        max_bytes: usize,
    ) -> Result<Frames, StoreError> {
        let mut collector = Collector::new(max_bytes);
        let mut next = after.next();
        for pair in self.database.scan(&keys::notice(account, next), &keys::notice(account, upto)) {
            let (key, frame) = pair?;
            if keys::numbers(&key) != Some((account.0, next.0)) {
                return Err(StoreError::corrupt(&keys::notice(account, next), "it is missing"));
            }
            check_frame(&frame).map_err(|why| StoreError::corrupt(&key, why))?;
            if !collector.take(next, &frame) {
                break;
            }
            next = next.next();
        }
        Ok(collector.finish())
    }

    /// What became of a sender's message, edit, deletion or reaction, and whose it was.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, StoreError> {
        let Some((start, value)) = index_block(&self.database, id)? else { return Ok(None) };
        let found = message_index::find(&value, id);
        let found = found.map_err(|why| StoreError::corrupt(&keys::index(start), why))?;
        Ok(found.map(|entry| (entry.account, entry.receipt)))
    }

    /// Verifies everything that can be verified without the journal, and says all that is wrong.
    ///
    /// # Errors
    /// When sled fails; damaged records are problems, not errors.
    pub fn check(&self) -> Result<Vec<Problem>, StoreError> {
        check::check(self)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}

/// A page that is being read.
struct Page {
    room: RoomId,
    next: Seq,
    upto: Seq,
    collector: Collector,
}

impl Page {
    /// Takes what belongs to the page from a block; says whether more may be taken.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        let corrupt = |why| StoreError::corrupt(key, why);
        let block = BlockBytes::parse(key, value).map_err(corrupt)?;
        if block.first > self.next {
            return Err(StoreError::corrupt(&keys::block(self.room, self.next), "there is no block for it"));
        }
        for frame in block.frames() {
            let (seq, frame) = frame.map_err(corrupt)?;
            if seq > self.upto {
                return Ok(false);
            }
            // A block that was split since the one before it was read begins with what was read.
            if seq == self.next {
                if !self.collector.take(seq, frame) {
                    return Ok(false);
                }
                self.next = seq.next();
            }
        }
        Ok(true)
    }
}

fn check_frame(frame: &[u8]) -> Result<(), &'static str> {
    match frame.split_first_chunk::<LENGTH_BYTES>() {
        Some((length, stored)) if u32::from_le_bytes(*length) as usize == stored.len() => Ok(()),
        _ => Err("its frame has the wrong length"),
    }
}

/// Reads or writes what every store begins with.
fn start(database: &Database) -> Result<(Position, Opened), StoreError> {
    match database.get(&keys::SCHEMA)? {
        Some(schema) if schema == SCHEMA => {
            let value = database.get(&keys::POSITION)?;
            let value = value.ok_or_else(|| StoreError::corrupt(&keys::POSITION, "it is missing"))?;
            Ok((parse(&keys::POSITION, &value)?, Opened::Found))
        }
        None if database.is_new() => {
            let mut batch = sled::Batch::default();
            batch.insert(keys::SCHEMA.as_slice(), SCHEMA);
            batch.insert(keys::POSITION.as_slice(), versioned(&Position::ZERO));
            database.apply(batch)?;
            // What is not durable is found as a store without a schema, and set aside.
            database.sync()?;
            Ok((Position::ZERO, Opened::New))
        }
        Some(_) => Err(StoreError::broken("it is of another version of quipd")),
        None => Err(StoreError::broken("sled finds nothing of what it held")),
    }
}

/// Renames what lies in `dir` and makes a new store there.
fn replace(dir: &Path, options: &StoreOptions, why: &str) -> Result<(Store, Opened), StoreError> {
    let to = set_aside(dir)?;
    let (store, _) = Store::open_as_it_is(dir, options)?;
    Ok((store, Opened::SetAside { to, why: why.to_owned() }))
}

pub(crate) fn set_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut names = (now..).map(|second| dir.with_added_extension(format!("broken-{second}")));
    // Two in one second, in tests mostly.
    let to = names.find(|path| !path.exists()).unwrap_or_else(|| dir.with_added_extension("broken"));
    fs::rename(dir, &to)
        .and_then(|()| sync_parent(dir))
        .map_err(|source| StoreError::io("set aside", dir, source))?;
    Ok(to)
}

/// A record as it is stored.
pub(crate) fn versioned<T: Serialize>(record: &T) -> Vec<u8> {
    let mut value = encode(record);
    value.insert(0, RECORD_VERSION);
    value
}

/// A record from how it is stored.
pub(crate) fn parse<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, StoreError> {
    match value.split_first() {
        Some((&RECORD_VERSION, body)) => {
            decode(body, "record").map_err(|error| StoreError::corrupt(key, error.to_string()))
        }
        _ => Err(StoreError::corrupt(key, "it has an unknown version")),
    }
}

fn records<T: DeserializeOwned>(
    database: &Database,
    prefix: u8,
) -> impl Iterator<Item = Result<T, StoreError>> {
    database.scan_prefix(prefix).map(|pair| pair.and_then(|(key, value)| parse(&key, &value)))
}

pub(crate) fn head(database: &Database, room: RoomId) -> Result<Option<Head>, StoreError> {
    let key = keys::head(room);
    database.get(&key)?.map(|value| parse(&key, &value)).transpose()
}

/// The block that holds an event if any does: the last one that starts at or before it.
pub(crate) fn block_at(database: &Database, room: RoomId, seq: Seq) -> Result<Option<Pair>, StoreError> {
    let key = keys::block(room, seq);
    database.at_or_before(&key, &key[..9])
}

/// The block of the index that an id belongs to, with the id it starts with.
pub(crate) fn index_block(
    database: &Database,
    id: MessageId,
) -> Result<Option<(MessageId, IVec)>, StoreError> {
    let found = database.at_or_before(&keys::index(id), &[keys::INDEX])?;
    found.map(|(key, value)| Ok((index_start(&key)?, value))).transpose()
}

/// What the block of the index behind the one that starts with `start` starts with.
pub(crate) fn index_block_after(
    database: &Database,
    start: MessageId,
) -> Result<Option<MessageId>, StoreError> {
    let behind = [&keys::index(start), [0].as_slice()].concat();
    let found = database.scan(&behind, &[keys::INDEX + 1]).next().transpose()?;
    found.map(|(key, _)| index_start(&key)).transpose()
}

pub(crate) fn index_start(key: &[u8]) -> Result<MessageId, StoreError> {
    keys::index_start(key).ok_or_else(|| StoreError::corrupt(key, "its key has the wrong length"))
}
