//! Holes: what lies behind them is read, also without a network; the line that stands for one; Enter fills it.

use quip::app::scroll::Scroll;
use quip::app::{Effect, Failure, Input, Loaded};
use quip_protocol::frame::PageFrom;
use quip_protocol::*;
use quip_storage::Copied;

use crate::harness::*;
use crate::reading::seen;

const ROOM: RoomId = RoomId(1);

/// A room of 2,000 messages, of which the copy has these; nobody is connected.
fn copied(runs: &[std::ops::RangeInclusive<u64>]) -> World {
    let mut world = World::new();
    world.host(1, "#ops", "");
    for n in 1..=2_000u64 {
        world.said(1, MIDNIGHT + n * 20_000, "bob", &format!("message {n}"));
    }
    world.unread(1, 2_000, 0, 0);
    let hosted = &world.rooms[&ROOM];
    let has = |event: &&Event| runs.iter().any(|run| run.contains(&event.seq.0));
    let (summary, copy) = (hosted.summary.clone(), hosted.events.iter().filter(has).cloned().collect());
    world.copy.insert(ROOM, copy);
    let rooms = vec![Copied { cursor: Some(summary.head), summary, whole: None }];
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), rooms, ..Loaded::default() })));
    world.input(Input::Resize { columns: 80, rows: 24 });
    world
}

fn two_holes() -> World {
    copied(&[1..=100, 701..=760, 1_941..=2_000])
}

fn holes(world: &World) -> Vec<(u64, u64)> {
    let room = world.app.rooms().current().unwrap();
    let hole = |seq| room.timeline.hole(Seq(seq), room.upto());
    let mut holes: Vec<(u64, u64)> =
        (1..=room.upto().0).filter_map(hole).map(|hole| (hole.first.0, hole.last.0)).collect();
    holes.dedup();
    holes
}

fn selected(world: &World) -> Option<u64> {
    world.app.rooms().current().unwrap().selected.map(|seq| seq.0)
}

/// Up until the line of a hole is selected.
fn select_hole(world: &mut World) {
    select_hole_by("<A-k>", world);
}

fn select_hole_by(key: &str, world: &mut World) {
    for _ in 0..3_000 {
        world.keys(key);
        if world.app.rooms().current().unwrap().selected_hole().is_some() {
            return;
        }
    }
    panic!("no hole is there");
}

#[test]
fn without_a_network_everything_in_the_copy_is_read_past_its_holes() {
    let mut world = two_holes();
    let mut read = std::collections::BTreeSet::new();
    let mut lines = std::collections::BTreeSet::new();
    for _ in 0..60 {
        read.extend(seen(&world));
        let screen = world.screen(80, 24);
        lines.extend(
            screen.lines().filter(|line| line.contains("missing")).map(|line| line.trim().to_owned()),
        );
        world.keys("<PgUp>");
    }
    let expected = (0..=101).chain(701..=761).chain(1_941..=2_000);
    assert_eq!(read.into_iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    let lines: Vec<&str> = lines.iter().map(|line| &line[line.find('…').unwrap()..]).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("… 600 missing · fetched when connected")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("… 1,180 missing · fetched when connected")),
        "{lines:?}"
    );
    let asked = world.wanted.len();
    world.pass(60_000);
    world.keys("<PgDn><PgUp>");
    assert!(!world.wanted[asked..].iter().any(|it| matches!(it, Effect::FetchPage { .. })), "it is known");
    for _ in 0..60 {
        world.keys("<PgDn>");
    }
    assert_eq!(seen(&world).last(), Some(&2_000));
}

#[test]
fn the_line_fits_at_any_width() {
    let table = [
        (10, "… 1,180"),
        (80, "… 1,180 missing · fetched when connected"),
        (120, "… 1,180 missing · fetched when connected"),
    ];
    for (columns, expected) in table {
        let mut world = two_holes();
        world.input(Input::Resize { columns, rows: 24 });
        select_hole(&mut world);
        let screen = world.screen(columns, 24);
        let line =
            screen.lines().find(|line| line.contains('…') && line.contains("1,180")).expect("it is seen");
        assert!(line.contains('▌') && line.contains(expected), "{columns}: {screen}");
    }
}

