//! What follows from how things are, after every input: pages to fetch, markers to move, members to ask for. Imports the
//! app.

use quip_protocol::Timestamp;
use quip_protocol::frame::{PageFrom, Request};

use super::scroll::Scroll;
use super::{App, Effect, LARGE_PAGE, MEMBERS_EVERY_MS, PAGE, scroll};

/// The read marker of a room moves at most this often, in milliseconds.
const MARK_EVERY_MS: u64 = 1_000;

impl App {
    /// What follows from how things are: pages to fetch, markers to move, members to ask for.
    pub(super) fn keep_up(&mut self, looks_above: bool) {
        if !self.is_up() && !self.local {
            return;
        }
        self.fetch_newer();
        if looks_above {
            self.fetch_older();
        }
        self.mark_read();
        if self.is_up() {
            self.attend(looks_above);
        }
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
