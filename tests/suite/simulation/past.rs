//! What the engine asks about the past, in plain maps.

use std::collections::{BTreeMap, HashMap};

use quip_protocol::{AccountId, Cursor, Epoch, Event, MessageId, Receipt, RoomId, Seq};
use quip_server::engine::{Past, Unreadable};
use quip_storage::record::Change;

#[derive(Debug, Default)]
pub struct PlainPast {
    receipts: HashMap<MessageId, (AccountId, Receipt)>,
    pub rooms: BTreeMap<RoomId, Vec<Event>>,
}

impl Past for PlainPast {
    fn receipt(&self, id: MessageId) -> Result<Option<(AccountId, Receipt)>, Unreadable> {
        Ok(self.receipts.get(&id).copied())
    }

    fn event(&self, room: RoomId, seq: Seq) -> Result<Option<Event>, Unreadable> {
        Ok(self.at(room, seq).cloned())
    }
}

impl PlainPast {
    pub fn at(&self, room: RoomId, seq: Seq) -> Option<&Event> {
        let index = usize::try_from(seq.0).ok()?.checked_sub(1)?;
        self.rooms.get(&room)?.get(index)
    }

    /// The newest event of a room.
    pub fn head(&self, room: RoomId) -> Cursor {
        let last = self.rooms.get(&room).and_then(|events| events.last());
        last.map_or(Cursor { epoch: Epoch::FIRST, seq: Seq::ZERO }, |event| Cursor {
            epoch: event.epoch,
            seq: event.seq,
        })
    }

    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            let Change::Event(recorded) = change else { continue };
            let event = &recorded.event;
            if let Some(id) = recorded.id() {
                let receipt = Receipt { room: event.room, epoch: event.epoch, seq: event.seq, id };
                self.receipts.insert(id, (recorded.by, receipt));
            }
            self.rooms.entry(event.room).or_default().push(event.clone());
        }
    }
}
