//! What comes into the local copy by itself, and what happened while the client was away.

use quip::app::older::Keep;
use quip::app::{Effect, Failure, Input, Loaded, Preferences};
use quip_protocol::frame::{Reply, Request};
use quip_protocol::*;
use quip_storage::Copied;

use crate::harness::*;

/// Three rooms of 1,000 events, of which the client has the last ten of the first.
fn kept(keep: Keep) -> World {
    let mut world = World::new();
    world.app.prefer(Preferences { keep, ..Preferences::default() });
    for (room, name) in [(1, "#ops"), (2, "#dev"), (3, "#misc")] {
        world.host(room, name, "");
        for n in 0..1_000 {
            world.said(room, MIDNIGHT + n + room, "bob", "words");
        }
    }
    let summary = world.rooms[&RoomId(1)].summary.clone();
    let rooms = vec![Copied { cursor: Some(summary.head), summary, whole: Some(Seq(991)) }];
    let inbox = Some(Cursor { epoch: Epoch::FIRST, seq: Seq(5) });
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), inbox, rooms, ..Loaded::default() })));
    world
}

/// What is being brought: the room, from where, down to where.
fn asked(world: &World) -> Vec<(u64, u64, u64)> {
    let asked = world.wanted.iter().filter_map(|effect| match effect {
        Effect::Bring { room, below, floor, .. } => Some((room.0, below.0, floor.0)),
        _ => None,
    });
    asked.collect()
}

fn brought(world: &mut World, room: u64, whole: u64) -> Option<(u64, u64, u64)> {
    world.wanted.clear();
    world.input(Input::Brought { room: RoomId(room), whole: Seq(whole) });
    let asked = asked(world);
    assert!(asked.len() <= 1, "one at a time: {asked:?}");
    asked.first().copied()
}

#[test]
fn the_room_that_is_seen_comes_first_and_each_from_its_newest_on() {
    let mut world = kept(Keep::All);
    assert_eq!(asked(&world), [], "nobody can be asked");
    assert_eq!(world.app.older_left(), 0);
    world.connect();
    assert_eq!(asked(&world), [(1, 991, 1)]);
    assert_eq!(world.app.older_left(), 990 + 1_000 + 1_000);
    assert!(world.screen(80, 24).contains("connected to home · 2990 older to fetch"));
    assert_eq!(brought(&mut world, 1, 400), Some((1, 400, 1)));
    // What is seen now is wanted first.
    world.keys("<C-k>misc<Enter>");
    assert_eq!(brought(&mut world, 1, 100), Some((3, 1_001, 1)));
    assert_eq!(brought(&mut world, 3, 1), Some((2, 1_001, 1)), "then where something happened last");
    assert_eq!(brought(&mut world, 2, 1), Some((1, 100, 1)));
    assert_eq!(brought(&mut world, 1, 1), None);
    assert_eq!(world.app.older_left(), 0);
    world.says(2, "bob", "one more");
    world.pass(5_000);
    assert_eq!(asked(&world), [], "what comes live is there");
}

#[test]
fn no_more_is_brought_than_is_kept() {
    for (keep, expected) in
        [(Keep::Newest(300), Some((1, 991, 701))), (Keep::Newest(5), None), (Keep::Newest(0), None)]
    {
        let mut world = kept(keep);
        world.connect();
        let first = asked(&world).first().copied();
        assert_eq!(first.filter(|(room, ..)| *room == 1), expected, "{keep:?}");
    }
    let mut world = kept(Keep::Newest(300));
    world.connect();
    assert_eq!(world.app.older_left(), 290 + 300 + 300);
    assert_eq!(brought(&mut world, 1, 701), Some((3, 1_001, 701)));
}

#[test]
fn the_user_and_live_events_go_first() {
    let mut world = kept(Keep::All);
    for _ in 0..5 {
        world.said(1, MIDNIGHT, "bob", "missed");
    }
    world.connect();
    assert_eq!(asked(&world), [], "what was missed comes first");
    let missed = world.rooms[&RoomId(1)].events[1_000..].to_vec();
    for event in missed {
        world.input(Input::Event(event));
    }
    world.pass(500);
    assert_eq!(asked(&world), [(1, 991, 1)]);
    // A page that the user waits for.
    world.online = false;
    world.keys("<C-k>dev<Enter>");
    assert_eq!(brought(&mut world, 1, 500), None);
    let hosted = &world.rooms[&RoomId(2)];
    let (events, head) = (hosted.events[950..].to_vec(), hosted.summary.head);
    world.input(Input::Page { room: RoomId(2), from: frame::PageFrom::Latest, events, head });
    assert_eq!(asked(&world), [(2, 1_001, 1)]);
}

#[test]
fn what_does_not_come_is_asked_for_later_or_not_at_all() {
    let unanswered = Failure::Unanswered(SafeLine::new("timed out"));
    let busy = Failure::Refused(Refusal::retry(ErrorCode::RateLimited, "slow down", 7_000));
    let no = Failure::Refused(Refusal::new(ErrorCode::Forbidden, "no"));
    for (why, after) in [(unanswered, Some(3_000)), (busy, Some(7_000)), (no, None)] {
        let mut world = kept(Keep::All);
        world.connect();
        world.wanted.clear();
        world.input(Input::NotBrought { room: RoomId(1), why: why.clone() });
        match after {
            None => assert_eq!(asked(&world), [(3, 1_001, 1)], "the next room"),
            Some(after) => {
                world.pass(after - 1);
                assert_eq!(asked(&world), [], "{why:?}");
                world.pass(1);
                assert_eq!(asked(&world), [(1, 991, 1)], "{why:?}");
            }
        }
    }
}

