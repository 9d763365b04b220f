//! What happens while the user does something else: rooms that go, answers that come late, logs that are repaired.

use quip::app::outbox::{Delivery, State};
use quip::app::{About, Effect, Failure, Input, Loaded};
use quip_protocol::frame::Request;
use quip_protocol::*;

use crate::harness::*;

fn two_rooms() -> World {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    world.said(1, MIDNIGHT + HOUR, "bob", "hello");
    world.said(2, MIDNIGHT + HOUR, "bob", "all is well");
    world.connect();
    world.keys("<A-2>");
    world
}

fn said(world: &World) -> &str {
    world.app.said().map_or("", |said| said.text.as_str())
}

fn place(world: &World) -> String {
    world.app.rooms().current().map_or(String::new(), |room| room.summary.target.to_string())
}

fn removed() -> Refusal {
    Refusal::new(ErrorCode::Removed, "you were removed from #ops by bob")
}

fn goes(world: &mut World, room: u64) {
    world.rooms.remove(&RoomId(room));
    world.input(Input::Unwatched { room: RoomId(room), refusal: removed() });
}

fn forgotten(world: &World) -> usize {
    world.wanted.iter().filter(|effect| matches!(effect, Effect::Forget(_))).count()
}

/// The lines that Ctrl+P goes through.
fn lines_before(world: &mut World, count: usize) -> Vec<String> {
    let line = |world: &mut World| {
        world.keys("<C-p>");
        world.app.composer().text().to_owned()
    };
    (0..count).map(|_| line(world)).collect()
}

#[test]
fn what_was_refused_in_a_room_that_goes_is_not_lost() {
    // Whether the refusals come before the room goes.
    for first in [true, false] {
        let mut world = two_rooms();
        world.online = false;
        world.keys("one<Enter>two<Enter>");
        let refuse = |world: &mut World| {
            let ids: Vec<MessageId> = world.wanted.iter().filter_map(posted).collect();
            ids.into_iter().for_each(|id| world.input(Input::Refused { id, refusal: removed() }));
        };
        if first {
            refuse(&mut world);
            assert_eq!(world.app.layout().unwrap().posts.len(), 2, "they stay where they can be seen");
        }
        goes(&mut world, 2);
        if !first {
            refuse(&mut world);
        }
        assert_eq!(place(&world), "#general");
        let told = said(&world);
        assert!(told.contains("#ops") && told.contains("removed") && told.contains("Ctrl+P has"), "{told}");
        assert_eq!(forgotten(&world), 2, "nothing that nobody can see is kept");
        assert_eq!(lines_before(&mut world, 2), ["two", "one"], "{first}");
    }
}

fn posted(effect: &Effect) -> Option<MessageId> {
    match effect {
        Effect::Deliver(Request::Post { id, .. }) => Some(*id),
        _ => None,
    }
}

#[test]
fn what_was_refused_before_this_start_waits_for_the_list_of_rooms() {
    let mut world = World::new();
    world.host(1, "#general", "");
    let delivery = |number, place: &str| {
        let (target, text) = (target(place), SafeText::new(place));
        let request = Request::Post {
            target: target.clone(),
            id: id(number),
            kind: MessageKind::Plain,
            text,
            reply_to: None,
        };
        let mut delivery = Delivery::new(target, &request, world.now).unwrap();
        delivery.state = State::Refused(removed());
        delivery
    };
    let deliveries = vec![delivery(1, "#general"), delivery(2, "#gone")];
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), deliveries, ..Loaded::default() })));
    assert_eq!(forgotten(&world), 0, "the rooms are yet to come");
    world.connect();
    assert_eq!(world.app.layout().unwrap().posts.len(), 1, "what can be seen stays");
    assert!(said(&world).starts_with("not sent to #gone: you were removed"), "{}", said(&world));
    assert_eq!((forgotten(&world), lines_before(&mut world, 1)), (1, vec!["#gone".to_owned()]));
}

#[test]
fn who_goes_elsewhere_is_not_fetched_back() {
    let open = |world: &mut World| {
        let request = Request::Open { target: target("@dora") };
        let summary = world.rooms[&RoomId(7)].summary.clone();
        world.input(Input::Answer { request, answer: Ok(frame::Reply::Room(summary)) });
    };
    // What happens before the answer, and where the user is then.
    type Meanwhile = fn(&mut World);
    let unanswered = |world: &mut World| {
        let why = Failure::Unanswered(SafeLine::new("timed out"));
        world.input(Input::Answer { request: Request::Open { target: target("@dora") }, answer: Err(why) });
    };
    let table: [(Meanwhile, &str); 3] =
        [(|_| {}, "@dora"), (|world| world.keys("<A-1>"), "#general"), (unanswered, "#ops")];
    for (meanwhile, expected) in table {
        let mut world = two_rooms();
        world.keys("/msg @dora<Enter>");
        meanwhile(&mut world);
        world.host(7, "@dora", "");
        open(&mut world);
        assert_eq!(place(&world), expected);
    }
}

