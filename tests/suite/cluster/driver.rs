//! The driver of the shared log on a real Redis, with a journal behind it and no engine: what is appended on two nodes is in both
//! journals, once and in one order, whatever becomes of Redis meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc::unbounded;
use quip_protocol::{
    DeviceKey, Epoch, ErrorCode, Fingerprint, MessageId, MessageKind, Position, Refusal, SafeText, Timestamp,
};
use quip_server::cluster::{BootId, Cluster, Heartbeat, Roster};
use quip_server::engine::{Actor, Command, CommandBody, Entry, Outcome};
use quip_server::log::redis::{Connection, Ended, Parts, SharedIntake};
use quip_server::log::shared::contract::{Answer, Ask, ClusterId};
use quip_server::log::shared::member::{Phase, StepAside};
use quip_server::log::{Intake, SharedLog, Submission, Taken, Waiter};
use quip_storage::{Journal, JournalOptions, JournalReader};
use quip_tests::cluster::Redis;
use quip_tests::within;
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A node without an engine: its writer writes, and answers that all is well.
struct Node {
    log: SharedLog,
    cluster: Arc<Cluster>,
    journal: JournalReader,
    ended: oneshot::Receiver<Ended>,
    writer: JoinHandle<()>,
    /// Its disk is full.
    is_full: Arc<AtomicBool>,
    _dir: TempDir,
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        boot: BootId([0; 16]),
        address: "localhost:1".into(),
        fingerprint: Fingerprint([0; 32]),
        connections: 0,
        position: Position::ZERO,
        draining: false,
    }
}

impl Node {
    /// With those alive from the beginning, known before the driver starts, as a node knows them.
    fn start(redis: &Redis, name: &str, alive: &[&str]) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let journal = open(dir.path());
        let reader = journal.reader();
        let roster: Roster = alive.iter().map(|name| (name.parse().unwrap(), heartbeat())).collect();
        let cluster = Arc::new(Cluster {
            id: CLUSTER,
            name: name.parse().unwrap(),
            boot: BootId([0; 16]),
            roster: watch::Sender::new(roster),
            phase: watch::Sender::new(Phase::Live),
            counts: Arc::default(),
            barrier: quip_server::cluster::barrier::Barrier::new().0,
        });
        let address = redis.url().parse().unwrap();
        let parts = Parts { address, cluster: Arc::clone(&cluster), journal: reader.clone() };
        let (log, intake, ended) = SharedLog::start(parts).unwrap();
        let is_full = Arc::new(AtomicBool::new(false));
        let full = Arc::clone(&is_full);
        let writer = std::thread::spawn(move || write(journal, intake, &full));
        Node { log, cluster, journal: reader, ended, writer, is_full, _dir: dir }
    }

    /// Until it has its place and is durable here; says how often it was refused.
    async fn append(&self, number: u64) -> usize {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for refused in 0.. {
            pause.tick().await;
            match submit(&self.log, number).await {
                Ok(_) => return refused,
                Err(refusal) => assert_eq!(refusal.code, ErrorCode::Degraded, "{refusal}"),
            }
        }
        unreachable!("it is tried until it succeeds")
    }

    async fn append_all(&self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            within("an append", self.append(number)).await;
        }
    }

    async fn live(&self) {
        let mut phase = self.cluster.phase.subscribe();
        within("it is live", phase.wait_for(|phase| *phase == Phase::Live)).await.unwrap();
    }

    fn entries(&self) -> Vec<(Position, Bytes)> {
        let records = self.journal.replay(Position::ZERO).unwrap();
        records.map(|record| record.unwrap()).map(|(at, payload)| (at, payload.into())).collect()
    }

    /// The numbers in the journal, in order.
    fn numbers(&self) -> Vec<u64> {
        let entries = self.entries();
        let commands = entries.iter().flat_map(|(_, payload)| Entry::from_bytes(payload).unwrap().commands);
        commands.map(|command| command.at.0).collect()
    }

    async fn stop(self) {
        drop(self.log);
        let writer = tokio::task::spawn_blocking(move || self.writer.join());
        within("the writer ends", writer).await.unwrap().unwrap();
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, JournalOptions::default()).unwrap()
}

