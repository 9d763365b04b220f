//! The real Redis does what the contract of the shared log says; and how a connection to it fails and comes back.

use std::time::Duration;

use quip_protocol::Position;
use quip_server::log::redis::{Connection, settings};
use quip_server::log::shared::contract::{Answer, Ask};
use quip_tests::cluster::Redis;
use quip_tests::cluster::contract::{Keeper, check};
use quip_tests::cluster::redis::{Saved, Sentinel};
use quip_tests::eventually;
use tokio::runtime::Runtime;

pub struct Real {
    pub redis: Redis,
    saved: Option<Saved>,
    connection: Connection,
    runtime: Runtime,
}

impl Real {
    pub fn start() -> Real {
        let redis = Redis::start();
        let connection = Connection::new(redis.url().parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Real { redis, saved: None, connection, runtime }
    }
}

impl Keeper for Real {
    /// A connection that broke is made again.
    fn ask(&mut self, ask: &Ask) -> Answer {
        eventually("an answer", || self.runtime.block_on(self.connection.ask(ask)).ok())
    }

    fn restart(&mut self) {
        self.redis.restart();
    }

    fn save(&mut self) {
        self.saved = Some(self.redis.save());
    }

    fn roll_back(&mut self) {
        self.redis.roll_back(self.saved.as_ref().unwrap());
    }

    fn wipe(&mut self) {
        self.redis.wipe();
    }

    fn pass(&mut self) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn redis_keeps_the_contract() {
    check(&mut Real::start());
}

#[tokio::test]
async fn what_does_not_answer_is_lost_and_found_again() {
    let mut redis = Redis::start();
    let mut connection = Connection::new(redis.url().parse().unwrap());
    assert!(connection.ask(&Ask::Look).await.is_ok());
    redis.pause();
    let lost = connection.ask(&Ask::Look).await.unwrap_err();
    assert!(lost.to_string().contains("no answer within 1000 ms"), "{lost}");
    redis.resume();
    assert!(connection.ask(&Ask::Look).await.is_ok());
    redis.kill();
    let lost = connection.ask(&Ask::Look).await.unwrap_err();
    assert_eq!(lost.to_string().lines().count(), 1);
    let lost = connection.ask(&Ask::Look).await.unwrap_err();
    assert!(lost.to_string().contains("refused"), "{lost}");
    redis.restart();
    assert!(connection.ask(&Ask::Look).await.is_ok());
    assert_eq!(connection.made(), 4, "with each error another one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_waits_for_an_entry_and_no_longer_than_it_was_told() {
    let redis = Redis::start();
    let mut connection = Connection::new(redis.url().parse().unwrap());
    let read = |wait_ms| Ask::Read { after: Position::ZERO, max_bytes: 1_000, wait_ms };
    // Longer than the crate would wait by itself.
    assert_eq!(connection.ask(&read(700)).await, Ok(Answer::Entries(Vec::new())));
    let waiting = tokio::spawn(async move { connection.ask(&read(20_000)).await });
    eventually("it waits", || redis.cli(&["INFO", "clients"]).contains("blocked_clients:1").then_some(()));
    redis.cli(&["XADD", "{quip}:log", "1-1", "b", "1-0", "p", "payload"]);
    let Ok(Ok(Answer::Entries(entries))) = waiting.await else { panic!("no entries") };
    assert_eq!((entries.len(), &entries[0].payload[..]), (1, &b"payload"[..]));
}

#[tokio::test]
async fn a_replica_is_asked_nothing_and_a_promoted_one_is_another_incarnation() {
    let redis = Redis::start();
    let mut first = Connection::new(redis.url().parse().unwrap());
    let replica = Redis::replica(&redis);
    let Ok(Answer::Look(before)) = first.ask(&Ask::Look).await else { panic!("no look") };
    let mut second = Connection::new(replica.url().parse().unwrap());
    let lost = second.ask(&Ask::Look).await.unwrap_err();
    assert!(lost.to_string().contains("replica"), "{lost}");

    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let Ok(Answer::Look(promoted)) = second.ask(&Ask::Look).await else { panic!("no look") };
    assert_ne!(promoted.incarnation, before.incarnation);
    // The same process as before, but with what the other one had.
    redis.cli(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    eventually("it follows", || {
        redis.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });
    redis.cli(&["REPLICAOF", "NO", "ONE"]);
    let mut again = Connection::new(redis.url().parse().unwrap());
    let Ok(Answer::Look(again)) = again.ask(&Ask::Look).await else { panic!("no look") };
    assert!(again.incarnation != before.incarnation && again.incarnation != promoted.incarnation);
}

#[tokio::test]
async fn the_master_is_where_a_sentinel_says() {
    let mut redis = Redis::start();
    let _replica = Redis::replica(&redis);
    let sentinel = Sentinel::of(&redis);
    let mut connection = Connection::new(sentinel.url().parse().unwrap());
    let Ok(Answer::Look(before)) = connection.ask(&Ask::Look).await else { panic!("no look") };
    let unknown = sentinel.url().replace("/shared", "/other");
    let lost = Connection::new(unknown.parse().unwrap()).ask(&Ask::Look).await.unwrap_err();
    assert!(lost.to_string().contains("no Sentinel names the master other"), "{lost}");

    redis.kill();
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    let promoted = quip_tests::within("the replica is promoted", async {
        loop {
            pause.tick().await;
            if let Ok(Answer::Look(look)) = connection.ask(&Ask::Look).await {
                return look;
            }
        }
    })
    .await;
    assert_ne!(promoted.incarnation, before.incarnation);
}

#[tokio::test]
async fn what_redis_can_lose_is_told_in_one_line_if_it_may_be_known() {
    let redis = Redis::start();
    let told = settings::look(redis.url().parse().unwrap()).await;
    assert!(told.line.contains("appendfsync always") && !told.is_alarming, "{told:?}");
    redis.cli(&["CONFIG", "SET", "maxmemory", "100mb"]);
    redis.cli(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let told = settings::look(redis.url().parse().unwrap()).await;
    assert!(told.line.contains("noeviction") && told.is_alarming, "{told:?}");
    redis.cli(&["ACL", "SETUSER", "quip", "on", ">secret", "~{quip}:*", "+@all", "-config"]);
    let url = redis.url().replace("redis://", "redis://quip:secret@");
    let told = settings::look(url.parse().unwrap()).await;
    assert!(told.line.contains("cannot be read") && !told.line.contains("secret"), "{told:?}");
    assert_eq!(told.line.lines().count(), 1);
    assert!(Connection::new(url.parse().unwrap()).ask(&Ask::Look).await.is_ok(), "it does without");
}
