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
mod tests {
    use super::*;
    use crate::cursor::{Seq, Timestamp};
    use crate::error::ErrorCode;
    use crate::event::EventBody;
    use proptest::prelude::*;

    const ROOM: RoomId = RoomId(7);
    const LIVE: (u32, Watch) = (1, Watch::Live);

    fn cursor(epoch: u32, seq: u64) -> Cursor {
        Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    fn event(room: RoomId, at: Cursor) -> Event {
        Event {
            room,
            epoch: at.epoch,
            seq: at.seq,
            at: Timestamp(0),
            ordinal: 0,
            author: "ann".parse().unwrap(),
            body: EventBody::Joined,
        }
    }

    fn live(from: Cursor) -> [WatchState; 1] {
        [WatchState::Live { room: ROOM, from, head: from }]
    }

    fn watched(from: Cursor) -> Resume {
        let mut resume = Resume::default();
        assert_eq!(resume.watching(LIVE, &[(ROOM, Some(from))], &live(from)), Ok(vec![]));
        resume
    }

    #[test]
    fn duplicates_are_dropped_and_holes_asked_for() {
        let mut resume = watched(cursor(1, 3));
        let table = [
            (3, Verdict::Drop),
            (4, Verdict::Deliver),
            (4, Verdict::Drop),
            (6, Verdict::Ask(cursor(1, 4))),
            (5, Verdict::Deliver),
            (6, Verdict::Deliver),
        ];
        for (seq, verdict) in table {
            assert_eq!(resume.check(&event(ROOM, cursor(1, seq))), verdict, "{seq}");
        }
        for seq in [5, 7] {
            assert_eq!(resume.check(&event(ROOM, cursor(2, seq))), Verdict::Ask(cursor(1, 6)), "repaired");
        }
        let state = WatchState::Live { room: ROOM, from: cursor(1, 6), head: cursor(2, 7) };
        resume.watching(LIVE, &[(ROOM, Some(cursor(1, 6)))], &[state]).unwrap();
        assert_eq!(resume.check(&event(ROOM, cursor(2, 7))), Verdict::Deliver);
        assert_eq!(resume.check(&event(RoomId(8), cursor(1, 1))), Verdict::Drop);
    }

    #[test]
    fn leftovers_of_a_replaced_watch_are_dropped_until_it_is_too_many() {
        let mut resume = watched(cursor(1, 3));
        resume.watching(LIVE, &[(ROOM, Some(cursor(1, 3)))], &live(cursor(1, 3))).unwrap();
        for n in 0..u64::from(MAX_LEFTOVERS) {
            assert_eq!(resume.check(&event(ROOM, cursor(1, 9 + n))), Verdict::Drop);
        }
        assert_eq!(resume.check(&event(ROOM, cursor(1, 9))), Verdict::Broken);
        resume.watching(LIVE, &[(ROOM, Some(cursor(1, 3)))], &live(cursor(1, 3))).unwrap();
        resume.connected();
        assert_eq!(resume.check(&event(ROOM, cursor(1, 9))), Verdict::Ask(cursor(1, 3)));
    }

    #[test]
    fn resets_refusals_and_mismatches() {
        let mut resume = watched(cursor(1, 9));
        let asked = [(ROOM, Some(cursor(1, 9)))];
        let reset = [WatchState::Reset { room: ROOM, keep: cursor(1, 5), head: cursor(2, 8) }];
        let change = Change::Reset { room: ROOM, keep: cursor(1, 5), head: cursor(2, 8) };
        assert_eq!(resume.watching(LIVE, &asked, &reset), Ok(vec![change]));
        assert_eq!(resume.check(&event(ROOM, cursor(1, 10))), Verdict::Drop, "of the old log");
        assert_eq!(resume.check(&event(ROOM, cursor(2, 6))), Verdict::Deliver);
        assert_eq!(resume.to_watch(), vec![(Watch::Live, vec![(ROOM, Some(cursor(2, 6)))])]);
        assert_eq!(resume.watching(LIVE, &asked, &[]), Err(Mismatch));
        assert_eq!(resume.watching(LIVE, &asked, &live(cursor(1, 8))), Err(Mismatch));
        let refusal = Refusal::new(ErrorCode::Removed, "removed");
        let refused = [WatchState::Refused { room: ROOM, refusal: refusal.clone() }];
        let change = Change::Unwatched { room: ROOM, refusal };
        assert_eq!(resume.watching(LIVE, &asked, &refused), Ok(vec![change]));
        assert!(resume.to_watch().is_empty());
    }

    #[test]
    fn watches_go_in_requests_of_bounded_size() {
        let mut resume = Resume::default();
        for room in 0..=MAX_WATCHES as u64 {
            let (room, from) = (RoomId(room), cursor(1, 0));
            let state = WatchState::Live { room, from, head: from };
            resume.watching(LIVE, &[(room, None)], &[state]).unwrap();
        }
        let sizes: Vec<usize> = resume.to_watch().iter().map(|(_, rooms)| rooms.len()).collect();
        assert_eq!(sizes, [MAX_WATCHES, 1]);
    }

    #[test]
    fn the_end_of_a_watch_that_was_replaced_is_no_news() {
        // The labels of the watches in their order, of the one that the server ended, and whether it was the room's.
        let table: [(&[u32], u32, bool); 6] = [
            (&[4], 4, true),
            (&[4, 9], 4, false),
            (&[4, 9], 9, true),
            (&[9, 4], 9, false),
            (&[4], 5, false),
            (&[], 4, false),
        ];
        for (labels, ended, was) in table {
            let mut resume = Resume::default();
            for label in labels {
                resume
                    .watching((*label, Watch::Live), &[(ROOM, Some(cursor(1, 3)))], &live(cursor(1, 3)))
                    .unwrap();
            }
            assert_eq!(resume.unwatched(ROOM, ended), was, "{labels:?} {ended}");
            let goes_on = !labels.is_empty() && !was;
            assert_eq!(
                resume.check(&event(ROOM, cursor(1, 4))) == Verdict::Deliver,
                goes_on,
                "{labels:?} {ended}"
            );
            assert_eq!(resume.to_watch().len(), usize::from(goes_on));
        }
    }

    #[test]
    fn the_inbox_is_held_to_its_head_like_a_room() {
        let notice = |seq| Notice {
            seq: Seq(seq),
            epoch: Epoch::FIRST,
            at: Timestamp(0),
            body: crate::event::NoticeBody::Devices,
        };
        let mut resume = Resume::default();
        assert_eq!((resume.check_notice(&notice(1)), resume.inbox()), (Verdict::Drop, None));
        resume.watching_inbox(None, cursor(1, 4));
        assert_eq!(resume.inbox(), Some(cursor(1, 4)), "also before the first notice");
        assert_eq!(resume.check_notice(&notice(5)), Verdict::Deliver);
        assert_eq!(resume.check_notice(&notice(5)), Verdict::Drop);
        assert_eq!(resume.check_notice(&notice(7)), Verdict::Ask(cursor(1, 5)));
        assert_eq!(resume.inbox(), Some(cursor(1, 5)));
        let repaired = Notice { epoch: Epoch(2), ..notice(3) };
        assert_eq!(
            resume.check_notice(&repaired),
            Verdict::Ask(cursor(1, 5)),
            "the server knows whether it is good"
        );
        resume.restart_inbox();
        assert_eq!(resume.inbox(), Some(cursor(1, 0)));
        resume.watching_inbox(Some(cursor(1, 0)), cursor(2, 3));
        assert_eq!(resume.check_notice(&notice(1)), Verdict::Deliver);
        let repaired = Notice { epoch: Epoch(2), ..notice(2) };
        assert_eq!(resume.check_notice(&repaired), Verdict::Deliver);
    }

    /// What a bad network and a repaired log can do to a reader.
    #[derive(Debug, Clone)]
    enum Step {
        /// The server sends what is next.
        Next,
        /// It sends something again.
        Again(u64),
        /// It leaves some out.
        Skip(u64),
        /// The connection breaks, and is made again.
        Reconnect,
        /// The log is repaired: only so many of its events are kept, the epoch is raised, others take their place.
        Repair(u64),
        /// More is said.
        Grow(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => Just(Step::Next),
            2 => (1u64..20).prop_map(Step::Again),
            2 => (2u64..9).prop_map(Step::Skip),
            1 => Just(Step::Reconnect),
            1 => (0u64..30).prop_map(Step::Repair),
            3 => (1u64..9).prop_map(Step::Grow),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// A server's log of epochs (seq - 1 is the index), what it sent of it, and a user's copy.
    struct World {
        log: Vec<u32>,
        sent: usize,
        epoch: u32,
        copy: Vec<u32>,
        resume: Resume,
    }

    impl World {
        fn new() -> World {
            let resume = watched(cursor(1, 0));
            World { log: vec![1; 5], sent: 0, epoch: 1, copy: vec![], resume }
        }

        /// The server's answer to a watch: the log match of the design.
        fn watch(&mut self) {
            let (_, asked) = self.resume.to_watch().remove(0);
            let from = asked[0].1.unwrap();
            let at = from.seq.0 as usize;
            let good = at == 0 || self.log.get(at - 1) == Some(&from.epoch.0);
            let head = cursor(*self.log.last().unwrap(), self.log.len() as u64);
            let common = self.copy.iter().zip(&self.log).take_while(|(a, b)| a == b).count();
            let state = if good {
                WatchState::Live { room: ROOM, from, head }
            } else {
                let keep = cursor(common.checked_sub(1).map_or(1, |i| self.log[i]), common as u64);
                WatchState::Reset { room: ROOM, keep, head }
            };
            self.sent = if good { at } else { common };
            for change in self.resume.watching(LIVE, &asked, &[state]).unwrap() {
                if let Change::Reset { keep, .. } = change {
                    self.copy.truncate(keep.seq.0 as usize);
                }
            }
        }

        fn send(&mut self, seq: usize) {
            let Some(epoch) = seq.checked_sub(1).and_then(|i| self.log.get(i)).copied() else { return };
            self.sent = self.sent.max(seq);
            match self.resume.check(&event(ROOM, cursor(epoch, seq as u64))) {
                Verdict::Deliver => {
                    assert_eq!(self.copy.len() + 1, seq, "delivered past a hole or twice");
                    self.copy.push(epoch);
                }
                Verdict::Ask(_) => self.watch(),
                Verdict::Drop => {}
                Verdict::Broken => panic!("the server did send it again"),
            }
        }

        fn take(&mut self, step: &Step) {
            match step {
                Step::Next => self.send(self.sent + 1),
                Step::Again(back) => self.send(self.sent.saturating_sub(*back as usize)),
                Step::Skip(over) => self.send(self.sent + *over as usize),
                Step::Grow(by) => self.log.extend(vec![self.epoch; *by as usize]),
                Step::Reconnect => {
                    self.watch();
                    self.resume.connected();
                }
                Step::Repair(keep) => {
                    self.log.truncate(*keep as usize);
                    self.epoch += 1;
                    self.log.extend([self.epoch; 3]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_delivered_is_dense_and_becomes_the_log(steps in steps()) {
            let mut world = World::new();
            for step in &steps {
                world.take(step);
            }
            world.take(&Step::Reconnect);
            while world.sent < world.log.len() {
                world.take(&Step::Next);
            }
            prop_assert_eq!(world.copy, world.log);
        }
    }
}
