//! What the engine asks about the past: first what is not published yet, then the feeds, then the store.

use std::collections::HashMap;

use bytes::Bytes;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, encode_event};
use quip_protocol::safe_text::as_written;
use quip_protocol::{AccountId, Event, MessageId, Receipt, RoomId, Seq};
use quip_storage::record::Change;
use quip_storage::store::Store;

use crate::engine::{Past, Unreadable};
use crate::feed::{FeedKey, Feeds};

/// What was applied and cannot be read from feeds or store yet.
#[derive(Debug, Default)]
pub struct Unpublished {
    /// Frames of events as they are now, amended.
    frames: HashMap<(RoomId, Seq), Bytes>,
    /// Ids that the store does not have yet.
    ids: HashMap<MessageId, (AccountId, Receipt)>,
}

/// Frames of what an event rewrites, as they are now.
pub type Rewritten = Vec<(Seq, Bytes)>;

/// A view of everything applied so far.
#[derive(Debug)]
pub struct Applied<'a> {
    /// The newest.
    pub unpublished: &'a Unpublished,
    /// Behind it.
    pub feeds: &'a Feeds,
    /// Behind that.
    pub store: &'a Store,
}

impl Past for Applied<'_> {
    fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable> {
        match self.unpublished.ids.get(&id) {
            Some(found) => Ok(Some(*found)),
            None => self.store.receipt(id).map_err(|e| Unreadable(e.to_string())),
        }
    }

    fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Unreadable> {
        let held = self.unpublished.frames.get(&(room, seq)).cloned();
        let held = held.or_else(|| self.feeds.frame(FeedKey::Room(room), seq));
        let stored = match held {
            Some(frame) => Some(frame.slice(LENGTH_BYTES..)),
            None => self.store.event(room, seq).map_err(|e| Unreadable(e.to_string()))?,
        };
        let event = stored.map(|stored| as_written(|| decode_stored_event(&stored))).transpose();
        event.map_err(|e| Unreadable(e.to_string()))
    }
}

/// Receipts that were looked up before the engine was locked: what the store has of a group's ids.
pub type LookedUp = HashMap<MessageId, Option<(AccountId, Receipt)>>;

/// The same, without asking the store again for what was looked up.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Of everything.
    pub applied: Applied<'a>,
    /// What the store said. It may have more since then: that is in `unpublished` still.
    pub looked_up: &'a LookedUp,
}

impl Past for Prepared<'_> {
    fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable> {
        match (self.applied.unpublished.ids.get(&id), self.looked_up.get(&id)) {
            (Some(found), _) => Ok(Some(*found)),
            (None, Some(looked_up)) => Ok(*looked_up),
            (None, None) => self.applied.receipt(id),
        }
    }

    fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Unreadable> {
        self.applied.event(room, seq)
    }
}

impl Unpublished {
    /// Whether this id was applied and may not be in the store yet.
    pub fn has_id(&self, id: MessageId) -> bool {
        self.ids.contains_key(&id)
    }

    /// Notes the changes of one command. Returns, for each event among them that amends a message, the frames of
    /// what it rewrites as they are now.
    ///
    /// # Errors
    /// When one of those cannot be read.
    pub fn note(
        &mut self,
        feeds: &Feeds,
        store: &Store,
        changes: &[Change],
    ) -> Result<Vec<Rewritten>, Unreadable> {
        let mut amended = Vec::new();
        for change in changes {
            let Change::Event(recorded) = change else { continue };
            let event = &recorded.event;
            if let Some(id) = recorded.id() {
                let receipt = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
                self.ids.insert(id, (recorded.by, receipt));
            }
            if event.body.amends().is_some() {
                amended.push(self.rewrite(feeds, store, event)?);
            }
            self.frames.insert((event.room, event.seq), recorded.frame.clone());
        }
        Ok(amended)
    }

    fn rewrite(&mut self, feeds: &Feeds, store: &Store, by: &Event) -> Result<Rewritten, Unreadable> {
        let mut rewritten = Rewritten::new();
        for seq in by.body.rewrites() {
            let past = Applied { unpublished: self, feeds, store };
            let Some(mut target) = past.event(by.room, seq)? else { continue };
            target.amend(by);
            let frame = encode_event(&target);
            self.frames.insert((by.room, seq), frame.clone());
            rewritten.push((seq, frame));
        }
        Ok(rewritten)
    }

    /// Everything noted was published; ids stay until they are stored.
    pub fn published(&mut self) {
        self.frames.clear();
    }

    /// These ids can be read from the store now.
    pub fn stored(&mut self, ids: impl IntoIterator<Item = MessageId>) {
        for id in ids {
            self.ids.remove(&id);
        }
    }
}
