//! What is watched, and what becomes of it when the server cannot do it now.

use quip::app::{Effect, Failure, Input, Loaded};
use quip_protocol::frame::{Reply, Request, WatchState};
use quip_protocol::*;
use quip_storage::Copied;

use crate::harness::*;

fn kept() -> World {
    let mut world = World::new();
    for (room, what) in [(1, "#general"), (2, "#ops")] {
        world.host(room, what, "");
        world.said(room, MIDNIGHT, "bob", "hello");
    }
    let copied = |room: &Hosted| Copied {
        summary: room.summary.clone(),
        cursor: Some(room.summary.head),
        whole: Some(Seq(1)),
    };
    let rooms = world.rooms.values().map(copied).collect();
    world.input(Input::Local(Ok(Loaded { me: Some(name("ann")), rooms, ..Loaded::default() })));
    world
}

/// The rooms that were to be watched, since this was asked last.
fn watched(world: &mut World) -> Vec<u64> {
    let wanted = std::mem::take(&mut world.wanted);
    let rooms = wanted.iter().filter_map(|effect| match effect {
        Effect::Ask(Request::Watch { rooms } | Request::Digest { rooms }) => {
            Some(rooms.iter().map(|(room, _)| room.0))
        }
        _ => None,
    });
    rooms.flatten().collect()
}

#[test]
fn a_room_that_the_server_cannot_read_is_kept_and_one_that_is_over_goes() {
    let table = [
        (ErrorCode::Internal, true),
        (ErrorCode::TooMany, true),
        (ErrorCode::Unknown(99), true),
        (ErrorCode::Removed, false),
        (ErrorCode::NotMember, false),
        (ErrorCode::NoSuchRoom, false),
    ];
    for (code, stays) in table {
        for at_once in [true, false] {
            let mut world = kept();
            world.connect();
            let refusal = Refusal::new(code, "the server cannot read this log; tell its operator");
            let room = RoomId(2);
            world.input(match at_once {
                true => Input::Answer {
                    request: Request::Watch { rooms: vec![(room, None)] },
                    answer: Ok(Reply::Watching { rooms: vec![WatchState::Refused { room, refusal }] }),
                },
                false => Input::Unwatched { room, refusal },
            });
            assert_eq!(world.app.rooms().get(room).is_some(), stays, "{code}");
            let said = &world.app.said().unwrap().text;
            assert_eq!(said, "#ops: the server cannot read this log; tell its operator");
            watched(&mut world);
            world.pass(59_000);
            assert_eq!(watched(&mut world), [0; 0], "{code}");
            world.pass(1_000);
            assert_eq!(watched(&mut world), if stays { vec![2] } else { vec![] }, "{code}");
        }
    }
}

#[test]
fn what_could_not_be_watched_is_watched_without_a_new_connection() {
    let requests = [
        Request::WatchInbox { from: None },
        Request::Rooms { after: None },
        Request::Watch { rooms: vec![(RoomId(1), None), (RoomId(2), None)] },
    ];
    for request in requests {
        let mut world = kept();
        world.connect();
        watched(&mut world);
        // The server is busy, or makes its store again.
        let why = Failure::Unanswered(SafeLine::new("the server is mending itself"));
        world.input(Input::Answer { request: request.clone(), answer: Err(why) });
        world.wanted.clear();
        world.pass(2_500);
        let asks =
            |world: &World| world.wanted.iter().filter(|effect| matches!(effect, Effect::Ask(_))).count();
        assert_eq!(asks(&world), 0, "{request:?}");
        world.pass(500);
        assert!(asks(&world) > 0, "{request:?}");
        let again = watched(&mut world);
        assert_eq!(again.is_empty(), !matches!(request, Request::Watch { .. }), "{request:?}: {again:?}");
        world.pass(MINUTE);
        assert_eq!(asks(&world), 0, "{request:?}: once is enough");
    }
}
