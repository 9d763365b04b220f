//! Durable cursors: whose they are, where they start, that they only move forward.

use quip_protocol::limits::MAX_CONSUMERS;
use quip_protocol::{Cursor, Epoch, ErrorCode, RoomId, Seq};
use quip_server::engine::{Actor, CommandBody, Engine, Outcome};

use crate::world::{World, create, invite, key, kick, snapshot};

pub fn open_consumer(name: &str, target: &str, since: Option<u64>) -> CommandBody {
    let (name, target) = (name.parse().expect("a valid name"), target.parse().expect("a valid target"));
    CommandBody::OpenConsumer { name, target, since: since.map(Seq) }
}

pub fn drop_consumer(name: &str, target: Option<&str>) -> CommandBody {
    let target = target.map(|target| target.parse().expect("a valid target"));
    CommandBody::DropConsumer { name: name.parse().expect("a valid name"), target }
}

fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: Epoch::FIRST, seq: Seq(seq) }
}

pub fn move_consumer(name: &str, room: RoomId, seq: u64) -> CommandBody {
    CommandBody::MoveConsumer { name: name.parse().expect("a valid name"), room, cursor: cursor(seq) }
}

/// `#ops` of ann and bob, whose log stands at 6.
fn world() -> (World, RoomId) {
    let mut world = World::with(&["ann", "bob", "eve"]);
    world.does("ann", create("#ops", true, &["bob"]));
    for n in 0..5 {
        world.say("ann", "#ops", &format!("message {n}"));
    }
    let ops = world.room_id("#ops");
    assert_eq!(world.sees("ann", "#ops").head, cursor(6));
    (world, ops)
}

#[test]
fn where_a_consumer_starts() {
    let (mut world, room) = world();
    let table = [
        ("from-now", None, 6, true),
        ("from-now", Some(0), 6, false),
        ("all", Some(0), 0, true),
        ("some", Some(4), 4, true),
        ("some", None, 4, false),
        ("last", Some(6), 6, true),
    ];
    for (name, since, seq, new) in table {
        let found = world.does("ann", open_consumer(name, "#ops", since));
        assert_eq!(found, Outcome::Consumer { room, cursor: cursor(seq), new }, "{name} {since:?}");
    }
    world.refuses("ann", open_consumer("ahead", "#ops", Some(7)), ErrorCode::NoSuchMessage);
    world.refuses("ann", move_consumer("ahead", room, 1), ErrorCode::BadRequest);
}

#[test]
fn it_only_moves_forward_and_no_further_than_the_log() {
    let (mut world, room) = world();
    world.does("ann", open_consumer("deploy", "#ops", Some(0)));
    for (to, at) in [(3, 3), (2, 3), (3, 3), (0, 3), (6, 6)] {
        assert_eq!(world.does("ann", move_consumer("deploy", room, to)), Outcome::Done);
        let found = world.does("ann", open_consumer("deploy", "#ops", None));
        assert_eq!(found, Outcome::Consumer { room, cursor: cursor(at), new: false }, "moved to {to}");
    }
    world.refuses("ann", move_consumer("deploy", room, 7), ErrorCode::NoSuchMessage);
    let newer = Cursor { epoch: Epoch(2), seq: Seq(1) };
    let body =
        CommandBody::MoveConsumer { name: "deploy".parse().expect("a valid name"), room, cursor: newer };
    world.refuses("ann", body, ErrorCode::NoSuchMessage);
    let changes = world.changes.len();
    world.does("ann", move_consumer("deploy", room, 6));
    assert_eq!(world.changes.len(), changes, "what was acknowledged before changes nothing");
}

#[test]
fn each_account_and_room_has_its_own() {
    let (mut world, room) = world();
    world.does("ann", open_consumer("deploy", "#ops", Some(2)));
    world.does("ann", open_consumer("deploy", "#general", Some(1)));
    world.does("bob", open_consumer("deploy", "#ops", Some(0)));
    world.does("bob", move_consumer("deploy", room, 5));
    let found = world.does("ann", open_consumer("deploy", "#ops", None));
    assert_eq!(found, Outcome::Consumer { room, cursor: cursor(2), new: false });
    assert!(Engine::from_snapshot(snapshot(&world.changes)) == world.engine, "and all of it is stored");
}

