//! The replica: a client's local copy of its rooms, which can be thrown away and fetched anew. Imports blocks and the
//! database.
//!
//! A room's events lie in the same blocks as in the store, but with holes between them: what was never fetched is not
//! there. Up to the room's cursor nothing that came live is missing. Amendments are indexed by what they rewrite, so
//! that it does not matter in which order pages and events come.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event};
use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{AccountName, Cursor, Event, RoomId, Seq};

use crate::database::Database;
use crate::keys;
use crate::patch::Patch;
use crate::read::block_at;
use crate::store::{self, Opened, StoreError, parse, versioned};
use crate::timeline::BlockBytes;

/// The layout of keys and values. Another one in a directory means that it is fetched anew.
const SCHEMA: &[u8] = b"quip replica 2";
/// Memory for what was read and written last, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why the replica did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// It is damaged; the next start sets it aside.
    #[error("the local copy is damaged ({why}); the next start sets it aside and fetches it anew")]
    Damaged {
        /// What is wrong with it.
        why: String,
    },
    /// The operating system refused, or another process has it.
    #[error("the local copy cannot be used: {why}")]
    Unusable {
        /// What was said.
        why: String,
    },
}

impl From<StoreError> for ReplicaError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { key, why } => ReplicaError::Damaged { why: format!("{key}: {why}") },
            StoreError::Broken { why } => ReplicaError::Damaged { why },
            other => ReplicaError::Unusable { why: other.to_string() },
        }
    }
}

/// A room of the replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// As it was known last.
    pub summary: RoomSummary,
    /// Events behind this one are to be asked for; `None` if there are none here.
    pub cursor: Option<Cursor>,
    /// From here up to the cursor nothing is missing, if that was looked at.
    pub whole: Option<Seq>,
}

/// A local copy. One writer at a time; its owner holds the lock of the directory that it lies in.
#[derive(Debug)]
pub struct Replica {
    pub(crate) database: Database,
    /// Held while it is changed, and by who reads beside its writer.
    turn: Mutex<()>,
    /// The next stamp of a note, see `outdated`. From the clock, so that no start uses those of another one.
    pub(crate) stamps: AtomicU64,
}

impl Replica {
    /// Opens or makes the one in `dir`. What can't be opened, or has another layout, is renamed to
    /// `<dir>.broken-<unix seconds>`, and a new one is made.
    ///
    /// # Errors
    /// When the directory can't be made, read, written or renamed.
    pub fn open(dir: impl Into<PathBuf>) -> Result<(Replica, Opened), ReplicaError> {
        let dir = dir.into();
        match Replica::open_as_it_is(&dir) {
            Ok(opened) => Ok(opened),
            Err(error @ (StoreError::Corrupt { .. } | StoreError::Broken { .. })) => {
                let to = store::set_aside(&dir)?;
                let (replica, _) = Replica::open_as_it_is(&dir)?;
                Ok((replica, Opened::SetAside { to, why: error.to_string() }))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn open_as_it_is(dir: &Path) -> Result<(Replica, Opened), StoreError> {
        let database = Database::open(dir, CACHE_BYTES)?;
        match start(&database) {
            Ok(opened) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                let stamps = AtomicU64::new(u64::try_from(now).unwrap_or_default());
                Ok((Replica { database, turn: Mutex::default(), stamps }, opened))
            }
            Err(error) => {
                database.close();
                Err(error)
            }
        }
    }

    /// Whose it is, if that is known.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn owner(&self) -> Result<Option<AccountName>, ReplicaError> {
        self.marked(self.record(&keys::OWNER))
    }

    /// Takes note of whose it is.
    ///
    /// # Errors
    /// When sled fails.
    pub fn set_owner(&self, owner: &AccountName) -> Result<(), ReplicaError> {
        let mut batch = sled::Batch::default();
        batch.insert(keys::OWNER.as_slice(), versioned(owner));
        self.marked(self.database.apply(batch))
    }

    /// All rooms, by id.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn rooms(&self) -> Result<Vec<Copied>, ReplicaError> {
        self.marked(self.read_rooms())
    }

    fn read_rooms(&self) -> Result<Vec<Copied>, StoreError> {
        let mut rooms = Vec::new();
        for pair in self.database.scan_prefix(keys::ROOM) {
            let (key, value) = pair?;
            let summary: RoomSummary = parse(&key, &value)?;
            let cursor = self.record(&keys::cursor(summary.id))?;
            let whole = self.record(&keys::whole(summary.id))?;
            rooms.push(Copied { summary, cursor, whole });
        }
        Ok(rooms)
    }

