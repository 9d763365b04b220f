//! A change of one room of a replica: the blocks that it touches are read, changed and written as a whole. Imports
//! blocks and the database.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, encode_event};
use quip_protocol::{Cursor, Event, RoomId, Seq};
use sled::{Batch, IVec};

use crate::database::Database;
use crate::keys;
use crate::read::block_at;
use crate::store::{StoreError, parse, versioned};
use crate::timeline::{Block, BlockBytes};

/// A change that is being made.
pub(crate) struct Patch<'a> {
    database: &'a Database,
    room: RoomId,
    /// The frames of all blocks that were read, and the new ones, by seq.
    frames: BTreeMap<u64, Bytes>,
    /// The keys of the blocks that were read.
    read: BTreeSet<IVec>,
    /// What is not of blocks.
    batch: Batch,
}

impl<'a> Patch<'a> {
    pub(crate) fn new(database: &'a Database, room: RoomId) -> Patch<'a> {
        Patch { database, room, frames: BTreeMap::new(), read: BTreeSet::new(), batch: Batch::default() }
    }

    /// Takes a dense run of events, see [`crate::replica::Replica::insert`].
    pub(crate) fn take(&mut self, run: &[Event], head: Seq) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let (first, last) = (first.seq, last.seq);
        self.load(Seq(first.0.saturating_sub(1)))?;
        self.load_range(first, last)?;
        // By event: those that rewrite it and are not in it yet.
        let mut amended: BTreeMap<Seq, BTreeSet<Seq>> = BTreeMap::new();
        for (target, by) in self.amendments((first, Seq::ZERO), last)? {
            if by > head {
                amended.entry(target).or_default().insert(by);
            }
        }
        for event in run {
            self.frames.insert(event.seq.0, encode_event(event));
        }
        for event in run {
            for target in event.body.rewrites() {
                self.batch.insert(keys::amendment(self.room, target, event.seq), &[]);
                let in_run = (first..=last).contains(&target);
                // Once a run, from its first event on: a message may have thousands of edits, each in a run of its own.
                if !in_run && !amended.contains_key(&target) {
                    amended.insert(target, self.amended_behind(target, event.seq)?);
                }
                if !in_run || event.seq > head {
                    amended.entry(target).or_default().insert(event.seq);
                }
            }
        }
        for (target, by) in amended {
            self.amend(target, by)?;
        }
        self.find_again(run)?;
        self.advance(first, last)
    }

    /// Messages that were put aside are there again, wherever they are now.
    fn find_again(&mut self, run: &[Event]) -> Result<(), StoreError> {
        if self.database.get(&keys::merge(self.room))?.is_some() {
            for message in run.iter().filter_map(Event::message) {
                self.batch.remove(keys::lost(self.room, message.id));
            }
        }
        Ok(())
    }

    /// Puts the messages behind `keep` aside and forgets all else there, and what that rewrote.
    pub(crate) fn cut(&mut self, keep: Cursor, head: Seq) -> Result<(), StoreError> {
        self.load(keep.seq)?;
        self.load_range(keep.seq.next(), Seq(u64::MAX))?;
        for (target, by) in self.amendments((Seq::ZERO, Seq::ZERO), Seq(u64::MAX))? {
            if by > keep.seq {
                self.batch.remove(keys::amendment(self.room, target, by));
                self.load(target)?;
                self.frames.remove(&target.0);
            }
        }
        // What was rewritten by what goes is forgotten too: there may be holes anywhere now.
        self.batch.remove(keys::whole(self.room));
        self.put_aside(keep.seq)?;
        self.batch.insert(keys::merge(self.room), versioned(&head));
        let key = keys::cursor(self.room);
        let cursor: Option<Cursor> = self.database.get(&key)?.map(|value| parse(&key, &value)).transpose()?;
        if cursor.is_some_and(|cursor| cursor.seq > keep.seq) {
            self.batch.insert(key, versioned(&keep));
        }
        Ok(())
    }

