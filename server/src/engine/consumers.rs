//! Consumers: durable cursors of programs that read, kept for each account, by name and room.

use quip_protocol::limits::MAX_CONSUMERS;
use quip_protocol::room::ConsumerSummary;
use quip_protocol::{AccountId, ConsumerName, Cursor, ErrorCode, RoomId, Seq, Target};
use quip_storage::record::{Change, Consumer};

use super::{Applied, By, Engine, NotApplied, Outcome, Past, Step, refuse};

impl Engine {
    /// Consumers of an account, by room and name.
    pub fn consumers(&self, account: AccountId) -> Vec<ConsumerSummary> {
        let own = self.state.consumers.get(&account).into_iter().flatten();
        let summaries = own.filter_map(|((room, name), cursor)| {
            let target = self.state.target_for(account, self.state.rooms.get(room)?);
            Some(ConsumerSummary { name: name.clone(), target, cursor: *cursor })
        });
        summaries.collect()
    }
}

impl Step<'_> {
    /// Where a consumer is; a new one starts at the newest event, or behind `since`.
    pub(super) fn open_consumer(
        &mut self,
        past: &impl Past,
        by: &By,
        name: &ConsumerName,
        target: &Target,
        since: Option<Seq>,
    ) -> Applied {
        let room = self.state.resolve(by.id, target)?;
        let head = self.state.readable(by.id, room)?.cursor;
        if let Some(cursor) = self.consumer(by, name, room) {
            return Ok(Outcome::Consumer { room, cursor, new: false });
        }
        self.check_consumers(by)?;
        let cursor = match since {
            None => head,
            Some(seq) => start(past, room, target, seq, head)?,
        };
        self.put_consumer(by, name, room, cursor);
        Ok(Outcome::Consumer { room, cursor, new: true })
    }

    /// Moves a consumer forward. One that is there already stays: a repeated request does nothing.
    pub(super) fn move_consumer(
        &mut self,
        by: &By,
        name: &ConsumerName,
        room: RoomId,
        to: Cursor,
    ) -> Applied {
        let head = self.state.readable(by.id, room)?.cursor;
        let Some(cursor) = self.consumer(by, name, room) else {
            return refuse(
                ErrorCode::BadRequest,
                format!("there is no consumer {name} in that room; open it first"),
            );
        };
        if to.seq > head.seq || to.epoch > head.epoch {
            return refuse(ErrorCode::NoSuchMessage, format!("there is no event {} to be read yet", to.seq));
        }
        // A newer epoch goes first: the log was repaired, and the reader is behind what was repaired.
        if (to.epoch, to.seq) > (cursor.epoch, cursor.seq) {
            self.put_consumer(by, name, room, to);
        }
        Ok(Outcome::Done)
    }

    /// Forgets a consumer, in one room or in all; also in rooms that the account may read no more, or not even know
    /// of: its own consumers are listed with their rooms.
    pub(super) fn drop_consumer(&mut self, by: &By, name: &ConsumerName, target: Option<&Target>) -> Applied {
        let is_meant = |room: &RoomId| match (target, self.state.rooms.get(room)) {
            (Some(target), Some(room)) => self.state.target_for(by.id, room) == *target,
            (target, _) => target.is_none(),
        };
        let own = self.state.consumers.get(&by.id).into_iter().flat_map(|own| own.keys());
        let meant = own.filter(|(room, other)| other == name && is_meant(room));
        let rooms: Vec<RoomId> = meant.map(|(room, _)| *room).collect();
        if rooms.is_empty() {
            target.map(|target| self.state.resolve(by.id, target)).transpose()?;
            let text = format!("there is no consumer {name} there; `quip consumer list` shows yours");
            return refuse(ErrorCode::BadRequest, text);
        }
        for room in rooms {
            self.put(Change::ConsumerGone(by.id, room, name.clone()));
        }
        Ok(Outcome::Done)
    }

    fn consumer(&self, by: &By, name: &ConsumerName, room: RoomId) -> Option<Cursor> {
        self.state.consumers.get(&by.id)?.get(&(room, name.clone())).copied()
    }

    fn put_consumer(&mut self, by: &By, name: &ConsumerName, room: RoomId, cursor: Cursor) {
        self.put(Change::Consumer(Consumer { account: by.id, name: name.clone(), room, cursor }));
    }

    fn check_consumers(&self, by: &By) -> Result<(), NotApplied> {
        if self.state.consumers.get(&by.id).is_some_and(|own| own.len() >= MAX_CONSUMERS) {
            let text =
                format!("an account has at most {MAX_CONSUMERS} consumers; `quip consumer remove NAME`");
            return refuse(ErrorCode::TooMany, text);
        }
        Ok(())
    }
}

/// The cursor of a reader that has everything up to `seq`.
fn start(
    past: &impl Past,
    room: RoomId,
    target: &Target,
    seq: Seq,
    head: Cursor,
) -> Result<Cursor, NotApplied> {
    if seq > head.seq {
        let text = format!("{target} is at {}: a consumer cannot start behind {seq} yet", head.seq);
        return refuse(ErrorCode::NoSuchMessage, text);
    }
    let epoch = past.event(room, seq)?.map(|event| event.epoch);
    Ok(Cursor { epoch: epoch.unwrap_or_default(), seq })
}
