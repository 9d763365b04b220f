//! What keys and server inputs do to the client.

use quip::app::outbox::State;
use quip::app::{About, Effect, Input};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::*;

use crate::harness::*;

fn talking() -> World {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    world.host(3, "@bob", "");
    world.said(1, MIDNIGHT + HOUR, "bob", "hello");
    world.connect();
    world
}

/// Texts of the messages that are seen in the current room, pending ones included.
fn texts(world: &World) -> Vec<String> {
    let Some(layout) = world.app.layout() else { return Vec::new() };
    let events = layout.room.timeline.events().filter_map(|event| event.message());
    let told = events.map(|message| message.text().to_owned());
    told.chain(layout.posts.iter().map(|post| post.text.clone())).collect()
}

fn delivered(world: &World) -> Vec<&Request> {
    world
        .wanted
        .iter()
        .filter_map(|effect| match effect {
            Effect::Deliver(request) => Some(request),
            _ => None,
        })
        .collect()
}

fn said(world: &World) -> &str {
    world.app.said().map_or("", |said| said.text.as_str())
}

#[test]
fn a_message_is_shown_once_and_becomes_its_event() {
    let mut world = talking();
    world.keys("hi<Enter>");
    assert_eq!(texts(&world), ["hello", "hi"]);
    assert_eq!(world.app.layout().unwrap().posts.len(), 0, "the event took the place of the pending message");
    assert!(world.app.composer().is_empty());
}

#[test]
fn offline_messages_are_kept_and_delivered_once_in_order() {
    let mut world = talking();
    world.lose(3_000);
    world.keys("one<Enter>two<Enter>");
    assert_eq!(texts(&world), ["hello", "one", "two"]);
    assert!(world.app.layout().unwrap().posts.iter().all(|post| post.state == State::Waiting));
    world.connect();
    assert_eq!(texts(&world), ["hello", "one", "two"]);
    assert_eq!(delivered(&world).len(), 2, "the app asks for each delivery once; resending is the client's");
    assert!(world.app.layout().unwrap().posts.is_empty());
}

#[test]
fn a_receipt_before_the_event_and_an_event_before_the_receipt() {
    for receipt_first in [true, false] {
        let mut world = talking();
        world.online = false;
        world.keys("hi<Enter>");
        let Request::Post { id, kind, text, .. } = delivered(&world)[0].clone() else { panic!() };
        let receipt = Receipt { room: RoomId(1), epoch: Epoch::FIRST, seq: Seq(2), id };
        if receipt_first {
            world.input(Input::Receipt(receipt));
            assert_eq!(world.app.layout().unwrap().posts[0].state, State::Durable);
        }
        world.online = true;
        world.live(1, "ann", EventBody::Message(Message::new(id, kind, text, None)));
        world.input(Input::Receipt(receipt));
        assert_eq!(texts(&world), ["hello", "hi"]);
        assert!(world.app.layout().unwrap().posts.is_empty());
    }
}

#[test]
fn anothers_event_with_the_same_id_does_not_take_the_text_away() {
    let mut world = talking();
    world.online = false;
    world.keys("mine<Enter>");
    let Request::Post { id, .. } = delivered(&world)[0].clone() else { panic!() };
    world.online = true;
    world.live(1, "bob", EventBody::Message(Message::new(id, MessageKind::Plain, "theirs".into(), None)));
    assert_eq!(texts(&world), ["hello", "theirs", "mine"]);
}

#[test]
fn a_refused_message_gives_its_text_back() {
    let mut world = talking();
    world.refuse = Some(Refusal::new(ErrorCode::Archived, "the room is archived"));
    world.keys("precious words<Enter>");
    assert_eq!(texts(&world), ["hello", "precious words"]);
    assert!(said(&world).contains("the room is archived"));
    world.keys("<Up>");
    assert_eq!((world.app.composer().text(), texts(&world).len()), ("precious words", 1));
}

#[test]
fn what_cannot_be_sent_stays_in_the_composer() {
    let table = [
        ("/nope", "is no command"),
        ("/kick", "@user is missing"),
        ("/kick @bob", ""),
        ("/edit", "no message of yours"),
        ("s/a/b/", "no message of yours"),
        ("/msg @bob! hi", "only a–z"),
    ];
    for (line, why) in table {
        let mut world = talking();
        world.keys(line);
        world.keys("<Enter>");
        assert!(said(&world).contains(why), "{line}: {}", said(&world));
        assert_eq!(world.app.composer().text(), if why.is_empty() { "" } else { line });
        assert_eq!(delivered(&world).len(), 0, "{line}");
    }
}

