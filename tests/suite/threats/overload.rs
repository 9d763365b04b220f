//! Several times what the server can write is offered to it, while the disk is slow and some do not read: what it holds does
//! not grow, senders are told when to come again, and nothing that was acknowledged is lost.

use std::sync::Arc;

use quip_protocol::client::{Client, Post};
use quip_protocol::codec::FrameKind;
use quip_protocol::frame::{Reply, Request};
use quip_protocol::{Cursor, Receipt, Seq, Target};
use quip_tests::process::Process;
use quip_tests::{Server, eventually, identity, join, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::raw::{Raw, next};
use crate::crash::{check_receipts, history};

const LIMITS: &str = "http = \"127.0.0.1:0\"\ncache_mib = 8\n[limits]\nmessages_per_second = 1000000\nburst_messages = 1000000\ncode_attempts = 1000\n";
/// A slow disk takes 16 MiB in a second here; together they have five times that under way.
const SENDERS: usize = 80;
const WINDOW: usize = 64;
/// Of one message, in bytes.
const TEXT: usize = 16 * 1024;
/// Readers that take nothing.
const STALLED: usize = 32;
/// Memory is looked at each time so many more were acknowledged, so often.
const ROUND: usize = 2_000;
/// In the first half everything fills that has a bound.
const ROUNDS: usize = 40;
/// What memory may grow by from the first half to the second, in percent: allocators keep what was freed.
const GROWTH: u64 = 400;

/// Sends with a window until it is told to stop; what was acknowledged.
async fn send(
    client: Arc<Client>,
    to: Target,
    stop: watch::Receiver<bool>,
    progress: watch::Sender<usize>,
) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while !*stop.borrow() {
        receipts.push(client.post(Post::new(to.clone(), &"x".repeat(TEXT))).await.expect("it is repeated"));
        progress.send_modify(|n| *n += 1);
    }
    receipts
}

/// Readers that watch the room from its beginning and take nothing.
async fn stalled(server: &Server, room: quip_protocol::RoomId) -> Vec<Raw> {
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut raw = Raw::connect(&server.link, &identity("reader")).await;
        let start = Cursor { seq: Seq::ZERO, ..Cursor::default() };
        let watching = raw.ask(Request::Watch { rooms: vec![(room, Some(start))] }).await;
        assert!(matches!(watching, Reply::Watching { .. }), "{watching:?}");
        stalled.push(raw);
    }
    stalled
}

fn metric(server: &Server, name: &str) -> u64 {
    let metrics = server.http("/metrics").1;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("quip_{name}_total ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_held_back_and_memory_is_flat() {
    let mut server = Server::with_config(LIMITS);
    let owner = join(server.owner.as_ref().unwrap(), "owner").await;
    let invite = server.invite(&["--uses", "100"]);
    let room = join(&invite, "reader").await.join("#general").await.unwrap();
    let mut clients = Vec::new();
    for n in 0..SENDERS {
        clients.push(Arc::new(join(&invite, &format!("sender{n}")).await));
    }
    assert!(server.stop());
    // One arena: what is looked at is what the server holds, and not what glibc keeps for each thread.
    let arena = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536")];
    server.restart_with(&[&arena[..], &[("QUIPD_FAULT", "slow-disk")]].concat());
    let mut readers = stalled(&server, room.id).await;
    let (stop, stopped) = watch::channel(false);
    let (progress, mut acknowledged) = watch::channel(0usize);
    let mut senders = JoinSet::new();
    for client in clients.iter().flat_map(|client| std::iter::repeat_n(client, WINDOW)) {
        senders.spawn(send(Arc::clone(client), room.target.clone(), stopped.clone(), progress.clone()));
    }
    let server_process = Process::of(server.pid());
    eventually("senders are held back", || (metric(&server, "held_back") > 0).then_some(()));
    let (mut memory, mut held_back) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let enough = round * ROUND;
        within("the server goes on", acknowledged.wait_for(|n| *n >= enough)).await.unwrap();
        memory.extend(server_process.rss_kib());
        held_back.push(metric(&server, "held_back"));
    }
    println!("resident: {memory:?} KiB, held back: {held_back:?}");
    assert!(held_back.last() > held_back.get(ROUNDS / 2), "it is offered too much to the end");
    let (first, second) = memory.split_at(memory.len() / 2);
    if let (Some(before), Some(after)) = (first.iter().max(), second.iter().max()) {
        assert!(after * 100 <= before * (100 + GROWTH), "memory grew from {before} to {after} KiB");
    }
    stop.send(true).unwrap();
    let receipts = within("the rest is taken", senders.join_all()).await;
    let history = history(&owner, &room.target).await;
    check_receipts(&receipts, &history);
    let mut live = readers[0].live().await;
    for seq in 1..=history.len() as u64 {
        let event: quip_protocol::Event = next(&mut live).await.decode(FrameKind::Event, "event").unwrap();
        assert_eq!(event.seq, Seq(seq), "who did not read lost nothing either");
    }
}
