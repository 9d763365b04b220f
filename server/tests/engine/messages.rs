//! Messages: repeated, too long, answered, amended, counted, marked as read.

use quip_protocol::limits::{
    MAX_EDITS_KEPT, MAX_EMOJI, MAX_REACTIONS, MAX_REACTORS, MAX_TEXT, MAX_UNREAD_MENTIONS,
};
use quip_protocol::{ErrorCode, EventBody, NoticeBody, Role, RoomId, SafeText, Seq};
use quip_server::engine::CommandBody;

use crate::world::{World, account, create, id, post, react, reply, room, set_role};

const OPS: RoomId = RoomId(2);

/// `#ops` of ann, with bob.
fn ops() -> World {
    let mut world = World::with(&["ann", "bob", "eve"]);
    world.does("ann", create("#ops", false, &["bob"]));
    world
}

fn edit(target: u64, number: u128, text: &str) -> CommandBody {
    CommandBody::Edit { room: OPS, target: Seq(target), id: id(number), text: SafeText::new(text) }
}

fn delete(target: u64, number: u128) -> CommandBody {
    CommandBody::Delete { room: OPS, target: Seq(target), id: id(number) }
}

fn mark(seq: u64) -> CommandBody {
    CommandBody::Mark { room: OPS, seq: Seq(seq) }
}

#[test]
fn a_repeated_id_gives_the_first_receipt_and_changes_nothing() {
    let mut world = ops();
    let commands = [post("#ops", 1, "once"), edit(2, 2, "Once"), react(OPS, 2, 3, "+1", true), delete(2, 4)];
    let receipts: Vec<_> = commands.iter().map(|body| world.does("ann", body.clone())).collect();
    // Whatever else has become of the room and the account's place in it.
    world.does("ann", set_role("#ops", "bob", Role::Owner));
    world.does("ann", CommandBody::Leave { room: room("#ops") });
    let before = (world.changes.len(), world.engine.clone());
    for (body, receipt) in commands.iter().zip(&receipts) {
        assert_eq!(world.does("ann", body.clone()), *receipt);
    }
    // Another place and another text make no other message of it.
    assert_eq!(world.does("ann", post("#general", 1, "something else")), receipts[0]);
    assert!(before == (world.changes.len(), world.engine.clone()));
    for body in commands {
        world.refuses("bob", body, ErrorCode::IdReused);
    }
}

#[test]
fn texts_have_limits() {
    let mut world = ops();
    world.say("ann", "#ops", "hello");
    let fits = "x".repeat(MAX_TEXT);
    let table = [("", Some(ErrorCode::BadRequest)), (" \n\t", Some(ErrorCode::BadRequest)), (&fits, None)];
    for (n, (text, refused)) in table.into_iter().enumerate() {
        let n = n as u128 * 2 + 10;
        let results = [world.act("ann", post("#ops", n, text)), world.act("ann", edit(2, n + 1, text))];
        assert_eq!(results.map(|r| r.err().map(|r| r.code)), [refused; 2], "{} bytes", text.len());
    }
    let long = "x".repeat(MAX_TEXT + 1);
    let refusal = world.act("ann", post("#ops", 90, &long)).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::TooLong);
    assert!(refusal.text.as_str().contains(&MAX_TEXT.to_string()), "{refusal}");
    world.refuses("ann", edit(2, 91, &long), ErrorCode::TooLong);
}

#[test]
fn only_a_message_that_is_there_is_answered_or_amended() {
    let mut world = ops();
    world.say("ann", "#ops", "hello");
    world.say("ann", "#ops", "gone soon");
    world.does("ann", delete(3, 1));
    // Before the first, an event that is no message, deleted, the deletion, and behind the last.
    for target in [0, 1, 3, 4, 5, u64::MAX] {
        let n = 10 + u128::from(target) * 10;
        let refused = [
            reply("#ops", n, "re:", Some(target)),
            edit(target, n + 1, "x"),
            delete(target, n + 2),
            react(OPS, target, n + 3, "+1", true),
            react(OPS, target, n + 4, "+1", false),
        ];
        for body in refused {
            world.refuses("ann", body, ErrorCode::NoSuchMessage);
        }
    }
    world.does("bob", reply("#ops", 2, "re: hello", Some(2)));
}