fn write(mut journal: Journal, mut intake: SharedIntake, is_full: &AtomicBool) {
    let mut missed = false;
    while let Some(taken) = intake.group(Duration::from_millis(20)) {
        let Taken::Entries(entries) = taken else { panic!("no entries") };
        if missed && !is_full.load(Ordering::Relaxed) {
            missed = false;
            intake.rewind(journal.last());
            continue;
        } else if entries.is_empty() {
            continue;
        } else if is_full.load(Ordering::Relaxed) {
            missed = true;
            intake.missed();
            let refusal = Refusal::retry(ErrorCode::Degraded, "full", 5_000);
            let waiters = entries.iter().flat_map(|placed| &placed.waiters);
            waiters.for_each(|waiter| waiter.finish(Err(refusal.clone())));
            continue;
        }
        let records: Vec<_> =
            entries.iter().map(|placed| (placed.position, placed.payload.clone())).collect();
        journal.append_all(&records).unwrap();
        intake.durable(journal.last());
        entries.iter().flat_map(|placed| &placed.waiters).for_each(|waiter| waiter.finish(Ok(Outcome::Done)));
    }
}

async fn submit(log: &SharedLog, number: u64) -> Result<Outcome, Refusal> {
    let (results, mut finished) = unbounded();
    let body = CommandBody::Post {
        target: "#general".parse().unwrap(),
        id: MessageId::from_bytes([1; 16]),
        kind: MessageKind::Plain,
        text: SafeText::new("hello"),
        reply_to: None,
    };
    let command = Command { at: Timestamp(number), by: Actor::Device(DeviceKey([1; 32])), body };
    log.offer(Submission { command, waiter: Waiter { label: 0, results } })?;
    finished.recv().await.expect("everyone who waits is told").result
}

/// A node, alone with its Redis, that takes something.
async fn alone() -> (Redis, Node) {
    let redis = Redis::start();
    found(&redis).await;
    let node = Node::start(&redis, "a", &["a"]);
    node.live().await;
    (redis, node)
}

