//! Codes, devices, tokens, suspension.

use quip_protocol::limits::MAX_LINE;
use quip_protocol::{ErrorCode, NoticeBody, Role, SafeLine, Timestamp};
use quip_server::engine::{Actor, CommandBody};

use crate::world::{OWNER, World, account, bootstrap, create, key, kick, post, room};

fn redeem(code: u8, name: Option<&str>) -> CommandBody {
    CommandBody::Redeem { hash: [code; 32], name: name.map(account), label: SafeLine::new("phone") }
}

fn code(number: u8, of: Option<&str>, uses: u32, expires: u64) -> CommandBody {
    let expires = Timestamp(expires);
    CommandBody::NewInvite { hash: [number; 32], room: of.map(room), admin: true, uses, expires }
}

const LATER: u64 = 1_000_000;

#[test]
fn each_wrong_code_says_what_is_wrong_with_it() {
    let mut world = World::with(&["ann"]);
    world.does("ann", code(1, None, 1, LATER));
    world.does("ann", code(2, None, 1, 500));
    world.does("ann", CommandBody::NewDeviceCode { hash: [3; 32], expires: Timestamp(500) });
    world.refuses("bob", redeem(9, Some("bob")), ErrorCode::BadCode);
    world.refuses("bob", redeem(2, Some("bob")), ErrorCode::ExpiredCode);
    world.refuses("bob", redeem(3, None), ErrorCode::ExpiredCode);
    world.refuses("bob", redeem(1, None), ErrorCode::BadRequest);
    world.refuses("bob", redeem(1, Some("ann")), ErrorCode::NameTaken);
    let long = SafeLine::new(&"x".repeat(MAX_LINE + 1));
    let long = CommandBody::Redeem { hash: [1; 32], name: Some(account("bob")), label: long };
    world.refuses("bob", long, ErrorCode::TooLong);
    // None of that has used it up.
    world.does("bob", redeem(1, Some("bob")));
    world.refuses("eve", redeem(1, Some("eve")), ErrorCode::UsedCode);
    world.refuses("bob", redeem(1, Some("bob2")), ErrorCode::NameTaken);
}

#[test]
fn a_code_is_good_as_often_as_it_says_and_only_an_operator_makes_administrators() {
    let mut world = World::with(&["ann"]);
    world.does("ann", code(1, None, 2, LATER));
    for name in ["bob", "eve"] {
        world.does(name, redeem(1, Some(name)));
        let id = world.account_id(name);
        assert!(!world.engine.account(id).unwrap().admin, "a member's code makes members");
        assert_eq!(world.sees(name, "#general").role, Some(Role::Member));
    }
    world.refuses("zoe", redeem(1, Some("zoe")), ErrorCode::UsedCode);
    world.refuses("ann", code(2, None, 0, LATER), ErrorCode::TooMany);
    world.refuses("ann", code(2, None, 10_001, LATER), ErrorCode::TooMany);
    world.operates(code(3, None, 1, LATER));
    world.does("zoe", redeem(3, Some("zoe")));
    assert_eq!(world.sees("zoe", "#general").role, Some(Role::Owner));
}

#[test]
fn the_first_command_makes_the_code_of_one_owner() {
    let mut world = World::with(&[]);
    let redeem =
        |name| CommandBody::Redeem { hash: OWNER, name: Some(account(name)), label: SafeLine::default() };
    world.does("ann", redeem("ann"));
    assert!(world.engine.account(world.account_id("ann")).unwrap().admin);
    assert_eq!(world.sees("ann", "#general").role, Some(Role::Owner));
    world.refuses("bob", redeem("bob"), ErrorCode::UsedCode);
}

#[test]
fn as_long_as_nobody_has_an_account_another_owners_code_takes_the_place_of_the_first() {
    let mut world = World::with(&[]);
    let redeem =
        |hash: [u8; 32]| CommandBody::Redeem { hash, name: Some(account("ann")), label: SafeLine::default() };
    let again = |hash| CommandBody::Bootstrap { owner: [hash; 32], expires: Timestamp(LATER) };
    for hash in [1, 2] {
        assert!(world.engine.is_unowned());
        world.operates(again(hash));
    }
    for void in [OWNER, [1; 32]] {
        world.refuses("ann", redeem(void), ErrorCode::UsedCode);
    }
    world.does("ann", redeem([2; 32]));
    assert_eq!(world.sees("ann", "#general").role, Some(Role::Owner));
    assert_eq!(world.engine.all_rooms().count(), 1, "the first room is made once");
    let refused = world.apply(Actor::Operator, again(4)).map_err(|refusal| refusal.code);
    assert_eq!(refused, Err(ErrorCode::BadRequest));
}

