//! A draft: the changes of many journal entries, gathered into one batch. The last state of each record wins, and each
//! block is read and written once. Imports records, blocks and the database.

use std::collections::{BTreeMap, HashMap};

use quip_protocol::{AccountId, Cursor, MessageId, Position, Receipt, RoomId, Seq};
use sled::{Batch, IVec};

use crate::database::Database;
use crate::message_index::{self, IndexEntry, LEAST};
use crate::record::{Applied, Change, Head, RecordedEvent};
use crate::store::StoreError;
use crate::timeline::Block;
use crate::{keys, read, store};

/// A batch is closed when its events and notices have this many bytes: a larger one takes sled longer for each event,
/// keeps readers waiting (for 1.6 s with 10,000 messages of 12 KB) and takes several times its size of memory.
const FULL_BYTES: usize = 4 * 1024 * 1024;

/// And when it has this many changes: sled lets no reader in while it applies a batch, and a room with 10,000 members is
/// 30,000 records of some bytes.
const FULL_CHANGES: usize = 8_000;

/// What a batch will hold.
pub(crate) struct Draft<'a> {
    database: &'a Database,
    records: HashMap<IVec, &'a Change>,
    heads: HashMap<RoomId, Head>,
    /// Blocks by room and first seq: for every room with a new event its last one, and those that were amended.
    blocks: BTreeMap<(RoomId, Seq), Block>,
    ids: BTreeMap<MessageId, IndexEntry>,
    position: Position,
    bytes: usize,
    changes: usize,
}

impl<'a> Draft<'a> {
    /// An empty one, for what comes behind `position`.
    pub(crate) fn new(database: &'a Database, position: Position) -> Draft<'a> {
        Draft {
            database,
            records: HashMap::new(),
            heads: HashMap::new(),
            blocks: BTreeMap::new(),
            ids: BTreeMap::new(),
            position,
            bytes: 0,
            changes: 0,
        }
    }

    /// Whether no further entry should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES || self.changes >= FULL_CHANGES
    }

    /// Adds one journal entry.
    pub(crate) fn add(&mut self, applied: &'a Applied) -> Result<(), StoreError> {
        if applied.position.offset <= self.position.offset {
            let what = format!("position {} is not behind {}", applied.position, self.position);
            return Err(StoreError::OutOfOrder(what));
        }
        self.changes += applied.changes.len();
        for change in &applied.changes {
            self.bytes += frame_bytes(change);
            match change {
                Change::Event(event) => self.event(event)?,
                change => {
                    self.records.insert(record_key(change), change);
                }
            }
        }
        self.position = applied.position;
        Ok(())
    }

    fn event(&mut self, recorded: &RecordedEvent) -> Result<(), StoreError> {
        let event = &recorded.event;
        let head = self.head(event.room)?;
        if event.seq != head.cursor.seq.next() {
            let what =
                format!("event {} of room {} is not behind {}", event.seq, event.room.0, head.cursor.seq);
            return Err(StoreError::OutOfOrder(what));
        }
        self.append(recorded, head.cursor.seq)?;
        let cursor = Cursor { epoch: event.epoch, seq: event.seq };
        self.heads.insert(event.room, Head { cursor, ordinal: event.ordinal, at: event.at });
        if let Some(id) = recorded.id() {
            self.note_id(id, recorded.by, recorded);
        }
        event.body.rewrites().try_for_each(|target| self.amend(target, recorded))
    }

    fn head(&mut self, room: RoomId) -> Result<Head, StoreError> {
        if let Some(head) = self.heads.get(&room) {
            return Ok(*head);
        }
        let head = read::head(self.database, room)?.unwrap_or_default();
        self.heads.insert(room, head);
        Ok(head)
    }

    fn note_id(&mut self, id: MessageId, account: AccountId, recorded: &RecordedEvent) {
        let event = &recorded.event;
        let receipt = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
        self.ids.entry(id).or_insert(IndexEntry { account, receipt });
    }

    fn append(&mut self, recorded: &RecordedEvent, last: Seq) -> Result<(), StoreError> {
        let room = recorded.event.room;
        if last > Seq::ZERO && self.block_with(room, last)?.append(&recorded.frame) {
            return Ok(());
        }
        let mut block = Block::new(room, last.next());
        block.append(&recorded.frame);
        self.blocks.insert((room, last.next()), block);
        Ok(())
    }

    fn amend(&mut self, target: Seq, recorded: &RecordedEvent) -> Result<(), StoreError> {
        let event = &recorded.event;
        if target == Seq::ZERO || target > event.seq {
            let what = format!("event {} of room {} rewrites {target}", event.seq, event.room.0);
            return Err(StoreError::OutOfOrder(what));
        }
        let block = self.block_with(event.room, target)?;
        block
            .amend(target, event)
            .map_err(|why| StoreError::corrupt(&keys::block(event.room, block.first()), why))
    }

