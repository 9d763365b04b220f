//! Runs of events with holes between them, beside a plain map of what should be there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quip::app::runs::{Hole, Runs};
use quip::app::timeline::Timeline;
use quip_protocol::*;

use crate::harness::{id, name};

fn event(seq: u64, body: EventBody) -> Event {
    Event {
        room: RoomId(1),
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at: Timestamp(seq),
        ordinal: seq,
        author: name("ann"),
        body,
    }
}

fn said(seq: u64) -> Event {
    event(seq, EventBody::Message(Message::new(id(seq), MessageKind::Plain, "said".into(), None)))
}

fn page(seqs: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    seqs.map(said).collect()
}

fn holes(runs: &Runs, upto: u64) -> Vec<(u64, u64)> {
    runs.holes(Seq(upto)).map(|hole| (hole.first.0, hole.last.0)).collect()
}

#[test]
fn what_is_missing_after_pages() {
    type Case<'a> = (&'a [std::ops::RangeInclusive<u64>], u64, &'a [(u64, u64)]);
    let table: [Case<'_>; 10] = [
        (&[], 0, &[]),
        (&[], 7, &[(1, 7)]),
        (&[1..=3], 3, &[]),
        (&[4..=6], 9, &[(1, 3), (7, 9)]),
        (&[8..=9, 1..=2], 9, &[(3, 7)]),
        (&[8..=9, 1..=2, 5..=5], 9, &[(3, 4), (6, 7)]),
        (&[8..=9, 1..=2, 3..=7], 9, &[]),
        (&[8..=9, 1..=2, 2..=8], 9, &[]),
        (&[3..=4, 6..=7, 9..=9, 4..=8], 12, &[(1, 2), (10, 12)]),
        (&[5..=6, 1..=9], 9, &[]),
    ];
    for (pages, upto, expected) in table {
        let mut runs = Runs::default();
        for seqs in pages {
            runs.put(page(seqs.clone()));
        }
        assert_eq!(holes(&runs, upto), expected, "{pages:?}");
    }
}

#[test]
fn a_hole_shrinks_from_both_ends_and_keeps_its_place() {
    let mut runs = Runs::default();
    runs.put(page(1..=10));
    runs.put(page(51..=60));
    let place = |runs: &Runs| (runs.after(Seq(10), Seq(60)), runs.before(Seq(51), Seq(60)));
    assert_eq!(place(&runs), (Some(Seq(11)), Some(Seq(11))));
    assert!(runs.put(page(41..=50)), "from its newer end");
    assert_eq!((holes(&runs, 60), place(&runs).0), (vec![(11, 40)], Some(Seq(11))));
    assert!(runs.put(page(11..=20)), "and from its older one");
    assert_eq!((holes(&runs, 60), runs.after(Seq(20), Seq(60))), (vec![(21, 40)], Some(Seq(21))));
    assert!(!runs.put(page(11..=20)), "that brings nothing");
    assert!(runs.put(page(21..=40)));
    assert_eq!((holes(&runs, 60), runs.count()), (vec![], 60));
}

#[derive(Debug, Clone)]
enum Step {
    Page(u64, u64),
    Live,
    Ahead(u64),
    Reset(u64),
    Keep(u64, u64, usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..90u64, 1..25u64).prop_map(|(first, count)| Step::Page(first, count)),
        4 => Just(Step::Live),
        1 => (2..9u64).prop_map(Step::Ahead),
        1 => (0..90u64).prop_map(Step::Reset),
        2 => (0..90u64, 0..20u64, 0..6usize, 0..6usize)
            .prop_map(|(from, more, beside, newest)| Step::Keep(from, from + more, beside, newest)),
    ]
}

/// A tenth of them delete one before them.
fn at(seq: u64) -> Event {
    match seq % 10 {
        0 => event(seq, EventBody::Deleted { target: Seq(seq / 2), id: id(seq), edits: vec![] }),
        _ => said(seq),
    }
}

type Model = BTreeMap<u64, Event>;

