//! Verifying a store: that every record can be read and that they fit together. Reads as the store itself does.

use std::collections::{BTreeMap, BTreeSet};

use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, decode_stored_notice};
use quip_protocol::{AccountId, Cursor, Event, MessageId, Receipt, RoomId, Seq};
use serde::de::DeserializeOwned;

use crate::database::{Database, Pair};
use crate::problem::Problem;
use crate::read::index_start;
use crate::record::{Account, Consumer, Device, Head, Invite, Member, Room};
use crate::store::{StoreError, parse};
use crate::timeline::BlockBytes;
use crate::{keys, message_index, read};

/// Everything that is wrong. A record that can't be read is a problem; only sled's own failures are errors.
pub(crate) fn check(database: &Database) -> Result<Vec<Problem>, StoreError> {
    let mut check = Check { database, problems: Vec::new() };
    let accounts: Vec<Account> = check.records(keys::ACCOUNT)?;
    let rooms: Vec<Room> = check.records(keys::ROOM)?;
    check.records::<Device>(keys::DEVICE)?;
    check.records::<Invite>(keys::INVITE)?;
    check.members(&accounts, &rooms)?;
    check.consumers(&accounts, &rooms)?;
    check.timelines()?;
    check.index()?;
    check.notices(&accounts)?;
    Ok(check.problems)
}

struct Check<'a> {
    database: &'a Database,
    problems: Vec<Problem>,
}

/// Where the walk through a room's blocks stands.
#[derive(Default)]
struct Walk {
    room: Option<RoomId>,
    head: Head,
    /// Whether a block could not be read, so that what comes behind it can't be expected.
    lost: bool,
}

