//! Disks that fill up, stores that break and threads that panic while a server runs: nothing that was not durable is
//! told, nothing that was acknowledged is lost, and what can be mended is mended without a restart.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quip_protocol::{ErrorCode, Refusal, Seq, Timestamp};
use quip_server::engine::{Actor, Command, CommandBody, Engine, Outcome};
use quip_server::feed::FeedKey;
use quip_server::node::submit;
use quip_server::pipeline::durable::NeverDurable;
use quip_server::pipeline::fault::Fault;
use quip_server::start::Core;
use quip_storage::journal;

use crate::commands::beginning;
use crate::pipeline::{check_dir, decide, start, submit_all};
use crate::world::{PlainPast, id, key, post, reply};

const DEADLINE: Duration = Duration::from_secs(30);

fn ann(body: CommandBody) -> Command {
    Command { at: Timestamp(10), by: Actor::Device(key("ann")), body }
}

fn posts(numbers: std::ops::Range<u128>) -> Vec<Command> {
    numbers.map(|number| ann(post("#general", number, "x"))).collect()
}

/// A directory in which there are a room and its people, closed.
async fn begun() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let core = start(dir.path(), None);
    submit_all(&core, &beginning(), 100).await;
    core.close().await;
    dir
}

pub async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let polling = async {
        while !check() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, polling).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// As a client's outbox does: again and again, until it is not told to try later.
