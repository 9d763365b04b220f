//! Looking for messages of the local copy: as one types, there and back.

use quip::app::{Effect, Input};
use quip_protocol::frame::PageFrom;
use quip_protocol::*;

use crate::harness::*;

const SIZES: [(u16, u16); 3] = [(80, 24), (40, 10), (120, 40)];
const DAY: u64 = 24 * HOUR;

/// Two rooms with more in them than is in memory.
fn full() -> World {
    let mut world = World::new();
    world.host(1, "#general", "everything else");
    world.host(2, "#ops", "what runs");
    world.said(1, MIDNIGHT - 400 * DAY, "bob", "the very first deploy of the year before");
    for number in 0..3_000u64 {
        let author = ["bob", "carl", "ann"][number as usize % 3];
        let at = MIDNIGHT - 300 * DAY + number * 2 * HOUR;
        let text = match number {
            700 => "DEPLOY failed:\nsee src/like.rs:42 for the naïve loop",
            701 => "漢字を書く deploy",
            _ => &format!("message number {number}"),
        };
        world.said(1, at, author, text);
    }
    world.said(
        2,
        MIDNIGHT + 9 * HOUR,
        "carl",
        &format!("{} and then a deploy at its end", "words ".repeat(40)),
    );
    world.said(2, MIDNIGHT + 10 * HOUR, "bob", "deployed foo_bar");
    world.connect();
    world.keys("<C-k>#gen<Enter>");
    world
}

fn room(world: &World) -> String {
    world.app.rooms().current().unwrap().summary.target.to_string()
}

fn selected(world: &World) -> Option<u64> {
    world.app.rooms().current().unwrap().selected.map(|seq| seq.0)
}

#[test]
fn what_is_found_is_seen_as_one_types() {
    for (columns, rows) in SIZES {
        let mut world = full();
        world.keys("<C-f>depl");
        assert!(world.screen(columns, rows).contains("of 3"), "{}", world.screen(columns, rows));
        world.keys("<C-f><Down>");
        assert!(world.screen(columns, rows).contains("2 of 5"), "{}", world.screen(columns, rows));
        world.keys("<Esc>");
        assert!(world.screen(columns, rows).contains("message number 2999"), "nothing has moved");
    }
}

#[test]
fn there_and_back() {
    let table = [
        ("<C-f>like.rs:42<Enter>", "#general", 702),
        ("<C-f>deploy<Down><Enter>", "#general", 702),
        ("<C-f>deploy<Down><Down><Up><Up><Enter>", "#general", 703),
        ("<C-f>deploy<Up><Enter>", "#general", 1),
        ("/search foo_b<Enter><Enter>", "#ops", 2),
        ("/search from:@carl deploy<Enter><Enter>", "#ops", 1),
        ("/search after:1d deploy<Enter><Down><Enter>", "#ops", 1),
        ("<C-f>deploy<C-f><Enter>", "#ops", 2),
        ("<C-f>message<PgDn><PgDn><PgUp><PgUp><PgUp><Enter>", "#general", 3_001),
    ];
    for (keys, expected, seq) in table {
        let mut world = full();
        let before = world.screen(80, 24);
        world.keys(keys);
        assert_eq!((room(&world).as_str(), selected(&world)), (expected, Some(seq)), "{keys}");
        let screen = world.screen(80, 24);
        assert!(screen.contains('▌'), "{keys}: {screen}");
        world.keys("<Esc>");
        assert_eq!((room(&world).as_str(), selected(&world)), ("#general", None), "{keys}");
        assert_eq!(world.screen(80, 24), before, "{keys}: back where one was");
    }
}

#[test]
fn far_back_what_lies_around_is_there_and_not_all_between() {
    let mut world = full();
    world.keys("<C-f>like.rs<Enter>");
    // What is here without a hole around it.
    let timeline = |world: &World| {
        let timeline = &world.app.rooms().current().unwrap().timeline;
        let here = |seq: &u64| timeline.at(Seq(*seq)).is_some();
        let first = (1..702).rev().take_while(here).last().unwrap_or(702);
        (first, (702..).take_while(here).last().unwrap_or(0))
    };
    let (first, last) = timeline(&world);
    assert!(first < 702 && last > 702 && last < 1_500, "{first} to {last}");
    world.pass(60_000);
    assert_eq!(timeline(&world).1, last, "nothing is fetched that is not read");
    world.says(1, "bob", "something new");
    assert_eq!(selected(&world), Some(702));
    for _ in 0..40 {
        world.keys("<PgDn>");
    }
    assert!(timeline(&world).1 > last, "it goes on as one reads");
    world.keys("<A-End>");
    assert!(world.screen(80, 24).contains("something new"));
    assert_eq!(world.app.rooms().current().unwrap().timeline.last(), Seq(3_002));
}

