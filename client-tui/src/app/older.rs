//! Older events that are brought into the local copy while nothing else is to be done, so that everything can be read
//! and searched without a network: the room that is seen first, each from its newest on, one piece at a time.

use quip_protocol::{Refusal, RoomId, Seq, Timestamp};

use super::room::Room;
use super::{AGAIN_MS, App, Effect, Failure};

/// How much of each room is brought into the local copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    All,
    /// So many of its newest events.
    Newest(u64),
}

impl Default for Keep {
    fn default() -> Keep {
        Keep::Newest(100_000)
    }
}

impl Keep {
    /// From where on events are kept in a room whose newest is `head`.
    fn floor(self, head: Seq) -> Seq {
        match self {
            Keep::All => Seq(1),
            Keep::Newest(count) => Seq((head.0 + 1).saturating_sub(count).max(1)),
        }
    }
}

/// What is being brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Older {
    /// The room of which a piece was asked for.
    asked: Option<RoomId>,
    /// Nothing is asked for before this: it did not work.
    not_before: Timestamp,
}

impl App {
    /// Asks for the next piece, if there is one and nobody needs the line for something else.
    pub(super) fn bring_older(&mut self) {
        let free = self.is_up() && self.local && self.listed_once && self.older.asked.is_none();
        if !free || self.now < self.older.not_before || self.is_busy() {
            return;
        }
        let Some(id) = self.next_older() else { return };
        let keep = self.preferences.keep;
        let Some(room) = self.rooms.get(id) else { return };
        let (below, floor) = newer(room).unwrap_or_else(|| missing(room, keep));
        let target = room.summary.target.clone();
        self.older.asked = Some(id);
        self.effects.push(Effect::Bring { room: id, target, below, floor });
    }

    /// Whether live events are yet to come, or the user waits for a page.
    fn is_busy(&self) -> bool {
        self.rooms.current().is_some_and(|room| room.fetching) || self.behind() > 0
    }

    /// The room that is seen, then those that need the user, then those where something happened last.
    fn next_older(&self) -> Option<RoomId> {
        let wanted = |room: &Room| {
            let some = room.digests.filling.is_some() || left(room, self.preferences.keep) > 0;
            room.watched && !room.held && some
        };
        let current = self.rooms.current_id();
        let best = self.rooms.listed().filter(|(_, room)| wanted(room)).max_by_key(|(id, room)| {
            (Some(*id) == current, room.needs_me(), room.summary.active_at, std::cmp::Reverse(*id))
        });
        best.map(|(id, _)| id)
    }

    /// A room that is gone: nothing comes of what was asked for it.
    pub(super) fn bring_no_more(&mut self, id: RoomId) {
        self.older.asked.take_if(|asked| *asked == id);
    }

    pub(super) fn brought(&mut self, id: RoomId, whole: Seq) {
        self.bring_no_more(id);
        if self.filled(id, whole) {
            return;
        }
        if let Some(room) = self.rooms.get_mut(id) {
            room.whole = Some(whole);
        }
    }

    pub(super) fn not_brought(&mut self, id: RoomId, why: &Failure) {
        self.bring_no_more(id);
        let wait = match why {
            Failure::Unanswered(_) => AGAIN_MS,
            Failure::Refused(Refusal { retry_after_ms: Some(ms), .. }) => u64::from(*ms),
            Failure::Refused(_) => {
                // Asking again would not change its mind; the next start may.
                if self.not_filled(id) {
                    return;
                }
                if let Some(room) = self.rooms.get_mut(id) {
                    room.whole = Some(Seq(1));
                }
                return;
            }
        };
        self.older.not_before = self.now.plus_ms(wait);
    }

    /// How many older events are yet to be brought.
    pub fn older_left(&self) -> u64 {
        if !self.local {
            return 0;
        }
        let watched = self.rooms.listed().filter(|(_, room)| room.watched && !room.held);
        watched.map(|(_, room)| left(room, self.preferences.keep)).sum()
    }
}

/// The same for what is missing at the newer end and being brought.
fn newer(room: &Room) -> Option<(Seq, Seq)> {
    let filling = room.digests.filling?;
    Some((filling.below, room.caught.map_or(filling.below, |caught| caught.seq.next())))
}

/// From where on everything is there, and down to where it is wanted.
fn missing(room: &Room, keep: Keep) -> (Seq, Seq) {
    let head = room.summary.head.seq;
    (room.whole.unwrap_or(head.next()), keep.floor(head))
}

fn left(room: &Room, keep: Keep) -> u64 {
    let (below, floor) = missing(room, keep);
    below.0.saturating_sub(floor.0)
}