#[test]
fn reactions_have_limits() {
    let mut world = ops();
    world.say("ann", "#ops", "vote");
    let wrong = ["", "  ", &"x".repeat(MAX_EMOJI + 1)];
    for (n, emoji) in wrong.into_iter().enumerate() {
        world.refuses("bob", react(OPS, 2, n as u128, emoji, true), ErrorCode::TooLong);
    }
    for n in 0..MAX_REACTIONS {
        world.does("bob", react(OPS, 2, 100 + n as u128, &format!("e{n}"), true));
    }
    world.refuses("bob", react(OPS, 2, 200, "one more", true), ErrorCode::TooMany);
    world.does("bob", react(OPS, 2, 201, "e0", true));
    world.does("bob", react(OPS, 2, 202, "e0", false));
    world.does("bob", react(OPS, 2, 203, "one more", true));
    let names: Vec<String> = (0..MAX_REACTORS).map(|n| format!("p{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        world.register(name);
        world.does(name, CommandBody::Join { room: room("#ops") });
        let result = world.act(name, react(OPS, 2, 300 + n as u128, "e1", true));
        let expected = (n + MAX_REACTIONS >= MAX_REACTORS).then_some(ErrorCode::TooMany);
        assert_eq!(result.err().map(|r| r.code), expected, "reaction {}", n + MAX_REACTIONS + 1);
    }
}

#[test]
fn a_message_is_made_unread_again() {
    let mut world = ops();
    let seqs: Vec<u64> = ["one", "two @bob", "three"].iter().map(|it| world.say("ann", "#ops", it)).collect();
    world.does("bob", mark(seqs[2]));
    let unmark = |seq: u64| CommandBody::MarkUnread { room: OPS, seq: Seq(seq) };
    world.does("bob", unmark(seqs[1]));
    let seen = world.sees("bob", "#ops");
    assert_eq!((seen.read.0, seen.unread, seen.mentions), (seqs[1] - 1, 2, 1));
    assert_eq!(world.inbox("bob").last(), Some(&NoticeBody::Unread { room: OPS, seq: Seq(seqs[1]) }));
    // What is unread already stays so; then the marker goes on as before.
    world.does("bob", unmark(seqs[2]));
    assert_eq!(world.sees("bob", "#ops").read.0, seqs[1] - 1);
    world.does("bob", mark(seqs[2]));
    let seen = world.sees("bob", "#ops");
    assert_eq!((seen.unread, seen.mentions), (0, 0));
    world.refuses("bob", unmark(1), ErrorCode::NoSuchMessage);
}

#[test]
fn unread_counts_messages_and_ones_own_post_is_read() {
    let mut world = ops();
    let unread = |world: &World, name| {
        let room = world.sees(name, "#ops");
        (room.unread, room.mentions, room.read.0)
    };
    assert_eq!(unread(&world, "bob"), (0, 0, 0));
    world.say("ann", "#ops", "one");
    world.does("ann", edit(2, 1, "One"));
    world.say("ann", "#ops", "two, @bob");
    assert_eq!(unread(&world, "ann"), (0, 0, 4), "who writes has read");
    assert_eq!(unread(&world, "bob"), (2, 1, 0), "an edit is no message");
    world.does("bob", mark(2));
    assert_eq!(unread(&world, "bob"), (1, 1, 2));
    world.does("bob", mark(1));
    assert_eq!(unread(&world, "bob"), (1, 1, 2), "markers only go forward");
    world.refuses("bob", mark(5), ErrorCode::NoSuchMessage);
    world.refuses("eve", mark(2), ErrorCode::NotMember);
    world.does("bob", mark(4));
    assert_eq!(unread(&world, "bob"), (0, 0, 4));
    assert_eq!(world.inbox("bob").last(), Some(&NoticeBody::Read { room: OPS, seq: Seq(4) }));
    world.say("ann", "#ops", "@bob?");
    world.say("bob", "#ops", "yes");
    assert_eq!(unread(&world, "bob"), (0, 0, 6));
    world.does("ann", crate::world::invite("#ops", &["eve"]));
    assert_eq!(unread(&world, "eve"), (0, 0, 7), "who comes has read what was before");
    assert_eq!(unread(&world, "ann").0, 1);
}

#[test]
fn mentions_wake_members_and_are_counted_up_to_a_limit() {
    let mut world = ops();
    let mentioned = |world: &World, name| {
        world.inbox(name).iter().filter(|n| matches!(n, NoticeBody::Mentioned { .. })).count()
    };
    world.say("ann", "#ops", "@bob @bob @ann @eve @nobody bob@example.org");
    assert_eq!(["ann", "bob", "eve"].map(|name| mentioned(&world, name)), [0, 1, 0]);
    for _ in 0..MAX_UNREAD_MENTIONS {
        world.say("ann", "#ops", "@bob!");
    }
    assert_eq!(world.sees("bob", "#ops").mentions, MAX_UNREAD_MENTIONS);
    let seq = world.say("ann", "@bob", "hello @bob");
    assert_eq!((seq, world.sees("bob", "@ann").mentions), (1, 0), "all of a direct room is for the other");
}

#[test]
fn amended_messages_show_what_is_true_now() {
    let mut world = ops();
    world.say("ann", "#ops", "helo");
    world.does("ann", edit(2, 1, "hello"));
    world.does("bob", react(OPS, 2, 2, "+1", true));
    let message = world.event(OPS, 2).message().unwrap();
    assert_eq!((message.text(), message.edited.is_some(), message.reactions.len()), ("hello", true, 1));
    assert_eq!(message.reactions[0].by, vec![account("bob")]);
    world.does("ann", delete(2, 3));
    let message = world.event(OPS, 2).message().unwrap();
    assert_eq!((message.text(), message.deleted, message.reactions.len()), ("", true, 0));
    world.refuses("ann", delete(2, 4), ErrorCode::NoSuchMessage);
}

/// What the edits in `#ops` still say, oldest first.
fn texts_of_edits(world: &World) -> Vec<String> {
    let edits = world.past.events.range((OPS, Seq::ZERO)..=(OPS, Seq(u64::MAX)));
    let text = |body: &EventBody| match body {
        EventBody::Edited { text, .. } => Some(text.as_str().to_owned()),
        _ => None,
    };
    edits.filter_map(|(_, event)| text(&event.body)).collect()
}

#[test]
fn a_deletion_takes_the_texts_of_the_edits_and_an_edit_keeps_them() {
    let mut world = ops();
    world.say("ann", "#ops", "first");
    world.say("ann", "#ops", "other");
    for (n, (target, text)) in [(2, "second"), (3, "other's"), (2, "third")].into_iter().enumerate() {
        world.does("ann", edit(target, n as u128, text));
    }
    let message = world.event(OPS, 2).message().unwrap();
    assert_eq!(
        (message.original.clone(), message.edits.clone()),
        (Some("first".into()), vec![Seq(4), Seq(6)])
    );
    assert_eq!(texts_of_edits(&world), ["second", "other's", "third"]);
    // A moderator does it as well as the author.
    world.does("ann", set_role("#ops", "bob", Role::Moderator));
    world.does("bob", delete(2, 9));
    assert_eq!(texts_of_edits(&world), ["", "other's", ""]);
    let left = format!("{:?}", world.past.events);
    for text in ["first", "second", "third"] {
        assert!(!left.contains(text), "{text:?} is left");
    }
    assert!(left.contains("other's"));
}

#[test]
fn of_many_edits_the_last_ones_keep_their_texts() {
    let mut world = ops();
    world.say("ann", "#ops", "v0");
    let count = MAX_EDITS_KEPT + 9;
    for n in 1..=count {
        world.does("ann", edit(2, n as u128, &format!("v{n}")));
    }
    let kept: Vec<String> = texts_of_edits(&world).into_iter().filter(|text| !text.is_empty()).collect();
    let last: Vec<String> = (10..=count).map(|n| format!("v{n}")).collect();
    assert_eq!(kept, last);
    assert_eq!(world.event(OPS, 2).message().unwrap().original, Some("v0".into()));
    world.does("ann", delete(2, 1_000));
    assert!(texts_of_edits(&world).iter().all(String::is_empty));
}