#[test]
fn what_was_asked_without_an_answer_does_not_open_later() {
    let mut world = two_rooms();
    world.screen(120, 40);
    world.lose(3_000);
    world.keys("/members<Enter>");
    assert!(said(&world).starts_with("not connected"));
    world.keys("<C-u>");
    world.connect();
    world.pass(MINUTE);
    world.keys("a draft");
    assert_eq!(world.app.composer().text(), "a draft");
    // Who somebody is, of whom it did not come whether they are away.
    let mut world = two_rooms();
    world.online = false;
    let account = room::AccountSummary {
        name: name("carl"),
        bot: false,
        owner: None,
        admin: false,
        suspended: false,
        online: true,
        created_at: Timestamp(MIDNIGHT),
    };
    let request = Request::WhoIs { name: name("carl") };
    world.input(Input::Answer { request, answer: Ok(frame::Reply::Account(account)) });
    let request = Request::WhoIsAway { target: target("@carl"), after: None };
    let why = Failure::Unanswered(SafeLine::new("timed out"));
    world.input(Input::Answer { request: request.clone(), answer: Err(why) });
    assert_eq!(said(&world), "timed out");
    let away = frame::Reply::Away { members: Vec::new(), more: false };
    world.input(Input::Answer { request, answer: Ok(away) });
    world.keys("a draft");
    assert_eq!(world.app.composer().text(), "a draft");
}

#[test]
fn the_last_room_goes_while_a_word_is_completed() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.said(1, MIDNIGHT + HOUR, "bob", "hello");
    world.said(1, MIDNIGHT + HOUR, "bobby", "hello");
    world.connect();
    world.keys("hello bo<Tab>");
    assert_eq!(world.app.composer().text(), "hello bobby");
    goes(&mut world, 1);
    world.keys("<Tab>x");
    assert_eq!(world.app.composer().text(), "x");
}

#[test]
fn a_mention_of_a_room_that_went_leads_nowhere() {
    let mut world = two_rooms();
    world.says(1, "bob", "@ann look");
    world.keys("/mentions<Enter>");
    assert!(world.screen(80, 24).contains("look"));
    goes(&mut world, 1);
    world.wanted.clear();
    world.keys("<Enter>");
    let room = world.app.rooms().current().unwrap();
    assert_eq!((place(&world).as_str(), room.selected), ("#ops", None));
    assert!(!world.wanted.iter().any(|effect| matches!(effect, Effect::FetchPage { .. })));
    assert_eq!(said(&world), "it is in a room that is not among yours any more");
}

#[test]
fn what_is_about_a_message_that_the_server_lost_is_not_done_to_another() {
    let mut world = two_rooms();
    world.says(2, "ann", "mine");
    let keep = Cursor { epoch: Epoch::FIRST, seq: Seq(1) };
    let reset = |world: &mut World| world.input(Input::Reset { room: RoomId(2), keep, head: keep });
    // What the user does, and whether it is about what is lost.
    let table = [
        ("<Up>", true),
        ("/delete<Enter>", true),
        ("<A-k>/reply<Enter>", true),
        ("<A-k><A-k>/reply<Enter>", false),
        ("words", false),
        ("<Up> and more<A-1>", true),
    ];
    for (keys, about) in table {
        let mut world = two_rooms();
        world.says(2, "ann", "mine");
        world.keys(keys);
        let written = world.app.composer().text().to_owned();
        reset(&mut world);
        assert_eq!(said(&world).contains("the one you were at"), about, "{keys}: {}", said(&world));
        assert_eq!(world.app.composer().text(), written, "{keys}: nothing written is lost");
        world.keys("<A-1><A-2>");
        let kept = world.app.composer().about;
        assert_eq!(
            kept,
            if keys.contains("<A-k><A-k>") { About::Reply(Seq(1)) } else { About::New },
            "{keys}"
        );
        world.wanted.clear();
        world.keys("y");
        assert!(!world.wanted.iter().any(|effect| matches!(effect, Effect::Deliver(_))), "{keys}");
    }
    reset(&mut world);
    assert_eq!(said(&world), "");
}