#[test]
fn enter_fetches_a_hole_and_what_is_read_stays_where_it_is() {
    let mut world = two_holes();
    select_hole(&mut world);
    assert_eq!(selected(&world), Some(761));
    world.keys("<Enter>");
    let said = world.app.said().unwrap().text.clone();
    assert_eq!(said, "offline: 1,180 events are fetched when the server answers");
    world.keys("<A-j><A-j><A-j><A-j>");
    let lowest = |world: &World| seen(world).last().copied();
    let before = (lowest(&world), world.screen(80, 24).lines().nth(20).map(str::to_owned));
    world.connect();
    world.pass(100);
    assert!(holes(&world).iter().all(|hole| hole.1 < 761), "{:?}", holes(&world));
    assert_eq!((lowest(&world), world.screen(80, 24).lines().nth(20).map(str::to_owned)), before);
}

#[test]
fn a_hole_shrinks_piece_by_piece_and_says_what_is_left() {
    let mut world = copied(&[1..=100, 1_941..=2_000]);
    world.keys("<A-Home>");
    select_hole_below(&mut world);
    let room = |world: &World| world.app.rooms().current().unwrap().clone();
    // The server is slow: each page comes when it is told to.
    world.copy.clear();
    world.keys("<Enter>");
    world.wanted.clear();
    let at = room(&world).scroll;
    let welcome = world_welcome(&world);
    world.input(Input::Up(welcome));
    let mut left = Vec::new();
    while let Some((from, limit)) = asked(&world) {
        let missing = holes(&world)[0].1 - 100;
        let row = world.app.layout().unwrap().rows(101).remove(0);
        let line = row.spans.iter().map(|span| span.text.as_str()).collect::<String>().replace(',', "");
        assert_eq!((line, row.selected), (format!(" … {missing} missing · fetching…"), true));
        left.push(missing);
        let events = &world.rooms[&ROOM].events;
        let PageFrom::Before(below) = from else { panic!("{from:?}") };
        let end = below.0 as usize - 1;
        let page = events[end.saturating_sub(limit as usize)..end].to_vec();
        let head = world.rooms[&ROOM].summary.head;
        world.wanted.clear();
        world.input(Input::Page { room: ROOM, from, events: page, head });
        assert_eq!(room(&world).scroll, at);
    }
    assert_eq!(left, [1_840, 1_340, 840, 340]);
    assert_eq!((holes(&world), selected(&world)), (vec![], Some(101)), "it has become the first of them");
}

fn asked(world: &World) -> Option<(PageFrom, u32)> {
    world.wanted.iter().rev().find_map(|effect| match effect {
        Effect::FetchPage { from, limit, .. } => Some((*from, *limit)),
        _ => None,
    })
}

fn world_welcome(world: &World) -> frame::Welcome {
    let mut other = World::new();
    other.connect();
    other.now = world.now;
    other
        .heard
        .iter()
        .find_map(|input| match input {
            Input::Up(welcome) => Some(welcome.clone()),
            _ => None,
        })
        .unwrap()
}

/// Down from the top until the line of a hole is selected.
fn select_hole_below(world: &mut World) {
    for _ in 0..40 {
        world.keys("<PgUp>");
    }
    select_hole_by("<A-j>", world);
}

#[test]
fn who_has_scrolled_away_selects_what_is_seen() {
    for (key, lowest) in [("<A-k>", true), ("<A-j>", false)] {
        let mut world = two_holes();
        world.keys("<PgUp><PgUp>");
        let seen = seen(&world);
        world.keys(key);
        let expected = if lowest { seen.iter().max() } else { seen.iter().min() };
        assert_eq!(selected(&world).as_ref(), expected, "{key} of {seen:?}");
    }
}

#[test]
fn what_cannot_be_fetched_is_said_and_the_hole_stays() {
    for (why, expected) in [
        (Failure::Unanswered(SafeLine::new("timed out")), "timed out"),
        (Failure::Refused(Refusal::new(ErrorCode::Forbidden, "you are no member")), "you are no member"),
    ] {
        let mut world = two_holes();
        select_hole(&mut world);
        let welcome = world_welcome(&world);
        world.copy.clear();
        world.input(Input::Up(welcome));
        world.keys("<Enter>");
        let before = holes(&world);
        world.input(Input::PageFailed { room: ROOM, why });
        assert_eq!(world.app.said().unwrap().text, expected);
        assert_eq!((holes(&world), selected(&world)), (before, Some(761)));
        let screen = world.screen(80, 24);
        assert!(screen.contains("missing · Enter fetches them"), "{screen}");
    }
}

