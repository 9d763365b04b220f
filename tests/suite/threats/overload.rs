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
/// Memory is looked at each time so many more were acknowledged.
const ROUND: usize = 1_500;
/// At most so often: by then it is to be level.
const ROUNDS: usize = 28;
/// It is level when for so many rounds, in which 140 MiB are taken,
const SPAN: usize = 6;
/// its highest is not higher than it was before by more than this, in KiB. What has a bound fills: some of it, such as what waits
/// for the store, when it happens to be needed.
const HIGHER: u64 = 16 * 1024;

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
        if is_level(&memory) {
            break;
        }
    }
    println!("resident: {memory:?} KiB, held back: {held_back:?}");
    assert!(held_back.last() > held_back.get(held_back.len() - SPAN), "it is offered too much to the end");
    // Where it cannot be looked at there is nothing.
    assert!(memory.is_empty() || is_level(&memory), "memory grows on: {memory:?} KiB");
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

fn is_level(memory: &[u64]) -> bool {
    let before = memory.len().saturating_sub(SPAN);
    let (before, last) = memory.split_at(before);
    before.len() >= SPAN && last.iter().max() <= before.iter().max().map(|most| most + HIGHER).as_ref()
}

/// As it was measured, each time 2,000 more were taken, and the same if a fifth of that were kept.
#[test]
fn what_fills_is_level_in_the_end_and_what_keeps_a_fifth_is_not() {
    let measured = [
        169_656, 201_140, 284_936, 302_204, 322_984, 317_660, 325_340, 333_144, 330_448, 327_860, 327_956,
        339_080, 337_288, 335_968, 335_404, 327_900, 327_712, 332_664, 321_992, 320_936, 334_924, 363_888,
        390_720, 395_820,
    ];
    let first = |memory: &[u64]| (1..=memory.len()).find(|rounds| is_level(&memory[..*rounds]));
    assert_eq!(first(&measured), Some(2 * SPAN));
    let fifth = (2_000 * TEXT / 1024 / 5) as u64;
    let kept: Vec<u64> = (0..).zip(measured).map(|(round, memory)| memory + round * fifth).collect();
    assert_eq!(first(&kept), None);
}
