//! A feed is let go as idle while the writer publishes into it: the frame must be found all the same.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use quip_protocol::{RoomId, Seq};
use quip_server::feed::{FeedKey, Feeds};

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
            feeds.publish(key, *seq, Bytes::from_static(b"frame"), Vec::new());
            let lost = feeds.frame(key, *seq).is_none();
            published.store(seq.0, Ordering::Release);
            lost
        });
        done.store(true, Ordering::Release);
        assert_eq!(lost, None, "an event is neither stored nor in its feed");
    });
    feeds.stored(key, Seq(EVENTS));
}