    fn put_aside(&mut self, keep: Seq) -> Result<(), StoreError> {
        for seq in self.frames.range(keep.next().0..).map(|(seq, _)| Seq(*seq)) {
            let Some(event) = self.event(seq)? else { continue };
            if let Some(message) = event.message().filter(|message| !message.deleted) {
                self.batch.insert(keys::lost(self.room, message.id), encode_event(&event).to_vec());
            }
        }
        self.frames.split_off(&keep.next().0);
        Ok(())
    }

    /// All of it as one batch.
    pub(crate) fn finish(mut self) -> Result<Batch, StoreError> {
        for key in std::mem::take(&mut self.read) {
            self.batch.remove(key);
        }
        let mut block: Option<Block> = None;
        for (seq, frame) in &self.frames {
            let follows = block.as_ref().is_some_and(|block| block.next() == Seq(*seq));
            if !follows || !block.as_mut().is_some_and(|block| block.append(frame)) {
                put(&mut self.batch, block.take());
                let mut new = Block::new(self.room, Seq(*seq));
                new.append(frame);
                block = Some(new);
            }
        }
        put(&mut self.batch, block);
        Ok(self.batch)
    }

    /// Reads the block that holds `seq`; whether there is one.
    fn load(&mut self, seq: Seq) -> Result<bool, StoreError> {
        if self.frames.contains_key(&seq.0) {
            return Ok(true);
        }
        let Some((key, value)) = block_at(self.database, self.room, seq)? else { return Ok(false) };
        // A block that was read has lost what is not in it any more.
        if self.read.contains(&key) {
            return Ok(false);
        }
        let block = BlockBytes::parse(&key, &value).map_err(|why| StoreError::corrupt(&key, why))?;
        if block.frame(seq).map_err(|why| StoreError::corrupt(&key, why))?.is_none() {
            return Ok(false);
        }
        self.keep(key, &value)?;
        Ok(true)
    }

