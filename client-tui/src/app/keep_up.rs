//! What follows from how things are, after every input: pages to fetch, markers to move, members to ask for. Imports the
//! app.

use quip_protocol::Timestamp;
use quip_protocol::frame::{PageFrom, Request};

use super::scroll::Scroll;
use super::{App, Effect, LARGE_PAGE, MEMBERS_EVERY_MS, PAGE, panes, scroll};

/// The read marker of the room that is seen moves at most this often, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

impl App {
    /// What follows from how things are: pages to fetch, markers to move, members to ask for.
    pub(super) fn keep_up(&mut self, looks_above: bool) {
        if !self.is_up() && !self.local {
            return;
        }
        self.watch_again();
        self.fetch_newer();
        if looks_above {
            self.fetch_older();
        }
        self.mark_read();
        // Those of another server than the one in sight nobody sees.
        if self.is_up() && (self.focused || !self.beside) {
            self.ask_members();
        }
    }

    fn fetch_newer(&mut self) {
        let now = self.now;
        if self.rooms.current().is_some_and(|room| room.detached.is_some()) && !self.near_end() {
            return;
        }
        let Some(room) = self.rooms.current_mut() else { return };
        if room.fetching || now < room.retry_at || room.held {
            return;
        }
        if let Some(from) = room.missing() {
            let limit = if from == PageFrom::Latest { PAGE } else { LARGE_PAGE };
            room.fetching = true;
            let (room, target) = (room.summary.id, room.summary.target.clone());
            self.effects.push(Effect::FetchPage { room, target, from, limit });
        }
    }

    /// Fetches the page before, where the reader is near the oldest event at hand.
    fn fetch_older(&mut self) {
        let now = self.now;
        let Some(room) = self.rooms.current() else { return };
        let Some(first) = room.timeline.first() else { return };
        if room.fetching || now < room.retry_at || room.timeline.has_beginning() {
            return;
        }
        let wanted = room.wanted.filter(|seq| *seq < first);
        let height = self.height();
        let near =
            || self.layout().is_some_and(|layout| scroll::upward(&layout, layout.room.scroll, 2 * height).1);
        if wanted.is_none() && !near() {
            return;
        }
        let limit = wanted.map_or(u64::from(PAGE), |seq| (first.0 - seq.0 + 20).min(u64::from(LARGE_PAGE)));
        let Some(room) = self.rooms.current_mut() else { return };
        room.fetching = true;
        let (room, target) = (room.summary.id, room.summary.target.clone());
        let limit = u32::try_from(limit).unwrap_or(LARGE_PAGE);
        self.effects.push(Effect::FetchPage { room, target, from: PageFrom::Before(first), limit });
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
            || now >= room.members.asked_at.plus_ms(MEMBERS_EVERY_MS);
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
