//! Read markers: moved by this client or another device of the account, forward, or back to a message that is unread
//! again.

use quip_protocol::frame::Request;
use quip_protocol::{RoomId, Seq};

use super::room::Room;
use super::{AGAIN_MS, App, Effect};

impl Room {
    /// How far the account has read, if the server does not know it.
    fn untold(&self) -> Option<Seq> {
        Some(self.summary.read).filter(|read| *read > self.marked && !self.held)
    }
}

impl App {
    /// How far rooms were read of which the server does not know it.
    pub fn untold(&self) -> impl Iterator<Item = (RoomId, Seq)> {
        self.rooms.listed().filter_map(|(id, room)| Some((id, room.untold()?)))
    }

    /// Tells how far the room that is seen was read: now, because the user goes on, or because it is time for it.
    pub(super) fn tell_read(&mut self) {
        let here = self.rooms.current_id();
        self.tell(here.and_then(|id| Some((id, self.rooms.get(id)?.untold()?))));
    }

    /// Tells again what could not be told, of all rooms.
    pub(super) fn tell_read_again(&mut self) {
        let due = |id: &RoomId| {
            let at = self.rooms.get(*id).map_or(self.now, |room| room.marked_at.plus_ms(AGAIN_MS));
            self.now >= at
        };
        let untold: Vec<(RoomId, Seq)> = self.untold().filter(|(id, _)| due(id)).collect();
        self.tell(untold);
    }

    fn tell(&mut self, untold: impl IntoIterator<Item = (RoomId, Seq)>) {
        if !self.is_up() && !self.local {
            // Nobody hears it, and nobody writes it down.
            return;
        }
        for (id, seq) in untold {
            if let Some(room) = self.rooms.get_mut(id) {
                (room.marked, room.marked_at) = (seq, self.now);
                self.effects.push(Effect::Mark { room: id, seq });
            }
        }
    }

    pub(super) fn read_elsewhere(&mut self, id: RoomId, seq: Seq) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.marked = room.marked.max(seq);
        let news = seq > room.summary.read;
        room.read_to(seq);
        if news && seq < room.summary.head.seq {
            // How many are left is the server's to count.
            let target = room.summary.target.clone();
            self.ask(Request::Open { target });
        }
    }

    /// A device of the account, this one or another, marked a message as unread.
    pub(super) fn unread_again(&mut self, id: RoomId, seq: Seq) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        room.unread_from(seq);
        room.selected = None;
        let target = room.summary.target.clone();
        // Else what is seen would be marked at once.
        self.peeking |= self.rooms.current_id() == Some(id);
        // How many there are is the server's to count.
        self.ask(Request::Open { target });
    }

    pub(super) fn mark_failed(&mut self, id: RoomId, seq: Seq) {
        if let Some(room) = self.rooms.get_mut(id)
            && room.marked == seq
        {
            room.marked = Seq(seq.0.saturating_sub(1));
        }
    }
}