#[test]
fn a_room_that_goes_holds_up_no_other() {
    let mut world = kept(Keep::All);
    world.connect();
    assert_eq!(asked(&world), [(1, 991, 1)]);
    world.wanted.clear();
    // What was asked for it is thrown away when it comes.
    let refusal = Refusal::new(ErrorCode::Removed, "you were removed");
    world.input(Input::Unwatched { room: RoomId(1), refusal });
    assert_eq!(asked(&world), [(3, 1_001, 1)]);
    let late = Input::NotBrought { room: RoomId(1), why: Failure::Unanswered(SafeLine::new("gone")) };
    for late in [Input::Brought { room: RoomId(1), whole: Seq(500) }, late] {
        world.wanted.clear();
        world.input(late);
        world.pass(5_000);
        assert_eq!(asked(&world), [], "one at a time");
    }
    assert_eq!(brought(&mut world, 3, 1), Some((2, 1_001, 1)));
}

#[test]
fn a_log_that_was_repaired_is_looked_at_again() {
    let mut world = kept(Keep::All);
    world.connect();
    brought(&mut world, 1, 1);
    let keep = Cursor { epoch: Epoch::FIRST, seq: Seq(990) };
    world.input(Input::Reset { room: RoomId(1), keep, head: keep });
    world.input(Input::Brought { room: RoomId(3), whole: Seq(1) });
    world.input(Input::Brought { room: RoomId(2), whole: Seq(1) });
    assert_eq!(asked(&world).last(), Some(&(1, 991, 1)));
}

#[test]
fn what_is_not_here_is_a_line_that_says_how_much_and_it_is_fetched_where_one_comes_near() {
    let mut world = World::new();
    world.host(1, "#ops", "");
    for n in 0..300 {
        world.said(1, MIDNIGHT + n, "bob", "words");
    }
    world.connect();
    world.lose(3_000);
    let line = "… 250 missing · fetched when connected";
    for _ in 0..10 {
        world.keys("<PgUp>");
    }
    assert!(world.screen(80, 24).contains(line), "{}", world.screen(80, 24));
    assert!(world.screen(120, 40).contains(line));
    world.connect();
    world.pass(500);
    assert!(!world.screen(80, 24).contains("missing"), "{}", world.screen(80, 24));
}

fn notice(seq: u64, body: NoticeBody) -> Input {
    Input::Notice(Notice { seq: Seq(seq), epoch: Epoch::FIRST, at: Timestamp(MIDNIGHT), body })
}

fn inboxes(world: &World) -> Vec<Option<u64>> {
    let watched = world.wanted.iter().filter_map(|effect| match effect {
        Effect::Ask(Request::WatchInbox { from }) => Some(from.map(|from| from.seq.0)),
        _ => None,
    });
    watched.collect()
}

#[test]
fn what_happened_meanwhile_is_told_and_the_list_of_rooms_has_the_last_word() {
    let mut world = kept(Keep::Newest(0));
    world.inbox = Seq(9);
    world.unread(2, 1_000, 0, 0);
    // It comes before it is known that all of it is old.
    let entered = NoticeBody::Entered { room: RoomId(7), target: target("#gone-again"), by: name("bob") };
    world.input(notice(6, entered));
    assert_eq!(world.app.said().unwrap().text, "bob brought you into #gone-again");
    world.connect();
    assert_eq!(inboxes(&world), [Some(5)]);
    world.wanted.clear();
    world.input(notice(7, NoticeBody::Unread { room: RoomId(2), seq: Seq(996) }));
    assert_eq!(world.app.rooms().get(RoomId(2)).unwrap().summary.read, Seq(995));
    world.input(notice(8, NoticeBody::Read { room: RoomId(2), seq: Seq(998) }));
    assert_eq!(world.app.rooms().get(RoomId(2)).unwrap().summary.read, Seq(998));
    let gone = NoticeBody::Gone { room: RoomId(1), target: target("#ops"), by: name("bob") };
    world.input(notice(9, gone.clone()));
    assert_eq!(world.app.said().unwrap().text, "bob removed you from #ops");
    assert!(world.app.rooms().get(RoomId(1)).is_some(), "who was brought back is in it");
    let asked = |effect: &Effect| matches!(effect, Effect::Ask(Request::Open { .. }));
    assert!(!world.wanted.iter().any(asked), "the list has it");
    world.input(notice(10, gone));
    assert!(world.app.rooms().get(RoomId(1)).is_none(), "that happens now");
}

#[test]
fn an_inbox_of_another_server_begins_anew() {
    let mut world = kept(Keep::Newest(0));
    world.connect();
    let from = Some(Cursor { epoch: Epoch::FIRST, seq: Seq(5) });
    let refusal = Refusal::new(ErrorCode::BadCursor, "that is not a cursor of this inbox");
    let (request, answer) = (Request::WatchInbox { from }, Err(Failure::Refused(refusal)));
    world.input(Input::Answer { request, answer });
    assert_eq!(inboxes(&world), [Some(5), None]);
    let listed = |effect: &&Effect| matches!(effect, Effect::Ask(Request::Rooms { .. }));
    assert_eq!(world.wanted.iter().filter(listed).count(), 2, "and the rooms are listed again");
    let head = Cursor { epoch: Epoch::FIRST, seq: Seq(1) };
    let request = Request::WatchInbox { from: None };
    world.input(Input::Answer { request, answer: Ok(Reply::Inbox { head }) });
}
