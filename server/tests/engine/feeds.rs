//! Feeds: what is published is found, also while its feed is let go as idle; how much is kept; what a reader is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use quip_protocol::{AccountId, RoomId, Seq};
use quip_server::Stopping;
use quip_server::feed::{FeedKey, Feeds, Interest};
use quip_server::pipeline::open::open;
use quip_storage::store::StoreOptions;

/// Logs at once, two threads each: more than cores, so that they are interrupted anywhere.
const LOGS: u64 = 8;
const EVENTS: u64 = 50_000;

#[test]
fn what_was_published_and_is_not_stored_can_be_read() {
    let feeds = Feeds::default();
    thread::scope(|scope| {
        for room in 0..LOGS {
            let feeds = &feeds;
            scope.spawn(move || publish_and_store(feeds, FeedKey::Room(RoomId(room))));
        }
    });
    assert!(feeds.is_empty(), "what is stored and not watched is let go");
}

fn publish_and_store(feeds: &Feeds, key: FeedKey) {
    let (published, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // The store has each event as soon as it is published.
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                feeds.stored(key, Seq(published.load(Ordering::Acquire)));
            }
        });
        let lost = (1..=EVENTS).map(Seq).find(|seq| {
            feeds.wake(&feeds.append(key, *seq, Bytes::from_static(b"frame"), Vec::new()));
            let lost = feeds.frame(key, *seq).is_none();
            published.store(seq.0, Ordering::Release);
            lost
        });
        done.store(true, Ordering::Release);
        assert_eq!(lost, None, "an event is neither stored nor in its feed");
    });
    feeds.stored(key, Seq(EVENTS));
}

const BUDGET: usize = 64 * 1024;
/// Of one frame, in bytes.
const FRAME: usize = 1024;

/// A log that someone watches, with so many frames.
fn fill(feeds: &Feeds, room: u64, frames: u64) -> FeedKey {
    let key = FeedKey::Room(RoomId(room));
    for seq in 1..=frames {
        feeds.wake(&feeds.append(key, Seq(seq), Bytes::from(vec![0; FRAME]), vec![]));
    }
    key
}

#[test]
fn what_all_tails_keep_together_has_a_budget_and_what_was_used_last_stays() {
    let (feeds, bell) = (Feeds::with_budget(BUDGET), Arc::default());
    let mut watches = Vec::new();
    for room in 0..50 {
        watches
            .push(feeds.watch(Interest::live(FeedKey::Room(RoomId(room)), AccountId(1), Seq::ZERO), &bell));
        let key = fill(&feeds, room, 4);
        feeds.stored(key, Seq(4));
        assert!(feeds.kept() <= BUDGET, "{} of {BUDGET}", feeds.kept());
        assert!(feeds.frame(key, Seq(4)).is_some(), "what is newest stays");
        // Someone reads the first room all the time.
        assert!(feeds.frame(FeedKey::Room(RoomId(0)), Seq(1)).is_some(), "let go of after {room}");
    }
    assert!(feeds.frame(FeedKey::Room(RoomId(1)), Seq(1)).is_none(), "what was not used for longest went");
    let unstored = fill(&feeds, 99, 2 * (BUDGET / FRAME) as u64);
    feeds.stored(unstored, Seq(1));
    for room in 100..200 {
        watches
            .push(feeds.watch(Interest::live(FeedKey::Room(RoomId(room)), AccountId(1), Seq::ZERO), &bell));
        feeds.stored(fill(&feeds, room, 4), Seq(4));
    }
    for seq in 2..=2 * (BUDGET / FRAME) as u64 {
        assert!(feeds.frame(unstored, Seq(seq)).is_some(), "{seq} is nowhere else");
    }
    feeds.stored(unstored, Seq(2 * (BUDGET / FRAME) as u64));
    watches.iter().for_each(|watch| feeds.unwatch(watch));
    assert_eq!((feeds.len(), feeds.kept()), (0, 0), "and the count comes out even");
}

#[test]
fn a_reader_is_told_whether_there_is_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let opened = open(dir.path(), StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default())
        .expect("the directory opens");
    let feeds = Feeds::default();
    let key = fill(&feeds, 7, 3);
    let read = |after, end, max| {
        let chunk = feeds.read(&opened.store, key, Seq(after), Seq(end), max).expect("readable");
        (chunk.frames.len(), chunk.last.0, chunk.more)
    };
    let table = [
        ((0, u64::MAX, 1), (1, 1, true)),
        ((0, u64::MAX, 1 << 20), (3, 3, false)),
        ((0, 2, 1 << 20), (2, 2, false)),
        ((1, 3, 1), (1, 2, true)),
        ((3, u64::MAX, 1), (0, 3, false)),
        ((9, u64::MAX, 1), (0, 9, false)),
    ];
    for ((after, end, max), expected) in table {
        assert_eq!(read(after, end, max), expected, "behind {after} up to {end}, {max} bytes");
    }
}
