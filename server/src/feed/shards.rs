//! Who watches a log, in shards that are rung one by one, also at the same time. A watch stays in its shard, so that a
//! round over all of them misses none that was there when it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use super::watch::Watch;

/// Watches that are rung in one go.
#[derive(Debug, Default)]
pub(super) struct Shard {
    watches: Mutex<Vec<Arc<Watch>>>,
    /// It waits to be rung: whoever wants that again has it already.
    waits: AtomicBool,
}

impl Shard {
    /// Takes note that it is to be rung; whether that is news.
    pub(super) fn flag(&self) -> bool {
        !self.waits.swap(true, Ordering::AcqRel)
    }

    /// What is published from here on flags it again.
    pub(super) fn ring(&self) {
        self.waits.swap(false, Ordering::AcqRel);
        self.watches.lock().iter().for_each(|watch| watch.ring());
    }
}

/// All watches of one kind of a log.
#[derive(Debug, Default)]
pub(super) struct Shards {
    shards: RwLock<Vec<Arc<Shard>>>,
    count: AtomicUsize,
    /// A round over all shards waits to begin.
    waits: AtomicBool,
}

impl Shards {
    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Adds the watch that `make` makes for its shard, which has at most `size`.
    pub(super) fn add(&self, size: usize, make: impl FnOnce(&Arc<Shard>) -> Watch) -> Arc<Watch> {
        let mut shards = self.shards.write();
        let free = shards.iter().rev().find(|shard| shard.watches.lock().len() < size);
        let shard = match free {
            Some(shard) => Arc::clone(shard),
            None => {
                shards.push(Arc::default());
                Arc::clone(&shards[shards.len() - 1])
            }
        };
        let watch = Arc::new(make(&shard));
        shard.watches.lock().push(Arc::clone(&watch));
        self.count.fetch_add(1, Ordering::Relaxed);
        watch
    }

    /// Removes a watch that is in `shard`.
    pub(super) fn remove(&self, shard: &Arc<Shard>, watch: &Watch) {
        let mut shards = self.shards.write();
        let mut watches = shard.watches.lock();
        let Some(at) = watches.iter().position(|other| std::ptr::eq(&**other, watch)) else { return };
        watches.swap_remove(at);
        self.count.fetch_sub(1, Ordering::Relaxed);
        if watches.is_empty() {
            drop(watches);
            shards.retain(|other| !Arc::ptr_eq(other, shard));
        }
    }

    /// Rings all of them, here and now.
    pub(super) fn ring(&self) {
        self.shards.read().iter().for_each(|shard| shard.ring());
    }

    /// Takes note that all of them are to be rung; whether that is news.
    pub(super) fn flag(&self) -> bool {
        !self.waits.swap(true, Ordering::AcqRel)
    }

    /// The shards that were not flagged yet, and are now. What is published from here on flags the whole again.
    pub(super) fn begin(&self) -> Vec<Arc<Shard>> {
        self.waits.swap(false, Ordering::AcqRel);
        self.shards.read().iter().filter(|shard| shard.flag()).cloned().collect()
    }

    /// Those of them that `wanted` accepts, at most so many.
    pub(super) fn some(&self, most: usize, wanted: impl Fn(&Watch) -> bool) -> Vec<Arc<Watch>> {
        let mut some = Vec::new();
        for shard in self.shards.read().iter() {
            let watches = shard.watches.lock();
            let left = most - some.len();
            some.extend(watches.iter().filter(|watch| wanted(watch)).take(left).cloned());
        }
        some
    }
}
