//! The replica against a plain map: whatever comes, in pages and live, in any order, with holes, cuts and reopening,
//! it has exactly that, and never more than it says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use quip_protocol::frame::PageFrom;
use quip_protocol::room::RoomSummary;
use quip_protocol::{
    Cursor, Epoch, Event, EventBody, Message, MessageId, MessageKind, RoomId, RoomKind, SafeLine, Seq,
    Timestamp,
};
use quip_storage::{Behind, Opened, Replica};

const ROOM: RoomId = RoomId(7);
const EVENTS: u64 = 400;

fn event(seq: u64, body: EventBody) -> Event {
    Event {
        room: ROOM,
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at: Timestamp(seq),
        ordinal: 0,
        author: ["ann", "bob"][seq as usize % 2].parse().unwrap(),
        body,
    }
}

/// The room's log: messages, of which many are amended, some again and again.
fn log() -> Vec<Event> {
    let (mut log, mut now): (Vec<Event>, Vec<Event>) = (Vec::new(), Vec::new());
    for seq in 1..=EVENTS {
        // Somewhere before, often the same.
        let target = Seq((seq.wrapping_mul(2_654_435_761) >> 7) % (seq / 3).max(1) + 1);
        let message = now.get(target.0 as usize - 1).and_then(|event| event.message().cloned());
        log.push(event(seq, body(seq, target, message.filter(|message| !message.deleted))));
        now.extend(log.last().cloned());
        rewrite(&mut now, seq as usize - 1);
    }
    log
}

/// What the engine makes of it: what is not there is neither edited nor deleted.
fn body(seq: u64, target: Seq, message: Option<Message>) -> EventBody {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seq.to_le_bytes());
    let id = MessageId::from_bytes(bytes);
    match (seq % 7, message) {
        (2 | 3, Some(message)) if seq > 9 => {
            let (text, drops) = (format!("edited by {seq}").as_str().into(), message.oldest_edit());
            EventBody::Edited { target, id, text, drops }
        }
        (4, Some(_)) if seq > 9 => {
            EventBody::Reacted { target, id, emoji: "👍".into(), on: seq.is_multiple_of(2) }
        }
        (5, Some(message)) if seq > 9 && seq.is_multiple_of(5) => {
            EventBody::Deleted { target, id, edits: message.edits }
        }
        _ => {
            let text = "words ".repeat(seq as usize % 90 + 1);
            EventBody::Message(Message::new(id, MessageKind::Plain, text.as_str().into(), None))
        }
    }
}

/// The log as it is when its newest event is `head`.
fn as_of(log: &[Event], head: u64) -> Vec<Event> {
    let mut events = log[..head as usize].to_vec();
    for at in 0..events.len() {
        rewrite(&mut events, at);
    }
    events
}

/// What the event at `at` does to those before it.
fn rewrite(events: &mut [Event], at: usize) {
    let by = events[at].clone();
    for target in by.body.rewrites() {
        events[target.0 as usize - 1].amend(&by);
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many events behind the newest one that was told live.
    Live(u64),
    /// A page as of some later time.
    Page {
        first: u64,
        count: u64,
        head: u64,
    },
    Reopen,
    Cut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..60u64).prop_map(Step::Live),
        4 => (1..EVENTS, 1..90u64, 0..90u64).prop_map(|(first, count, head)| Step::Page { first, count, head }),
        1 => Just(Step::Reopen),
        1 => (1..EVENTS).prop_map(Step::Cut),
    ]
}

/// What the replica must have: which seqs.
#[derive(Debug, Default)]
struct Model {
    present: BTreeSet<u64>,
    cursor: Option<u64>,
}

impl Model {
    fn insert(&mut self, first: u64, last: u64) {
        self.present.extend(first..=last);
        if self.cursor.is_none_or(|cursor| first <= cursor + 1 && last > cursor) {
            let mut end = last;
            while self.present.contains(&(end + 1)) {
                end += 1;
            }
            self.cursor = Some(end);
        }
    }

    fn cut(&mut self, log: &[Event], keep: u64) {
        let gone: Vec<u64> = self.present.range(keep + 1..).copied().collect();
        for seq in gone {
            self.present.remove(&seq);
            for target in log[seq as usize - 1].body.rewrites() {
                self.present.remove(&target.0);
            }
        }
        self.cursor = self.cursor.map(|cursor| cursor.min(keep));
    }
}

