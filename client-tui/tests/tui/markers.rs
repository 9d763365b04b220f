//! Read markers: the server is told of every one, whatever the user does next.

use quip::app::{Effect, Input};
use quip_protocol::*;

use crate::harness::*;

/// Two rooms, of which the second is seen; what was read so far is told.
fn reading() -> World {
    let mut world = World::new();
    for (room, what) in [(1, "#general"), (2, "#ops")] {
        world.host(room, what, "");
        world.said(room, MIDNIGHT, "bob", "hello");
        world.unread(room, 0, 1, 0);
    }
    world.connect();
    world.keys("<A-1><A-2>");
    world.pass(5_000);
    world.says(2, "bob", "now");
    assert_eq!(told(&world).last(), Some(&(2, 2)));
    world.wanted.clear();
    world
}

fn told(world: &World) -> Vec<(u64, u64)> {
    let mark = |effect: &Effect| match effect {
        Effect::Mark { room, seq } => Some((room.0, seq.0)),
        _ => None,
    };
    world.wanted.iter().filter_map(mark).collect()
}

#[test]
fn what_was_read_last_is_told_when_the_user_goes_on() {
    type Goes = fn(&mut World);
    let ways: [(&str, Goes); 4] = [
        ("to another room", |world| world.keys("<A-1>")),
        ("to look at another room", |world| world.keys("/peek #general<Enter>")),
        ("to another window", |world| world.input(Input::Focus(false))),
        ("nowhere", |world| world.pass(1_000)),
    ];
    for (way, goes) in ways {
        let mut world = reading();
        world.now = world.now.plus_ms(300);
        world.says(2, "bob", "and now");
        assert_eq!(told(&world), [], "not with every message");
        assert_eq!(world.app.untold().collect::<Vec<_>>(), [(RoomId(2), Seq(3))]);
        goes(&mut world);
        assert_eq!(told(&world), [(2, 3)], "{way}");
        assert_eq!(world.app.untold().count(), 0, "{way}");
        world.pass(MINUTE);
        assert_eq!(told(&world).len(), 1, "{way}: once");
    }
}

#[test]
fn what_the_server_did_not_take_is_told_again_wherever_the_user_is() {
    let mut world = reading();
    world.keys("<A-1>");
    world.wanted.clear();
    world.input(Input::MarkFailed { room: RoomId(2), seq: Seq(2) });
    for (after, expected) in [(0, 0), (2_900, 0), (200, 1), (10_000, 1)] {
        world.pass(after);
        assert_eq!(told(&world), vec![(2, 2); expected], "{after}");
    }
    // A connection is needed for it, or a disk to keep it on.
    world.lose(3_000);
    world.wanted.clear();
    world.input(Input::MarkFailed { room: RoomId(2), seq: Seq(2) });
    world.pass(10_000);
    assert_eq!(told(&world), []);
    world.connect();
    world.pass(500);
    assert_eq!(told(&world), [(2, 2)]);
}