impl Check<'_> {
    fn report(&mut self, key: &[u8], what: impl Into<String>) {
        self.problems.push(Problem::new(keys::describe(key), what));
    }

    /// The value, or a problem in its place.
    fn take<T>(&mut self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Corrupt { key, why }) => {
                self.problems.push(Problem::new(key, why));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn pairs(&self, prefix: u8) -> impl Iterator<Item = Result<Pair, StoreError>> + use<'_> {
        self.database.scan_prefix(prefix)
    }

    fn records<T: DeserializeOwned>(&mut self, prefix: u8) -> Result<Vec<T>, StoreError> {
        let database = self.database;
        let mut records = Vec::new();
        for pair in database.scan_prefix(prefix) {
            let (key, value) = pair?;
            records.extend(self.take(parse::<T>(&key, &value))?);
        }
        Ok(records)
    }

    fn members(&mut self, accounts: &[Account], rooms: &[Room]) -> Result<(), StoreError> {
        let accounts: BTreeSet<AccountId> = accounts.iter().map(|account| account.id).collect();
        let rooms: BTreeSet<RoomId> = rooms.iter().map(|room| room.id).collect();
        for member in self.records::<Member>(keys::MEMBER)? {
            let key = keys::member(member.room, member.account);
            if !rooms.contains(&member.room) {
                self.report(&key, "there is no such room");
            }
            if !accounts.contains(&member.account) {
                self.report(&key, "there is no such account");
            }
        }
        Ok(())
    }

    fn consumers(&mut self, accounts: &[Account], rooms: &[Room]) -> Result<(), StoreError> {
        let accounts: BTreeSet<AccountId> = accounts.iter().map(|account| account.id).collect();
        let rooms: BTreeSet<RoomId> = rooms.iter().map(|room| room.id).collect();
        for Consumer { account, name, room, cursor } in self.records(keys::CONSUMER)? {
            let key = keys::consumer(account, room, &name);
            if !rooms.contains(&room) {
                self.report(&key, "there is no such room");
            }
            if !accounts.contains(&account) {
                self.report(&key, "there is no such account");
            }
            let head = read::head(self.database, room);
            let head = self.take(head)?.flatten().unwrap_or_default().cursor;
            if cursor.seq > head.seq {
                self.report(&key, format!("it is at {}, but the last event is {}", cursor.seq, head.seq));
            }
        }
        Ok(())
    }

    fn timelines(&mut self) -> Result<(), StoreError> {
        let database = self.database;
        let mut with_events = BTreeSet::new();
        let mut walk = Walk::default();
        for pair in database.scan_prefix(keys::BLOCK) {
            let (key, value) = pair?;
            let room = keys::numbers(&key).map(|(room, _)| RoomId(room));
            if room != walk.room {
                self.end_of_room(&walk)?;
                walk = Walk { room, ..Walk::default() };
                with_events.extend(room);
            }
            self.block(&mut walk, &key, &value)?;
        }
        self.end_of_room(&walk)?;
        self.heads_without_events(&with_events)
    }

    fn end_of_room(&mut self, walk: &Walk) -> Result<(), StoreError> {
        let Some(room) = walk.room else { return Ok(()) };
        let head = read::head(self.database, room);
        let head = self.take(head)?;
        if !walk.lost
            && let Some(head) = head
            && head != Some(walk.head)
        {
            self.report(
                &keys::head(room),
                format!("it is {head:?}, but the last event says {:?}", walk.head),
            );
        }
        Ok(())
    }

    fn heads_without_events(&mut self, with_events: &BTreeSet<RoomId>) -> Result<(), StoreError> {
        let heads: Vec<_> = self.pairs(keys::HEAD).collect::<Result<_, _>>()?;
        for (key, _) in heads {
            if keys::only_number(&key).is_none_or(|room| !with_events.contains(&RoomId(room))) {
                self.report(&key, "there is no event of the room");
            }
        }
        Ok(())
    }

    fn block(&mut self, walk: &mut Walk, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let block = match BlockBytes::parse(key, value) {
            Ok(block) => block,
            Err(why) => {
                walk.lost = true;
                self.report(key, why);
                return Ok(());
            }
        };
        let expected = walk.head.cursor.seq.next();
        if block.first != expected && !walk.lost {
            self.report(key, format!("event {expected} should come here"));
        }
        walk.lost = false;
        for frame in block.frames() {
            match frame {
                Ok((seq, frame)) => self.event(walk, seq, key, frame)?,
                Err(why) => {
                    walk.lost = true;
                    self.report(key, why);
                    break;
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, walk: &mut Walk, seq: Seq, key: &[u8], frame: &[u8]) -> Result<(), StoreError> {
        let Ok(event) = decode_stored_event(&frame[LENGTH_BYTES..]) else {
            walk.lost = true;
            self.report(key, format!("event {seq} is malformed"));
            return Ok(());
        };
        if Some(event.room) != walk.room || event.seq != seq {
            self.report(key, format!("event {} of room {} lies at {seq}", event.seq, event.room.0));
        }
        let ordinal = walk.head.ordinal + u64::from(event.message().is_some());
        if event.ordinal != ordinal && !walk.lost {
            self.report(key, format!("event {seq} has ordinal {}, not {ordinal}", event.ordinal));
        }
        let cursor = Cursor { epoch: event.epoch, seq };
        walk.head = Head { cursor, ordinal: event.ordinal, at: event.at };
        walk.lost = false;
        self.indexed(key, &event)
    }

    /// Whether the index knows the event's id.
    fn indexed(&mut self, key: &[u8], event: &Event) -> Result<(), StoreError> {
        let Some(id) = event.body.id() else { return Ok(()) };
        let expected = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
        let found = read::receipt(self.database, id);
        if let Some(found) = self.take(found)?
            && found.map(|(_, receipt)| receipt) != Some(expected)
        {
            self.report(key, format!("the index does not lead to event {} by its id {id}", event.seq));
        }
        Ok(())
    }

    fn index(&mut self) -> Result<(), StoreError> {
        let mut blocks = Vec::new();
        for pair in self.pairs(keys::INDEX) {
            let (key, _) = pair?;
            blocks.push(index_start(&key)?);
        }
        for (at, start) in blocks.iter().enumerate() {
            self.index_block(*start, blocks.get(at + 1).copied())?;
        }
        Ok(())
    }

    fn index_block(&mut self, start: MessageId, end: Option<MessageId>) -> Result<(), StoreError> {
        let key = keys::index(start);
        let Some(value) = self.database.get(&key)? else { return Ok(()) };
        let receipts: Vec<Receipt> = match message_index::all(&value) {
            Ok(entries) => entries.map(|entry| entry.receipt).collect(),
            Err(why) => {
                self.report(&key, why);
                return Ok(());
            }
        };
        if !receipts.is_sorted_by_key(|receipt| receipt.id) {
            self.report(&key, "its ids are not in order");
        }
        for receipt in receipts {
            if receipt.id < start || end.is_some_and(|end| receipt.id >= end) {
                self.report(&key, format!("id {} does not belong here", receipt.id));
            }
            self.points_at_event(&key, &receipt)?;
        }
        Ok(())
    }

    fn points_at_event(&mut self, key: &[u8], receipt: &Receipt) -> Result<(), StoreError> {
        let stored = read::event(self.database, receipt.room, receipt.seq);
        let Some(stored) = self.take(stored)? else { return Ok(()) };
        let id =
            stored.and_then(|stored| decode_stored_event(&stored).ok()).and_then(|event| event.body.id());
        if id != Some(receipt.id) {
            let place = format!("event {} of room {}", receipt.seq, receipt.room.0);
            self.report(key, format!("id {} leads to {place}, which does not have it", receipt.id));
        }
        Ok(())
    }

    fn notices(&mut self, accounts: &[Account]) -> Result<(), StoreError> {
        let mut newest: BTreeMap<AccountId, Seq> = BTreeMap::new();
        let database = self.database;
        for pair in database.scan_prefix(keys::NOTICE) {
            let (key, frame) = pair?;
            let (account, seq) = keys::numbers(&key).unwrap_or_default();
            let last = newest.entry(AccountId(account)).or_default();
            if last.next() != Seq(seq) {
                let expected = last.next();
                self.report(&key, format!("notice {expected} should come here"));
            }
            newest.insert(AccountId(account), Seq(seq));
            match decode_stored_notice(frame.get(LENGTH_BYTES..).unwrap_or_default()) {
                Ok(notice) if notice.seq == Seq(seq) => {}
                Ok(notice) => self.report(&key, format!("notice {} lies here", notice.seq)),
                Err(error) => self.report(&key, error.to_string()),
            }
        }
        for account in accounts {
            let last = newest.get(&account.id).copied().unwrap_or_default();
            if account.inbox.seq != last {
                let what =
                    format!("its inbox ends with {}, but the last notice is {last}", account.inbox.seq);
                self.report(&keys::account(account.id), what);
            }
        }
        Ok(())
    }
}