#[test]
fn what_an_operator_gave_to_an_owner_is_good_after_every_start() {
    let mut world = World::with(&[]);
    let hash = [3; 32];
    world.operates(CommandBody::NewInvite {
        hash,
        room: None,
        admin: true,
        uses: 1,
        expires: Timestamp(LATER),
    });
    for owner in [[1; 32], [2; 32]] {
        world.operates(CommandBody::Bootstrap { owner, expires: Timestamp(LATER) });
    }
    let redeem =
        |hash: [u8; 32]| CommandBody::Redeem { hash, name: Some(account("ann")), label: SafeLine::default() };
    world.refuses("ann", redeem([1; 32]), ErrorCode::UsedCode);
    world.does("ann", redeem(hash));
    assert!(world.engine.account(world.account_id("ann")).unwrap().admin);
}

#[test]
fn a_link_into_a_room_enters_it_and_general() {
    let mut world = World::with(&["ann"]);
    world.does("ann", create("#secret", true, &[]));
    world.does("ann", code(1, Some("#secret"), 1, LATER));
    world.does("ann", code(2, Some("#general"), 1, LATER));
    world.does("bob", redeem(1, Some("bob")));
    assert_eq!(world.sees("bob", "#secret").members, 2);
    assert_eq!(world.sees("bob", "#general").members, 2);
    world.does("eve", redeem(2, Some("eve")));
    assert_eq!(world.sees("eve", "#general").members, 3, "entered once");
}

/// What can no longer be written is not entered either, by whichever door.
#[test]
fn an_archived_room_is_not_entered_by_a_link_or_a_new_account() {
    let mut world = World::with(&["ann"]);
    world.does("ann", create("#old", false, &[]));
    world.does("ann", code(1, Some("#old"), 1, LATER));
    for name in ["#old", "#general"] {
        world.operates(CommandBody::Archive { room: room(name) });
    }
    let heads = ["#old", "#general"].map(|name| world.sees("ann", name).head);
    world.does("bob", redeem(1, Some("bob")));
    assert_eq!(["#old", "#general"].map(|name| world.sees("ann", name).head), heads);
    assert_eq!(world.sees("bob", "#old").role, None);
}

#[test]
fn a_device_code_adds_a_device_and_the_other_devices_are_told() {
    let mut world = World::with(&["ann"]);
    world.does("ann", CommandBody::NewDeviceCode { hash: [1; 32], expires: Timestamp(LATER) });
    world.does("ann-phone", redeem(1, None));
    world.refuses("ann-tablet", redeem(1, None), ErrorCode::UsedCode);
    world.say("ann-phone", "#general", "from the phone");
    assert_eq!(world.event(world.room_id("#general"), 2).author, account("ann"));
    assert_eq!(world.inbox("ann").last(), Some(&NoticeBody::Devices));
    let ann = world.account_id("ann");
    assert_eq!(world.engine.devices(ann, |_| false).len(), 2);
}

#[test]
fn a_revoked_device_does_nothing_more_and_stays_known() {
    let mut world = World::with(&["ann", "bob"]);
    world.does("ann", CommandBody::NewDeviceCode { hash: [1; 32], expires: Timestamp(LATER) });
    world.does("lost", redeem(1, None));
    let revoke = |name: &str| CommandBody::RevokeDevice { key: key(name) };
    world.refuses("bob", revoke("lost"), ErrorCode::NoSuchDevice);
    world.refuses("bob", revoke("nobody"), ErrorCode::NoSuchDevice);
    world.does("ann", revoke("lost"));
    let before = world.changes.len();
    world.does("ann", revoke("lost"));
    assert_eq!(world.changes.len(), before, "revoked once");
    world.does("ann", code(2, None, 5, LATER));
    for body in [post("#general", 1, "x"), redeem(2, Some("eve")), revoke("lost"), revoke("ann")] {
        world.refuses("lost", body, ErrorCode::Revoked);
    }
    assert_eq!(world.engine.account_of(&key("lost")).map_err(|r| r.code), Err(ErrorCode::Revoked));
    world.say("ann", "#general", "still here");
    world.operates(revoke("ann"));
    world.refuses("ann", post("#general", 2, "x"), ErrorCode::Revoked);
}

