//! Who types, and who is there.

use quip::app::{Effect, Input, Preferences};
use quip_protocol::datagram::Presence;
use quip_protocol::frame::Request;
use quip_protocol::room::AwaySummary;
use quip_protocol::*;

use crate::gallery::rooms::{busy, with_bob_away};
use crate::harness::*;

const SIZES: [(u16, u16); 3] = [(80, 24), (40, 10), (120, 40)];

fn preferring(typing: bool, away_after_ms: u64) -> World {
    let mut world = busy(World::new());
    world.app.prefer(Preferences { typing, away_after_ms, ..Preferences::default() });
    world.connect();
    world.wanted.clear();
    world
}

/// Where the others were told that the user types, since this was asked last.
fn told(world: &mut World) -> Vec<u64> {
    let wanted = std::mem::take(&mut world.wanted);
    wanted.iter().filter_map(|e| if let Effect::Typing(room) = e { Some(room.0) } else { None }).collect()
}

/// What the server was told of the user, since this was asked last.
fn said(world: &mut World) -> Vec<Option<String>> {
    let wanted = std::mem::take(&mut world.wanted);
    let text = |text: &Option<SafeLine>| text.as_ref().map(|text| text.as_str().to_owned());
    wanted
        .iter()
        .filter_map(|e| if let Effect::Ask(Request::SetAway { text: t }) = e { Some(text(t)) } else { None })
        .collect()
}

fn types(world: &mut World, room: u64, who: &str) {
    world.input(Input::Typing { room: RoomId(room), who: name(who) });
}

fn status(world: &World) -> String {
    world.app.status().text
}

#[test]
fn the_others_are_told_of_messages_alone_and_now_and_then() {
    let mut world = preferring(true, 0);
    let at = world.app.rooms().current_id().unwrap().0;
    world.keys("hello");
    assert_eq!(told(&mut world), [at], "once for five letters");
    world.pass(2_999);
    world.keys(" there");
    assert_eq!(told(&mut world), [0; 0]);
    world.pass(1);
    world.keys("<BS>");
    assert_eq!(told(&mut world), [0; 0], "what is taken away is no writing");
    world.input(Input::Paste("pasted".into()));
    assert_eq!(told(&mut world), [at]);
    world.pass(60_000);
    assert_eq!(told(&mut world), [0; 0], "nor is doing nothing");
    world.keys("<C-u>/topic what we do<Enter>");
    world.keys("<C-u>  ");
    world.keys("<C-k>words<Esc><C-u>");
    assert_eq!(told(&mut world), [0; 0], "commands and prompts are nobody's business");
    world.lose(60_000);
    world.keys("offline");
    world.input(Input::Line("a whole line".into()));
    assert_eq!(told(&mut world), [0; 0]);
    let mut world = preferring(false, 0);
    world.keys("hello");
    assert_eq!(told(&mut world), [0; 0], "the user does not want it");
}

#[test]
fn who_types_is_seen_for_some_seconds_and_moves_nothing() {
    for (columns, rows) in SIZES {
        let mut world = busy(World::new());
        world.connect();
        let before = world.screen(columns, rows);
        types(&mut world, 1, "bob");
        types(&mut world, 1, "carl");
        types(&mut world, 2, "dan");
        for n in 0..40 {
            types(&mut world, 1, &format!("somebody-with-a-long-name-{n}"));
        }
        let during = world.screen(columns, rows);
        let [before, during] = [&before, &during].map(|screen| screen.lines().collect::<Vec<_>>());
        let differ = before.iter().zip(&during).filter(|(a, b)| a != b).count();
        assert_eq!((before.len(), differ), (during.len(), 1), "one line differs, at the same place");
        world.pass(6_500);
        assert!(world.app.take_changed() && status(&world).starts_with("connected to"));
    }
}

#[test]
fn who_has_sent_it_or_cannot_be_heard_types_no_more() {
    let mut world = preferring(true, 0);
    types(&mut world, 1, "bob");
    types(&mut world, 1, "carl");
    assert_eq!(status(&world), "bob and carl are typing…");
    world.says(1, "bob", "here it is");
    assert_eq!(status(&world), "carl is typing…");
    world.keys("<A-3>");
    assert_eq!(status(&world), "connected to home", "in another room");
    world.keys("<A-2>");
    world.lose(1_000);
    world.connect();
    assert_eq!(status(&world), "connected to home");
}

