//! Who lives, on a real Redis: heard of within a second, forgotten within five, and a name belongs to one node. And the stream is
//! trimmed behind those who live.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quip_protocol::{Epoch, Fingerprint, NodeName, Position, Timestamp};
use quip_server::cluster::roster::{Beating, Now, Own, Unwelcome, start};
use quip_server::cluster::turn::Turn;
use quip_server::cluster::{BootId, Cluster, Roster};
use quip_server::log::redis::Connection;
use quip_server::log::redis::trim::Trimmer;
use quip_server::log::shared::contract::{Answer, Ask, BatchId, ClusterId};
use quip_server::log::shared::member::Phase;
use quip_storage::{Journal, JournalOptions};
use quip_tests::cluster::Redis;
use quip_tests::{eventually, within};
use tokio::sync::watch;

fn name(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn at(offset: u64) -> Position {
    Position { epoch: Epoch(1), offset }
}

struct Node {
    cluster: Arc<Cluster>,
    beating: Beating,
    /// What it has.
    offset: Arc<AtomicU64>,
}

/// `boot` is its address too, and when it started.
async fn node(redis: &Redis, called: &str, boot: u8, directory: u8) -> Result<Node, Unwelcome> {
    node_at(redis, called, boot, directory, format!("localhost:{boot}"), "5e").await
}

async fn node_at(
    redis: &Redis,
    called: &str,
    boot: u8,
    directory: u8,
    address: String,
    key_mark: &str,
) -> Result<Node, Unwelcome> {
    let cluster = Arc::new(Cluster {
        id: ClusterId([1; 16]),
        name: name(called),
        boot: BootId([boot; 16]),
        roster: watch::Sender::new(Roster::new()),
        phase: watch::Sender::new(Phase::Live),
        counts: Arc::default(),
        barrier: quip_server::cluster::barrier::Barrier::new().0,
    });
    let own = Own {
        directory: [directory; 16],
        started: Timestamp(boot.into()),
        address,
        fingerprint: Fingerprint([boot; 32]),
        key_mark: key_mark.to_owned(),
    };
    let offset = Arc::new(AtomicU64::new(0));
    let now = {
        let offset = Arc::clone(&offset);
        move || Now { connections: 5, position: at(offset.load(Ordering::Relaxed)), draining: false }
    };
    let beating = start(redis.url().parse().unwrap(), Arc::clone(&cluster), own, now).await?;
    Ok(Node { cluster, beating, offset })
}

/// Until these live, as it sees it.
async fn sees(node: &Node, names: &[&str]) -> Roster {
    let mut roster = node.cluster.roster.subscribe();
    let seen = roster.wait_for(|roster| roster.keys().map(NodeName::as_str).eq(names.iter().copied()));
    within(&format!("it sees {names:?}"), seen).await.unwrap().clone()
}

#[tokio::test]
async fn nodes_hear_of_each_other_until_one_is_gone() {
    let mut redis = Redis::start();
    let a = node(&redis, "a", 1, 1).await.unwrap();
    let b = node(&redis, "b", 2, 2).await.unwrap();
    let seen = sees(&a, &["a", "b"]).await;
    let other = &seen[&name("b")];
    assert_eq!((other.address.as_str(), other.connections, other.boot), ("localhost:2", 5, BootId([2; 16])));
    // A Redis that was emptied knows all of them again.
    redis.replace_by_an_empty_one();
    let c = node(&redis, "c", 3, 3).await.unwrap();
    sees(&c, &["a", "b", "c"]).await;
    sees(&a, &["a", "b", "c"]).await;
    b.beating.stop().await;
    sees(&a, &["a", "c"]).await;
    // One that was killed says nothing any more.
    redis.cli(&["HSET", "{quip}:nodes", "d", "1 00 00 1 {}"]);
    sees(&c, &["a", "c"]).await;
    let gone = tokio::task::spawn_blocking(move || {
        eventually("the list is without it", || {
            (redis.cli(&["HEXISTS", "{quip}:nodes", "d"]) == "0").then_some(())
        });
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_name_belongs_to_one_node() {
    let redis = Redis::start();
    let first = node(&redis, "a", 1, 1).await.unwrap();
    let refused = node(&redis, "a", 2, 2).await.err().unwrap();
    assert!(
        refused.to_string().contains("localhost:1") && refused.to_string().contains("--node"),
        "{refused}"
    );
    // The same directory is the same node, started again; the process of before is at its end.
    let again = node(&redis, "a", 3, 1).await.unwrap();
    let taken = within("it is told", first.beating.taken).await.unwrap();
    assert_eq!(taken.address, "localhost:3");
    assert!(sees(&again, &["a"]).await.contains_key(&name("a")));
    // Its name is free when it is gone, and not before.
    assert!(node(&redis, "a", 4, 4).await.is_err());
    again.beating.stop().await;
    node(&redis, "a", 4, 4).await.unwrap();
}

#[tokio::test]
async fn an_address_belongs_to_one_node() {
    let redis = Redis::start();
    let first = node(&redis, "a", 1, 1).await.unwrap();
    let at_the_first = async || node_at(&redis, "b", 2, 2, "localhost:1".into(), "5e").await;
    let refused = at_the_first().await.err().unwrap().to_string();
    assert!(refused.contains("node a") && refused.contains("--advertise"), "{refused}");
    // It is not taken for one that died.
    node(&redis, "b", 3, 3).await.unwrap().beating.stop().await;
    first.beating.stop().await;
    at_the_first().await.unwrap();
}

#[tokio::test]
async fn a_node_that_lost_its_directory_has_its_name_again_when_the_one_of_before_is_forgotten() {
    let redis = Redis::start();
    let dead = node(&redis, "a", 1, 1).await.unwrap();
    let said = redis.cli(&["HGET", "{quip}:nodes", "a"]);
    dead.beating.stop().await;
    // As if it had been killed.
    redis.cli(&["HSET", "{quip}:nodes", "a", &said]);
    assert!(node(&redis, "a", 2, 2).await.is_err(), "elsewhere");
    node_at(&redis, "a", 3, 3, "localhost:1".into(), "5e").await.unwrap();
}

#[tokio::test]
async fn who_has_another_key_than_all_the_others_does_not_live_among_them() {
    let redis = Redis::start();
    let a = node(&redis, "a", 1, 1).await.unwrap();
    let other = |called, boot| node_at(&redis, called, boot, boot, format!("localhost:{boot}"), "0f");
    let refused = other("b", 2).await.err().unwrap().to_string();
    for said in ["node a", "localhost:1", "--cluster-key"] {
        assert!(refused.contains(said) && refused.lines().count() == 1, "{refused}");
    }
    // Its name is free at once, and it was never among those who live.
    let b = node(&redis, "b", 3, 3).await.unwrap();
    sees(&a, &["a", "b"]).await;
    drop(b);
}

#[tokio::test]
async fn the_stream_is_trimmed_behind_who_lives() {
    let redis = Redis::start();
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let found = Ask::Found { cluster: ClusterId([1; 16]), epoch: Epoch(1), base: Position::ZERO };
    assert_eq!(connection.ask(&found).await, Ok(Answer::Done));
    for offset in 1..=1_500u64 {
        let append = Ask::Append {
            epoch: Epoch(1),
            seen: at(offset - 1),
            node: name("a"),
            batch: BatchId(u128::from(offset).to_be_bytes()),
            payload: Bytes::from(vec![0; 100]),
        };
        assert_eq!(connection.ask(&append).await, Ok(Answer::Placed(at(offset))));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), JournalOptions::default()).unwrap();
    journal.append_all(&(1..=1_400).map(|offset| (at(offset), [0])).collect::<Vec<_>>()).unwrap();
    let (a, b) = (node(&redis, "a", 1, 1).await.unwrap(), node(&redis, "b", 2, 2).await.unwrap());
    let behind = |node: &Node, offset| node.offset.store(offset, Ordering::Relaxed);
    behind(&a, 1_400);
    behind(&b, 300);
    let mut known = a.cluster.roster.subscribe();
    let told = known.wait_for(|roster| roster.get(&name("b")).is_some_and(|b| b.position == at(300)));
    within("its position is known", told).await.unwrap();

    let trimmer = |node: &Node, max_bytes| {
        let address = redis.url().parse().unwrap();
        Trimmer::new(address, Arc::clone(&node.cluster), journal.reader(), max_bytes)
    };
    // The second one leaves it to the first.
    trimmer(&b, 1 << 30).once().await.unwrap();
    assert_eq!(redis.cli(&["XLEN", "{quip}:log"]), "1500");
    trimmer(&a, 1 << 30).once().await.unwrap();
    assert_eq!(redis.cli(&["XLEN", "{quip}:log"]), "1200", "behind the slowest");
    let gauges: std::collections::BTreeMap<_, _> = a.cluster.counts.gauges(&Phase::Live).into();
    assert_eq!(gauges["shared_log_entries"], 1_500, "before it was trimmed");
    assert!(gauges["shared_log_memory_bytes"] > 150_000);
    trimmer(&a, 1).once().await.unwrap();
    assert_eq!(redis.cli(&["XLEN", "{quip}:log"]), "100", "what this node has goes");
}

/// The key by which nodes agree on whose turn it is.
const TURN: &str = "{quip}:turn";

fn turn(redis: &Redis, called: &str) -> Turn {
    Turn::new(redis.url().parse().unwrap(), name(called))
}

fn has_turn(redis: &Redis) -> String {
    redis.cli(&["GET", TURN]).split(' ').next().unwrap_or_default().to_owned()
}

/// Who had the same entries appends what has no id after the other.
#[tokio::test]
async fn one_node_at_a_time_has_its_turn() {
    let redis = Redis::start();
    let (mut a, mut b) = (turn(&redis, "a"), turn(&redis, "b"));
    within("nobody has it", a.take()).await;
    let (sender, mut taken) = watch::channel(false);
    let waits = tokio::spawn(async move {
        b.take().await;
        sender.send_replace(true);
        b
    });
    for _ in 0..20 {
        within("whoever has it has it for longer", a.take()).await;
        assert!(!*taken.borrow_and_update());
        assert_eq!(has_turn(&redis), "a");
    }
    let mut other = turn(&redis, "c");
    other.give_back().await;
    assert_eq!(has_turn(&redis), "a", "it was not c's");
    a.give_back().await;
    let mut b = within("it is b's", waits).await.unwrap();
    assert_eq!(has_turn(&redis), "b");
    assert!(redis.cli(&["PTTL", TURN]).parse::<i64>().unwrap() > 0, "it ends by itself");
    b.give_back().await;
    assert_eq!(redis.cli(&["EXISTS", TURN]), "0");
}

/// What others did while it was not its turn is not known yet.
#[tokio::test]
async fn who_has_had_its_turn_all_the_time_is_told_so() {
    let mut redis = Redis::start();
    let (mut a, mut b) = (turn(&redis, "a"), turn(&redis, "b"));
    let is_still = async |turn: &mut Turn| within("a turn", turn.take()).await;
    assert!(!is_still(&mut a).await, "it was nobody's");
    assert!(is_still(&mut a).await && is_still(&mut a).await);
    assert!(!is_still(&mut turn(&redis, "a")).await, "that was before the node started again");
    assert!(!is_still(&mut a).await, "as if it had been asked before, and arrived late");
    assert!(is_still(&mut a).await);
    redis.cli(&["DEL", TURN]);
    assert!(!is_still(&mut b).await);
    b.give_back().await;
    assert!(!is_still(&mut a).await, "another one has had it");
    assert!(is_still(&mut a).await);
    redis.replace_by_an_empty_one();
    assert!(!is_still(&mut a).await, "nobody knows of it");
    assert!(is_still(&mut a).await);
}
