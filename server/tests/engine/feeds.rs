//! A feed is let go as idle while the writer publishes into it: the frame must be found all the same.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use quip_protocol::{RoomId, Seq};
use quip_server::feed::{FeedKey, Feeds};

#[test]
fn what_was_published_and_is_not_stored_can_be_read() {
    const EVENTS: u64 = 300_000;
    let key = FeedKey::Room(RoomId(1));
    let feeds = Feeds::default();
    let (published, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // The store has each event as soon as it is published.
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                feeds.stored(key, Seq(published.load(Ordering::Acquire)));
            }
        });
        let lost = (1..=EVENTS).map(Seq).find(|seq| {
            feeds.publish(key, *seq, Bytes::from_static(b"frame"), None);
            let lost = feeds.frame(key, *seq).is_none();
            published.store(seq.0, Ordering::Release);
            lost
        });
        done.store(true, Ordering::Release);
        assert_eq!(lost, None, "an event is neither stored nor in its feed");
    });
    feeds.stored(key, Seq(EVENTS));
    assert!(feeds.is_empty(), "what is stored and not watched is let go");
}