    /// The block that holds an event which exists.
    fn block_with(&mut self, room: RoomId, seq: Seq) -> Result<&mut Block, StoreError> {
        let held = |blocks: &BTreeMap<(RoomId, Seq), Block>| {
            let before = blocks.range((room, Seq::ZERO)..=(room, seq)).next_back();
            before.filter(|(_, block)| block.contains(seq)).map(|(key, _)| *key)
        };
        let key = match held(&self.blocks) {
            Some(key) => key,
            None => self.load_block(room, seq)?,
        };
        self.blocks.get_mut(&key).filter(|block| block.contains(seq)).ok_or_else(|| {
            StoreError::corrupt(&keys::block(room, key.1), format!("event {seq} is not in it"))
        })
    }

    fn load_block(&mut self, room: RoomId, seq: Seq) -> Result<(RoomId, Seq), StoreError> {
        let (key, value) = read::block_at(self.database, room, seq)?
            .ok_or_else(|| StoreError::corrupt(&keys::block(room, seq), "there is no block for it"))?;
        let block = Block::load(room, &key, &value).map_err(|why| StoreError::corrupt(&key, why))?;
        let key = (room, block.first());
        self.blocks.entry(key).or_insert(block);
        Ok(key)
    }

    /// The whole as one batch, and the position it leads to.
    pub(crate) fn finish(self) -> Result<(Batch, Position), StoreError> {
        let mut batch = Batch::default();
        for (key, change) in self.records {
            match record_value(change) {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        for (room, head) in &self.heads {
            batch.insert(keys::head(*room), store::versioned(head));
        }
        for block in self.blocks.values().filter(|block| block.changed) {
            for (key, value) in block.values() {
                batch.insert(key, value);
            }
        }
        put_ids(self.database, &mut batch, self.ids.values().copied().collect())?;
        batch.insert(keys::POSITION.as_slice(), store::versioned(&self.position));
        Ok((batch, self.position))
    }
}

/// Puts ids, which are sorted, into the blocks that they belong to.
fn put_ids(database: &Database, batch: &mut Batch, ids: Vec<IndexEntry>) -> Result<(), StoreError> {
    let mut rest = ids.as_slice();
    while let Some(first) = rest.first() {
        let found = read::index_block(database, first.receipt.id)?;
        let (start, value) = match &found {
            Some((start, value)) => (*start, Some(&**value)),
            None => (LEAST, None),
        };
        let end = read::index_block_after(database, start)?;
        let mine = rest.partition_point(|entry| end.is_none_or(|end| entry.receipt.id < end));
        let (new, behind) = rest.split_at(mine);
        let blocks = message_index::merge(start, value, new)
            .map_err(|why| StoreError::corrupt(&keys::index(start), why))?;
        for (start, value) in blocks {
            batch.insert(keys::index(start), value);
        }
        rest = behind;
    }
    Ok(())
}

fn frame_bytes(change: &Change) -> usize {
    match change {
        Change::Event(recorded) => recorded.frame.len(),
        Change::Notice(recorded) => recorded.frame.len(),
        _ => 0,
    }
}

fn record_key(change: &Change) -> IVec {
    match change {
        Change::Account(account) => keys::account(account.id),
        Change::Device(device) => keys::device(&device.key),
        Change::Invite(invite) => keys::invite(&invite.hash),
        Change::Room(room) => keys::room(room.id),
        Change::Member(member) => keys::member(member.room, member.account),
        Change::MemberGone(room, account) => keys::member(*room, *account),
        Change::Event(recorded) => keys::block(recorded.event.room, recorded.event.seq),
        Change::Consumer(consumer) => keys::consumer(consumer.account, consumer.room, &consumer.name),
        Change::ConsumerGone(account, room, name) => keys::consumer(*account, *room, name),
        Change::Notice(recorded) => keys::notice(recorded.account, recorded.notice.seq),
    }
}

/// What is stored for a change; nothing if the record is to be removed. Notices are stored as their frames, events in
/// blocks.
fn record_value(change: &Change) -> Option<Vec<u8>> {
    match change {
        Change::Account(account) => Some(store::versioned(account)),
        Change::Device(device) => Some(store::versioned(device)),
        Change::Invite(invite) => Some(store::versioned(invite)),
        Change::Room(room) => Some(store::versioned(room)),
        Change::Member(member) => Some(store::versioned(member)),
        Change::Consumer(consumer) => Some(store::versioned(consumer)),
        Change::Notice(recorded) => Some(recorded.frame.to_vec()),
        Change::Event(_) | Change::MemberGone(..) | Change::ConsumerGone(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{Epoch, Timestamp};

    use super::*;
    use crate::record::{Grant, Invite};

    #[test]
    fn many_small_changes_fill_a_batch_too() {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::open(&dir.path().join("store"), 1 << 20).unwrap();
        let invite = |n: u64| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_le_bytes());
            let grant = Grant::Account { room: None, admin: false };
            Change::Invite(Invite { hash, grant, by: None, uses_left: 1, expires: Timestamp(1) })
        };
        let entry = |offset: u64, changes: u64| Applied {
            position: Position { epoch: Epoch::FIRST, offset },
            changes: (0..changes).map(invite).collect(),
        };
        let (first, second) = (entry(1, FULL_CHANGES as u64 - 1), entry(2, 1));
        let mut draft = Draft::new(&database, Position { epoch: Epoch::FIRST, offset: 0 });
        draft.add(&first).unwrap();
        assert!(!draft.is_full());
        draft.add(&second).unwrap();
        assert!(draft.is_full());
    }
}