async fn until_taken(core: &Core, commands: &[Command]) -> Vec<Result<Outcome, Refusal>> {
    let mut results = Vec::new();
    let taking = async {
        for command in commands {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            loop {
                tick.tick().await;
                match submit(&core.shared.log, command.clone()).await {
                    Err(refusal) if refusal.code == ErrorCode::Degraded => {
                        assert!(refusal.retry_after_ms.is_some());
                    }
                    result => break results.push(result),
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, taking).await.expect("it is taken at last");
    results
}

fn seqs(results: Vec<Result<Outcome, Refusal>>) -> Vec<u64> {
    let seq = |result: Result<Outcome, Refusal>| match result {
        Ok(Outcome::Receipt(receipt)) => receipt.seq.0,
        other => panic!("a receipt, not {other:?}"),
    };
    results.into_iter().map(seq).collect()
}

/// Everything that was taken is in the directory, and nothing else.
fn check_all(dir: &Path, commands: &[Command]) {
    let (mut engine, mut past) = (Engine::default(), PlainPast::default());
    decide(&mut engine, &mut past, &beginning());
    decide(&mut engine, &mut past, commands);
    check_dir(dir, &engine, &past);
}

#[tokio::test]
async fn a_disk_that_fails_acknowledges_nothing_and_reading_goes_on() {
    let dir = begun().await;
    let core = start(dir.path(), Some(journal::Fault::Sync));
    let before = core.shared.node.engine.read().clone();
    for result in submit_all(&core, &posts(0..20), 7).await {
        let refusal = result.expect_err("nothing is durable any more");
        assert_eq!((refusal.code, refusal.retry_after_ms.is_some()), (ErrorCode::Degraded, true));
    }
    let node = &core.shared.node;
    assert!(!node.durable.is_writable() && !node.is_ready());
    let asked = node.ask(Engine::clone);
    assert!(node.settled(asked).await.expect("reading goes on") == before, "nothing of it is shown");
    core.close().await;

    // The same once more, as a client's outbox does: there once, whether or not the disk had it.
    let core = start(dir.path(), None);
    assert_eq!(seqs(submit_all(&core, &posts(0..20), 7).await), (5..25).collect::<Vec<_>>());
    core.close().await;
}

#[tokio::test]
async fn a_journal_that_found_no_room_is_written_again_without_a_restart() {
    for fault in [journal::Fault::Write(0), journal::Fault::Write(30)] {
        let dir = begun().await;
        let core = start(dir.path(), Some(fault));
        let node = std::sync::Arc::clone(&core.shared.node);
        let before = node.engine.read().clone();
        let refused = submit(&core.shared.log, posts(0..1).remove(0)).await.expect_err("there was no room");
        assert_eq!((refused.code, refused.retry_after_ms.is_some()), (ErrorCode::Degraded, true));
        let asked = node.ask(Engine::clone);
        assert!(node.settled(asked).await.expect("reading goes on") == before, "{fault:?}: nothing is shown");

        assert_eq!(seqs(until_taken(&core, &posts(0..20)).await), (5..25).collect::<Vec<_>>(), "{fault:?}");
        assert!(node.is_ready());
        assert_eq!(seqs(until_taken(&core, &posts(0..20)).await), (5..25).collect::<Vec<_>>(), "once each");
        drop(node);
        core.close().await;
        check_all(dir.path(), &posts(0..20));
    }
}

#[tokio::test]
async fn a_store_that_found_no_room_is_opened_again_without_a_restart() {
    let dir = begun().await;
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    for round in 0..2 {
        let from = round * 10;
        *node.fault.lock() = Some(Fault::StoreIsFull);
        let first = until_taken(&core, &posts(from..from + 1)).await;
        assert_eq!(seqs(first), [5 + from as u64], "the journal has it, so it is acknowledged");
        eventually("the store fails", || node.fault.lock().is_none()).await;
        until_taken(&core, &posts(from + 1..from + 10)).await;
        let stored = || node.is_ready() && node.store.applied().offset >= 10 * (round as u64 + 1);
        eventually("the store has everything", stored).await;
    }
    drop(node);
    core.close().await;
    check_all(dir.path(), &posts(0..20));
}

/// Replaces values of a closed store. The key's first byte says what is stored.
fn garble(dir: &Path, which: impl Fn(&[u8]) -> bool) {
    let config = sled::Config::new().path(dir.join("store")).segment_size(512 * 1024);
    let opened = (0..10_000).find_map(|_| {
        std::thread::yield_now();
        config.open().ok()
    });
    let db = opened.expect("nobody has the store");
    let keys: Vec<_> = db.iter().keys().flatten().filter(|key| which(key)).collect();
    assert!(!keys.is_empty());
    for key in keys {
        db.insert(key, b"garbled").expect("it takes it");
    }
    db.flush().expect("it takes it");
}

fn set_aside(dir: &Path) -> usize {
    let names =
        std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    names.filter(|name| name.to_string_lossy().starts_with("store.broken-")).count()
}

#[tokio::test]
async fn a_damaged_block_heals_while_the_server_runs() {
    let dir = begun().await;
    let core = start(dir.path(), None);
    submit_all(&core, &posts(0..20), 20).await;
    core.close().await;
    garble(dir.path(), |key| key[0] == b't');

    let core = start(dir.path(), None);
    let answer = ann(reply("#general", 100, "to what cannot be read", Some(10)));
    let refused = submit(&core.shared.log, answer.clone()).await.expect_err("it cannot be decided now");
    assert_eq!((refused.code, refused.retry_after_ms.is_some()), (ErrorCode::Degraded, true));
    assert_eq!(seqs(until_taken(&core, std::slice::from_ref(&answer)).await), [25]);
    assert_eq!(set_aside(dir.path()), 1);
    assert!(core.shared.node.is_ready() && !core.shared.node.store.is_given_up());
    core.close().await;
    check_all(dir.path(), &[posts(0..20), vec![answer]].concat());
}

#[tokio::test]
async fn a_block_that_only_a_reader_finds_damaged_heals_too_also_after_a_crash() {
    let dir = begun().await;
    garble(dir.path(), |key| key[0] == b't');
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    node.store.event(quip_protocol::RoomId(1), quip_protocol::Seq(2)).expect_err("it is garbled");
    assert!(dir.path().join("store/broken").exists(), "a crash now, and the next start sets it aside");
    eventually("it is made again", || !node.is_mending()).await;
    node.store.event(quip_protocol::RoomId(1), quip_protocol::Seq(2)).expect("readable").expect("there");
    drop(node);
    core.close().await;
    check_all(dir.path(), &[]);
}

#[tokio::test]
async fn a_store_that_cannot_be_loaded_is_made_again_at_the_start() {
    let dir = begun().await;
    garble(dir.path(), |key| key[0] > 1);
    let core = start(dir.path(), None);
    assert_eq!(set_aside(dir.path()), 1);
    core.close().await;
    check_all(dir.path(), &[]);
}

#[tokio::test]
async fn below_the_reserve_nothing_is_written_and_a_stop_waits_for_nothing() {
    let dir = begun().await;
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    let enough = node.disk_reserve.swap(u64::MAX, Ordering::Relaxed);
    let refused = submit(&core.shared.log, posts(0..1).remove(0)).await.expect_err("there is no room");
    assert_eq!((refused.code, refused.retry_after_ms.is_some()), (ErrorCode::Degraded, true));
    assert!(!node.is_ready());
    let rooms = node.settled(node.ask(|engine| engine.all_rooms().count())).await;
    assert_eq!(rooms, Ok(2), "reading goes on");
    node.disk_reserve.store(enough, Ordering::Relaxed);
    assert_eq!(seqs(submit_all(&core, &posts(0..1), 1).await), [5]);
    node.disk_reserve.store(u64::MAX, Ordering::Relaxed);
    drop(node);
    tokio::time::timeout(DEADLINE, core.close()).await.expect("a full disk does not keep it from ending");
    check_all(dir.path(), &posts(0..1));
}

#[tokio::test]
async fn a_writer_that_panics_ends_the_server_and_tells_nothing() {
    let dir = begun().await;
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    *node.fault.lock() = Some(Fault::WriterPanics);
    submit(&core.shared.log, posts(0..1).remove(0)).await.expect_err("it was not written");
    tokio::time::timeout(DEADLINE, node.durable.died()).await.expect("the server is over");
    assert!(!node.is_ready());
    assert_eq!(node.settled(node.ask(|_| ())).await, Err(NeverDurable), "the engine is ahead of the disk");
    drop(node);
    core.close().await;
    check_all(dir.path(), &[]);
}

#[tokio::test]
async fn a_store_thread_that_panics_ends_the_server_and_loses_nothing() {
    let dir = begun().await;
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    *node.fault.lock() = Some(Fault::StorePanics);
    assert_eq!(seqs(submit_all(&core, &posts(0..1), 1).await), [5], "the journal has it");
    tokio::time::timeout(DEADLINE, node.durable.died()).await.expect("the server is over");
    assert!(!node.is_ready());
    drop(node);
    core.close().await;
    check_all(dir.path(), &posts(0..1));
}

#[tokio::test]
async fn what_was_deleted_is_not_read_from_a_store_that_is_being_made_again() {
    const SECRET: &[u8] = b"the secret word";
    let dir = begun().await;
    let core = start(dir.path(), None);
    let node = std::sync::Arc::clone(&core.shared.node);
    let said = until_taken(&core, &[ann(post("#general", 1, "the secret word"))]).await;
    let Ok(Outcome::Receipt(place)) = said[0] else { panic!("a receipt, not {said:?}") };
    // More than is applied to the store at once while it is made again.
    for result in submit_all(&core, &posts(10..25_010), 1_000).await {
        result.expect("it is taken");
    }
    let delete = CommandBody::Delete { room: place.room, target: place.seq, id: id(29_999) };
    until_taken(&core, &[ann(delete)]).await;
    let applied = || node.store.applied().offset;
    let (mut last, mut same) = (0, 0);
    eventually("all is stored", || {
        same = if applied() == last { same + 1 } else { 0 };
        last = applied();
        same > 100 && node.feeds.is_empty()
    })
    .await;
    node.store.give_up("a test");
    let before = Seq(place.seq.0 - 1);
    let (mut refused, mut told) = (0, 0);
    let reading = std::sync::Arc::clone(&node);
    let read = tokio::task::spawn_blocking(move || {
        let until = std::time::Instant::now() + DEADLINE;
        while (refused == 0 || told < 10) && std::time::Instant::now() < until {
            match reading.read(FeedKey::Room(place.room), before, place.seq, 1 << 20) {
                Err(_) => refused += 1,
                Ok(chunk) => {
                    let found = |frame: &bytes::Bytes| frame.windows(SECRET.len()).any(|part| part == SECRET);
                    assert!(!chunk.frames.iter().any(found), "after {refused} refusals");
                    told += u32::from(refused > 0 && !chunk.frames.is_empty());
                }
            }
        }
        (refused, told)
    });
    // The writer notices with the next thing it is given.
    until_taken(&core, &posts(30_000..30_010)).await;
    let (refused, told) = read.await.expect("the secret is not told");
    assert!(
        refused > 0 && told >= 10,
        "it was read while and after the store was made again: {refused} {told}"
    );
    drop(node);
    core.close().await;
}
