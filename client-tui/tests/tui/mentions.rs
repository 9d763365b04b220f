//! Messages that name the user, and rooms that are looked at without being read.

use quip::app::mentions::Mention;
use quip::app::{Effect, Input};
use quip_protocol::frame::Request;
use quip_protocol::*;

use crate::harness::*;

fn talking() -> World {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    for n in 0..120 {
        world.said(2, MIDNIGHT + n * MINUTE, "bob", if n == 4 { "@ann old" } else { "noise" });
    }
    world.said(1, MIDNIGHT + HOUR, "carl", "see @ann, please");
    world.unread(1, 0, 1, 1);
    world.unread(2, 110, 10, 1);
    world.connect();
    world
}

fn place(world: &World) -> String {
    world.app.rooms().current().map_or(String::new(), |room| room.summary.target.to_string())
}

fn marked(world: &World) -> Vec<u64> {
    let marks = world.wanted.iter().filter_map(|effect| match effect {
        Effect::Mark { room, .. } => Some(room.0),
        _ => None,
    });
    marks.collect()
}

fn found() -> Mention {
    Mention {
        elsewhere: None,
        room: RoomId(2),
        target: target("#ops"),
        seq: Seq(5),
        at: Timestamp(MIDNIGHT + 4 * MINUTE),
        author: name("bob"),
        text: "@ann old".into(),
    }
}

#[test]
fn mentions_of_all_rooms_are_listed_and_gone_to() {
    for (columns, rows) in [(80, 24), (120, 40), (40, 10)] {
        let mut world = talking();
        world.input(Input::Local(Ok(quip::app::Loaded { me: Some(name("ann")), ..Default::default() })));
        world.keys("<A-1>");
        world.keys("<A-n>");
        assert!(world.wanted.contains(&Effect::FindMentions(name("ann"))));
        // One that is in memory as well comes once.
        world.input(Input::Mentions(vec![found(), found()]));
        let screen = world.screen(columns, rows);
        assert!(screen.contains("#general carl") && screen.matches("#ops bob").count() == 1, "{screen}");
        // The newest is chosen first; the older one is not at hand and is fetched.
        world.keys("<Down><Enter>");
        assert_eq!(place(&world), "#ops");
        let screen = world.screen(columns, rows);
        assert!(screen.contains("@ann old"), "{screen}");
    }
}

#[test]
fn a_mention_in_a_room_that_was_never_opened_is_found() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.host(2, "#ops", "");
    world.said(1, MIDNIGHT, "bob", "for @ann");
    world.said(2, MIDNIGHT + HOUR, "carl", "also for @ann");
    world.unread(1, 0, 1, 1);
    world.unread(2, 0, 1, 1);
    world.connect();
    world.keys("<A-n>");
    let screen = world.screen(80, 24);
    assert!(screen.contains("#ops carl     also for @ann"), "{screen}");
    assert!(!marked(&world).contains(&2), "looking for mentions reads nothing");
}

#[test]
fn mentions_are_narrowed_by_typing() {
    let mut world = talking();
    world.keys("/mentions<Enter>");
    world.input(Input::Mentions(vec![found()]));
    world.keys("old<Enter>");
    assert_eq!(place(&world), "#ops");
}

#[test]
fn nobody_named_the_user() {
    let mut world = World::new();
    world.host(1, "#general", "");
    world.connect();
    world.keys("<A-n>");
    assert!(world.screen(80, 24).contains("nobody named you"));
    world.keys("<Enter>");
    assert_eq!(place(&world), "#general");
}

#[test]
fn a_room_that_is_peeked_at_stays_unread() {
    for keys in ["/peek #ops<Enter>", "<A-@>"] {
        let mut world = talking();
        world.keys("<A-1>");
        world.wanted.clear();
        world.keys(keys);
        world.says(2, "bob", "while I look");
        world.pass(5_000);
        let screen = world.screen(80, 24);
        assert!(
            screen.contains("while I look") && screen.contains("#ops stays unread; Esc reads it"),
            "{screen}"
        );
        assert_eq!((place(&world).as_str(), marked(&world)), ("#ops", vec![]));
        assert!(world.app.rooms().get(RoomId(2)).unwrap().summary.unread > 10);
        world.keys("<Esc>");
        assert_eq!(marked(&world), [2]);
        assert_eq!(world.app.rooms().get(RoomId(2)).unwrap().summary.unread, 0);
    }
}

#[test]
fn going_to_a_room_or_writing_there_reads_it() {
    for keys in ["<A-1><A-2>", "hello<Enter>"] {
        let mut world = talking();
        world.keys("<A-1>");
        world.wanted.clear();
        world.keys("/peek #ops<Enter>");
        world.pass(5_000);
        assert!(marked(&world).is_empty());
        world.keys(keys);
        world.pass(5_000);
        assert!(marked(&world).contains(&2), "{keys}");
    }
}

#[test]
fn a_message_is_made_unread_again() {
    let mut world = talking();
    world.keys("<A-2>");
    world.pass(5_000);
    assert_eq!(world.app.rooms().get(RoomId(2)).unwrap().summary.unread, 0);
    world.keys("<A-k><A-k><A-k>/unread<Enter>");
    let request = Request::MarkUnread { room: RoomId(2), seq: Seq(118) };
    assert!(world.wanted.contains(&Effect::Ask(request)));
    // The server tells all devices, this one too, and counts.
    world.unread(2, 117, 3, 0);
    world.wanted.clear();
    let body = NoticeBody::Unread { room: RoomId(2), seq: Seq(118) };
    world.input(Input::Notice(Notice { seq: Seq(1), epoch: Epoch::FIRST, at: world.now, body }));
    world.pass(5_000);
    let summary = &world.app.rooms().get(RoomId(2)).unwrap().summary;
    assert_eq!((summary.read, summary.unread, marked(&world)), (Seq(117), 3, vec![]));
    assert!(world.screen(80, 24).contains("── new ──"));
    world.keys("<A-1><A-2>");
    world.pass(5_000);
    assert!(marked(&world).contains(&2));
}