#[test]
fn away_is_said_until_it_is_taken_back() {
    let mut world = preferring(true, 15 * MINUTE);
    world.keys("/away back at three<Enter>");
    assert_eq!(said(&mut world), [Some("back at three".to_owned())]);
    world.pass(60 * MINUTE);
    world.keys("hello<Enter>");
    assert_eq!(said(&mut world), [], "a key does not end what was said");
    world.pass(10_000);
    assert_eq!(status(&world), "away: back at three · /away ends it");
    world.lose(1_000);
    world.keys("/away<Enter>");
    world.keys("/away still<Enter>");
    assert_eq!(said(&mut world), [], "nobody can be told");
    world.connect();
    assert_eq!(said(&mut world), [Some("still".to_owned())], "a new connection knows nothing of it");
    world.keys("/away<Enter>");
    assert_eq!(said(&mut world), [None]);
    world.pass(10_000);
    assert_eq!(status(&world), "connected to home");
    world.keys("/away<Enter>");
    assert_eq!(said(&mut world), [Some(String::new())]);
    world.keys(&format!("/away {}<Enter>", "x".repeat(129)));
    assert_eq!(status(&world), "why you are away has at most 128 bytes; shorten it");
}

#[test]
fn who_presses_no_key_is_away_until_the_next() {
    let mut world = preferring(true, 15 * MINUTE);
    world.pass(10 * MINUTE);
    world.keys("h");
    world.pass(15 * MINUTE - 1);
    world.says(1, "bob", "anybody there?");
    assert_eq!(said(&mut world), []);
    world.pass(1);
    assert_eq!(said(&mut world), [Some(String::new())]);
    world.pass(60 * MINUTE);
    assert_eq!(said(&mut world), [], "once");
    assert_eq!(status(&world), "away: no key was pressed for long");
    world.input(Input::Focus(true));
    assert_eq!((said(&mut world), status(&world).as_str()), (vec![None], "connected to home"));
    let mut world = preferring(true, 0);
    world.pass(24 * HOUR);
    assert_eq!(said(&mut world), [], "never");
}

#[test]
fn who_is_away_is_told_of_an_account() {
    for (who, now) in [("bob", "away: at lunch, back at three"), ("carl", "offline"), ("dan", "online")] {
        let mut world = with_bob_away(World::new());
        world.keys(&format!("/whois @{who}<Enter>"));
        let screen = world.screen(80, 24);
        let line = screen.lines().find(|line| line.contains(" Now ")).unwrap();
        assert!(line.contains(now), "{who}: {line}");
    }
}

#[test]
fn without_a_connection_nobody_is_said_to_be_there() {
    for (room, there) in [("#general", "◐ bob"), ("@bob", "◐ away: at lunch")] {
        let mut world = with_bob_away(World::new());
        let goes = if room == "@bob" { "/msg @bob<Enter>" } else { "" };
        world.screen(120, 40);
        world.keys(goes);
        world.pass(10_000);
        assert!(world.screen(120, 40).contains(there), "{}", world.screen(120, 40));
        world.lose(60_000);
        let screen = world.screen(120, 40);
        assert!(!screen.contains(there) && !screen.contains(" online"), "{screen}");
        world.connect();
        assert!(world.screen(120, 40).contains(there), "{}", world.screen(120, 40));
    }
}

#[test]
fn hostile_words_of_who_is_away_stay_words() {
    let mut world = busy(World::new());
    let text = SafeLine::new("\u{1b}[2J\u{202e} lunch \u{9b}31m");
    world.away = vec![AwaySummary { name: name("bob"), text: text.clone() }];
    world.connect();
    world.keys("/msg @bob<Enter>");
    let screen = world.screen(120, 40);
    assert!(!screen.contains(['\u{1b}', '\u{202e}', '\u{9b}']) && screen.contains("away: ␛[2J"), "{screen}");
}

#[test]
fn who_goes_is_seen_without_asking() {
    let mut world = with_bob_away(World::new());
    world.keys("/msg @bob<Enter>");
    world.pass(10_000);
    let asked = |world: &mut World| {
        let wanted = std::mem::take(&mut world.wanted);
        wanted.iter().filter(|e| matches!(e, Effect::Ask(Request::WhoIsAway { .. }))).count()
    };
    asked(&mut world);
    let is = |world: &mut World, who: &str, now| world.input(Input::Presence { who: name(who), now });
    let table = [
        (Presence::Offline, "○ offline"),
        (Presence::Away { text: "gone fishing".into() }, "◐ away: gone fishing"),
        (Presence::Online, "● online"),
    ];
    for (now, seen) in table {
        is(&mut world, "nobody-here", Presence::Offline);
        is(&mut world, "bob", now);
        let screen = world.screen(80, 24);
        assert!(screen.contains(seen), "{seen}: {screen}");
    }
    world.pass(4 * MINUTE);
    assert_eq!(asked(&mut world), 0, "a small room");
    world.pass(2 * MINUTE);
    assert_eq!(asked(&mut world), 1, "what was lost is repaired");
    world.lose(1_000);
    world.connect();
    assert_eq!(asked(&mut world), 1, "nobody told this client meanwhile");
}