    /// Takes note of how rooms are now.
    ///
    /// # Errors
    /// When sled fails.
    pub fn put_rooms(&self, rooms: &[RoomSummary]) -> Result<(), ReplicaError> {
        let mut batch = sled::Batch::default();
        for room in rooms {
            batch.insert(keys::room(room.id), versioned(room));
        }
        self.marked(self.database.apply(batch))
    }

    /// Forgets a room and everything in it.
    ///
    /// # Errors
    /// When sled fails.
    pub fn remove(&self, room: RoomId) -> Result<(), ReplicaError> {
        let _turn = self.turn();
        self.marked(self.try_remove(room))
    }

    fn try_remove(&self, room: RoomId) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        batch.remove(keys::room(room));
        batch.remove(keys::cursor(room));
        batch.remove(keys::merge(room));
        batch.remove(keys::whole(room));
        let (first, last) = keys::every_lost(room);
        let lost = self.database.scan(&first, &last);
        let blocks = self.database.scan(&keys::block(room, Seq::ZERO), &keys::block(room, Seq(u64::MAX)));
        let (from, upto) = keys::amendments(room, Seq::ZERO, Seq(u64::MAX));
        for pair in blocks.chain(self.database.scan(&from, &upto)).chain(lost) {
            batch.remove(pair?.0);
        }
        self.outdate(&mut batch, room, Seq::ZERO, Seq(u64::MAX))?;
        self.database.apply(batch)
    }

    /// Takes events of a room, oldest first, whose messages are as they were when its newest event was `head`. For
    /// events that came live, that is the one before the first. What is not dense is taken as several runs.
    ///
    /// # Errors
    /// When a block is damaged or sled fails; then nothing of a run was taken.
    pub fn insert(&self, room: RoomId, events: &[Event], head: Seq) -> Result<(), ReplicaError> {
        for run in events.chunk_by(|a, b| b.seq == a.seq.next()) {
            let _turn = self.turn();
            let mut patch = Patch::new(&self.database, room);
            let taken = patch.take(run, head).and_then(|()| patch.finish()).and_then(|mut batch| {
                self.outdate_run(&mut batch, room, run)?;
                Ok(batch)
            });
            self.marked(taken.and_then(|batch| self.database.apply(batch)))?;
        }
        Ok(())
    }

    /// The server's log has other events behind `keep`, up to `head`. Those that are here are forgotten, and messages
    /// that they amended; messages are put aside until they come again.
    ///
    /// # Errors
    /// When a block is damaged or sled fails.
    pub fn cut(&self, room: RoomId, keep: Cursor, head: Seq) -> Result<(), ReplicaError> {
        let _turn = self.turn();
        let mut patch = Patch::new(&self.database, room);
        let cut = patch.cut(keep, head).and_then(|()| patch.finish()).and_then(|mut batch| {
            self.outdate(&mut batch, room, keep.seq.next(), Seq(u64::MAX))?;
            Ok(batch)
        });
        self.marked(cut.and_then(|batch| self.database.apply(batch)))
    }

    /// The messages that were cut and that the server does not have any more, in the order that they had. `None` as
    /// long as that is not known, because not all that it has came again.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn lost(&self, room: RoomId) -> Result<Option<Vec<Event>>, ReplicaError> {
        self.marked(self.read_lost(room))
    }

    fn read_lost(&self, room: RoomId) -> Result<Option<Vec<Event>>, StoreError> {
        let Some(head) = self.record::<Seq>(&keys::merge(room))? else { return Ok(Some(Vec::new())) };
        let cursor: Option<Cursor> = self.record(&keys::cursor(room))?;
        if cursor.is_some_and(|cursor| cursor.seq < head) {
            return Ok(None);
        }
        let (first, last) = keys::every_lost(room);
        let mut lost = Vec::new();
        for pair in self.database.scan(&first, &last) {
            let (key, frame) = pair?;
            let frame = frame.get(LENGTH_BYTES..).unwrap_or_default();
            lost.push(decode_stored_event(frame).map_err(|e| StoreError::corrupt(&key, e.to_string()))?);
        }
        lost.sort_by_key(|event: &Event| event.seq);
        Ok(Some(lost))
    }

    /// At most `limit` events without a hole, oldest first: the nearest that are there in that direction. If they do
    /// not begin, or end, where they were asked for, there is a hole.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn page(&self, room: RoomId, from: PageFrom, limit: usize) -> Result<Vec<Event>, ReplicaError> {
        self.marked(match from {
            PageFrom::Latest => self.backward(room, Seq(u64::MAX), limit),
            PageFrom::Before(seq) => self.backward(room, Seq(seq.0.saturating_sub(1)), limit),
            PageFrom::After(seq) => self.forward(room, seq.next(), limit),
        })
    }

    /// The event at `seq`, if it is there.
    ///
    /// # Errors
    /// When its block is damaged.
    pub fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, ReplicaError> {
        let _turn = self.turn();
        self.marked(self.read_event(room, seq))
    }

    fn read_event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, StoreError> {
        let Some((key, value)) = block_at(&self.database, room, seq)? else { return Ok(None) };
        let corrupt = |why: &str| StoreError::corrupt(&key, why);
        let frame = BlockBytes::parse(&key, &value).and_then(|block| block.frame(seq)).map_err(corrupt)?;
        let event = |frame: &[u8]| {
            decode_stored_event(&frame[LENGTH_BYTES..]).map_err(|error| corrupt(&error.to_string()))
        };
        frame.map(event).transpose()
    }

    /// The newest event.
    ///
    /// # Errors
    /// When its block is damaged.
    pub fn newest(&self, room: RoomId) -> Result<Option<Cursor>, ReplicaError> {
        let page = self.page(room, PageFrom::Latest, 1)?;
        Ok(page.last().map(|event| Cursor { epoch: event.epoch, seq: event.seq }))
    }

    fn backward(&self, room: RoomId, upto: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut newest_first: Vec<Event> = Vec::new();
        let mut upto = upto;
        while newest_first.len() < limit {
            let Some((key, value)) = block_at(&self.database, room, upto)? else { break };
            let block = events(&key, &value)?.into_iter().filter(|event| event.seq <= upto).rev();
            for event in block.take(limit - newest_first.len()) {
                if newest_first.last().is_some_and(|newer| newer.seq != event.seq.next()) {
                    newest_first.reverse();
                    return Ok(newest_first);
                }
                newest_first.push(event);
            }
            let Some(oldest) = newest_first.last() else { break };
            upto = Seq(oldest.seq.0.saturating_sub(1));
        }
        newest_first.reverse();
        Ok(newest_first)
    }

    fn forward(&self, room: RoomId, from: Seq, limit: usize) -> Result<Vec<Event>, StoreError> {
        let mut found: Vec<Event> = Vec::new();
        let first = block_at(&self.database, room, from)?.map_or(keys::block(room, from), |pair| pair.0);
        for pair in self.database.scan(&first, &keys::block(room, Seq(u64::MAX))) {
            let (key, value) = pair?;
            for event in events(&key, &value)?.into_iter().filter(|event| event.seq >= from) {
                let follows = found.last().is_none_or(|last| last.seq.next() == event.seq);
                if !follows || found.len() >= limit {
                    return Ok(found);
                }
                found.push(event);
            }
        }
        Ok(found)
    }

    /// Makes everything so far survive the end of the process, and a power cut.
    ///
    /// # Errors
    /// When sled or the operating system fails.
    pub fn sync(&self) -> Result<(), ReplicaError> {
        // sled is not flushed by two threads at once, nor while another one writes.
        let _turn = self.turn();
        self.marked(self.database.sync())
    }

    /// So that what is read beside the writer is never half of a change.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.database.get(key)?.map(|value| parse(key, &value)).transpose()
    }

    /// Has the next start set a damaged one aside.
    pub(crate) fn marked<T>(&self, result: Result<T, StoreError>) -> Result<T, ReplicaError> {
        if let Err(error @ StoreError::Corrupt { .. }) = &result {
            self.database.mark_broken(&error.to_string());
        }
        Ok(result?)
    }
}

pub(crate) fn events(key: &[u8], value: &[u8]) -> Result<Vec<Event>, StoreError> {
    let corrupt = |why: &str| StoreError::corrupt(key, why);
    let block = BlockBytes::parse(key, value).map_err(corrupt)?;
    let decoded = block.frames().map(|frame| {
        let (seq, frame) = frame.map_err(corrupt)?;
        let event = decode_stored_event(&frame[LENGTH_BYTES..]).map_err(|e| corrupt(&e.to_string()))?;
        if event.seq == seq { Ok(event) } else { Err(corrupt("an event is in the wrong place")) }
    });
    decoded.collect()
}

/// Reads or writes what every replica begins with.
fn start(database: &Database) -> Result<Opened, StoreError> {
    match database.get(&keys::SCHEMA)? {
        Some(schema) if schema == SCHEMA => Ok(Opened::Found),
        None if database.is_new() => {
            let mut batch = sled::Batch::default();
            batch.insert(keys::SCHEMA.as_slice(), SCHEMA);
            database.apply(batch)?;
            database.sync()?;
            Ok(Opened::New)
        }
        Some(_) => Err(StoreError::broken("it is of another version of quip")),
        None => Err(StoreError::broken("sled finds nothing of what it held")),
    }
}
