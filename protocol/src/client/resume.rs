//! Where a client is in each room, and what a connection that broke has to fetch again. PURE: no socket, no clock.
//!
//! What must hold: the events delivered of a room have dense seqs, each once, from the cursor it was watched from;
//! only a reset or a digest, which are reported, moves a cursor back or over something.

use std::collections::BTreeMap;

use crate::cursor::{Cursor, Epoch};
use crate::error::Refusal;
use crate::event::{Event, Notice};
use crate::frame::{Watch, WatchState};
use crate::limits::MAX_WATCHES;
use crate::room::{Digest, RoomId};

/// Events ahead of the cursor that are taken for leftovers of a watch that was replaced. A server that still sends
/// none in order after as many is not going to; a new connection has no leftovers.
const MAX_LEFTOVERS: u32 = 10_000;

/// The watched rooms and the inbox.
#[derive(Debug, Default)]
pub(super) struct Resume {
    rooms: BTreeMap<RoomId, Watched>,
    inbox: Option<Place>,
}

/// A room that is watched.
#[derive(Debug)]
struct Watched {
    /// The label of the request that began it, on the connection of now.
    label: u32,
    watch: Watch,
    place: Place,
}

/// A request of a new connection: rooms to watch, and how.
pub(super) type ToWatch = (Watch, Vec<(RoomId, Option<Cursor>)>);

/// Where the reader is in one log.
#[derive(Debug)]
struct Place {
    cursor: Cursor,
    /// The newest epoch in which the log has the cursor: that of the newest event when the server said so, or of
    /// the newest event delivered.
    agreed: Epoch,
    /// The log was asked for again from the cursor: events ahead are leftovers, so many were seen.
    leftovers: Option<u32>,
}

/// What to do with an event or notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one: the user gets it.
    Deliver,
    /// It was delivered before (then its epoch is not newer), or its log is not watched, or it comes again in order.
    Drop,
    /// There is a hole before it: drop it and ask again from this cursor.
    Ask(Cursor),
    /// Asked again, the server still leaves a hole.
    Broken,
}

/// What the user has to know after a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// What is behind `keep` is not as the server has it, up to `head`.
    Reset { room: RoomId, keep: Cursor, head: Cursor },
    /// Events up to there do not come.
    Digest(Digest),
    /// The room is no longer watched.
    Unwatched { room: RoomId, refusal: Refusal },
}

/// The answer to a watch does not fit what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

impl Place {
    fn new(cursor: Cursor, head: Cursor, asked_again: bool) -> Place {
        let agreed = head.epoch.max(cursor.epoch);
        Place { cursor, agreed, leftovers: asked_again.then_some(0) }
    }

    fn check(&mut self, at: Cursor) -> Verdict {
        let newer = at.epoch > self.agreed;
        if at.seq <= self.cursor.seq {
            // Not seen before: the log was repaired behind the reader. The answer will be a reset.
            if newer { Verdict::Ask(self.cursor) } else { Verdict::Drop }
        } else if at.seq != self.cursor.seq.next() || at.epoch < self.cursor.epoch {
            self.ahead()
        } else if newer {
            // The log was repaired: maybe behind the cursor too, which the server knows.
            Verdict::Ask(self.cursor)
        } else {
            (self.cursor, self.leftovers) = (at, None);
            Verdict::Deliver
        }
    }

    /// The log stands at `head`, and what is before it does not come.
    fn skip(&mut self, head: Cursor) -> Verdict {
        if head.epoch > self.agreed {
            return Verdict::Ask(self.cursor);
        }
        if head.seq <= self.cursor.seq {
            return Verdict::Drop;
        }
        (self.cursor, self.leftovers) = (head, None);
        Verdict::Deliver
    }

    fn ahead(&mut self) -> Verdict {
        match &mut self.leftovers {
            Some(MAX_LEFTOVERS) => Verdict::Broken,
            Some(count) => {
                *count += 1;
                Verdict::Drop
            }
            None => Verdict::Ask(self.cursor),
        }
    }
}

impl Resume {
    /// What to do with an event from the live stream.
    pub(super) fn check(&mut self, event: &Event) -> Verdict {
        let at = Cursor { epoch: event.epoch, seq: event.seq };
        self.rooms.get_mut(&event.room).map_or(Verdict::Drop, |watched| watched.place.check(at))
    }

    /// What to do with a digest from the live stream.
    pub(super) fn check_digest(&mut self, digest: &Digest) -> Verdict {
        match self.rooms.get_mut(&digest.room) {
            Some(Watched { watch: Watch::Digest, place, .. }) => place.skip(digest.head),
            // A leftover, and so may be what follows it.
            Some(Watched { place, .. }) => {
                place.leftovers.get_or_insert(0);
                Verdict::Drop
            }
            None => Verdict::Drop,
        }
    }