#[test]
fn a_long_paste_is_refused_at_send_with_the_limit_and_kept() {
    let mut world = talking();
    let long = "word ".repeat(100);
    world.input(Input::Paste(format!("{long}\nand more\n")));
    assert_eq!(delivered(&world).len(), 0, "a paste never sends");
    world.keys("<Enter>");
    assert!(said(&world).contains("at most 200"), "{}", said(&world));
    assert!(world.app.composer().text().starts_with("word word"));
    assert_eq!(delivered(&world).len(), 0);
}

#[test]
fn commands_become_requests() {
    let mut world = talking();
    let general: RoomName = "general".parse().unwrap();
    let table = [
        ("/topic new words", Request::SetTopic { room: general.clone(), topic: SafeLine::new("new words") }),
        ("/invite @dora", Request::Invite { room: general.clone(), who: vec![name("dora")] }),
        (
            "/kick bob noise",
            Request::Kick { room: general.clone(), who: name("bob"), reason: SafeLine::new("noise") },
        ),
        (
            "/role bob moderator",
            Request::SetRole { room: general.clone(), who: name("bob"), role: Role::Moderator },
        ),
        ("/whois bob", Request::WhoIs { name: name("bob") }),
        ("/rooms", Request::PublicRooms { after: None }),
        (
            "/create #new --private words",
            Request::CreateRoom {
                name: "new".parse().unwrap(),
                private: true,
                topic: SafeLine::new("words"),
                members: vec![],
            },
        ),
        ("/part", Request::Leave { room: general }),
    ];
    for (line, request) in table {
        world.keys(line);
        world.keys("<Enter><Esc>");
        let asked = |effect: &Effect| matches!(effect, Effect::Ask(asked) if *asked == request);
        assert!(world.wanted.iter().any(asked), "{line}");
        assert!(world.app.composer().is_empty());
    }
    assert_eq!(world.app.rooms().current().unwrap().summary.target, target("#ops"), "the room was left");
}

#[test]
fn commands_about_messages() {
    let mut world = talking();
    world.keys("a teh b<Enter>s/teh/the/<Enter>");
    assert_eq!(texts(&world), ["hello", "a the b"]);
    world.keys("<Up>");
    assert_eq!((world.app.composer().text(), world.app.composer().about), ("a the b", About::Edit(Seq(2))));
    world.keys("!<Enter>");
    assert_eq!(texts(&world), ["hello", "a the b!"]);
    world.keys("/react :tada:<Enter>");
    let reactions = |world: &World| world.rooms[&RoomId(1)].events[1].message().unwrap().reactions.len();
    assert_eq!(reactions(&world), 1);
    world.keys("/react 🎉<Enter>");
    assert_eq!(reactions(&world), 0, "the same again takes it back");
    world.keys("/reply yes<Enter>");
    let Some(Request::Post { reply_to, .. }) = delivered(&world).last() else { panic!() };
    assert_eq!(*reply_to, Some(Seq(1)), "the last message of someone else");
    world.keys("<A-k><A-k>/delete<Enter>y");
    assert_eq!(texts(&world), ["hello", "", "yes"], "the selected one");
    world.keys("//not a command<Enter>");
    assert_eq!(texts(&world).last().unwrap(), "/not a command");
}

#[test]
fn drafts_stay_with_their_rooms() {
    let mut world = talking();
    world.keys("for general<A-2>for ops<A-1>");
    assert_eq!(world.app.composer().text(), "for general");
    world.keys("<A-2>");
    assert_eq!(world.app.composer().text(), "for ops");
    let gone = NoticeBody::Gone { room: RoomId(2), target: target("#ops"), by: name("bob") };
    let notice = Notice { seq: Seq(1), epoch: Epoch::FIRST, at: world.now, body: gone };
    world.input(Input::Notice(notice));
    assert_ne!(world.app.rooms().current_id(), Some(RoomId(2)));
    assert_eq!(world.app.composer().text(), "", "it was not for the room that is seen now");
    world.keys("<C-p>");
    assert_eq!(world.app.composer().text(), "for ops");
}