#[test]
fn tokens_make_bots_of_their_owner() {
    let mut world = World::with(&["ann", "bob"]);
    world.does("ann", token("bot", "t1"));
    world.does("ann", token("bot", "t2"));
    world.refuses("ann", token("bot", "t2"), ErrorCode::NameTaken);
    world.refuses("bob", token("bot", "t3"), ErrorCode::NameTaken);
    world.refuses("ann", token("bob", "t3"), ErrorCode::NameTaken);
    world.refuses("t1", token("bot2", "t3"), ErrorCode::Forbidden);
    world.refuses("t1", code(1, None, 1, LATER), ErrorCode::Forbidden);
    world.say("t2", "#general", "built");
    let revoke = CommandBody::RevokeToken { name: account("bot") };
    world.refuses("bob", revoke.clone(), ErrorCode::NoSuchDevice);
    world.does("ann", revoke);
    for device in ["t1", "t2"] {
        world.refuses(device, post("#general", 1, "x"), ErrorCode::Revoked);
    }
    world.refuses("ann", CommandBody::RevokeToken { name: account("bob") }, ErrorCode::NoSuchDevice);
    world.does("ann", token("bot", "t3"));
    world.say("t3", "#general", "built again");
}

fn token(bot: &str, device: &str) -> CommandBody {
    CommandBody::NewToken { name: account(bot), key: key(device), label: SafeLine::new("ci") }
}

#[test]
fn bots_and_their_tokens_are_so_few_that_all_fit_into_a_reply() {
    let mut world = World::with(&["ann"]);
    for n in 0..100 {
        world.does("ann", token(&format!("bot{n}"), &format!("k{n}")));
    }
    world.refuses("ann", token("bot100", "k100"), ErrorCode::TooMany);
    for n in 100..256 {
        world.does("ann", token(&format!("bot{}", n % 100), &format!("k{n}")));
    }
    world.refuses("ann", token("bot1", "k256"), ErrorCode::TooMany);
    // Revoked ones make room, and of each bot only the newest of them is listed.
    let ann = world.account_id("ann");
    let bot = world.account_id("bot0");
    world.does("ann", CommandBody::RevokeToken { name: account("bot0") });
    world.does("ann", token("bot0", "k256"));
    let listed = world.engine.devices(bot, |_| false);
    assert_eq!(listed.iter().map(|device| device.revoked).collect::<Vec<_>>().len(), 2, "{listed:?}");
    let all: usize = world.engine.bots(ann).map(|bot| world.engine.devices(bot, |_| false).len()).sum();
    assert!(all <= 256 + 100, "{all}");
}

#[test]
fn of_the_devices_that_were_revoked_the_newest_are_listed() {
    let mut world = World::with(&["ann"]);
    let code = || CommandBody::NewDeviceCode { hash: [1; 32], expires: Timestamp(LATER) };
    for n in 0..70 {
        let phone = format!("phone{n}");
        world.does("ann", code());
        world.does(&phone, redeem(1, None));
        world.does("ann", CommandBody::RevokeDevice { key: key(&phone) });
    }
    let listed = world.engine.devices(world.account_id("ann"), |_| false);
    let keys: Vec<_> = listed.iter().map(|device| device.key).collect();
    assert_eq!(keys.len(), 1 + 64);
    assert!(keys.contains(&key("ann")) && keys.contains(&key("phone69")) && !keys.contains(&key("phone5")));
    assert_eq!(world.engine.live_devices(world.account_id("ann")), 1);
}

#[test]
fn who_is_suspended_can_do_nothing_nor_can_their_bots() {
    let mut world = World::with(&["ann", "bob"]);
    world.does(
        "ann",
        CommandBody::NewToken { name: account("bot"), key: key("t1"), label: SafeLine::default() },
    );
    let suspend = |on| CommandBody::Suspend { name: account("ann"), on };
    world.refuses("bob", suspend(true), ErrorCode::Forbidden);
    world.operates(suspend(true));
    for name in ["ann", "t1"] {
        world.refuses(name, post("#general", 1, "x"), ErrorCode::Suspended);
        assert_eq!(world.engine.account_of(&key(name)).map_err(|r| r.code), Err(ErrorCode::Suspended));
    }
    world.say("bob", "#general", "@ann is away");
    let before = world.changes.len();
    world.operates(suspend(true));
    assert_eq!(world.changes.len(), before, "suspended once");
    world.operates(suspend(false));
    world.say("ann", "#general", "back");
    world.say("t1", "#general", "me too");
}

