//! What the app does with what lies on the disk, and without a connection.

use quip::app::outbox::{Delivery, State};
use quip::app::{Effect, Input, Loaded};
use quip_protocol::frame::{PageFrom, Request};
use quip_protocol::*;
use quip_storage::Copied;

use crate::harness::{MIDNIGHT, World, id, name, target};

/// A client that knows the room with four messages of which two are unread, as it was yesterday.
fn kept() -> World {
    let mut world = World::new();
    world.host(1, "#ops", "what runs");
    for text in ["one", "two", "three", "four"] {
        world.said(1, MIDNIGHT, "bob", text);
    }
    world.unread(1, 2, 2, 0);
    let hosted = &world.rooms[&RoomId(1)];
    let cursor = Some(hosted.summary.head);
    let rooms = vec![Copied { summary: hosted.summary.clone(), cursor, whole: Some(Seq(1)) }];
    let loaded = Loaded { me: Some(name("ann")), rooms, ..Loaded::default() };
    world.input(Input::Local(Ok(loaded)));
    world
}

/// The replica answers what the app wanted last.
fn read(world: &mut World) {
    let room = RoomId(1);
    let (events, head) = {
        let hosted = &world.rooms[&room];
        (hosted.events.clone(), hosted.summary.head)
    };
    world.input(Input::Page { room, from: PageFrom::Latest, events, head });
}

#[test]
fn the_first_paint_needs_no_server() {
    let mut world = kept();
    let asked =
        Effect::FetchPage { room: RoomId(1), target: target("#ops"), from: PageFrom::Latest, limit: 50 };
    assert!(world.wanted.contains(&asked), "{:?}", world.wanted);
    read(&mut world);
    let screen = world.screen(80, 24);
    for text in ["#ops", "what runs", "one", "four", "connecting"] {
        assert!(screen.contains(text), "{text}: {screen}");
    }
}

#[test]
fn what_is_read_without_a_connection_is_marked() {
    let mut world = kept();
    read(&mut world);
    assert!(world.wanted.contains(&Effect::Mark { room: RoomId(1), seq: Seq(4) }), "{:?}", world.wanted);
    assert_eq!(world.app.rooms().get(RoomId(1)).unwrap().summary.unread, 0);
}

#[test]
fn rooms_are_watched_from_what_is_kept_and_the_one_that_is_seen_first() {
    let mut world = kept();
    read(&mut world);
    world.host(2, "#dev", "");
    for _ in 0..300 {
        world.said(1, MIDNIGHT, "bob", "missed");
    }
    world.connect();
    let watched = world.wanted.iter().filter_map(|effect| match effect {
        Effect::Ask(request @ (Request::Watch { .. } | Request::Digest { .. })) => Some(request.clone()),
        _ => None,
    });
    let cursor = |seq| Some(Cursor { epoch: Epoch::FIRST, seq: Seq(seq) });
    let seen = Request::Watch { rooms: vec![(RoomId(1), cursor(4))] };
    let others = Request::Digest { rooms: vec![(RoomId(2), cursor(0))] };
    assert_eq!(watched.collect::<Vec<_>>(), [seen, others]);
    assert_eq!(world.app.behind(), 300);
    assert!(world.screen(80, 24).contains("catching up: 300 more"));
    let missed = world.rooms[&RoomId(1)].events[4..].to_vec();
    for event in missed {
        world.input(Input::Event(event));
    }
    assert_eq!(world.app.behind(), 0);
    assert!(world.screen(80, 24).contains("connected to"));
}

#[test]
fn what_was_not_delivered_is_there_again() {
    let mut world = kept();
    let post = |number, text: &str| Request::Post {
        target: target("#ops"),
        id: id(number),
        kind: MessageKind::Plain,
        text: text.into(),
        reply_to: None,
    };
    let waiting = Delivery::new(target("#ops"), &post(90, "still to go"), world.now).unwrap();
    let mut refused = Delivery::new(target("#ops"), &post(91, "not wanted"), world.now).unwrap();
    refused.state = State::Refused(Refusal::new(ErrorCode::Forbidden, "you may not write here"));
    let deliveries = vec![waiting, refused];
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), deliveries, ..Loaded::default() })));
    read(&mut world);
    let screen = world.screen(80, 24);
    assert!(screen.contains("still to go …") && screen.contains("you may not write here"), "{screen}");
    assert_eq!(world.app.waiting(), 1);
    world.keys("<Up>");
    assert_eq!(world.app.composer().text(), "not wanted");
    assert!(world.wanted.contains(&Effect::Forget(id(91))), "what is taken back is not kept");
}

#[test]
fn leaving_with_something_to_deliver_asks_only_where_it_would_be_lost() {
    for keeps in [true, false] {
        let mut world = if keeps { kept() } else { World::new() };
        if !keeps {
            world.host(1, "#ops", "");
            world.connect();
            world.lose(5_000);
        }
        world.keys("hello<Enter><C-q>");
        assert_eq!(world.wanted.contains(&Effect::Quit), keeps);
    }
}

#[test]
fn the_room_where_the_user_was_is_seen_first() {
    for (last, seen) in [(None, "#general"), (Some("#ops"), "#ops"), (Some("#gone"), "#general")] {
        let mut world = World::new();
        world.host(1, "#general", "");
        world.host(2, "#ops", "");
        let summaries = world.rooms.values().map(|hosted| hosted.summary.clone());
        let rooms = summaries.map(|summary| Copied { summary, cursor: None, whole: None }).collect();
        let last = last.map(target);
        world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), rooms, last, ..Loaded::default() })));
        let current = world.app.rooms().current().unwrap().summary.target.to_string();
        assert_eq!(current, seen);
    }
}

#[test]
fn where_something_is_kept_it_is_said_so() {
    let mut world = kept();
    world.connect();
    world.lose(3_000);
    let told = quip::app::plain::Narrator::default().news(&world.app);
    assert_eq!(told[0], "-- offline from home: timed out; what you write is kept");
}

#[test]
fn nothing_can_be_kept() {
    let mut world = World::new();
    world.input(Input::Local(Err(SafeLine::new("it is in use by process 7"))));
    assert!(world.screen(80, 24).contains("process 7"));
}
