//! What follows from how things are, after every input: pages to fetch, markers to move, members to ask for. Imports the
//! app.

use quip_protocol::Timestamp;
use quip_protocol::frame::{PageFrom, Request};

use super::scroll::Scroll;
use super::{App, Effect, LARGE_PAGE, MEMBERS_EVERY_MS, PAGE};

/// The read marker of a room moves at most this often, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

impl App {
    /// What follows from how things are: pages to fetch, markers to move, members to ask for.
    pub(super) fn keep_up(&mut self, looks: bool) {
        if !self.is_up() && !self.local {
            return;
        }
        self.fetch(looks);
        self.mark_read();
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
        if seen > room.marked && now >= room.marked_at.plus_ms(MARK_EVERY_MS) {
            room.marked = seen;
            room.marked_at = now;
            self.effects.push(Effect::Mark { room: room.summary.id, seq: seen });
        }
    }

    fn ask_members(&mut self) {
        let (now, seen) = (self.now, self.panes().members.is_some());
        let Some(room) = self.rooms.current_mut().filter(|room| seen || (room.is_direct() && !room.held))
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