async fn found(redis: &Redis) {
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let found = Ask::Found { cluster: CLUSTER, epoch: Epoch(1), base: Position::ZERO };
    assert_eq!(connection.ask(&found).await, Ok(Answer::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_together_is_one_entry_and_everyone_is_told() {
    let (redis, node) = alone().await;
    let all = (0..500).map(|number| {
        let log = node.log.clone();
        tokio::spawn(async move { submit(&log, number).await })
    });
    for appended in all.collect::<Vec<_>>() {
        assert_eq!(within("an append", appended).await.unwrap(), Ok(Outcome::Done));
    }
    let (numbers, entries) = (node.numbers(), node.entries());
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..500).collect::<Vec<_>>());
    assert!(entries.len() < 250, "{} entries", entries.len());
    assert_eq!(redis.cli(&["XLEN", "{quip}:log"]), entries.len().to_string());
    let counts: std::collections::BTreeMap<_, _> = node.cluster.counts.all().into();
    assert_eq!(counts["shared_log_appends"], entries.len() as u64);
    assert!(counts["shared_log_entries_read"] >= entries.len() as u64);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_have_one_log_whatever_becomes_of_redis() {
    let mut redis = Redis::start();
    found(&redis).await;
    let a = Node::start(&redis, "a", &["a", "b"]);
    let b = Node::start(&redis, "b", &["a", "b"]);
    tokio::join!(a.live(), b.live());
    tokio::join!(a.append_all(0..50), b.append_all(50..100));

    // Both go on, and Redis is killed under them.
    let killing = async {
        redis.kill();
        let mut phase = a.cluster.phase.subscribe();
        within("it is noticed", phase.wait_for(|phase| *phase == Phase::Unreachable)).await.unwrap();
        assert_eq!(submit(&a.log, 999).await.unwrap_err().code, ErrorCode::Degraded);
        redis.restart();
    };
    tokio::join!(a.append_all(100..150), b.append_all(150..200), killing);
    let saved = redis.save();
    tokio::join!(a.append_all(200..250), b.append_all(250..300));
    redis.roll_back(&saved);
    tokio::join!(a.append_all(300..350), b.append_all(350..400));
    redis.wipe();
    tokio::join!(a.append_all(400..450), b.append_all(450..500));
    redis.replace_by_an_empty_one();
    tokio::join!(a.append_all(500..520), b.append_all(520..540));

    let last = |node: &Node| node.entries().last().map(|(position, _)| *position);
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within("both have all", async {
        while last(&a) != last(&b) {
            pause.tick().await;
        }
    })
    .await;
    assert_eq!(a.entries(), b.entries());
    let numbers = a.numbers();
    let counted = |number: u64| numbers.iter().filter(|found| **found == number).count();
    let wrong: Vec<_> = (0..540).filter(|number| counted(*number) != 1).collect();
    assert_eq!(wrong, Vec::<u64>::new(), "lost, or there twice");
    for mine in [0..50, 100..150, 200..250, 300..350, 400..450, 500..520u64] {
        let in_order: Vec<_> = numbers.iter().copied().filter(|number| mine.contains(number)).collect();
        assert_eq!(in_order, mine.collect::<Vec<_>>(), "each in the order in which it was sent");
    }
    assert!(a.entries().windows(2).all(|pair| pair[0].0.offset + 1 == pair[1].0.offset));
    let epochs = a.entries().last().unwrap().0.epoch;
    assert!(epochs >= Epoch(5), "raised with each of the four");
    tokio::join!(a.stop(), b.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_another_cluster_or_what_it_cannot_read_is_at_its_end() {
    let redis = Redis::start();
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let cluster = ClusterId([9; 16]);
    let found_others = Ask::Found { cluster, epoch: Epoch(1), base: Position::ZERO };
    assert_eq!(connection.ask(&found_others).await, Ok(Answer::Done));
    let node = Node::start(&redis, "a", &["a"]);
    let ended = within("it ends", node.ended).await.unwrap();
    assert_eq!(ended, Ended::Aside(StepAside::Foreign { cluster }));
    assert_eq!(submit(&node.log, 1).await.unwrap_err().code, ErrorCode::Degraded);

    redis.wipe();
    found(&redis).await;
    let node = Node::start(&redis, "a", &["a"]);
    node.live().await;
    let newer = Ask::Append {
        epoch: Epoch(1),
        seen: Position::ZERO,
        node: "b".parse().unwrap(),
        batch: quip_server::log::shared::contract::BatchId([1; 16]),
        payload: Bytes::from_static(&[200, 1, 0, 0]),
    };
    assert!(matches!(connection.ask(&newer).await, Ok(Answer::Placed(_))));
    let ended = within("it ends", node.ended).await.unwrap();
    assert!(ended.to_string().contains("newer quipd") && ended.to_string().lines().count() == 1, "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_is_told_to_try_again_and_what_was_asked_for_is_there_once() {
    let (redis, node) = alone().await;
    node.append_all(0..1).await;
    // It is live until somebody notices.
    redis.pause();
    let refused = within("it is told", submit(&node.log, 1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Degraded);
    redis.resume();
    node.append_all(2..3).await;
    assert_eq!(node.numbers(), [0, 1, 2], "the question was asked again until it had an answer");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_write_appends_nothing_more_however_often_it_is_tried_again() {
    let (redis, node) = alone().await;
    node.append_all(0..1).await;
    node.is_full.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        let refused = within("it is told", submit(&node.log, 1)).await.unwrap_err();
        assert_eq!((refused.code, refused.retry_after_ms), (ErrorCode::Degraded, Some(5_000)));
    }
    assert_eq!(redis.cli(&["XLEN", "{quip}:log"]), "2", "the one by which it was noticed");
    node.is_full.store(false, Ordering::Relaxed);
    node.append_all(2..3).await;
    assert_eq!(node.numbers(), [0, 1, 2]);
    node.stop().await;
}
