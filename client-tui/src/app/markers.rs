//! Read markers: moved by this client or another device of the account, forward, or back to a message that is unread
//! again.

use quip_protocol::frame::Request;
use quip_protocol::{RoomId, Seq};

use super::App;

impl App {
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