#[test]
fn a_message_that_is_gone_to_is_what_commands_are_about() {
    let mut world = full();
    world.keys("<C-f>like.rs<Enter>/react :+1:<Enter>");
    assert!(
        world
            .wanted
            .iter()
            .any(|effect| matches!(effect, Effect::Deliver(frame::Request::React { target: Seq(702), .. })))
    );
}

#[test]
fn an_answer_to_something_else_is_not_shown() {
    let mut world = full();
    world.slow = true;
    world.keys("<C-f>dep");
    let asked = |world: &World| match world.wanted.last() {
        Some(Effect::Search { query, most }) => (query.clone(), *most as usize),
        other => panic!("{other:?}"),
    };
    let (first, most) = asked(&world);
    world.keys("loyed<C-f>");
    let (second, _) = asked(&world);
    let late = world.found(first, most);
    world.input(late);
    assert!(!world.screen(80, 24).contains("very first"), "that is not looked for any more");
    let answer = world.found(second, most);
    world.input(answer);
    assert!(world.screen(80, 24).contains("deployed foo_bar"));
}

#[test]
fn while_the_index_is_made_it_is_said_and_asked_again() {
    let mut world = full();
    world.remaining = 40_000;
    world.keys("<C-f>depl");
    assert!(world.screen(80, 24).contains("40000 not indexed yet"), "{}", world.screen(80, 24));
    world.remaining = 0;
    world.input(Input::Indexed);
    assert!(!world.screen(80, 24).contains("not indexed"));
    world.says(2, "bob", "a last deployment");
    world.keys("<C-f><Down>");
    world.input(Input::Indexed);
    let screen = world.screen(80, 24);
    assert!(screen.contains("a last deployment") && screen.contains("2 of "), "{screen}");
    world.keys("<Esc>");
    let asked = world.wanted.len();
    world.input(Input::Indexed);
    assert_eq!(world.wanted.len(), asked, "nothing is looked for any more");
}

#[test]
fn what_is_wrong_is_said() {
    let table = [("after:soon", "a date is"), ("from:@", "from: is followed by"), ("zebra", "no match")];
    for (words, expected) in table {
        let mut world = full();
        world.keys("<C-f>");
        world.keys(words);
        assert!(world.screen(120, 40).contains(expected), "{words}: {}", world.screen(120, 40));
        world.keys("<Enter>");
        assert_eq!((room(&world).as_str(), selected(&world)), ("#general", None));
    }
    let mut world = full();
    world.slow = true;
    world.keys("<C-f>x");
    let Some(Effect::Search { query, .. }) = world.wanted.last().cloned() else { panic!("it is looked for") };
    let why = Err(SafeLine::new("nothing is kept on this disk"));
    world.input(Input::Found { query, found: why, remaining: 0 });
    assert!(world.screen(80, 24).contains("nothing is kept on this disk"));
}

#[test]
fn what_cannot_be_fetched_now_is_gone_to_when_the_server_answers() {
    let mut world = full();
    world.lose(60_000);
    world.keys("<C-f>like.rs<Enter>");
    let asked = world.wanted.iter().rev().find_map(|effect| match effect {
        Effect::FetchPage { room, from, .. } => Some((*room, *from)),
        _ => None,
    });
    assert_eq!(asked, Some((RoomId(1), PageFrom::Before(Seq(703)))));
    let why = quip::app::Failure::Unanswered(SafeLine::new("it is not here"));
    world.input(Input::PageFailed { room: RoomId(1), why });
    let screen = world.screen(80, 24);
    assert!(screen.contains("it is not here") && screen.contains("▌… 2,951 missing"), "{screen}");
    world.connect();
    world.pass(5_000);
    assert_eq!(selected(&world), Some(702));
    assert!(world.screen(80, 24).contains("src/like.rs:42"));
}
