//! What follows from how things are, after every input: pages to fetch, markers to move, members to ask for. Imports the
//! app.

use quip_protocol::Timestamp;
use quip_protocol::frame::{PageFrom, Request};

use super::scroll::Scroll;
use super::{App, Effect, LARGE_PAGE, PAGE, panes};

/// The read marker of the room that is seen moves at most this often, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

impl App {
    /// What follows from how things are: pages to fetch, markers to move, members to ask for.
    pub(super) fn keep_up(&mut self, looks: bool) {
        if !self.is_up() && !self.local {
            return;
        }
        self.watch_again();
        self.fetch(looks);
        self.mark_read();
        if self.is_up() {
            self.attend(looks);
        }
        // Those of another server than the one in sight nobody sees.
        if self.is_up() && (self.focused || !self.beside) {
            self.ask_members();
        }
    }

    /// Asks for the page that is missing most: the newest, of a hole that the user wants filled, or of one that is near.
    fn fetch(&mut self, looks: bool) {
        let now = self.now;
        let Some(room) = self.rooms.current() else { return };
        if room.fetching || now < room.retry_at || room.held {
            return;
        }
        let newest =
            room.missing().map(|from| (from, if from == PageFrom::Latest { PAGE } else { LARGE_PAGE }));
        if let Some((from, limit)) = newest.or_else(|| self.hole_page(looks)) {
            self.fetch_page(from, limit);
        }
    }

    /// Asks for a page of the current room.
    pub(super) fn fetch_page(&mut self, from: PageFrom, limit: u32) {
        let Some(room) = self.rooms.current_mut() else { return };
        room.fetching = true;
        let (room, target) = (room.summary.id, room.summary.target.clone());
        self.effects.push(Effect::FetchPage { room, target, from, limit });
    }

    fn mark_read(&mut self) {
        let now = self.now;
        let Some(room) = self.rooms.current_mut() else { return };
        let seen = room.timeline.last();
        let at_bottom = room.scroll == Scroll::Bottom && room.timeline.is_loaded();
        if !at_bottom || !self.focused || self.peeking || seen < room.summary.head.seq {
            return;
        }
        room.read_to(seen);
        if now >= room.marked_at.plus_ms(MARK_EVERY_MS) {
            self.tell_read();
        }
    }

    fn ask_members(&mut self) {
        // Not by the whole division of the screen: that follows from all that is written, and this is asked with every
        // event.
        let (now, seen) = (self.now, panes::shows_members(self.size.0));
        let Some(room) = self.rooms.current_mut().filter(|room| !room.held && (seen || room.is_direct()))
        else {
            return;
        };
        let due = room.members.asked_at == Timestamp::default()
            || now >= room.members.asked_at.plus_ms(room.members_every_ms());
        if due {
            room.members.asked_at = now;
            let target = room.summary.target.clone();
            self.ask(Request::WhoIsAway { target, after: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::Event;

    use super::super::{Connection, Input, text};
    use crate::cli::pages::tests::message;
    use crate::shell::local::tests::{ROOM, reader};

    /// What is written may be 256 KiB, and events come ten in a millisecond.
    #[test]
    fn an_event_costs_the_same_whatever_is_being_written() {
        for columns in [80, 120] {
            let mut app = reader();
            let now = app.now;
            app.handle(Input::Resize { columns, rows: 24 }, now);
            app.connection = Connection::Up;
            app.handle(Input::Paste("some words ".repeat(10_000)), now);
            let before = text::wrapped();
            for seq in 4..104 {
                app.handle(Input::Event(Event { room: ROOM, ..message(seq, "words") }), now);
            }
            assert_eq!(app.rooms.current().map(|room| room.timeline.last().0), Some(103));
            assert_eq!(text::wrapped() - before, 0, "{columns}");
        }
    }
}
