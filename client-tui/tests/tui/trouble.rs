//! What goes wrong, what the client says of it, and what it asks before something is lost.

use quip::app::{Effect, Input};
use quip_protocol::frame::Request;
use quip_protocol::*;

use crate::harness::*;

fn talking() -> World {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.said(1, MIDNIGHT + HOUR, "bob", "hello");
    world.connect();
    world
}

fn said(world: &World) -> &str {
    world.app.said().map_or("", |said| said.text.as_str())
}

fn place(world: &World) -> String {
    world.app.rooms().current().map_or(String::new(), |room| room.summary.target.to_string())
}

/// Whether the app asked for this.
fn wanted(world: &World, wanted: &Effect) -> bool {
    world.wanted.contains(wanted)
}

#[test]
fn a_message_to_somebody_new_is_kept_offline_and_delivered_once() {
    let mut world = talking();
    world.lose(3_000);
    world.keys("/msg @dora are you there?<Enter>and more<Enter>half a thou");
    assert_eq!((place(&world).as_str(), said(&world)), ("@dora", ""));
    let screen = world.screen(80, 24);
    for text in
        ["are you there?", "and more", "Kept, and sent to @dora when the server answers", "2 to deliver"]
    {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    // The server makes the room when it is asked for; it has its own id for it.
    world.host(7, "@dora", "");
    world.connect();
    let rooms: Vec<RoomId> = world.app.rooms().listed().map(|(id, _)| id).collect();
    assert_eq!((rooms, place(&world).as_str()), (vec![RoomId(1), RoomId(7)], "@dora"));
    assert_eq!(world.app.composer().text(), "half a thou");
    let sent = world.rooms[&RoomId(7)].events.iter().filter_map(|event| event.message());
    assert_eq!(sent.map(Message::text).collect::<Vec<_>>(), ["are you there?", "and more"]);
    assert_eq!(world.app.layout().unwrap().posts.len(), 0);
}

#[test]
fn a_bare_msg_goes_to_the_room_without_a_connection() {
    let mut world = talking();
    world.lose(3_000);
    world.keys("/msg @dora<Enter>");
    assert_eq!((place(&world).as_str(), said(&world)), ("@dora", ""));
    // Nobody of that name: the room that was held for them goes, and the reason is said.
    world.connect();
    let request = Request::Open { target: target("@dora") };
    assert!(wanted(&world, &Effect::Ask(request.clone())));
    let refusal = Refusal::new(ErrorCode::NoSuchAccount, "there is no account dora here");
    world.input(Input::Answer { request, answer: Err(quip::app::Failure::Refused(refusal)) });
    assert_eq!((place(&world).as_str(), said(&world)), ("#general", "there is no account dora here"));
}

#[test]
fn what_failed_offline_is_no_news_beside_a_connection() {
    let mut world = talking();
    world.lose(3_000);
    world.keys("/topic new<Enter>");
    assert!(said(&world).starts_with("not connected"));
    world.connect();
    assert_eq!(said(&world), "");
    assert!(world.screen(80, 24).contains("● connected to home"));
}

#[test]
fn the_status_says_which_server_what_happened_and_what_comes() {
    let mut world = talking();
    let why = SafeLine::new("this account was suspended; ask the server's operator");
    world.online = false;
    world.input(Input::Down { why, retry_in_ms: Some(9_000) });
    for (columns, rows) in [(80, 24), (120, 40), (40, 10)] {
        let screen = world.screen(columns, rows);
        let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = "offline from home: this account was suspended; ask the server's operator";
        assert!(words.contains(told), "{columns}: {screen}");
        if columns > 40 {
            assert!(words.contains("retrying in 9 s · messages are kept"), "{columns}: {screen}");
        }
    }
}

#[test]
fn the_end_of_a_long_error_is_seen() {
    let mut world = talking();
    world.refuse = Some(Refusal::new(
        ErrorCode::Degraded,
        "the disk of the server is full, and it writes nothing any more; reading goes on, ask its operator",
    ));
    world.keys("hi<Enter>");
    let screen = world.screen(80, 24);
    let last: Vec<&str> = screen.lines().filter(|line| !line.starts_with("cursor")).rev().take(2).collect();
    assert!(last[0].trim_end().ends_with("ask its operator"), "{screen}");
    assert!(last[1].contains("not sent: the disk"), "{screen}");
}

#[test]
fn nothing_is_deleted_without_a_yes() {
    for (answer, deleted) in [("y", true), ("n", false), ("<Esc>", false), ("<Enter><Enter>n", false)] {
        let mut world = talking();
        world.keys("mine<Enter>/delete<Enter>");
        assert!(world.screen(80, 24).contains("delete “mine”? (y/n)"));
        assert!(world.screen(40, 10).contains("delete “mine”? (y/n)"));
        world.input(Input::Paste("y\n".into()));
        world.keys(answer);
        let room = RoomId(1);
        let found = world
            .wanted
            .iter()
            .any(|effect| matches!(effect, Effect::Deliver(Request::Delete { room: at, .. }) if *at == room));
        assert_eq!(found, deleted, "{answer}");
        world.keys("on<Enter>");
        assert_eq!(world.rooms[&room].events.last().unwrap().message().unwrap().text(), "on");
    }
}

#[test]
fn nothing_is_archived_without_a_yes() {
    for (answer, done) in [("y", true), ("n", false)] {
        let mut world = talking();
        world.keys("/archive<Enter>");
        assert!(world.screen(80, 24).contains("archive #general for good? (y/n)"));
        world.keys(answer);
        let request = Request::Archive { room: "general".parse().unwrap() };
        assert_eq!(wanted(&world, &Effect::Ask(request)), done, "{answer}");
    }
}

#[test]
fn the_length_is_told_before_a_message_is_too_long() {
    // The server of these tests takes 200 bytes.
    let table = [(100, ""), (160, "160 of 200 bytes"), (200, "200 of 200 bytes"), (201, "1 bytes too long")];
    for (length, told) in table {
        let mut world = talking();
        world.input(Input::Paste("x".repeat(length)));
        let screen = world.screen(80, 24);
        assert_eq!(screen.contains("bytes"), !told.is_empty(), "{length}: {screen}");
        assert!(screen.contains(told), "{length}: {screen}");
        world.keys("<Enter>");
        let kept = world.app.composer().text().len();
        assert_eq!(kept, if length > 200 { length } else { 0 });
    }
}

#[test]
fn the_first_key_writes_over_the_offered_name() {
    use quip::app::first_run::{FirstRun, FirstRunScreen};
    let table = [
        ("h<Enter>", Some("ann")),
        ("hbob<Enter>", Some("bob")),
        ("h<End>a<Enter>", Some("anna")),
        ("h<Left><BS>d<Enter>", Some("adn")),
        ("h<BS>eve<Enter>", Some("eve")),
        ("h<BS><Enter>", None),
    ];
    for (keys, expected) in table {
        let mut screen = FirstRunScreen::new(Some(&name("ann")));
        let chosen = parse_keys(keys).into_iter().find_map(|key| screen.key(key));
        assert_eq!(chosen, expected.map(|text| FirstRun::Host { name: name(text) }), "{keys}");
    }
    let mut screen = FirstRunScreen::new(Some(&name("ann")));
    parse_keys("h").into_iter().for_each(|key| drop(screen.key(key)));
    screen.paste("zoe");
    assert_eq!(screen.field.text(), "zoe");
    let mut screen = FirstRunScreen::new(None);
    parse_keys("h").into_iter().for_each(|key| drop(screen.key(key)));
    assert!(screen.field.is_empty());
}
