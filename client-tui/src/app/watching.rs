//! Which rooms there are, and that their events come: what is asked for with each connection, and again where the server
//! could not do it. Imports the rooms.

use quip_protocol::frame::{Request, Watch, WatchState};
use quip_protocol::room::RoomSummary;
use quip_protocol::{ErrorCode, Refusal, RoomId, Target};

use super::App;

/// A room that the server does not let be watched for now is asked for again after this long, in milliseconds.
const UNWATCHED_MS: u64 = 60_000;

impl App {
    pub(super) fn unwatched(&mut self, id: RoomId, refusal: &Refusal) {
        if let Some(room) = self.rooms.get_mut(id) {
            room.watched = false;
            let name = room.summary.target.clone();
            self.say(format!("{name}: {refusal}"));
        }
        if is_over(refusal) {
            self.forget(id);
        } else {
            // What the server cannot do is no reason to throw away what is here.
            self.watch_again_in(UNWATCHED_MS);
        }
    }

    pub(super) fn watch_again_in(&mut self, ms: u64) {
        let at = self.now.plus_ms(ms);
        self.watch_at = Some(self.watch_at.map_or(at, |other| other.min(at)));
    }

    /// Watches what could not be watched before, once it is time for that.
    pub(super) fn watch_again(&mut self) {
        if self.is_up() && self.watch_at.is_some_and(|at| at <= self.now) {
            self.begin_watching();
        }
    }

    /// Notices first, so that no room that is entered while the rooms are listed is missed.
    pub(super) fn begin_watching(&mut self) {
        self.watch_at = None;
        if self.inbox_watched {
            self.ask(Request::Rooms { after: None });
        } else {
            self.ask(Request::WatchInbox { from: self.inbox });
        }
    }

    pub(super) fn listed(&mut self, after: Option<RoomId>, rooms: Vec<RoomSummary>, more: bool) {
        if after.is_none() {
            self.listing.clear();
        }
        let last = rooms.last().map(|room| room.id);
        self.listing.extend(rooms);
        if let (true, Some(last)) = (more, last) {
            return self.ask(Request::Rooms { after: Some(last) });
        }
        let listing = std::mem::take(&mut self.listing);
        let first = !std::mem::replace(&mut self.listed_once, true);
        let gone: Vec<RoomId> = self
            .rooms
            .listed()
            .map(|(id, _)| id)
            .filter(|id| listing.iter().all(|room| room.id != *id))
            .filter(|id| self.rooms.get(*id).is_none_or(|room| !room.held))
            .collect();
        for room in listing {
            self.rooms.put(room);
        }
        gone.into_iter().for_each(|id| self.forget(id));
        // A room that is shown since before the server answered.
        if let (true, Some(room)) = (first, self.rooms.current_mut())
            && room.summary.unread > 0
        {
            room.unread_line = Some(room.summary.read);
        }
        self.give_back_strays();
        if self.rooms.current_id().is_none()
            && let Some(first) = self.rooms.next_needy().or_else(|| self.rooms.at(0))
        {
            self.show(first);
        }
        self.watch();
        let held: Vec<Target> = self.rooms.held().cloned().collect();
        held.into_iter().for_each(|target| self.ask(Request::Open { target }));
    }

    pub(super) fn enter_room(&mut self, summary: RoomSummary) {
        self.rooms.put(summary);
        self.watch();
    }

    /// Watches every room that is not watched yet, from what is known of it: the one that is seen first, and every event
    /// of that one.
    fn watch(&mut self) {
        let current = self.rooms.current_id();
        let ids: Vec<RoomId> = self.rooms.listed().map(|(id, _)| id).collect();
        let (seen, others): (Vec<RoomId>, Vec<RoomId>) = ids.into_iter().partition(|id| Some(*id) == current);
        for (ids, watch) in [(seen, Watch::Live), (others, Watch::Digest)] {
            let mut new = Vec::new();
            for id in ids {
                if let Some(room) = self.rooms.get_mut(id).filter(|room| !room.watched && !room.held) {
                    room.watched = true;
                    room.caught.get_or_insert(room.summary.head);
                    new.push((id, room.caught));
                }
            }
            new.iter().for_each(|(id, _)| self.watched_as(*id, watch));
            if !new.is_empty() {
                self.ask(watch.request(new));
            }
        }
    }

    pub(super) fn watching(&mut self, states: Vec<WatchState>) {
        for state in states {
            match state {
                WatchState::Refused { room, refusal } => self.unwatched(room, &refusal),
                WatchState::Digest(digest) => self.digest(digest),
                WatchState::Live { .. } | WatchState::Reset { .. } => {}
            }
        }
    }
}

/// Whether a room that is refused so is none of the account's any more.
fn is_over(refusal: &Refusal) -> bool {
    use ErrorCode::{Forbidden, NoSuchRoom, NotMember, Removed};
    matches!(refusal.code, Removed | NotMember | NoSuchRoom | Forbidden)
}