#[test]
fn what_happens_while_one_reads_behind_a_hole() {
    let mut world = two_holes();
    for _ in 0..60 {
        world.keys("<PgUp>");
    }
    world.keys("<PgDn>");
    let there = seen(&world);
    // It comes with the connection, and nothing of the hole between is asked for.
    world.online = true;
    world.says(1, "carl", "something new");
    world.live(
        1,
        "bob",
        EventBody::Edited { target: Seq(20), id: id(7), text: "mended".into(), drops: None },
    );
    world.live(1, "bob", EventBody::Deleted { target: Seq(720), id: id(8), edits: vec![] });
    let room = world.app.rooms().current().unwrap();
    assert_eq!((seen(&world), room.below), (there, 1));
    assert_eq!(room.timeline.at(Seq(20)).unwrap().message().unwrap().text(), "mended");
    assert!(room.timeline.message(Seq(720)).is_none());
    assert_eq!(room.timeline.last(), Seq(2_003));
    assert_eq!(holes(&world), [(101, 700), (761, 1_940)]);
    world.keys("<Esc>");
    assert!(world.screen(80, 24).contains("something new"));
}

#[test]
fn going_to_a_message_that_no_copy_has_leads_to_its_hole() {
    let mut world = two_holes();
    world.keys("<C-f>message 400<Enter>");
    assert_eq!(selected(&world), Some(400));
    assert_eq!(seen(&world).last(), Some(&101), "{:?}", seen(&world));
    let screen = world.screen(80, 24);
    assert!(screen.contains("it is not in the local copy"), "{screen}");
    assert!(screen.contains("▌… 600 missing"), "{screen}");
    world.keys("<Enter>");
    world.connect();
    world.pass(100);
    assert_eq!(selected(&world), Some(400), "what was gone to");
    assert!(world.app.rooms().current().unwrap().timeline.message(Seq(400)).is_some());
}

#[test]
fn going_to_a_message_of_the_copy_shows_what_lies_around() {
    let mut world = two_holes();
    world.keys("<C-f>message 730<Enter>");
    let keys = seen(&world);
    assert!(keys.contains(&730) && keys.contains(&729) && keys.contains(&731), "{keys:?}");
    world.keys("<Esc>");
    assert_eq!(world.app.rooms().current().unwrap().scroll, Scroll::Bottom);
}

#[test]
fn a_reset_leaves_the_holes_of_what_is_still_so() {
    let mut world = two_holes();
    for _ in 0..60 {
        world.keys("<PgUp>");
    }
    let keep = Cursor { epoch: Epoch::FIRST, seq: Seq(1_990) };
    world.input(Input::Reset { room: ROOM, keep, head: keep });
    assert_eq!(holes(&world), [(101, 700), (761, 1_940)]);
    assert_eq!(world.app.rooms().current().unwrap().timeline.last(), Seq(1_990));
}

#[test]
fn a_hole_is_no_message() {
    for keys in ["/reply hello<Enter>", "/react :+1:<Enter>", "/delete<Enter>"] {
        let mut world = two_holes();
        select_hole(&mut world);
        world.keys(keys);
        assert!(!world.wanted.iter().any(|it| matches!(it, Effect::Deliver(_))), "{keys}");
        assert!(world.app.said().unwrap().is_error, "{keys}");
    }
}

#[test]
fn what_is_far_from_what_is_read_is_let_go_and_comes_again() {
    let mut world = World::new();
    world.host(1, "#ops", "");
    for n in 1..=12_000u64 {
        world.said(1, MIDNIGHT + n * 1_000, "bob", &format!("message {n}"));
    }
    world.unread(1, 12_000, 0, 0);
    world.connect();
    let count = |world: &World| world.app.rooms().current().unwrap().timeline.events().count();
    let mut most = 0;
    while seen(&world)[0] > 0 {
        world.keys("<PgUp>");
        most = most.max(count(&world));
    }
    assert!(most <= 4_100, "{most} are in memory");
    let mut read = std::collections::BTreeSet::new();
    while world.app.rooms().current().unwrap().scroll != Scroll::Bottom {
        read.extend(seen(&world));
        world.keys("<PgDn>");
        most = most.max(count(&world));
    }
    read.extend(seen(&world));
    assert!(most <= 4_100, "{most} are in memory");
    let missed = (1..=12_000).find(|seq| !read.contains(seq));
    assert_eq!(missed, None, "one comes past each");
}
