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
        ["are you there?", "and more", "Kept, and sent to @dora when the server takes it", "2 to deliver"]
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

/// The server knows nobody called dora.
fn nobody_called_dora(world: &mut World) {
    let refusal = Refusal::new(ErrorCode::NoSuchAccount, "there is no account dora here");
    let request = Request::Open { target: target("@dora") };
    let why = quip::app::Failure::Refused(refusal.clone());
    world.input(Input::Answer { request, answer: Err(why) });
    let posts = world.wanted.iter().filter_map(|effect| match effect {
        Effect::Deliver(Request::Post { id, .. }) => Some(*id),
        _ => None,
    });
    for id in posts.collect::<Vec<_>>() {
        world.input(Input::Refused { id, refusal: refusal.clone() });
    }
}

/// The shared log is away: nothing is written, and nobody's room is made.
fn written_by_nobody(world: &mut World) {
    let away = "the servers' log is away; try again when it is back";
    let why = quip::app::Failure::Unanswered(SafeLine::new(away));
    let request = Request::Open { target: target("@dora") };
    assert!(wanted(world, &Effect::Ask(request.clone())));
    world.input(Input::Answer { request, answer: Err(why) });
    world.input(Input::HeldUp(Refusal::retry(ErrorCode::Degraded, away, 500)));
}

