//! A private room is to a stranger as if it did not exist: every answer is, byte for byte, the answer of a server
//! that has no such room.

use quip_protocol::{ErrorCode, Refusal, Role, RoomId, SafeLine, SafeText, Seq, Target, Timestamp};
use quip_server::engine::CommandBody;

use crate::consumers::{drop_consumer, move_consumer, open_consumer};
use crate::world::{World, create, id, invite, kick, post, react, reply, room, set_role};

const SECRET: RoomId = RoomId(2);

/// With or without the room; the same people and rooms otherwise.
fn world(secret: bool) -> World {
    let mut world = World::with(&["olga", "spy", "friend"]);
    if secret {
        world.does("olga", create("#secret", true, &["friend"]));
        assert_eq!(world.room_id("#secret"), SECRET);
        world.say("olga", "#secret", "nobody knows");
    }
    world
}

fn attempts() -> Vec<CommandBody> {
    let secret = || room("#secret");
    let (hash, expires) = ([7; 32], Timestamp(1_000_000));
    let text = SafeText::new("x");
    vec![
        post("#secret", 1, "hello"),
        reply("#secret", 2, "hello", Some(2)),
        CommandBody::Join { room: secret() },
        CommandBody::Leave { room: secret() },
        invite("#secret", &["spy"]),
        invite("#secret", &[]),
        kick("#secret", "olga"),
        kick("#secret", "nobody"),
        set_role("#secret", "spy", Role::Owner),
        CommandBody::SetTopic { room: secret(), topic: SafeLine::new("t") },
        CommandBody::Archive { room: secret() },
        CommandBody::NewInvite { hash, room: Some(secret()), admin: false, uses: 1, expires },
        CommandBody::Edit { room: SECRET, target: Seq(2), id: id(3), text },
        CommandBody::Delete { room: SECRET, target: Seq(2), id: id(4) },
        react(SECRET, 2, 5, "+1", true),
        CommandBody::Mark { room: SECRET, seq: Seq(1) },
        CommandBody::Mark { room: SECRET, seq: Seq(9) },
        open_consumer("reader", "#secret", None),
        open_consumer("reader", "#secret", Some(99)),
        move_consumer("reader", SECRET, 1),
        drop_consumer("reader", Some("#secret")),
    ]
}

/// What the queries of a session ask first: `Open`, `Members` and pages resolve, `Watch` and pages read.
fn questions(world: &World) -> [Refusal; 2] {
    let spy = world.account_id("spy");
    let target: Target = "#secret".parse().expect("a valid target");
    let resolved = world.engine.resolve(spy, &target).expect_err("a stranger sees no room");
    let readable = world.engine.readable(spy, SECRET).expect_err("a stranger reads no room");
    [resolved, readable]
}

#[test]
fn a_stranger_cannot_tell_a_private_room_from_none() {
    let (there, absent) = (world(true), world(false));
    for body in attempts() {
        let refusal = there.clone().act("spy", body.clone()).expect_err("refused");
        assert_eq!(refusal.code, ErrorCode::NoSuchRoom, "{body:?}");
        assert_eq!(Err(refusal), absent.clone().act("spy", body.clone()), "{body:?}");
    }
    assert_eq!(questions(&there), questions(&absent));
    let spy = there.account_id("spy");
    let listed = |world: &World| (world.engine.public_rooms(spy, None), world.engine.rooms(spy, None));
    assert_eq!(listed(&there), listed(&absent));
}

#[test]
fn who_left_a_private_room_is_a_stranger_again() {
    let mut there = world(true);
    there.does("olga", invite("#secret", &["spy"]));
    there.does("spy", CommandBody::Leave { room: room("#secret") });
    let absent = world(false);
    for body in attempts() {
        let refusal = there.clone().act("spy", body.clone()).expect_err("refused");
        assert_eq!(Err(refusal), absent.clone().act("spy", body.clone()), "{body:?}");
    }
    assert_eq!(questions(&there), questions(&absent));
}

#[test]
fn an_administrator_is_a_stranger_too() {
    let [mut there, mut absent] = [world(true), world(false)];
    for world in [&mut there, &mut absent] {
        world.admin("root");
    }
    for body in attempts() {
        let refusal = there.clone().act("root", body.clone()).expect_err("refused");
        assert_eq!(Err(refusal), absent.clone().act("root", body.clone()), "{body:?}");
    }
}

#[test]
fn mentioning_a_stranger_in_a_private_room_tells_them_nothing() {
    let mut world = world(true);
    let before = world.inbox("spy");
    world.say("olga", "#secret", "do not tell @spy, @friend");
    assert_eq!(world.inbox("spy"), before);
    assert_eq!(world.sees("friend", "#secret").mentions, 1);
}
