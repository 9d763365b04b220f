//! A client that asks and does not read what it is answered: what the server holds for it is bounded.

use quip_protocol::client::{Client, Post};
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::{Labelled, Reply, Request};
use quip_protocol::{Cursor, ErrorCode, RoomId, SafeLine};
use quip_tests::poll::eventually;
use quip_tests::{Server, identity, join, within};

use super::raw::{Raw, assert_flat, resident_mib};

const FAST: &str = "cache_mib = 8\n[limits]\nmessages_per_second = 1000000\nburst_messages = 1000000\n";
/// Rooms of the account: what it lists is about 240 KB.
const ROOMS: usize = 450;

/// A server with an account that is in many rooms.
async fn server() -> (Server, Client, Vec<RoomId>) {
    let server = Server::with_config(FAST);
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let mut making = tokio::task::JoinSet::new();
    for n in 0..ROOMS {
        let handle = ann.handle();
        let name = format!("room{n}").parse().unwrap();
        let topic = SafeLine::new(&"t".repeat(500));
        let create = Request::CreateRoom { name, private: true, topic, members: Vec::new() };
        making.spawn(async move { handle.request(create).await.map(drop) });
    }
    for made in within("rooms", making.join_all()).await {
        made.unwrap();
    }
    let rooms = ann.rooms().await.unwrap().into_iter().map(|room| room.id).collect();
    (server, ann, rooms)
}

fn stat(server: &Server, name: &str) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&server.admin(&["stats"])).unwrap();
    stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
}

/// Waits until the server takes no more requests: it has as many as it answers to someone who does not read.
fn until_nothing_is_taken(server: &Server) {
    let (mut last, mut same) = (0, 0);
    eventually("the server stops to take requests", || {
        let now = stat(server, "requests");
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same == 20).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_nobody_reads_are_few() {
    const CONNECTIONS: usize = 2;
    const REQUESTS: u32 = 1_000;
    let (server, _ann, rooms) = server().await;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::connect(&server.link, &identity("ann")).await;
        assert!(matches!(raw.ask(Request::Rooms { after: None }).await, Reply::Rooms { .. }));
        connections.push(raw);
    }
    let before = resident_mib(&server);
    for raw in &mut connections {
        for label in 1..=REQUESTS {
            let body = Request::Rooms { after: None };
            raw.write(encode_frame(FrameKind::Request, &Labelled { label, body })).await;
        }
    }
    until_nothing_is_taken(&server);
    // For each connection 2 MiB of requests and replies, twice while they are written, and 1 MiB on its way.
    assert_flat(&server, before, 8 * CONNECTIONS as u64);
    for raw in &mut connections {
        for label in 1..=20 {
            let frame = within("a reply", raw.replies.next()).await.unwrap().unwrap();
            let reply: Labelled<Reply> = frame.decode(FrameKind::Reply, "reply").unwrap();
            assert_eq!(reply.label, label, "whoever reads on is answered on");
            assert!(matches!(reply.body, Reply::Rooms { rooms: listed, .. } if listed.len() == rooms.len()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_are_replaced_while_the_live_stream_stalls_cost_nothing() {
    let (server, ann, rooms) = server().await;
    // More than windows and buffers take, so that the live stream stalls.
    for _ in 0..200 {
        ann.post(Post::new("#general".parse().unwrap(), &"x".repeat(8 * 1024))).await.unwrap();
    }
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    let all: Vec<_> = rooms.iter().map(|room| (*room, Some(Cursor::default()))).collect();
    let mut before = None;
    for round in 0..450 {
        if round == 50 {
            before = resident_mib(&server);
        }
        match raw.ask(Request::Watch { rooms: all.clone() }).await {
            Reply::Watching { rooms: states } => assert_eq!(states.len(), all.len()),
            other => panic!("{other:?}"),
        }
    }
    assert_flat(&server, before, 12);
    assert_eq!(stat(&server, "watches"), all.len() as u64);
    let twice = vec![all[0], all[1], all[0]];
    let refusal = raw.refuses(Request::Watch { rooms: twice }).await;
    assert_eq!(refusal.code, ErrorCode::BadRequest, "{refusal}");
    raw.quic.close(0u32.into(), b"");
    eventually("nothing of the session stays behind", || (stat(&server, "watches") == 0).then_some(()));
}