#[test]
fn only_who_may_read_has_a_consumer() {
    let (mut world, room) = world();
    world.refuses("eve", open_consumer("spy", "#ops", None), ErrorCode::NoSuchRoom);
    world.refuses("eve", move_consumer("spy", room, 1), ErrorCode::NoSuchRoom);
    world.refuses("ann", open_consumer("talk", "@bob", None), ErrorCode::NoSuchRoom);
    world.does("bob", open_consumer("deploy", "#ops", None));
    world.does("ann", kick("#ops", "bob"));
    world.refuses("bob", open_consumer("deploy", "#ops", None), ErrorCode::Removed);
    world.refuses("bob", move_consumer("deploy", room, 7), ErrorCode::Removed);
    world.does("ann", invite("#ops", &["bob"]));
    let found = world.does("bob", open_consumer("deploy", "#ops", None));
    assert_eq!(found, Outcome::Consumer { room, cursor: cursor(6), new: false }, "it is where it was");
    // In a public room everyone may read.
    world.does("ann", create("#open", false, &[]));
    assert!(matches!(world.does("eve", open_consumer("log", "#open", None)), Outcome::Consumer { .. }));
}

#[test]
fn there_are_only_so_many() {
    let (mut world, room) = world();
    for n in 0..MAX_CONSUMERS {
        let body = open_consumer(&format!("c{n}"), "#ops", None);
        world.apply_unchecked(Actor::Device(key("ann")), body).expect("within the limit");
    }
    world.refuses("ann", open_consumer("more", "#ops", None), ErrorCode::TooMany);
    world.refuses("ann", open_consumer("more", "#general", None), ErrorCode::TooMany);
    let found = world.does("ann", open_consumer("c7", "#ops", None));
    assert_eq!(found, Outcome::Consumer { room, cursor: cursor(6), new: false });
    assert!(world.act("bob", open_consumer("c7", "#ops", None)).is_ok(), "another account has its own limit");
}

#[test]
fn what_is_forgotten_makes_room_and_starts_anew() {
    let (mut world, room) = world();
    let ann = world.account_id("ann");
    for target in ["#ops", "#general"] {
        world.does("ann", open_consumer("deploy", target, Some(1)));
    }
    world.does("ann", open_consumer("other", "#ops", Some(2)));
    world.does("bob", open_consumer("deploy", "#ops", Some(0)));
    let listed = |world: &World| -> Vec<String> {
        let all = world.engine.consumers(ann).into_iter();
        all.map(|c| format!("{} {} {}", c.target, c.name, c.cursor.seq)).collect()
    };
    assert_eq!(listed(&world), ["#general deploy 1", "#ops deploy 1", "#ops other 2"]);
    world.does("ann", drop_consumer("deploy", Some("#ops")));
    assert_eq!(listed(&world), ["#general deploy 1", "#ops other 2"]);
    world.refuses("ann", drop_consumer("deploy", Some("#ops")), ErrorCode::BadRequest);
    world.refuses("ann", drop_consumer("deploy", Some("#nothing")), ErrorCode::NoSuchRoom);
    world.refuses("ann", drop_consumer("never", None), ErrorCode::BadRequest);
    world.does("ann", drop_consumer("deploy", None));
    world.does("ann", drop_consumer("other", None));
    assert!(listed(&world).is_empty());
    assert!(Engine::from_snapshot(snapshot(&world.changes)) == world.engine, "and none of it is stored");
    let found = world.does("ann", open_consumer("deploy", "#ops", None));
    assert_eq!(found, Outcome::Consumer { room, cursor: cursor(6), new: true });
    // Also where one may read no more, and where one does not even know of the room any more.
    world.does("ann", kick("#ops", "bob"));
    world.does("bob", drop_consumer("deploy", None));
    world.does("ann", invite("#ops", &["eve"]));
    world.does("eve", open_consumer("deploy", "#ops", None));
    world.does("eve", CommandBody::Leave { room: crate::world::room("#ops") });
    world.refuses("eve", open_consumer("deploy", "#ops", None), ErrorCode::NoSuchRoom);
    world.does("eve", drop_consumer("deploy", Some("#ops")));
}