    /// How a room is watched.
    pub(super) fn watch(&self, room: RoomId) -> Watch {
        self.rooms.get(&room).map_or(Watch::Live, |watched| watched.watch)
    }

    /// Whether events of this room are wanted.
    pub(super) fn is_watched(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    /// What to do with a notice from the live stream.
    pub(super) fn check_notice(&mut self, notice: &Notice) -> Verdict {
        let at = Cursor { epoch: notice.epoch, seq: notice.seq };
        self.inbox.as_mut().map_or(Verdict::Drop, |place| place.check(at))
    }

    /// Takes the server's answer to a watch of `asked`, which was asked under this label.
    pub(super) fn watching(
        &mut self,
        how: (u32, Watch),
        asked: &[(RoomId, Option<Cursor>)],
        states: &[WatchState],
    ) -> Result<Vec<Change>, Mismatch> {
        if asked.len() != states.len() {
            return Err(Mismatch);
        }
        let mut changes = Vec::new();
        for ((room, from), state) in asked.iter().zip(states) {
            changes.extend(self.watched(how, *room, *from, state)?);
        }
        Ok(changes)
    }

    fn watched(
        &mut self,
        (label, watch): (u32, Watch),
        asked: RoomId,
        cursor: Option<Cursor>,
        state: &WatchState,
    ) -> Result<Option<Change>, Mismatch> {
        let again = self.rooms.contains_key(&asked);
        match state {
            WatchState::Live { room, from, head } => {
                if *room != asked || cursor.is_some_and(|cursor| cursor.seq != from.seq) {
                    return Err(Mismatch);
                }
                let place = Place::new(*from, *head, again);
                self.rooms.insert(asked, Watched { label, watch, place });
                Ok(None)
            }
            WatchState::Reset { room, keep, head } => {
                if *room != asked {
                    return Err(Mismatch);
                }
                let place = Place::new(*keep, *head, again);
                self.rooms.insert(asked, Watched { label, watch, place });
                Ok(Some(Change::Reset { room: *room, keep: *keep, head: *head }))
            }
            WatchState::Digest(digest) => {
                if digest.room != asked || watch != Watch::Digest {
                    return Err(Mismatch);
                }
                let place = Place::new(digest.head, digest.head, again);
                self.rooms.insert(asked, Watched { label, watch, place });
                let behind = cursor.is_some_and(|cursor| cursor.seq < digest.head.seq);
                Ok(behind.then_some(Change::Digest(*digest)))
            }
            WatchState::Refused { room, refusal } => {
                if *room != asked {
                    return Err(Mismatch);
                }
                self.rooms.remove(room);
                Ok(Some(Change::Unwatched { room: *room, refusal: refusal.clone() }))
            }
        }
    }

    /// The inbox is watched from `from`, or from `head`, its newest notice.
    pub(super) fn watching_inbox(&mut self, from: Option<Cursor>, head: Cursor) {
        let again = self.inbox.is_some();
        self.inbox = Some(Place::new(from.unwrap_or(head), head, again));
    }

    /// The inbox is not what the cursor was of: all of it comes again, which is better than a hole.
    pub(super) fn restart_inbox(&mut self) {
        if let Some(place) = &mut self.inbox {
            *place = Place::new(Cursor::default(), Cursor::default(), false);
        }
    }

    /// The room is no longer watched.
    pub(super) fn forget(&mut self, room: RoomId) {
        self.rooms.remove(&room);
    }

    /// The server ended the watch that was asked under `label`; whether it is the one of now. An older one has a
    /// successor, which goes on.
    pub(super) fn unwatched(&mut self, room: RoomId, label: u32) -> bool {
        let is_current = self.rooms.get(&room).is_some_and(|watched| watched.label == label);
        if is_current {
            self.rooms.remove(&room);
        }
        is_current
    }

    /// What a new connection has to watch, in requests of as many rooms as one takes.
    pub(super) fn to_watch(&self) -> Vec<ToWatch> {
        let mut requests = Vec::new();
        for watch in [Watch::Live, Watch::Digest] {
            let rooms = self.rooms.iter().filter(|(_, watched)| watched.watch == watch);
            let rooms: Vec<_> = rooms.map(|(room, watched)| (*room, Some(watched.place.cursor))).collect();
            requests.extend(rooms.chunks(MAX_WATCHES).map(|rooms| (watch, rooms.to_vec())));
        }
        requests
    }

    /// From where a new connection has to watch the inbox, if it was watched.
    pub(super) fn inbox(&self) -> Option<Cursor> {
        self.inbox.as_ref().map(|place| place.cursor)
    }

    /// What was watched is watched again on a new connection, which has no leftovers of the one before.
    pub(super) fn connected(&mut self) {
        for place in self.rooms.values_mut().map(|watched| &mut watched.place).chain(&mut self.inbox) {
            place.leftovers = None;
        }
    }
}

#[cfg(test)]
mod switching;

#[cfg(test)]
mod tests;
