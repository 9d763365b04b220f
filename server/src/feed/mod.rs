//! Feeds: the live tail of each room and inbox in memory, and who is woken when it grows.
//!
//! A feed holds frames that were encoded once; subscribers write those same bytes. It holds everything that the
//! store does not have yet, and a little more, so that readers near the head never touch the store. There is no
//! queue per reader: a reader holds a cursor, and a flag that says it was woken.

pub mod catch_up;
pub mod tail;
pub mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quip_protocol::{AccountId, RoomId, Seq};

pub use catch_up::Chunk;
pub use tail::Tail;
pub use watch::{Doorbell, Watch};

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedKey {
    /// A room's.
    Room(RoomId),
    /// An account's own.
    Inbox(AccountId),
}

/// One log's tail and its watchers.
#[derive(Debug, Default)]
pub struct Feed {
    tail: RwLock<Tail>,
    watchers: Mutex<Vec<Arc<Watch>>>,
}

/// All feeds. One that has neither watchers nor anything unstored does not exist.
#[derive(Debug, Default)]
pub struct Feeds {
    map: RwLock<HashMap<FeedKey, Arc<Feed>>>,
}

impl Feeds {
    fn find(&self, key: FeedKey) -> Option<Arc<Feed>> {
        self.map.read().get(&key).cloned()
    }

    /// Appends a durable frame and wakes the watchers. `amended` are the frames of what it rewrites, as
    /// they are now.
    pub fn publish(&self, key: FeedKey, seq: Seq, frame: Bytes, amended: Vec<(Seq, Bytes)>) {
        let append = |feed: &Arc<Feed>| {
            let mut tail = feed.tail.write();
            tail.append(seq, frame);
            for (target, frame) in amended {
                tail.amend(target, seq, frame);
            }
            Arc::clone(feed)
        };
        // Under the map's lock, so that the feed is not removed as idle before it has the frame.
        let map = self.map.read();
        let feed = if let Some(feed) = map.get(&key) {
            let feed = append(feed);
            drop(map);
            feed
        } else {
            drop(map);
            append(self.map.write().entry(key).or_default())
        };
        for watch in feed.watchers.lock().iter() {
            watch.ring();
        }
    }

    /// The store has everything up to `seq`: what is not needed any more is let go.
    pub fn stored(&self, key: FeedKey, seq: Seq) {
        let Some(feed) = self.find(key) else { return };
        feed.tail.write().stored(seq);
        // Under the map's lock, so that nobody can begin to watch a feed that is being removed.
        let mut map = self.map.write();
        let idle = feed.watchers.lock().is_empty() && feed.tail.read().is_stored();
        if idle {
            map.remove(&key);
        }
    }

    /// From now on `doorbell` rings when the log grows.
    pub fn watch(&self, key: FeedKey, account: AccountId, doorbell: &Arc<Doorbell>) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(key, account, Arc::clone(doorbell)));
        let mut map = self.map.write();
        map.entry(key).or_default().watchers.lock().push(Arc::clone(&watch));
        watch
    }

    /// No more.
    pub fn unwatch(&self, watch: &Arc<Watch>) {
        let mut map = self.map.write();
        let Some(feed) = map.get(&watch.key()) else { return };
        let idle = {
            let mut watchers = feed.watchers.lock();
            if let Some(at) = watchers.iter().position(|other| Arc::ptr_eq(other, watch)) {
                watchers.swap_remove(at);
            }
            watchers.is_empty() && feed.tail.read().is_stored()
        };
        if idle {
            map.remove(&watch.key());
        }
    }

    /// `account` may see nothing behind `last`: its watches end there. Called in the order of the log, before
    /// anything behind `last` is published.
    pub fn end(&self, key: FeedKey, account: AccountId, last: Seq) {
        let Some(feed) = self.find(key) else { return };
        for watch in feed.watchers.lock().iter().filter(|watch| watch.account() == account) {
            watch.end_at(last);
            watch.ring();
        }
    }

    /// A frame that the store may not have yet, or not as it is now.
    pub fn frame(&self, key: FeedKey, seq: Seq) -> Option<Bytes> {
        self.find(key)?.tail.read().frame(seq)
    }

    /// Feeds that exist, for metrics.
    pub fn len(&self) -> usize {
        self.map.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