#[test]
fn an_unknown_device_can_only_redeem_or_register() {
    let mut world = World::with(&["ann"]);
    let rejected = [
        post("#general", 1, "x"),
        create("#mine", false, &[]),
        kick("#general", "ann"),
        CommandBody::Join { room: room("#general") },
        CommandBody::NewDeviceCode { hash: [1; 32], expires: Timestamp(LATER) },
        code(1, None, 1, LATER),
        CommandBody::RevokeDevice { key: key("ann") },
        bootstrap(),
        CommandBody::Suspend { name: account("ann"), on: true },
    ];
    for body in rejected {
        world.refuses("stranger", body, ErrorCode::UnknownDevice);
    }
    world.refuses("ann", bootstrap(), ErrorCode::Forbidden);
    let again = world.apply(Actor::Operator, bootstrap()).map_err(|r| r.code);
    assert_eq!(again, Err(ErrorCode::BadRequest));
    let as_operator = world.apply(Actor::Operator, post("#general", 1, "x")).map_err(|r| r.code);
    assert_eq!(as_operator, Err(ErrorCode::Forbidden));
}

#[test]
fn an_account_has_at_most_64_devices() {
    let mut world = World::with(&["ann"]);
    for n in 1..=64u8 {
        world.does("ann", CommandBody::NewDeviceCode { hash: [n; 32], expires: Timestamp(LATER) });
    }
    for n in 1..64u8 {
        world.does(&format!("d{n}"), redeem(n, None));
    }
    world.refuses("d64", redeem(64, None), ErrorCode::TooMany);
    world.refuses(
        "ann",
        CommandBody::NewDeviceCode { hash: [99; 32], expires: Timestamp(LATER) },
        ErrorCode::TooMany,
    );
    world.does("ann", CommandBody::RevokeDevice { key: key("d1") });
    world.does("ann", CommandBody::NewDeviceCode { hash: [99; 32], expires: Timestamp(LATER) });
    world.does("d64", redeem(99, None));
}

#[test]
fn a_code_made_by_a_device_that_is_lost_is_good_no_longer() {
    let mut world = World::with(&["ann", "bob"]);
    let code = |number| CommandBody::NewDeviceCode { hash: [number; 32], expires: Timestamp(LATER) };
    world.does("ann", code(1));
    world.does("lost", redeem(1, None));
    world.does("lost", code(2));
    world.does("bob", code(3));
    world.does("ann", CommandBody::RevokeDevice { key: key("lost") });
    world.refuses("thief", redeem(2, None), ErrorCode::UsedCode);
    world.does("bob-phone", redeem(3, None));
    let bot = CommandBody::NewToken { name: account("bot"), key: key("t1"), label: SafeLine::new("ci") };
    world.does("ann", bot);
    world.refuses("t1", code(4), ErrorCode::Forbidden);
}

#[test]
fn links_of_who_is_suspended_are_not_good_meanwhile() {
    let mut world = World::with(&["ann"]);
    world.does("ann", code(1, None, 5, LATER));
    world.operates(CommandBody::Suspend { name: account("ann"), on: true });
    world.refuses("eve", redeem(1, Some("eve")), ErrorCode::BadCode);
    world.operates(CommandBody::Suspend { name: account("ann"), on: false });
    world.does("eve", redeem(1, Some("eve")));
}

#[test]
fn a_room_that_everyone_has_left_belongs_to_whoever_comes_first() {
    let mut world = World::with(&["ann", "bob"]);
    world.does("ann", create("#ops", false, &[]));
    world.does("ann", CommandBody::Leave { room: room("#ops") });
    world.does("bob", CommandBody::Join { room: room("#ops") });
    assert_eq!(world.sees("bob", "#ops").role, Some(Role::Owner));
    world.does("ann", CommandBody::Join { room: room("#ops") });
    assert_eq!(world.sees("ann", "#ops").role, Some(Role::Member));
}

#[test]
fn a_link_into_a_room_is_no_way_back_for_who_was_removed_from_it() {
    let mut world = World::with(&["ann", "bob"]);
    world.does("ann", create("#secret", true, &["bob"]));
    world.does("bob", code(1, Some("#secret"), 5, LATER));
    world.does("eve", redeem(1, Some("eve")));
    assert_eq!(world.sees("eve", "#secret").role, Some(Role::Member));
    world.does("ann", kick("#secret", "bob"));
    world.does("bob2", redeem(1, Some("bob2")));
    world.refuses("bob2", post("#secret", 1, "back"), ErrorCode::NoSuchRoom);
}