#[test]
fn unread_counts_and_the_next_room_that_needs_me() {
    let mut world = talking();
    world.says(2, "bob", "one");
    world.says(2, "bob", "two @ann");
    world.says(3, "bob", "psst");
    let counts = |world: &World, room: u64| {
        let room = &world.app.rooms().get(RoomId(room)).unwrap().summary;
        (room.unread, room.mentions)
    };
    assert_eq!((counts(&world, 2), counts(&world, 3)), ((2, 1), (1, 0)));
    let bells = world.wanted.iter().filter(|effect| matches!(effect, Effect::Alert { .. })).count();
    assert_eq!(bells, 1, "rung once for what comes together");
    world.keys("<A-a>");
    assert_eq!(world.app.rooms().current_id(), Some(RoomId(2)));
    assert_eq!(counts(&world, 2), (0, 0), "seen at the bottom is read");
    world.keys("<A-a>");
    assert_eq!(world.app.rooms().current_id(), Some(RoomId(3)));
    world.keys("<A-a>");
    assert!(said(&world).contains("nothing is waiting"));
}

#[test]
fn the_read_marker_moves_forward_at_most_once_a_second() {
    let mut world = talking();
    world.wanted.clear();
    for number in 0..20 {
        world.says(1, "bob", &format!("message {number}"));
        world.pass(100);
    }
    world.pass(1_000);
    let marks: Vec<Seq> = world
        .wanted
        .iter()
        .filter_map(|effect| match effect {
            Effect::Mark { room: RoomId(1), seq } => Some(*seq),
            _ => None,
        })
        .collect();
    assert!(marks.len() <= 4 && marks.is_sorted(), "{marks:?}");
    assert_eq!(marks.last(), Some(&Seq(21)));
    world.wanted.clear();
    world.keys("<PgUp>");
    world.says(1, "bob", "not seen");
    world.pass(5_000);
    let marked = world.wanted.iter().any(|effect| matches!(effect, Effect::Mark { .. }));
    assert!(!marked || world.app.rooms().current().unwrap().scroll == Default::default());
}

#[test]
fn an_interrupt_clears_the_line_and_asks_before_it_quits() {
    let quits = |world: &World| world.wanted.iter().filter(|effect| **effect == Effect::Quit).count();
    let mut world = talking();
    world.keys("a draft<C-c>");
    assert_eq!((quits(&world), world.app.composer().text()), (0, ""));
    world.keys("<C-c>");
    assert_eq!(quits(&world), 0);
    assert!(said(&world).contains("once more"));
    world.keys("<PgUp><C-c>");
    assert_eq!(quits(&world), 0, "another key takes it back");
    world.keys("<C-c>");
    assert_eq!(quits(&world), 1);
}

#[test]
fn what_is_pasted_keeps_its_lines() {
    let mut world = talking();
    world.input(Input::Paste("one\r\n\ttwo\rthree\nfour".into()));
    assert_eq!(world.app.composer().text(), "one\n\ttwo\nthree\nfour");
}

#[test]
fn quitting_asks_once_more_while_something_is_not_delivered() {
    let quits = |world: &World| world.wanted.iter().filter(|effect| **effect == Effect::Quit).count();
    let mut world = talking();
    world.lose(1_000);
    world.keys("kept<Enter><C-q>");
    assert_eq!(quits(&world), 0);
    assert!(said(&world).contains("1 message is not delivered"));
    world.keys("x<C-q>");
    assert_eq!(quits(&world), 0, "another key takes it back");
    world.keys("<C-q>");
    assert_eq!(quits(&world), 1);
    let mut world = talking();
    world.keys("/quit<Enter>");
    assert_eq!(quits(&world), 1);
}

#[test]
fn completion_writes_what_is_chosen() {
    let table = [
        ("@b<Tab>", "@bob "),
        ("hello b<Tab>", "hello bob "),
        ("see #o<Tab>", "see #ops "),
        ("/to<Tab>", "/topic "),
        ("/join <Tab>", "/join #general"),
        ("/join <Tab><Tab>", "/join #ops"),
        ("/join <BackTab>", "/join #ops"),
        ("/kick <Tab>", "/kick @bob "),
        ("/role bob mod<Tab>", "/role bob moderator "),
        (":tad<Tab>", "🎉 "),
        ("/react :tad<Tab>", "/react 🎉 "),
        ("zzz<Tab>", "zzz"),
        ("<Tab>", ""),
    ];
    for (keys, text) in table {
        let mut world = talking();
        world.keys(keys);
        assert_eq!(world.app.composer().text(), text, "{keys}");
    }
}