    fn load_range(&mut self, first: Seq, last: Seq) -> Result<(), StoreError> {
        self.load(first)?;
        for pair in self.database.scan(&keys::block(self.room, first), &keys::block(self.room, last)) {
            let (key, value) = pair?;
            if !self.read.contains(&key) {
                self.keep(key, &value)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, key: IVec, value: &[u8]) -> Result<(), StoreError> {
        let block = BlockBytes::parse(&key, value).map_err(|why| StoreError::corrupt(&key, why))?;
        for frame in block.frames() {
            let (seq, frame) = frame.map_err(|why| StoreError::corrupt(&key, why))?;
            self.frames.entry(seq.0).or_insert_with(|| Bytes::copy_from_slice(frame));
        }
        self.read.insert(key);
        Ok(())
    }

    /// The stored amendments of events up to `last`: which event, and by which other. They begin with those of `first`
    /// by events from a seq on.
    fn amendments(&self, (first, by): (Seq, Seq), last: Seq) -> Result<Vec<(Seq, Seq)>, StoreError> {
        let (from, upto) =
            (keys::amendment(self.room, first, by), keys::amendment(self.room, last, Seq(u64::MAX)));
        let found = self.database.scan(&from, &upto).map(|pair| {
            let (key, _) = pair?;
            keys::amendment_of(&key).ok_or_else(|| StoreError::corrupt(&key, "its key has the wrong length"))
        });
        found.collect()
    }

    /// What rewrites `target`, if that is here, behind `seq`.
    fn amended_behind(&mut self, target: Seq, seq: Seq) -> Result<BTreeSet<Seq>, StoreError> {
        if !self.load(target)? {
            return Ok(BTreeSet::new());
        }
        Ok(self.amendments((target, seq.next()), target)?.into_iter().map(|(_, by)| by).collect())
    }

    fn amend(&mut self, target: Seq, by: BTreeSet<Seq>) -> Result<(), StoreError> {
        if !self.load(target)? {
            return Ok(());
        }
        let Some(mut amended) = self.event(target)? else { return Ok(()) };
        for by in by {
            self.load(by)?;
            if let Some(amendment) = self.event(by)? {
                amended.amend(&amendment);
            }
        }
        self.frames.insert(target.0, encode_event(&amended));
        Ok(())
    }

    fn event(&self, seq: Seq) -> Result<Option<Event>, StoreError> {
        let decode = |frame: &Bytes| {
            let malformed = |_| StoreError::corrupt(&keys::block(self.room, seq), "an event is malformed");
            decode_stored_event(&frame[LENGTH_BYTES..]).map_err(malformed)
        };
        self.frames.get(&seq.0).map(decode).transpose()
    }

    /// Moves the cursor on if the run joins what lies before it, and over what lies behind the run.
    fn advance(&mut self, first: Seq, last: Seq) -> Result<(), StoreError> {
        let key = keys::cursor(self.room);
        let cursor: Option<Cursor> = self.database.get(&key)?.map(|value| parse(&key, &value)).transpose()?;
        if cursor.is_some_and(|cursor| first > cursor.seq.next() || last <= cursor.seq) {
            return Ok(());
        }
        let mut end = last;
        while self.load(end.next())? {
            while self.frames.contains_key(&end.next().0) {
                end = end.next();
            }
        }
        if let Some(event) = self.event(end)? {
            self.batch.insert(key, versioned(&Cursor { epoch: event.epoch, seq: end }));
        }
        Ok(())
    }
}

fn put(batch: &mut Batch, block: Option<Block>) {
    for (key, value) in block.iter().flat_map(Block::values) {
        batch.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{EventBody, Message, MessageId, MessageKind, SafeText, Timestamp};

    use crate::database::reads;
    use crate::replica::Replica;

    use super::*;

    const ROOM: RoomId = RoomId(1);

    fn event(seq: u64, body: EventBody) -> Event {
        let author = "ann".parse().unwrap();
        let at = Timestamp(seq);
        Event { room: ROOM, seq: Seq(seq), epoch: quip_protocol::Epoch::FIRST, at, ordinal: 1, author, body }
    }

    fn id(seq: u64) -> MessageId {
        MessageId::from_bytes(u128::from(seq).to_be_bytes())
    }

    fn message() -> Event {
        let text = SafeText::new("first");
        event(1, EventBody::Message(Message::new(id(1), MessageKind::Plain, text, None)))
    }

    fn edits(first: u64, last: u64) -> Vec<Event> {
        let edit = |seq| {
            let text = SafeText::new(&format!("edit {seq}"));
            event(seq, EventBody::Edited { id: id(seq), target: Seq(1), text, drops: None })
        };
        (first..=last).map(edit).collect()
    }

    fn reads_of(act: impl FnOnce()) -> usize {
        let before = reads();
        act();
        reads() - before
    }

    /// A message that grows for an hour has thousands of edits: each costs what the first did, alone and in pages.
    #[test]
    fn an_edit_costs_the_same_however_many_there_are() {
        for page in [1, 100] {
            let dir = tempfile::tempdir().unwrap();
            let (replica, _) = Replica::open(dir.path()).unwrap();
            replica.insert(ROOM, &[message()], Seq(1)).unwrap();
            let mut costs = Vec::new();
            for first in (2..1202).step_by(page as usize) {
                let run = edits(first, first + page - 1);
                costs.push(reads_of(|| replica.insert(ROOM, &run, Seq(first - 1)).unwrap()));
            }
            let (early, late) = (costs[1], *costs.last().unwrap());
            assert!(late <= early + 8, "pages of {page}: {early} reads at first, {late} at last");
            let newest = replica.event(ROOM, Seq(1)).unwrap().unwrap();
            assert_eq!(newest.message().unwrap().text(), "edit 1201");
        }
    }

    /// What came in between is not read once for each event of a page.
    #[test]
    fn a_page_of_edits_before_those_that_are_there_reads_them_once() {
        let dir = tempfile::tempdir().unwrap();
        let (replica, _) = Replica::open(dir.path()).unwrap();
        replica.insert(ROOM, &[message()], Seq(1)).unwrap();
        replica.insert(ROOM, &edits(402, 801), Seq(401)).unwrap();
        let read = reads_of(|| replica.insert(ROOM, &edits(2, 401), Seq(1)).unwrap());
        assert!(read < 4 * 800, "{read} reads for 400 edits before 400");
        let newest = replica.event(ROOM, Seq(1)).unwrap().unwrap();
        assert_eq!(newest.message().unwrap().text(), "edit 801");
    }
}