#[test]
fn a_message_to_somebody_new_waits_where_the_server_writes_nothing() {
    let mut world = talking();
    world.input(Input::ReadOnly(SafeLine::new("the servers' log is away")));
    world.online = false;
    world.keys("/msg @dora are you there?<Enter>");
    written_by_nobody(&mut world);
    // Nothing that asks to try again: it would be there twice.
    assert_eq!((place(&world).as_str(), said(&world), world.app.composer().text()), ("@dora", "", ""));
    let screen = world.screen(80, 24);
    for text in ["are you there?", "Kept, and sent to @dora when the server takes it", "1 to deliver"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
    // It writes again, and tells of the room that the message made.
    world.input(Input::Writable);
    world.host(7, "@dora", "");
    world.connect();
    let rooms: Vec<RoomId> = world.app.rooms().listed().map(|(id, _)| id).collect();
    assert_eq!((rooms, place(&world).as_str()), (vec![RoomId(1), RoomId(7)], "@dora"));
    let sent = world.rooms[&RoomId(7)].events.iter().filter_map(|event| event.message());
    assert_eq!(sent.map(Message::text).collect::<Vec<_>>(), ["are you there?"]);
}

#[test]
fn who_wrote_to_somebody_new_and_went_on_is_not_fetched_back() {
    let mut world = talking();
    world.host(2, "#ops", "");
    world.connect();
    world.online = false;
    world.keys("/msg @dora are you there?<Enter><A-2>half a thou");
    written_by_nobody(&mut world);
    assert_eq!((place(&world).as_str(), said(&world)), ("#ops", ""));
    assert_eq!(world.app.composer().text(), "half a thou");
    assert!(world.screen(80, 24).contains("@dora"), "it is among the rooms");
    // What fails again while it waits is no news.
    written_by_nobody(&mut world);
    assert_eq!(said(&world), "");
}

#[test]
fn a_message_to_nobody_leaves_no_room_and_its_text_can_be_had_back() {
    let mut world = talking();
    world.online = false;
    world.keys("/msg @dora are you there?<Enter>");
    nobody_called_dora(&mut world);
    assert_eq!(said(&world), "not sent to @dora: there is no account dora here; Ctrl+P has its text");
    assert_eq!(forgotten(&world), 1, "it is not there at the next start");
    assert_eq!((world.app.rooms().listed().len(), place(&world).as_str()), (1, "#general"));
    world.keys("<C-p>");
    assert_eq!(world.app.composer().text(), "are you there?");
}

#[test]
fn a_room_that_was_not_made_goes_with_the_last_that_was_refused_there() {
    let mut world = talking();
    world.lose(3_000);
    world.keys("/msg @dora are you there?<Enter>hello?<Enter>");
    world.refuse = Some(Refusal::new(ErrorCode::NoSuchAccount, "there is no account dora here"));
    world.connect();
    nobody_called_dora(&mut world);
    assert_eq!(place(&world), "@dora", "what was refused stands there");
    world.keys("<A-k>d");
    assert_eq!(place(&world), "@dora");
    world.keys("<A-k>d");
    assert_eq!((world.app.rooms().listed().len(), place(&world).as_str()), (1, "#general"));
}

/// The server does not carry out what it was asked for last of this kind.
fn refuse_the_last(world: &mut World, kind: impl Fn(&Request) -> bool) {
    let last = world.wanted.iter().rev().find_map(|effect| match effect {
        Effect::Ask(request) if kind(request) => Some(request.clone()),
        _ => None,
    });
    let refusal = Refusal::retry(ErrorCode::Degraded, "the servers' log is away; try again", 500);
    let answer = Err(quip::app::Failure::Refused(refusal));
    world.input(Input::Answer { request: last.expect("it asks"), answer });
    assert_eq!(said(world), "the servers' log is away; try again");
}

#[test]
fn a_command_that_the_server_does_not_carry_out_is_written_again() {
    let table = [
        ("/topic new words", "", "/topic new words"),
        ("/kick @bob noise", "", "/kick @bob noise"),
        ("/create #lab", "", "/create #lab"),
        ("/invite @dora", "", "/invite @dora"),
        ("/msg @dora", "", "/msg @dora"),
        ("/whois bob", "", "/whois bob"),
        // Something else is written by now.
        ("/topic new words", "half a thou", "half a thou"),
        // The text of a message is in the outbox.
        ("/msg @dora are you there?", "", ""),
    ];
    for (command, meanwhile, expected) in table {
        let mut world = talking();
        world.online = false;
        world.keys(&format!("{command}<Enter>{meanwhile}"));
        assert_eq!(world.app.composer().text(), meanwhile, "{command}");
        refuse_the_last(&mut world, |_| true);
        assert_eq!(world.app.composer().text(), expected, "{command}");
        assert_eq!(world.app.composer().cursor(), expected.len(), "{command}");
    }
}

#[test]
fn a_command_is_written_again_in_its_room_and_only_where_it_was_refused() {
    let is_topic = |request: &Request| matches!(request, Request::SetTopic { .. });
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    world.connect();
    world.keys("<A-1>");
    world.online = false;
    world.keys("/topic new<Enter><A-2>");
    refuse_the_last(&mut world, is_topic);
    assert_eq!((place(&world).as_str(), world.app.composer().text()), ("#ops", ""));
    world.keys("<A-1>");
    assert_eq!((place(&world).as_str(), world.app.composer().text()), ("#general", "/topic new"));
    // It is carried out, and then the server refuses what was asked before.
    world.online = true;
    world.keys("<Enter>");
    refuse_the_last(&mut world, is_topic);
    assert_eq!(world.app.composer().text(), "", "what was done is not to be done again");
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
fn the_status_says_since_when() {
    let mut world = World::new();
    assert!(world.screen(80, 24).contains("connecting to chat.example:7847…"));
    world.pass(6 * MINUTE);
    assert!(world.screen(80, 24).contains("connecting to chat.example:7847 since 14:30…"));
    world.host(1, "#general", "");
    world.connect();
    world.pass(MINUTE);
    world.lose(3_000);
    world.pass(MINUTE);
    world.lose(9_000);
    let words = |world: &mut World| world.screen(80, 24).split_whitespace().collect::<Vec<_>>().join(" ");
    let wide = "offline from home: timed out — retrying in 9 s · messages are kept · since 14:37";
    assert!(world.screen(120, 40).contains(wide));
    // Up again, and the server takes nothing for now.
    world.connect();
    world.online = false;
    world.keys("hello<Enter>");
    let code = ErrorCode::Degraded;
    world.input(Input::HeldUp(Refusal::retry(code, "the disk of the server is full", 5_000)));
    let told = "takes no messages since 14:38: the disk of the server is full · 1 to deliver";
    world.pass(MINUTE);
    assert!(words(&mut world).contains(told), "{}", words(&mut world));
    let receipt =
        Receipt { room: RoomId(1), epoch: Epoch::FIRST, seq: Seq(1), id: MessageId::from_bytes([0; 16]) };
    world.input(Input::Receipt(receipt));
    assert!(world.screen(80, 24).contains("connected to home"));
    world.input(Input::HeldUp(Refusal::retry(ErrorCode::RateLimited, "slow down", 5)));
    assert!(world.screen(80, 24).contains("connected to home"), "that passes by itself");
}

#[test]
fn a_server_that_writes_nothing_says_so_and_what_is_sent_waits() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.connect();
    let words = |world: &mut World| world.screen(80, 24).split_whitespace().collect::<Vec<_>>().join(" ");
    world.pass(MINUTE);
    world.input(Input::ReadOnly(SafeLine::new("the server cannot write now")));
    world.pass(MINUTE);
    let read_only = "read-only since 14:31: the server cannot write now";
    let told = format!("{read_only}; what you send waits");
    assert!(words(&mut world).contains(&told), "{}", words(&mut world));
    // What is sent is refused meanwhile, in words that say less.
    world.online = false;
    world.keys("hello<Enter>");
    world.input(Input::HeldUp(Refusal::retry(ErrorCode::Degraded, "not now", 5_000)));
    assert!(words(&mut world).contains(&format!("{read_only} · 1 to deliver")), "{}", words(&mut world));
    // A receipt of what was taken before is no sign that it writes again.
    let receipt =
        Receipt { room: RoomId(1), epoch: Epoch::FIRST, seq: Seq(1), id: MessageId::from_bytes([9; 16]) };
    world.input(Input::Receipt(receipt));
    assert!(words(&mut world).contains(read_only));
    world.input(Input::Writable);
    assert!(words(&mut world).contains("connected to home"), "{}", words(&mut world));
    // Another node may write.
    world.input(Input::ReadOnly(SafeLine::new("the server cannot write now")));
    world.lose(100);
    world.connect();
    assert!(words(&mut world).contains("connected to home") && !words(&mut world).contains("read-only"));
}

/// Three messages of which the server takes none; it takes messages again.
fn refused() -> World {
    let mut world = talking();
    world.refuse = Some(Refusal::new(ErrorCode::Forbidden, "you may not write here"));
    world.keys("one<Enter>two<Enter>three<Enter>");
    world.refuse = None;
    world.wanted.clear();
    world
}

fn forgotten(world: &World) -> usize {
    world.wanted.iter().filter(|effect| matches!(effect, Effect::Forget(_))).count()
}

/// The texts of what was refused, and of what the server has of ann.
fn texts(world: &World) -> (Vec<String>, Vec<String>) {
    let posts = world.app.layout().unwrap().posts.iter().map(|post| post.text.clone()).collect();
    let said = world.rooms[&RoomId(1)].events.iter().filter(|event| event.author == name("ann"));
    (posts, said.filter_map(|event| Some(event.message()?.text().to_owned())).collect())
}

#[test]
fn what_was_refused_is_selected_and_sent_again_edited_or_dropped() {
    // Keys, what is refused then, what the server has, what is being written, how many are forgotten.
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], &'static str, usize);
    let table: [Case; 11] = [
        ("<A-k>r", &["one", "two"], &["three"], "", 1),
        ("<A-k><A-k>r", &["one", "three"], &["two"], "", 1),
        ("<A-k><A-k><A-k>d", &["two", "three"], &[], "", 1),
        ("<A-k><A-k>e", &["one", "three"], &[], "two", 1),
        ("<A-k><A-k><A-j>e", &["one", "two"], &[], "three", 1),
        ("<A-k><Up>r", &["one", "three"], &["two"], "", 1),
        ("<A-k><Up><Up><Down>e", &["one", "three"], &[], "two", 1),
        ("<Up>", &["one", "two"], &[], "three", 1),
        ("<A-k><Esc>r", &["one", "two", "three"], &[], "r", 0),
        ("/resend<Enter>/drop<Enter>", &["one"], &["three"], "", 2),
        ("<A-k><A-j>d", &["one", "two", "three"], &[], "d", 0),
    ];
    for (keys, refused_texts, sent, written, gone) in table {
        let mut world = refused();
        world.keys(keys);
        let (posts, said) = texts(&world);
        assert_eq!((posts, said), (strings(refused_texts), strings(sent)), "{keys}");
        assert_eq!((world.app.composer().text(), forgotten(&world)), (written, gone), "{keys}");
    }
    // Above the refused ones are those that were said.
    let mut world = refused();
    world.keys("<A-k><A-k><A-k><A-k>");
    assert_eq!(world.app.rooms().current().unwrap().selected, Some(Seq(1)));
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_is_sent_again_is_kept_before_the_old_one_is_forgotten() {
    let mut world = refused();
    world.keys("<A-k>r");
    let place = |wanted: fn(&Effect) -> bool| world.wanted.iter().position(wanted);
    let sent = place(|effect| matches!(effect, Effect::Deliver(Request::Post { .. })));
    let forgotten = place(|effect| matches!(effect, Effect::Forget(_)));
    assert!(sent.is_some() && sent < forgotten, "{:?}", world.wanted);
    world.keys("<A-k>");
    let screen = world.screen(80, 24);
    assert!(screen.contains("r sends it again · e edits it · d drops it"), "{screen}");
    assert!(screen.contains("/resend, /drop"), "{screen}");
    world.keys("<Esc>/drop<Enter>/drop<Enter>/drop<Enter>");
    assert_eq!(said(&world), "nothing of yours was refused here");
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