fn read_all(replica: &Replica) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    loop {
        let last = all.last().map_or(Seq::ZERO, |event| event.seq);
        let page = replica.page(ROOM, PageFrom::After(last), 37).unwrap();
        assert!(page.windows(2).all(|pair| pair[1].seq == pair[0].seq.next()), "a page has no hole");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn read_back(replica: &Replica) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    let mut from = PageFrom::Latest;
    loop {
        let page = replica.page(ROOM, from, 37).unwrap();
        let Some(first) = page.first() else { break };
        from = PageFrom::Before(first.seq);
        all.extend(page.into_iter().rev());
    }
    all.reverse();
    all
}

/// Who reacted first may be forgotten where a page came before the events that it knew of already.
fn settled(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        if let EventBody::Message(message) = &mut event.body {
            message.reactions.iter_mut().for_each(|reaction| reaction.by.sort());
        }
    }
    events
}

/// What is missing between `floor` and `whole`, looking back, newest first.
fn missing(replica: &Replica, mut whole: Seq, floor: Seq) -> Vec<u64> {
    let mut missing = Vec::new();
    while whole > floor {
        whole = match replica.behind(ROOM, whole, floor).unwrap() {
            Behind::Whole(further) => {
                assert!(further < whole, "it gets on");
                further
            }
            Behind::Hole(first, last) => {
                assert!(floor <= first && first <= last && last < whole, "{first:?} {last:?}");
                missing.extend((first.0..=last.0).rev());
                first
            }
        };
    }
    missing
}

