//! The store: what is queried, as a view behind the journal that can be thrown away and made again. Imports records,
//! blocks and the database.
//!
//! Everything lies in one tree, with the position up to which the journal is applied in the same batch. Stored bytes
//! are never trusted: what can't be decoded is an error that names the record.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quip_protocol::codec::{decode, encode};
use quip_protocol::{AccountId, MessageId, Position, Receipt, RoomId, Seq};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::database::Database;
use crate::draft::Draft;
use crate::durable::sync_parent;
use crate::problem::Problem;
pub use crate::read::Ids;
use crate::record::{Applied, Head, Snapshot};
pub use crate::timeline::Frames;
use crate::{check, keys, read};

/// The layout of keys and values. Another one in a directory means that it is made again from the journal.
const SCHEMA: &[u8] = b"quip store 3";
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

impl Opened {
    fn is_set_aside(&self) -> bool {
        matches!(self, Opened::SetAside { .. })
    }
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
    /// sled failed or panicked. The next opening sets it aside, and a new one is made from the journal.
    #[error("the store failed: {why}; it is opened again, or made again from the journal")]
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
    /// It is being opened again after it failed.
    #[error("the store is being opened again after it failed; try again in a moment")]
    Reopening,
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
    /// None while it is opened again.
    database: RwLock<Option<Database>>,
    dir: PathBuf,
    options: StoreOptions,
    /// Whether this one set aside what was there before and made it anew: it has nothing but what its user has too.
    remade: AtomicBool,
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
        let (database, applied, opened) = open_or_replace(&dir, &options)?;
        let store = Store {
            database: RwLock::new(Some(database)),
            dir,
            options,
            remade: AtomicBool::new(opened.is_set_aside()),
            writing: Mutex::new(()),
            applied: Mutex::new(applied),
        };
        Ok((store, opened))
    }

    /// Opens it again, after sled failed or damage was found, with what it still has of the journal. If it was given
    /// up or can't be opened, it is set aside as [`Store::open`] does; what was set aside once and made anew since is
    /// removed instead, so that what fails time after time does not fill the disk. Until then nothing can be read.
    ///
    /// # Errors
    /// As for [`Store::open`]. It can be tried again.
    pub fn reopen(&self) -> Result<Opened, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it is closed: what could not be marked would be found again as if it were sound.
        self.open_database().as_ref().map_or(Ok(()), Database::mark_if_given_up)?;
        let old = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(old) = old {
            let is_of_no_use = old.is_given_up() && self.remade.load(Ordering::Relaxed);
            old.close();
            if is_of_no_use {
                remove(&self.dir)?;
            }
        }
        let (database, applied, opened) = open_or_replace(&self.dir, &self.options)?;
        self.remade.fetch_or(opened.is_set_aside(), Ordering::Relaxed);
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = applied;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        Ok(opened)
    }

    /// Gives this store up while it is in use: the next opening sets it aside. What can be read of it may be read until then.
    pub fn give_up(&self, why: &str) {
        if let Some(database) = self.open_database().as_ref() {
            database.give_up(why);
        }
    }

    /// Whether it was found damaged and is to be opened again.
    pub fn is_given_up(&self) -> bool {
        self.open_database().as_ref().is_none_or(Database::is_given_up)
    }

    /// Gives this store up, for a reason that its user found (it is ahead of the journal, say): renames it and says
    /// where to. [`Store::open`] then makes a new one.
    ///
    /// # Errors
    /// When it can't be renamed.
    pub fn set_aside(self) -> Result<PathBuf, StoreError> {
        let Store { database, dir, .. } = self;
        if let Some(database) = database.into_inner().unwrap_or_else(PoisonError::into_inner) {
            database.close();
        }
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
        self.with(|database| {
            let mut rest = entries;
            while !rest.is_empty() {
                let mut draft = Draft::new(database, self.applied());
                while let Some((entry, behind)) = rest.split_first()
                    && !draft.is_full()
                {
                    draft.add(entry)?;
                    rest = behind;
                }
                let (batch, position) = draft.finish()?;
                database.apply(batch)?;
                *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = position;
            }
            Ok(())
        })
    }

    /// Makes everything applied so far survive a power cut.
    ///
    /// # Errors
    /// When sled or the operating system fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.with(Database::sync)
    }

    /// Everything but timelines and inboxes.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn load(&self) -> Result<Snapshot, StoreError> {
        self.with(read::load)
    }

    /// Where a room's log stands; nothing if it has no event.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn head(&self, room: RoomId) -> Result<Option<Head>, StoreError> {
        self.with(|database| read::head(database, room))
    }

    /// The stored bytes of an event: its frame without the length.
    ///
    /// # Errors
    /// When its block is damaged.
    pub fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Bytes>, StoreError> {
        self.with(|database| read::event(database, room, seq))
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
        self.with(|database| read::events(database, room, after, upto, max_bytes))
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
        self.with(|database| read::notices(database, account, after, upto, max_bytes))
    }

    /// What became of a sender's message, edit, deletion or reaction, and whose it was.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, StoreError> {
        self.with(|database| read::receipt(database, id))
    }

    /// The ids around `id`, so that it can be told of many others that the store does not have them.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn ids_behind(&self, id: MessageId, most: usize) -> Result<Ids, StoreError> {
        self.with(|database| read::ids_behind(database, id, most))
    }

    /// Verifies everything that can be verified without the journal, and says all that is wrong.
    ///
    /// # Errors
    /// When sled fails; damaged records are problems, not errors.
    pub fn check(&self) -> Result<Vec<Problem>, StoreError> {
        // Not through `with`: a check changes nothing, and what it finds is not given up.
        check::check(self.open_database().as_ref().ok_or(StoreError::Reopening)?)
    }

    fn open_database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the database. One that turns out to be damaged is given up.
    fn with<T>(&self, act: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let database = self.open_database();
        let database = database.as_ref().ok_or(StoreError::Reopening)?;
        let done = act(database);
        if let Err(error @ StoreError::Corrupt { .. }) = &done {
            database.give_up(&error.to_string());
        }
        done
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

/// Opens what is in `dir`, or sets it aside and makes a new one.
fn open_or_replace(dir: &Path, options: &StoreOptions) -> Result<(Database, Position, Opened), StoreError> {
    match open_as_it_is(dir, options) {
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Broken { .. })) => {
            let to = set_aside(dir)?;
            let (database, position, _) = open_as_it_is(dir, options)?;
            Ok((database, position, Opened::SetAside { to, why: error.to_string() }))
        }
        opened => opened,
    }
}

fn open_as_it_is(dir: &Path, options: &StoreOptions) -> Result<(Database, Position, Opened), StoreError> {
    let database = Database::open(dir, options.cache_bytes)?;
    match start(&database) {
        Ok((applied, opened)) => Ok((database, applied, opened)),
        Err(error) => {
            database.close();
            Err(error)
        }
    }
}

fn remove(dir: &Path) -> Result<(), StoreError> {
    let removed = fs::remove_dir_all(dir).and_then(|()| sync_parent(dir));
    removed.map_err(|source| StoreError::io("remove", dir, source))
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
