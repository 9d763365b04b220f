//! Many at once, and one who does not read: the others do not notice.

use std::sync::Arc;

use quip_protocol::client::{Client, Error, Event, Post};
use quip_protocol::codec::FrameKind;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Cursor, Seq, Target};
use quip_tests::{Server, identity, join, within};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::raw::{Raw, assert_flat, endpoint, next, resident_mib};

const FAST: &str = "cache_mib = 8\n[limits]\nmessages_per_second = 1000000\nburst_messages = 1000000\n";
const SENDERS: usize = 8;
const MESSAGES: usize = 500;
/// Of one message, in bytes: those of one round are as much as memory may grow by.
const TEXT: usize = 8 * 1024;
/// Rounds before memory is looked at: what it takes anyway to write and store so much, buffers and caches.
const BEFORE: usize = 4;
/// Rounds while some do not read.
const STALLED: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_costs_nothing_and_loses_nothing() {
    let server = Server::with_config(FAST);
    let ann = Arc::new(join(server.owner.as_ref().unwrap(), "ann").await);
    let mut reader = join(&server.invite(&[]), "bob").await;
    let general: Target = "#general".parse().unwrap();
    let room = reader.join("#general").await.unwrap();
    let send = |count: usize| {
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (ann, general) = (Arc::clone(&ann), general.clone());
            senders.spawn(async move {
                for _ in 0..count {
                    ann.post(Post::new(general.clone(), &"x".repeat(TEXT))).await.unwrap();
                }
            });
        }
        senders.join_all()
    };
    for _ in 0..BEFORE {
        within("messages while everyone reads", read_while(&mut reader, send(MESSAGES))).await;
    }
    let before = resident_mib(&server);
    let mut stalled = Vec::new();
    let first = room.summary.head.seq.0 + (BEFORE * SENDERS * MESSAGES) as u64;
    let start = Cursor { seq: Seq(first), ..room.summary.head };
    for _ in 0..3 {
        let mut raw = Raw::connect(&server.link, &identity("bob")).await;
        let watching = raw.ask(Request::Watch { rooms: vec![(room.id, Some(start))] }).await;
        assert!(matches!(watching, Reply::Watching { .. }));
        stalled.push(raw);
    }
    for _ in 0..STALLED {
        within("messages while some do not read", read_while(&mut reader, send(MESSAGES))).await;
    }
    // Not asked again once they read: what the store reads from disk, it caches.
    assert_flat(&server, before, 32);
    let last = first + (STALLED * SENDERS * MESSAGES) as u64;
    for mut raw in stalled {
        let mut live = raw.live().await;
        for seq in first + 1..=last {
            let event: quip_protocol::Event =
                next(&mut live).await.decode(FrameKind::Event, "event").unwrap();
            assert_eq!(event.seq, Seq(seq), "in order, without a gap");
        }
    }
}

/// Reads until as many messages came as were sent.
async fn read_while(reader: &mut Client, sending: impl Future<Output = Vec<()>>) {
    let reading = async {
        for _ in 0..SENDERS * MESSAGES {
            while !matches!(reader.next().await.unwrap().unwrap(), Event::Message(_)) {}
        }
    };
    tokio::join!(sending, reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections() {
    const MANY: usize = 1_000;
    let server = Server::with_config("[limits]\nretry_above = 900\nstranger_deadline_ms = 3600000\n");
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    let endpoint = endpoint();
    let at_once = Arc::new(Semaphore::new(32));
    let mut connecting = JoinSet::new();
    for n in 0..MANY {
        let (link, endpoint, at_once) = (server.link.clone(), endpoint.clone(), Arc::clone(&at_once));
        connecting.spawn(async move {
            let _turn = at_once.acquire().await.unwrap();
            Raw::connect_from(endpoint, &link, &identity(&format!("dev{n}")))
                .await
                .map_err(|(refusal, _)| refusal)
        });
    }
    let connected: Vec<Raw> = connecting.join_all().await.into_iter().map(Result::unwrap).collect();
    let stats: serde_json::Value = serde_json::from_str(&server.admin(&["stats"])).unwrap();
    assert!(stats["connections_now"].as_u64().unwrap() > MANY as u64, "{stats}");
    within("a post", ann.post(Post::new("#general".parse().unwrap(), "still here"))).await.unwrap();
    assert!(connected.iter().all(|raw| raw.quic.close_reason().is_none()));
}

#[tokio::test]
async fn more_connections_than_the_limit_are_refused_and_a_place_is_free_again() {
    let server = Server::with_config("[limits]\nconnections = 3\n");
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(Raw::connect(&server.link, &identity(&format!("dev{n}"))).await);
    }
    let quip = quip_protocol::client::Client::connect;
    let config = || quip_tests::person::config(&server.link, identity("late"));
    match within("a refusal", quip(config())).await {
        Err(Error::Unreachable { why, .. }) => {
            assert!(why.as_str().contains("as many connections as it takes"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    held.pop().unwrap().quic.close(0u32.into(), b"");
    let again = async {
        loop {
            if let Ok(client) = quip(config()).await {
                return client;
            }
        }
    };
    within("a free place", again).await;
}
