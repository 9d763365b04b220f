//! A reader that looks at a room and away again, at random, while others talk and the connection breaks: what it has
//! of the room, if it looks at the end, is the room. Imports the resume logic.

use std::collections::VecDeque;

use super::*;
use crate::cursor::{Seq, Timestamp};
use crate::event::EventBody;
use proptest::prelude::*;

const ROOM: RoomId = RoomId(7);

fn at(seq: u64) -> Cursor {
    Cursor { epoch: Epoch::FIRST, seq: Seq(seq) }
}

fn event(seq: u64) -> Event {
    let (author, body) = ("ann".parse().unwrap(), EventBody::Joined);
    let at = Timestamp(0);
    Event { room: ROOM, epoch: Epoch::FIRST, seq: Seq(seq), at, ordinal: seq, author, body }
}

fn digest(seq: u64) -> Digest {
    Digest { room: ROOM, head: at(seq), messages: seq, at: Timestamp(0) }
}

#[derive(Debug, Clone)]
enum Step {
    /// Others say something.
    Grow(u64),
    /// The room has become large, or small again.
    Crowd(bool),
    /// The server serves the watch: what there is, or where the room stands.
    Serve,
    /// So much of what is on its way arrives.
    Arrive(usize),
    /// The reader looks, or does not.
    Look(Watch),
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let watch = prop_oneof![Just(Watch::Live), Just(Watch::Digest)];
    let step = prop_oneof![
        4 => (1u64..9).prop_map(Step::Grow),
        2 => any::<bool>().prop_map(Step::Crowd),
        6 => Just(Step::Serve),
        6 => (1usize..9).prop_map(Step::Arrive),
        3 => watch.prop_map(Step::Look),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..200)
}

#[derive(Debug)]
enum Sent {
    Event(u64),
    Digest(u64),
}

/// The server's side of one watch, the stream, and the reader.
struct World {
    head: u64,
    crowded: bool,
    watch: Watch,
    served: u64,
    stream: VecDeque<Sent>,
    resume: Resume,
    /// Up to here the reader has everything; what came behind a digest is not counted.
    whole: u64,
    label: u32,
}

impl World {
    fn new() -> World {
        let mut world = World {
            head: 3,
            crowded: false,
            watch: Watch::Live,
            served: 0,
            stream: VecDeque::new(),
            resume: Resume::default(),
            whole: 0,
            label: 0,
        };
        world.ask(Watch::Live, at(0));
        world
    }

    /// The server's answer to a watch, as `session/subscribe.rs` gives it.
    fn ask(&mut self, watch: Watch, from: Cursor) {
        let is_digest = watch == Watch::Digest && self.crowded;
        self.watch = watch;
        self.served = if is_digest { self.head } else { from.seq.0 };
        let state = match is_digest {
            true => WatchState::Digest(digest(self.head)),
            false => WatchState::Live { room: ROOM, from, head: at(self.head) },
        };
        self.label += 1;
        self.resume.watching((self.label, watch), &[(ROOM, Some(from))], &[state]).unwrap();
    }

    /// As `session/live.rs` does.
    fn serve(&mut self) {
        if self.watch == Watch::Digest && self.crowded {
            if self.head > self.served {
                self.stream.push_back(Sent::Digest(self.head));
            }
        } else {
            self.stream.extend((self.served + 1..=self.head).map(Sent::Event));
        }
        self.served = self.head;
    }

    fn arrive(&mut self, sent: Sent) {
        let (verdict, seq, told) = match sent {
            Sent::Event(seq) => (self.resume.check(&event(seq)), seq, false),
            Sent::Digest(seq) => (self.resume.check_digest(&digest(seq)), seq, true),
        };
        match verdict {
            Verdict::Deliver if told => assert!(seq > self.whole, "a digest of what was there"),
            Verdict::Deliver => {
                assert!(seq > self.whole, "{seq} came twice");
                if self.watch == Watch::Live {
                    assert_eq!(seq, self.whole + 1, "a hole where the reader looks");
                }
                self.whole = if seq == self.whole + 1 { seq } else { self.whole };
            }
            Verdict::Drop => {}
            // Leftovers of several watches may look like a hole: that costs a request, and nothing else.
            Verdict::Ask(cursor) => self.ask(self.resume.watch(ROOM), cursor),
            Verdict::Broken => panic!("nothing was left out"),
        }
    }

    /// All there is arrives.
    fn come_to_rest(&mut self) {
        self.serve();
        while let Some(sent) = self.stream.pop_front() {
            self.arrive(sent);
            self.serve();
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Grow(by) => self.head += by,
            Step::Crowd(crowded) => self.crowded = *crowded,
            Step::Serve => self.serve(),
            Step::Arrive(most) => {
                let count = (*most).min(self.stream.len());
                let arriving: Vec<Sent> = self.stream.drain(..count).collect();
                arriving.into_iter().for_each(|sent| self.arrive(sent));
            }
            Step::Look(watch) => self.ask(*watch, at(self.whole)),
            Step::Reconnect => {
                self.stream.clear();
                for (watch, rooms) in self.resume.to_watch() {
                    let (_, from) = rooms[0];
                    self.ask(watch, from.unwrap());
                }
                self.resume.connected();
            }
        }
    }
}

proptest! {
    #[test]
    fn who_looks_at_the_end_has_everything_once_and_in_order(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::Look(Watch::Live));
        world.come_to_rest();
        prop_assert_eq!(world.whole, world.head);
    }

    #[test]
    fn a_reader_that_does_not_look_knows_where_the_room_stands(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::Look(Watch::Digest));
        world.come_to_rest();
        let (_, rooms) = world.resume.to_watch().remove(0);
        prop_assert_eq!(rooms[0].1, Some(at(world.head)));
    }
}
