//! Entering, leaving, being removed; direct rooms; rooms made with all their members.

use quip_protocol::limits::{MAX_LINE, MAX_NAMED_IN_EVENT};
use quip_protocol::{ErrorCode, EventBody, NoticeBody, Role, RoomKind, SafeLine, Seq, Target};
use quip_server::engine::{Actor, CommandBody, Outcome};
use quip_storage::record::Change;

use crate::world::{World, account, create, invite, key, kick, post, reply, room, set_role, snapshot};

fn join(name: &str) -> CommandBody {
    CommandBody::Join { room: room(name) }
}

#[test]
fn who_was_removed_comes_back_only_by_a_moderator() {
    let mut world = World::with(&["olga", "ann", "bob", "mod"]);
    world.does("olga", create("#ops", false, &["ann", "bob", "mod"]));
    world.does("olga", set_role("#ops", "mod", Role::Moderator));
    let ops = world.room_id("#ops");
    world.does("mod", kick("#ops", "ann"));
    let leave = CommandBody::Leave { room: room("#ops") };
    for body in [post("#ops", 1, "let me in"), join("#ops"), CommandBody::Mark { room: ops, seq: Seq(1) }] {
        world.refuses("ann", body, ErrorCode::Removed);
    }
    world.refuses("ann", leave, ErrorCode::NotMember);
    let ann = world.account_id("ann");
    assert_eq!(world.engine.readable(ann, ops).map_err(|r| r.code), Err(ErrorCode::Removed));
    assert_eq!(world.engine.rooms(ann, None).0.len(), 1, "only #general is left");
    assert_eq!((world.sees("ann", "#ops").role, world.sees("ann", "#ops").members), (None, 3));

    world.refuses("mod", kick("#ops", "ann"), ErrorCode::NotMember);
    world.refuses("bob", invite("#ops", &["ann"]), ErrorCode::Forbidden);
    world.does("mod", invite("#ops", &["ann"]));
    assert_eq!(world.sees("ann", "#ops").role, Some(Role::Member));
    world.say("ann", "#ops", "back");
    let gone: Vec<_> =
        world.inbox("ann").into_iter().filter(|n| matches!(n, NoticeBody::Gone { .. })).collect();
    let target = Target::Room(room("#ops"));
    assert_eq!(gone, vec![NoticeBody::Gone { room: ops, target, by: account("mod") }]);
}

#[test]
fn entering_twice_and_inviting_who_is_in_does_nothing() {
    let mut world = World::with(&["olga", "ann"]);
    world.does("olga", create("#ops", false, &[]));
    world.does("ann", join("#ops"));
    let before = world.changes.len();
    world.does("ann", join("#ops"));
    world.does("ann", invite("#ops", &["ann", "olga"]));
    assert_eq!(world.changes.len(), before);
    world.refuses("ann", invite("#ops", &[]), ErrorCode::TooMany);
    world.refuses("ann", invite("#ops", &["nobody"]), ErrorCode::NoSuchAccount);
}

#[test]
fn many_who_are_invited_are_counted_and_some_are_named() {
    let names: Vec<String> = (0..40).map(|n| format!("p{n}")).collect();
    let mut people: Vec<&str> = names.iter().map(String::as_str).collect();
    people.push("olga");
    let mut world = World::with(&people);
    world.does("olga", create("#ops", true, &[]));
    // Twice the same name is one member.
    people.push("p0");
    world.does("olga", invite("#ops", &people));
    let ops = world.room_id("#ops");
    let EventBody::Invited { who, count } = &world.event(ops, 2).body else { panic!("an invitation") };
    assert_eq!((who.len(), *count), (MAX_NAMED_IN_EVENT, 40));
    assert_eq!(world.sees("olga", "#ops").members, 41);
}

