//! What a client makes of what a server says of its watches, in tables and at random. Imports the resume logic.

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