#[test]
fn a_room_that_is_entered_or_left_elsewhere() {
    let mut world = talking();
    world.host(9, "#new", "");
    let notice = |body| Input::Notice(Notice { seq: Seq(1), epoch: Epoch::FIRST, at: Timestamp(1), body });
    world.input(notice(NoticeBody::Entered { room: RoomId(9), target: target("#new"), by: name("bob") }));
    assert!(world.app.rooms().get(RoomId(9)).is_some());
    assert!(said(&world).contains("bob brought you into #new"));
    assert_eq!(world.app.rooms().current_id(), Some(RoomId(1)), "it does not take the screen");
    world.says(9, "bob", "welcome");
    assert_eq!(world.app.rooms().get(RoomId(9)).unwrap().summary.unread, 1);
    world.input(notice(NoticeBody::Read { room: RoomId(9), seq: Seq(1) }));
    assert_eq!(world.app.rooms().get(RoomId(9)).unwrap().summary.unread, 0);
    world.input(notice(NoticeBody::Gone { room: RoomId(9), target: target("#new"), by: name("bob") }));
    assert!(world.app.rooms().get(RoomId(9)).is_none());
}

#[test]
fn direct_rooms_are_opened_by_talking() {
    let mut world = talking();
    world.host(7, "@carl", "");
    world.keys("/msg carl hi there<Enter>");
    assert_eq!(world.app.rooms().current().unwrap().summary.target, target("@carl"));
    assert_eq!(texts(&world), ["hi there"]);
}

#[test]
fn a_watch_that_failed_is_tried_again_with_the_next_connection() {
    let mut world = talking();
    let watches = |world: &World| {
        let is_watch = |effect: &&Effect| matches!(effect, Effect::Ask(Request::Watch { .. }));
        world.wanted.iter().filter(is_watch).count()
    };
    assert_eq!(watches(&world), 1);
    let request = Request::Watch { rooms: vec![(RoomId(1), None)] };
    let answer = Err(quip::app::Failure::Unanswered(SafeLine::new("gone")));
    world.input(Input::Answer { request, answer });
    world.connect();
    assert_eq!(watches(&world), 2);
    world.connect();
    assert_eq!(watches(&world), 2, "what is watched stays watched");
}

#[test]
fn a_list_in_pieces_is_taken_whole() {
    let mut world = World::new();
    for room in 1..=3 {
        world.host(room, &format!("#room{room}"), "");
    }
    let all: Vec<_> = world.rooms.values().map(|room| room.summary.clone()).collect();
    let answer = |after: Option<u64>, rooms: &[quip_protocol::room::RoomSummary], more| Input::Answer {
        request: Request::Rooms { after: after.map(RoomId) },
        answer: Ok(Reply::Rooms { rooms: rooms.to_vec(), more }),
    };
    world.input(answer(None, &all[..2], true));
    assert_eq!(world.app.rooms().listed().len(), 0, "half a list is no list");
    world.input(answer(Some(2), &all[2..], false));
    assert_eq!(world.app.rooms().listed().len(), 3);
    world.input(answer(None, &all[1..], false));
    assert_eq!(world.app.rooms().listed().len(), 2, "what is not listed any more is gone");
}

#[test]
fn what_is_not_delivered_is_not_mistaken_for_what_was_said_before() {
    let mut world = talking();
    world.keys("said before<Enter>");
    world.lose(10_000);
    world.keys("said offline<Enter>");
    for keys in ["<Up>", "s/said/was/<Enter>", "/delete<Enter>", "/react :tada:<Enter>"] {
        world.keys(keys);
        assert!(said(&world).contains("is not delivered yet"), "{keys}: {}", said(&world));
        assert_eq!(world.app.composer().about, About::New, "{keys}");
        world.keys("<C-c>");
    }
    assert_eq!(delivered(&world).len(), 2, "both messages and nothing else");
    world.connect();
    world.keys("<Up>");
    assert_eq!(world.app.composer().text(), "said offline");
}

#[test]
fn what_is_not_delivered_yet_cannot_be_selected_and_that_is_said() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.connect();
    world.keys("<A-k>");
    assert_eq!(said(&world), "there is no message here to select");
    world.online = false;
    world.keys("hi<Enter><A-k>");
    assert_eq!(said(&world), "it is not delivered yet; then it can be selected");
}

#[test]
fn nobody_is_told_to_join_a_room_while_the_rooms_are_on_their_way() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.keys("hi<Enter>");
    assert!(said(&world).contains("are on their way"), "{}", said(&world));
    assert_eq!(world.app.composer().text(), "hi");
}
