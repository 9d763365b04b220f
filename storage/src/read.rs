//! Reading a store: records, pages of events and notices, and the index of ids. Imports records, blocks and the
//! database.

use bytes::Bytes;
use quip_protocol::codec::LENGTH_BYTES;
use quip_protocol::{AccountId, MessageId, Receipt, RoomId, Seq};
use serde::de::DeserializeOwned;
use sled::IVec;

use crate::database::{Database, Pair};
use crate::record::{Head, Room, Snapshot};
use crate::store::{StoreError, parse};
use crate::timeline::{BlockBytes, Collector, Frames};
use crate::{keys, message_index};

/// Everything but timelines and inboxes.
pub(crate) fn load(database: &Database) -> Result<Snapshot, StoreError> {
    let mut rooms = Vec::new();
    for room in records::<Room>(database, keys::ROOM) {
        let room = room?;
        let head = head(database, room.id)?.unwrap_or_default();
        rooms.push((room, head));
    }
    Ok(Snapshot {
        accounts: records(database, keys::ACCOUNT).collect::<Result<_, _>>()?,
        devices: records(database, keys::DEVICE).collect::<Result<_, _>>()?,
        invites: records(database, keys::INVITE).collect::<Result<_, _>>()?,
        rooms,
        members: records(database, keys::MEMBER).collect::<Result<_, _>>()?,
        consumers: records(database, keys::CONSUMER).collect::<Result<_, _>>()?,
    })
}

/// The stored bytes of an event.
pub(crate) fn event(database: &Database, room: RoomId, seq: Seq) -> Result<Option<Bytes>, StoreError> {
    let Some((key, value)) = block_at(database, room, seq)? else { return Ok(None) };
    let frame = BlockBytes::parse(&key, &value).and_then(|block| block.frame(seq));
    let frame = frame.map_err(|why| StoreError::corrupt(&key, why))?;
    Ok(frame.map(|frame| Bytes::copy_from_slice(&frame[LENGTH_BYTES..])))
}

/// A page of events.
pub(crate) fn events(
    database: &Database,
    room: RoomId,
    after: Seq,
    upto: Seq,
    max_bytes: usize,
) -> Result<Frames, StoreError> {
    let mut page = Page { room, next: after.next(), upto, collector: Collector::new(max_bytes) };
    let first = if after < upto { block_at(database, room, after.next())? } else { None };
    let Some((key, value)) = first else { return Ok(Frames::default()) };
    if page.take(&key, &value)? {
        let behind = [&key, [0].as_slice()].concat();
        for pair in database.scan(&behind, &keys::block(room, upto)) {
            let (key, value) = pair?;
            if !page.take(&key, &value)? {
                break;
            }
        }
    }
    Ok(page.collector.finish())
}

/// A page of notices.
pub(crate) fn notices(
    database: &Database,
    account: AccountId,
    after: Seq,
    upto: Seq,
    max_bytes: usize,
) -> Result<Frames, StoreError> {
    let mut collector = Collector::new(max_bytes);
    let mut next = after.next();
    for pair in database.scan(&keys::notice(account, next), &keys::notice(account, upto)) {
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

/// What became of an id.
pub(crate) fn receipt(
    database: &Database,
    id: MessageId,
) -> Result<Option<(AccountId, Receipt)>, StoreError> {
    let Some((start, value)) = index_block(database, id)? else { return Ok(None) };
    let found = message_index::find(&value, id);
    let found = found.map_err(|why| StoreError::corrupt(&keys::index(start), why))?;
    Ok(found.map(|entry| (entry.account, entry.receipt)))
}

/// All ids of a store between two bounds, neither of them included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The lower bound.
    pub after: MessageId,
    /// The ids.
    pub ids: Vec<MessageId>,
    /// The upper bound; none if the store has no id behind these.
    pub before: Option<MessageId>,
}

/// The first ids behind `id`.
pub(crate) fn ids_behind(database: &Database, id: MessageId, most: usize) -> Result<Ids, StoreError> {
    let start = index_block(database, id)?.map_or(message_index::LEAST, |(start, _)| start);
    let mut found = Ids { after: start, ids: Vec::new(), before: None };
    for pair in database.scan(&keys::index(start), &[keys::INDEX + 1]) {
        let (key, value) = pair?;
        let entries = message_index::all(&value).map_err(|why| StoreError::corrupt(&key, why))?;
        for stored in entries.map(|entry| entry.receipt.id) {
            if stored <= id {
                found.after = stored;
            } else if found.ids.len() < most {
                found.ids.push(stored);
            } else {
                found.before = Some(stored);
                return Ok(found);
            }
        }
    }
    Ok(found)
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
