//! Who may do what: every action by every role, an administrator of the server, and someone who is not a member.

use quip_protocol::{ErrorCode, Role, RoomId, SafeLine, SafeText, Seq, Timestamp};
use quip_server::engine::CommandBody;

use crate::world::{World, create, id, invite, kick, post, react, room, set_role};

/// Made behind `#general`.
const OPS: RoomId = RoomId(2);
/// The message of whoever is tried.
const OWN: Seq = Seq(2);
/// A message of someone else.
const OTHERS: Seq = Seq(3);

/// What is done, and the least role that may; `None` if nobody may.
fn actions() -> Vec<(&'static str, Option<Role>, CommandBody)> {
    use Role::{Member, Moderator, Owner, Reader};
    let text = SafeText::new("changed");
    let (hash, expires) = ([7; 32], Timestamp(1_000_000));
    vec![
        ("post", Some(Member), post("#ops", 100, "hello")),
        (
            "edit one's own",
            Some(Member),
            CommandBody::Edit { room: OPS, target: OWN, id: id(101), text: text.clone() },
        ),
        ("edit another's", None, CommandBody::Edit { room: OPS, target: OTHERS, id: id(102), text }),
        ("delete one's own", Some(Member), CommandBody::Delete { room: OPS, target: OWN, id: id(103) }),
        ("delete another's", Some(Moderator), CommandBody::Delete { room: OPS, target: OTHERS, id: id(104) }),
        ("react", Some(Reader), react(OPS, OTHERS.0, 105, "+1", true)),
        ("mark as read", Some(Reader), CommandBody::Mark { room: OPS, seq: OTHERS }),
        ("invite", Some(Member), invite("#ops", &["guest"])),
        (
            "make a link into it",
            Some(Member),
            CommandBody::NewInvite { hash, room: Some(room("#ops")), admin: false, uses: 1, expires },
        ),
        ("kick a member", Some(Moderator), kick("#ops", "mary")),
        ("kick a moderator", Some(Owner), kick("#ops", "mod")),
        ("kick an owner", None, kick("#ops", "olga")),
        ("make a reader", Some(Moderator), set_role("#ops", "mary", Reader)),
        ("make a moderator", Some(Owner), set_role("#ops", "mary", Moderator)),
        ("make an owner", Some(Owner), set_role("#ops", "mary", Owner)),
        ("demote a moderator", Some(Owner), set_role("#ops", "mod", Member)),
        (
            "set the topic",
            Some(Moderator),
            CommandBody::SetTopic { room: room("#ops"), topic: SafeLine::new("t") },
        ),
        ("archive", Some(Owner), CommandBody::Archive { room: room("#ops") }),
    ]
}

/// `#ops` of olga with a moderator, a member, and ann, whose message it has.
fn ops(admin: bool) -> World {
    let mut world = World::with(&["olga", "mod", "mary", "guest"]);
    if admin {
        world.admin("ann")
    } else {
        world.register("ann")
    }
    world.does("olga", crate::world::create("#ops", false, &["mod", "mary", "ann"]));
    assert_eq!(world.room_id("#ops"), OPS);
    assert_eq!(world.say("ann", "#ops", "mine"), OWN.0);
    assert_eq!(world.say("mary", "#ops", "hers"), OTHERS.0);
    world.does("olga", set_role("#ops", "mod", Role::Moderator));
    world
}

#[test]
fn each_role_may_what_it_may() {
    for role in Role::ALL {
        let mut before = ops(false);
        before.does("olga", set_role("#ops", "ann", role));
        for (what, least, body) in actions() {
            let result = before.clone().act("ann", body).map_err(|refusal| refusal.code);
            let allowed = least.is_some_and(|least| role >= least);
            let expected = if allowed { None } else { Some(ErrorCode::Forbidden) };
            assert_eq!(result.err(), expected, "{what} as {role}");
        }
    }
}

#[test]
fn who_administers_the_server_is_an_owner_wherever_they_are_a_member() {
    let mut before = ops(true);
    before.does("olga", set_role("#ops", "ann", Role::Reader));
    for (what, least, body) in actions() {
        let result = before.clone().act("ann", body).map_err(|refusal| refusal.code);
        assert_eq!(result.is_ok(), least.is_some(), "{what}: {result:?}");
    }
}

#[test]
fn outside_nobody_may_anything_not_even_an_administrator() {
    for admin in [false, true] {
        let mut before = ops(admin);
        before.does("ann", CommandBody::Leave { room: room("#ops") });
        for (what, _, body) in actions() {
            let result = before.clone().act("ann", body).map_err(|refusal| refusal.code);
            assert_eq!(result.err(), Some(ErrorCode::NotMember), "{what}");
        }
    }
}

#[test]
fn nothing_is_written_in_an_archived_room_and_everything_can_be_read() {
    let mut before = ops(false);
    before.does("olga", set_role("#ops", "ann", Role::Owner));
    before.does("olga", CommandBody::Archive { room: room("#ops") });
    for (what, _, body) in actions() {
        let result = before.clone().act("ann", body).map_err(|refusal| refusal.code);
        let expected = if what == "mark as read" { None } else { Some(ErrorCode::Archived) };
        assert_eq!(result.err(), expected, "{what}");
    }
    before.refuses("guest", CommandBody::Join { room: room("#ops") }, ErrorCode::Archived);
    let guest = before.account_id("guest");
    assert!(before.engine.readable(guest, OPS).is_ok());
    before.does("mary", CommandBody::Leave { room: room("#ops") });
}

#[test]
fn the_last_owner_stays_one_and_stays() {
    let mut world = ops(false);
    let leave = || CommandBody::Leave { room: room("#ops") };
    world.refuses("olga", leave(), ErrorCode::Forbidden);
    world.refuses("olga", set_role("#ops", "olga", Role::Member), ErrorCode::Forbidden);
    world.does("olga", set_role("#ops", "ann", Role::Owner));
    world.does("olga", set_role("#ops", "olga", Role::Member));
    world.refuses("ann", leave(), ErrorCode::Forbidden);
    for name in ["olga", "mod", "mary"] {
        world.does(name, leave());
    }
    world.does("ann", leave());
    assert_eq!(world.sees("ann", "#ops").members, 0, "the last one of all may go");
}

#[test]
fn an_operator_restores_what_was_archived() {
    let mut world = World::with(&["ann"]);
    world.does("ann", create("#ops", false, &[]));
    world.does("ann", CommandBody::Archive { room: room("#ops") });
    world.refuses("ann", post("#ops", 1, "x"), ErrorCode::Archived);
    let restore = CommandBody::Restore { room: room("#ops") };
    world.refuses("ann", restore.clone(), ErrorCode::Forbidden);
    world.operates(restore.clone());
    let seq = world.say("ann", "#ops", "we go on");
    let before = world.changes.len();
    world.operates(restore);
    assert_eq!((world.sees("ann", "#ops").head.seq.0, world.changes.len()), (seq, before), "restored once");
}

#[test]
fn nobody_removes_who_administers_the_server() {
    let mut world = ops(true);
    world.refuses("mod", kick("#ops", "ann"), ErrorCode::Forbidden);
    world.refuses("olga", kick("#ops", "ann"), ErrorCode::Forbidden);
}