fn run(dir: &Path, log: &[Event], steps: &[Step]) -> (Replica, Model, u64) {
    let mut replica = Replica::open(dir).unwrap().0;
    let mut model = Model::default();
    // The newest event that the client has heard of, and the newest the server has.
    let (mut live, mut head) = (0, 0u64);
    for step in steps {
        match *step {
            Step::Live(count) => {
                let last = (live + count).min(EVENTS);
                if last > live {
                    replica.insert(ROOM, &log[live as usize..last as usize], Seq(live)).unwrap();
                    model.insert(live + 1, last);
                    live = last;
                    head = head.max(live);
                }
            }
            Step::Page { first, count, head: later } => {
                head = head.max((live + later).min(EVENTS));
                let last = (first + count - 1).min(head);
                if first <= last {
                    let events = as_of(log, head);
                    replica.insert(ROOM, &events[first as usize - 1..last as usize], Seq(head)).unwrap();
                    model.insert(first, last);
                }
            }
            Step::Reopen => {
                replica.sync().unwrap();
                drop(replica);
                replica = Replica::open(dir).unwrap().0;
            }
            Step::Cut(keep) => {
                // The same events come again: a log that was cut and went on as before.
                let keep = keep.min(live);
                replica.cut(ROOM, Cursor { epoch: Epoch::FIRST, seq: Seq(keep) }, Seq(keep)).unwrap();
                model.cut(log, keep);
                live = keep;
                head = keep;
            }
        }
    }
    (replica, model, live)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_has_what_it_was_given(steps in prop::collection::vec(step(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let log = log();
        let (replica, mut model, live) = run(&dir.path().join("replica"), &log, &steps);
        let present: Vec<u64> = model.present.iter().copied().collect();
        let seqs = |events: &[Event]| events.iter().map(|event| event.seq.0).collect::<Vec<_>>();
        prop_assert_eq!(seqs(&read_all(&replica)), present.clone());
        prop_assert_eq!(seqs(&read_back(&replica)), present);
        prop_assert_eq!(replica.newest(ROOM).unwrap().map(|c| c.seq.0), model.present.last().copied());
        for floor in [1, 40, EVENTS] {
            let expected: Vec<u64> = (floor..=EVENTS).rev().filter(|seq| !model.present.contains(seq)).collect();
            prop_assert_eq!(missing(&replica, Seq(EVENTS + 1), Seq(floor)), expected);
        }
        // Once the holes are filled, in whatever order that was, every message is as it is at the server.
        if live < EVENTS {
            replica.insert(ROOM, &log[live as usize..], Seq(live)).unwrap();
            model.insert(live + 1, EVENTS);
        }
        let missing = (1..=EVENTS).filter(|seq| !model.present.contains(seq));
        let now = as_of(&log, EVENTS);
        for seq in missing.collect::<Vec<_>>().into_iter().rev() {
            replica.insert(ROOM, &now[seq as usize - 1..seq as usize], Seq(EVENTS)).unwrap();
        }
        prop_assert_eq!(settled(read_all(&replica)), settled(now));
    }
}

/// A message of a log that was repaired.
fn repaired(seq: u64, number: u64) -> Event {
    let EventBody::Message(message) = body(number * 7, Seq(1), None) else { unreachable!("it is a message") };
    Event { epoch: Epoch(2), ..event(seq, EventBody::Message(message)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The server keeps so many messages, and has some of the others at other places, among new ones.
    #[test]
    fn what_a_repaired_log_does_not_have_is_lost_and_what_moved_is_not(
        keep in 0..60u64,
        again in prop::collection::vec(1..120u64, 1..90),
        pages in 1..40usize,
    ) {
        const HAD: u64 = 60;
        let dir = tempfile::tempdir().unwrap();
        let (replica, _) = Replica::open(dir.path().join("replica")).unwrap();
        let had: Vec<Event> = (1..=HAD).map(|n| Event { epoch: Epoch::FIRST, ..repaired(n, n) }).collect();
        replica.insert(ROOM, &had, Seq::ZERO).unwrap();
        prop_assert_eq!(replica.lost(ROOM).unwrap(), Some(vec![]));
        let numbers: BTreeSet<u64> = again.into_iter().filter(|number| *number > keep).collect();
        // In another order than before.
        let log: Vec<Event> =
            (keep + 1..).zip(numbers.iter().rev()).map(|(seq, number)| repaired(seq, *number)).collect();
        let head = Seq(keep + log.len() as u64);
        replica.cut(ROOM, Cursor { epoch: Epoch::FIRST, seq: Seq(keep) }, head).unwrap();
        for page in log.chunks(pages) {
            prop_assert_eq!(replica.lost(ROOM).unwrap(), None, "not all of it came");
            replica.insert(ROOM, page, Seq(page[0].seq.0 - 1)).unwrap();
        }
        let lost = replica.lost(ROOM).unwrap().expect("all of it came");
        let expected: Vec<u64> = (keep + 1..=HAD).filter(|number| !numbers.contains(number)).collect();
        prop_assert_eq!(lost.iter().map(|event| event.seq.0).collect::<Vec<_>>(), expected);
        prop_assert!(lost.iter().all(|event| *event == had[event.seq.0 as usize - 1]));
        let now: Vec<Event> = had[..keep as usize].iter().chain(&log).cloned().collect();
        prop_assert_eq!(read_all(&replica), now, "and all else is as the server has it");
        // Who wrote one of them may send it again.
        if let Some(first) = lost.first() {
            let sent = Event { epoch: Epoch(2), ..event(head.0 + 1, first.body.clone()) };
            replica.insert(ROOM, &[sent], head).unwrap();
            prop_assert_eq!(replica.lost(ROOM).unwrap().map(|left| left.len()), Some(lost.len() - 1));
        }
        replica.remove(ROOM).unwrap();
        prop_assert_eq!(replica.lost(ROOM).unwrap(), Some(vec![]));
    }
}

#[test]
fn what_is_whole_and_what_was_seen_is_kept_until_it_is_not_true_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica");
    let (replica, _) = Replica::open(&path).unwrap();
    assert_eq!(replica.inbox().unwrap(), None);
    let mut summary = summary();
    summary.head.seq = Seq(EVENTS);
    replica.put_rooms(&[summary]).unwrap();
    replica.insert(ROOM, &log(), Seq::ZERO).unwrap();
    let at = Cursor { epoch: Epoch::FIRST, seq: Seq(17) };
    replica.set_inbox(at).unwrap();
    replica.set_whole(ROOM, Seq(3)).unwrap();
    let whole = |replica: &Replica| replica.rooms().unwrap()[0].whole;
    replica.sync().unwrap();
    drop(replica);
    let (replica, _) = Replica::open(&path).unwrap();
    assert_eq!((replica.inbox().unwrap(), whole(&replica)), (Some(at), Some(Seq(3))));
    replica.cut(ROOM, Cursor { epoch: Epoch::FIRST, seq: Seq(300) }, Seq(300)).unwrap();
    assert_eq!(whole(&replica), None, "what was rewritten behind the cut is gone too");
}

fn summary() -> RoomSummary {
    RoomSummary {
        id: ROOM,
        target: "#ops".parse().unwrap(),
        kind: RoomKind::Public,
        topic: SafeLine::default(),
        archived: false,
        role: None,
        members: 1,
        head: Cursor::default(),
        active_at: Timestamp(0),
        read: Seq::ZERO,
        unread: 0,
        mentions: 0,
    }
}

#[test]
fn a_damaged_one_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("replica");
    let (replica, opened) = Replica::open(&path).unwrap();
    assert_eq!(opened, Opened::New);
    replica.insert(ROOM, &log(), Seq::ZERO).unwrap();
    replica.sync().unwrap();
    drop(replica);
    std::fs::write(path.join("db"), vec![0x5A; 100_000]).unwrap();
    let (replica, opened) = Replica::open(&path).unwrap();
    assert!(matches!(opened, Opened::SetAside { .. }), "{opened:?}");
    assert_eq!(read_all(&replica), []);
}