#[test]
fn a_room_needs_a_free_name_and_known_members() {
    let mut world = World::with(&["olga", "ann"]);
    world.does("olga", create("#ops", false, &["ann", "ann", "olga"]));
    assert_eq!(world.sees("ann", "#ops").members, 2, "each once");
    world.refuses("ann", create("#ops", true, &[]), ErrorCode::NameTaken);
    world.refuses("ann", create("#general", false, &[]), ErrorCode::NameTaken);
    world.refuses("ann", create("#new", false, &["nobody"]), ErrorCode::NoSuchAccount);
    let topic = SafeLine::new(&"x".repeat(MAX_LINE + 1));
    let long = CommandBody::CreateRoom { name: room("#new"), private: false, topic, members: Vec::new() };
    world.refuses("ann", long, ErrorCode::TooLong);
}

#[test]
fn direct_rooms_are_made_once_and_for_two() {
    let mut world = World::with(&["ann", "bob", "eve"]);
    world.say("ann", "@bob", "psst");
    world.say("bob", "@ann", "yes?");
    let (of_ann, of_bob) = (world.sees("ann", "@bob"), world.sees("bob", "@ann"));
    assert_eq!((of_ann.id, of_ann.members, of_ann.kind), (of_bob.id, 2, RoomKind::Direct));
    assert_eq!((of_ann.unread, of_bob.unread), (1, 0), "who answers has read");
    let opened = world.does("bob", CommandBody::OpenDirect { with: account("ann") });
    assert_eq!(opened, Outcome::Room(of_ann.id));
    let eve = world.account_id("eve");
    assert_eq!(world.engine.readable(eve, of_ann.id).map_err(|r| r.code), Err(ErrorCode::NoSuchRoom));
    world.refuses("eve", CommandBody::Mark { room: of_ann.id, seq: Seq(1) }, ErrorCode::NoSuchRoom);
    world.refuses("ann", post("@nobody", 9, "hello"), ErrorCode::NoSuchAccount);
}

#[test]
fn notes_to_oneself() {
    let mut world = World::with(&["ann"]);
    world.say("ann", "@ann", "milk");
    let notes = world.sees("ann", "@ann");
    assert_eq!((notes.members, notes.unread, notes.head.seq), (1, 0, Seq(1)));
    let entered = world
        .inbox("ann")
        .into_iter()
        .filter(|n| matches!(n, NoticeBody::Entered { room, .. } if *room == notes.id));
    assert_eq!(entered.count(), 1);
}

/// A first message that answers nothing that is there must not leave the room behind it.
#[test]
fn a_refused_first_message_makes_no_direct_room() {
    let mut world = World::with(&["ann", "bob"]);
    world.refuses("ann", reply("@bob", 1, "re:", Some(1)), ErrorCode::NoSuchMessage);
    world.refuses("ann", post("@bob", 2, "  "), ErrorCode::BadRequest);
    let ann = world.account_id("ann");
    assert_eq!(
        world.engine.resolve(ann, &"@bob".parse().unwrap()).map_err(|r| r.code),
        Err(ErrorCode::NoSuchRoom)
    );
    world.say("ann", "@bob", "hello");
    world.does("bob", reply("@ann", 3, "re: hello", Some(1)));
}

#[test]
fn ten_thousand_members_enter_with_one_command_and_are_told_once() {
    let mut world = World::with(&["olga"]);
    let names: Vec<String> = (0..9_999).map(|n| format!("p{n}")).collect();
    for name in &names {
        let body = CommandBody::Register { name: account(name), label: SafeLine::default() };
        world.apply_unchecked(Actor::Device(key(name)), body).unwrap();
    }
    let before = world.changes.len();
    let members: Vec<&str> = names.iter().map(String::as_str).collect();
    world.does("olga", create("#all", true, &members));
    let all = world.room_id("#all");
    let state = world.engine.room(all).unwrap();
    assert_eq!((state.members(), state.head.cursor.seq), (10_000, Seq(1)));
    let mut told = vec![0; 10_001];
    for change in &world.changes[before..] {
        if let Change::Notice(recorded) = change {
            assert!(matches!(&recorded.notice.body, NoticeBody::Entered { room, .. } if *room == all));
            told[recorded.account.0 as usize] += 1;
        }
    }
    assert_eq!(told[0], 0);
    assert!(told[1..].iter().all(|n| *n == 1), "each exactly once");
    assert!(quip_server::engine::Engine::from_snapshot(snapshot(&world.changes)) == world.engine);
}