fn walk(runs: &mut Runs, model: &mut Model, step: &Step) {
    let newest = model.last_key_value().map_or(0, |(seq, _)| *seq);
    match *step {
        Step::Page(first, count) => {
            let page: Vec<Event> = (first..first + count).map(at).collect();
            let news = page.iter().any(|event| !model.contains_key(&event.seq.0));
            assert_eq!(runs.put(page.clone()), news);
            model.extend(page.into_iter().map(|event| (event.seq.0, event)));
        }
        Step::Live => {
            assert!(runs.push(at(newest + 1)));
            model.insert(newest + 1, at(newest + 1));
        }
        Step::Ahead(by) => assert!(!runs.push(at(newest + by))),
        Step::Reset(keep) => {
            runs.truncate(Seq(keep));
            let dropped = model.split_off(&(keep + 1));
            let rewritten = dropped.values().flat_map(|event| event.body.rewrites());
            rewritten.for_each(|seq| drop(model.remove(&seq.0)));
        }
        Step::Keep(from, to, beside, newest) => {
            runs.keep_near((Seq(from), Seq(to)), beside, newest);
            let all: Vec<u64> = model.keys().copied().collect();
            let older: Vec<&u64> = all.iter().filter(|seq| **seq < from).rev().skip(beside).collect();
            let newer: Vec<&u64> = all.iter().filter(|seq| **seq > to).skip(beside).collect();
            let last: Vec<&u64> = all.iter().rev().take(newest).collect();
            let goes = |seq: &&u64| (older.contains(seq) || newer.contains(seq)) && !last.contains(seq);
            all.iter().filter(goes).for_each(|seq| drop(model.remove(seq)));
        }
    }
}

/// The holes as they follow from what is there.
fn complement(model: &Model, upto: u64) -> Vec<Hole> {
    let missing: Vec<u64> = (1..=upto).filter(|seq| !model.contains_key(seq)).collect();
    let holes = missing.chunk_by(|a, b| a + 1 == *b);
    holes.map(|hole| Hole { first: Seq(hole[0]), last: Seq(hole[hole.len() - 1]) }).collect()
}

fn check(runs: &Runs, model: &Model, more: u64) {
    assert!(runs.events().eq(model.values()), "the same events, in order, each once");
    assert_eq!(runs.count(), model.len());
    assert_eq!(runs.first().map(|seq| seq.0), model.first_key_value().map(|(seq, _)| *seq));
    assert_eq!(runs.last(), model.last_key_value().map(|(_, event)| event));
    let upto = model.last_key_value().map_or(0, |(seq, _)| *seq) + more;
    let holes = complement(model, upto);
    assert!(runs.holes(Seq(upto)).eq(holes.iter().copied()), "{holes:?}");
    let mut places: Vec<u64> = model.keys().copied().chain(holes.iter().map(|hole| hole.first.0)).collect();
    places.sort_unstable();
    for seq in 0..=upto + 2 {
        assert_eq!(runs.at(Seq(seq)), model.get(&seq));
        assert_eq!(runs.hole(Seq(seq), Seq(upto)), holes.iter().copied().find(|hole| hole.holds(Seq(seq))));
        let before = places.iter().rfind(|place| **place < seq).map(|place| Seq(*place));
        assert_eq!(runs.before(Seq(seq), Seq(upto)), before, "before {seq}");
        let after = places.iter().find(|place| **place > seq).map(|place| Seq(*place));
        assert_eq!(runs.after(Seq(seq), Seq(upto)), after, "after {seq}");
    }
    let hole = holes.iter().rfind(|hole| model.keys().any(|seq| *seq > hole.last.0));
    for seq in 1..=upto {
        assert_eq!(runs.is_behind_a_hole(Seq(seq)), hole.is_some_and(|hole| seq <= hole.last.0), "{seq}");
    }
}

/// What happens to a timeline whose server has a log.
#[derive(Debug, Clone)]
enum Heard {
    Live(u8, u64),
    /// A page that is read now, and comes after so many live events.
    Page(u64, u64, u64),
    Reset(u64),
    Keep(u64),
}

fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        6 => (0..6u8, 1..40u64).prop_map(|(what, target)| Heard::Live(what, target)),
        6 => (1..60u64, 1..20u64, 0..3u64).prop_map(|(first, count, later)| Heard::Page(first, count, later)),
        1 => (0..60u64).prop_map(Heard::Reset),
        1 => (0..60u64).prop_map(Heard::Keep),
    ]
}

/// The log as the server shows it.
fn shown(log: &[Event]) -> Vec<Event> {
    let mut shown: Vec<Event> = Vec::new();
    for event in log {
        shown.iter_mut().for_each(|earlier| earlier.amend(event));
        shown.push(event.clone());
    }
    shown
}

/// The next event: a message, or what amends an earlier one.
fn next(log: &[Event], what: u8, target: u64) -> Event {
    let seq = log.len() as u64 + 1;
    let (id, target) = (id(seq), Seq(target));
    let shown = shown(log);
    let message = shown.iter().find(|event| event.seq == target).and_then(Event::message);
    let Some(message) = message.filter(|message| !message.deleted) else { return said(seq) };
    let emoji = SafeLine::new("👍");
    event(
        seq,
        match what {
            0 => EventBody::Edited { target, id, text: format!("edit {seq}").as_str().into(), drops: None },
            1 => EventBody::Deleted { target, id, edits: message.edits.clone() },
            2 | 3 => EventBody::Reacted { target, id, emoji, on: what == 2 },
            _ => return said(seq),
        },
    )
}

fn live(log: &mut Vec<Event>, timeline: &mut Timeline, what: u8, target: u64) {
    let event = next(log, what, target);
    log.push(event.clone());
    timeline.push(event);
}

fn hear(log: &mut Vec<Event>, timeline: &mut Timeline, heard: &Heard) {
    match *heard {
        Heard::Live(what, target) => live(log, timeline, what, target),
        Heard::Page(first, count, later) => {
            let head = Cursor { epoch: Epoch::FIRST, seq: Seq(log.len() as u64) };
            let page = shown(log).into_iter().filter(|event| event.seq.0 >= first).take(count as usize);
            let page: Vec<Event> = page.collect();
            // What comes between is in the page only if its events are taken.
            let later = if timeline.last() == head.seq { later } else { 0 };
            (0..later).for_each(|n| live(log, timeline, n as u8, first + n));
            timeline.insert(page, head);
        }
        Heard::Reset(keep) => {
            timeline.truncate(Seq(keep), Seq(log.len() as u64));
            log.truncate(keep as usize);
        }
        Heard::Keep(at) => timeline.keep_near((Seq(at), Seq(at))),
    }
}

/// What a message says, without its reactions.
fn words(event: &Event) -> Event {
    let mut event = event.clone();
    if let EventBody::Message(message) = &mut event.body {
        message.reactions.clear();
    }
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn in_any_order_what_is_here_and_what_is_missing_are_all(steps in prop::collection::vec(step(), 1..40), more in 0..4u64) {
        let (mut runs, mut model) = (Runs::default(), Model::new());
        for step in steps {
            walk(&mut runs, &mut model, &step);
            check(&runs, &model, more);
        }
    }

    #[test]
    fn what_is_here_is_as_the_server_has_it_now(heards in prop::collection::vec(heard(), 1..60)) {
        let (mut log, mut timeline) = (page(1..=20), Timeline::default());
        for heard in heards {
            hear(&mut log, &mut timeline, &heard);
            let now = shown(&log);
            let whole = timeline.last().0 == log.len() as u64;
            for event in timeline.events() {
                let truth = &now[event.seq.0 as usize - 1];
                prop_assert_eq!(words(event), words(truth));
                // A reaction that was taken back is known once what took it back is here.
                prop_assert!(!whole || event == truth, "{:?} is {:?}", event, truth);
            }
        }
    }
}
