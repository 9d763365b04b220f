//! Very large rooms: what the app makes of digests, and when it asks for what they leave out.

use quip::app::{Effect, Input, Loaded};
use quip_protocol::frame::Request;
use quip_protocol::room::{Digest, RoomSummary};
use quip_protocol::*;

use crate::harness::{MIDNIGHT, World, name};

const OPS: RoomId = RoomId(2);
/// After this long what is missing was asked for, however it was spread.
const SOON: u64 = 61_000;

/// A client with a copy, which looks at #dev; of #ops, of which it has three events, digests come.
fn elsewhere() -> World {
    let mut world = World::new();
    world.host(1, "#dev", "");
    world.host(OPS.0, "#ops", "");
    world.said(1, MIDNIGHT, "bob", "in dev");
    world.said(OPS.0, MIDNIGHT, "bob", "one");
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), ..Loaded::default() })));
    world.connect();
    world.says(OPS.0, "bob", "two");
    world.says(OPS.0, "bob", "three");
    copied(&mut world);
    world.wanted.clear();
    world
}

/// The copy is given everything that it asked for; what that was.
fn copied(world: &mut World) -> Vec<(RoomId, Seq, Seq)> {
    let mut all = Vec::new();
    while let Some(at) = world.wanted.iter().position(|effect| matches!(effect, Effect::Bring { .. })) {
        let Effect::Bring { room, below, floor, .. } = world.wanted.remove(at) else {
            unreachable!("it is one")
        };
        all.push((room, below, floor));
        world.input(Input::Brought { room, whole: floor });
    }
    all
}

/// Messages that do not come, and where the room stands then.
fn told(world: &mut World, texts: &[&str]) {
    for text in texts {
        world.said(OPS.0, world.now.0, "bob", text);
    }
    let RoomSummary { head, .. } = world.rooms[&OPS].summary;
    let digest = Digest { room: OPS, head, messages: head.seq.0, at: world.now };
    world.input(Input::Digest(digest));
}

fn ops(world: &World) -> &RoomSummary {
    &world.app.rooms().get(OPS).unwrap().summary
}

fn at(seq: u64) -> Option<Cursor> {
    Some(Cursor { epoch: Epoch::FIRST, seq: Seq(seq) })
}

/// How rooms were watched since this was asked last.
fn watches(world: &mut World) -> Vec<Request> {
    let wanted = std::mem::take(&mut world.wanted);
    let requests = wanted.into_iter().filter_map(|effect| match effect {
        Effect::Ask(request @ (Request::Watch { .. } | Request::Digest { .. })) => Some(request),
        _ => None,
    });
    requests.collect()
}

#[test]
fn what_a_digest_leaves_out_is_counted_at_once_and_brought_later_all_together() {
    let mut world = elsewhere();
    assert_eq!(ops(&world).unread, 2);
    told(&mut world, &["four", "five"]);
    told(&mut world, &["six"]);
    assert_eq!((ops(&world).unread, ops(&world).head), (5, at(6).unwrap()));
    assert_eq!(world.app.behind(), 0, "nothing is on its way");
    assert_eq!(copied(&mut world), [], "and nothing is asked for each");
    world.pass(SOON);
    assert_eq!(copied(&mut world), [(OPS, Seq(7), Seq(4))], "but once for all");
    world.pass(SOON);
    assert_eq!(copied(&mut world), [], "nothing is missing any more");
    told(&mut world, &["seven"]);
    world.pass(SOON);
    assert_eq!(copied(&mut world), [(OPS, Seq(8), Seq(7))]);
}

#[test]
fn who_comes_has_every_event_from_where_none_is_missing_and_who_left_has_digests_again() {
    let mut world = elsewhere();
    told(&mut world, &["four", "five"]);
    assert_eq!(watches(&mut world), []);
    world.keys("<A-2>");
    assert_eq!(watches(&mut world), [Request::Watch { rooms: vec![(OPS, at(3))] }]);
    assert_eq!(world.app.behind(), 2);
    let missed = world.rooms[&OPS].events[3..].to_vec();
    missed.into_iter().for_each(|event| world.input(Input::Event(event)));
    assert_eq!((world.app.behind(), ops(&world).unread), (0, 0));
    world.keys("<A-1>");
    world.pass(5_000);
    world.keys("<A-2><A-1>");
    world.pass(9_000);
    let of_ops = |requests: Vec<Request>| {
        requests
            .into_iter()
            .any(|request| matches!(request, Request::Digest { rooms } if rooms == [(OPS, at(5))]))
    };
    assert!(!of_ops(watches(&mut world)), "going back and forth asks for nothing");
    world.pass(2_000);
    assert!(of_ops(watches(&mut world)));
}

#[test]
fn a_digest_of_the_room_that_is_seen_asks_for_its_events() {
    let mut world = elsewhere();
    world.keys("<A-2>");
    watches(&mut world);
    told(&mut world, &["four"]);
    assert_eq!(watches(&mut world), [Request::Watch { rooms: vec![(OPS, at(3))] }]);
}

#[test]
fn a_mention_is_told_at_once_and_counted_once() {
    let mut world = elsewhere();
    told(&mut world, &["four"]);
    world.inbox = world.inbox.next();
    let body = NoticeBody::Mentioned { room: OPS, seq: Seq(5), by: name("bob") };
    let notice = Notice { seq: world.inbox, epoch: Epoch::FIRST, at: world.now, body };
    world.pass(10_000);
    world.wanted.clear();
    world.input(Input::Notice(notice));
    assert_eq!(ops(&world).mentions, 1);
    assert!(world.wanted.iter().any(|effect| matches!(effect, Effect::Alert { .. })), "{:?}", world.wanted);
    told(&mut world, &["@ann look"]);
    assert_eq!(ops(&world).mentions, 1);
    world.pass(0);
    assert_eq!(copied(&mut world), [(OPS, Seq(6), Seq(4))], "it is there when the user comes");
}

#[test]
fn where_events_come_the_message_says_itself_that_it_names_the_user() {
    let mut world = elsewhere();
    world.inbox = world.inbox.next();
    let body = NoticeBody::Mentioned { room: OPS, seq: Seq(4), by: name("bob") };
    world.input(Input::Notice(Notice { seq: world.inbox, epoch: Epoch::FIRST, at: world.now, body }));
    assert_eq!(ops(&world).mentions, 0, "it may come before its message");
    world.says(OPS.0, "bob", "@ann look");
    assert_eq!((ops(&world).mentions, ops(&world).unread), (1, 3));
}

#[test]
fn what_another_device_has_read_is_not_unread_whatever_comes_first() {
    let mut world = elsewhere();
    let read = |world: &mut World, seq| {
        world.inbox = world.inbox.next();
        let body = NoticeBody::Read { room: OPS, seq: Seq(seq) };
        world.input(Input::Notice(Notice { seq: world.inbox, epoch: Epoch::FIRST, at: world.now, body }));
    };
    read(&mut world, 4);
    world.says(OPS.0, "bob", "four");
    assert_eq!(ops(&world).unread, 0, "a message");
    read(&mut world, 6);
    told(&mut world, &["five", "six"]);
    assert_eq!(ops(&world).unread, 0, "a digest");
    told(&mut world, &["seven"]);
    assert_eq!(ops(&world).unread, 1);
}
