//! Feeds: the live tail of each room and inbox in memory, and who is woken when it grows.
//!
//! A feed holds frames that were encoded once; subscribers write those same bytes. It holds everything that the
//! store does not have yet, and a little more, so that readers near the head never touch the store; that little more
//! has a budget for all feeds together. There is no queue per reader: a reader holds a cursor, and a flag that says
//! it was woken.

pub mod catch_up;
mod crowd;
pub mod pace;
mod ringers;
mod shards;
pub mod tail;
pub mod tiers;
pub mod watch;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::RwLock;
use quip_protocol::{AccountId, RoomId, Seq};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

pub use catch_up::Chunk;
pub use crowd::Turn;
pub use tail::Tail;
pub use tiers::Tiers;
pub use watch::{Doorbell, Interest, Tier, Watch};

use crowd::Crowd;
use pace::Pace;
use ringers::Ringers;
use shards::Shards;

/// What all tails together keep of what the store has, in bytes: enough for every reader of sixty busy logs to be a
/// thousand events behind.
pub const KEEP_TOTAL_BYTES: usize = 16 * 1024 * 1024;

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
    live: Shards,
    /// Who wants digests of it, if anyone ever did.
    crowd: OnceLock<Box<Crowd>>,
    /// When it was last written or read, by the clock of [`Feeds`].
    used: AtomicU64,
}

impl Feed {
    /// Nobody watches it, and the store has all of it.
    fn is_idle(&self) -> bool {
        self.watches() == 0 && self.tail.read().is_stored()
    }

    fn watches(&self) -> usize {
        self.live.len() + self.digests()
    }

    fn digests(&self) -> usize {
        self.crowd.get().map_or(0, |crowd| crowd.watches.len())
    }

    fn shards(&self, tier: Tier) -> Option<&Shards> {
        match tier {
            Tier::Live => Some(&self.live),
            Tier::Digest => self.crowd.get().map(|crowd| &crowd.watches),
        }
    }

    fn both(&self) -> impl Iterator<Item = &Shards> {
        [Tier::Live, Tier::Digest].into_iter().filter_map(|tier| self.shards(tier))
    }
}

/// A log that has grown, and up to where.
#[derive(Debug, Clone)]
pub struct Grown {
    feed: Arc<Feed>,
    seq: Seq,
}

/// All feeds. One that has neither watchers nor anything unstored does not exist.
#[derive(Debug)]
pub struct Feeds {
    /// The keys are numbers that this server gave out: nobody can choose them so that they collide.
    map: RwLock<FxHashMap<FeedKey, Arc<Feed>>>,
    budget: usize,
    /// What copies of the store's bytes may still take, see `catch_up.rs`.
    copies: Arc<Semaphore>,
    /// At which pace who is far behind is served.
    pub pace: Pace,
    /// The sum of [`Tail::kept`] over all feeds in the map.
    kept: AtomicUsize,
    /// Counts batches of the store: as fine as is needed to tell which tail was used last.
    clock: AtomicU64,
    ringers: Arc<Ringers>,
}

impl Default for Feeds {
    fn default() -> Self {
        Feeds::with_budget(KEEP_TOTAL_BYTES)
    }
}

impl Feeds {
    /// No feeds yet, which together will keep at most `budget` bytes of what the store has.
    pub fn with_budget(budget: usize) -> Feeds {
        Feeds {
            map: RwLock::default(),
            budget,
            copies: catch_up::copies(),
            pace: Pace::of_this_machine(),
            kept: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
            ringers: Arc::default(),
        }
    }

    /// From now on tasks of this runtime wake the readers of large logs, and digests are told.
    pub fn start(&self) {
        self.ringers.start();
    }

    /// Which rooms are very large.
    pub fn tiers(&self) -> &Tiers {
        &self.ringers.tiers
    }

    fn find(&self, key: FeedKey) -> Option<Arc<Feed>> {
        let feed = self.map.read().get(&key).cloned()?;
        self.touch(&feed);
        Some(feed)
    }

    fn touch(&self, feed: &Feed) {
        feed.used.store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Changes a tail, and counts what it keeps.
    fn change(&self, feed: &Feed, act: impl FnOnce(&mut Tail)) {
        let mut tail = feed.tail.write();
        let before = tail.kept();
        act(&mut tail);
        let after = tail.kept();
        // Under the tail's lock, so that what a removed feed kept was counted before it is taken off.
        if after > before {
            self.kept.fetch_add(after - before, Ordering::Relaxed);
        } else if after < before {
            self.kept.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Appends a durable frame; who watches is yet to be woken. `amended` are the frames of what it rewrites, as
    /// they are now.
    pub fn append(&self, key: FeedKey, seq: Seq, frame: Bytes, amended: Vec<(Seq, Bytes)>) -> Grown {
        let append = |feed: &Arc<Feed>| {
            self.touch(feed);
            self.change(feed, |tail| {
                tail.append(seq, frame);
                for (target, frame) in amended {
                    tail.amend(target, seq, frame);
                }
            });
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
        Grown { feed, seq }
    }

    /// Wakes who watches a log that has grown, by however many frames.
    pub fn wake(&self, Grown { feed, seq }: &Grown) {
        self.ring(feed, &feed.live, Tier::Live);
        let Some(crowd) = feed.crowd.get() else { return };
        if !self.is_very_large(feed, crowd) {
            // First: whoever took a digest of before is rung after it, and has the events.
            crowd.forget();
            self.ring(feed, &crowd.watches, Tier::Digest);
        } else if let Some(frame) = feed.tail.read().frame(*seq)
            && crowd.note(&frame)
        {
            self.ringers.order(feed);
        }
    }

    /// Few are rung at once; more by others, so that nothing else waits for it.
    fn ring(&self, feed: &Arc<Feed>, shards: &Shards, tier: Tier) {
        if shards.len() <= self.tiers().wake_shard() || !self.ringers.work() {
            shards.ring();
        } else {
            self.ringers.ring(feed, tier);
        }
    }

    fn is_very_large(&self, feed: &Feed, crowd: &Crowd) -> bool {
        let was = crowd.is_very_large.load(Ordering::Relaxed);
        let is = self.ringers.work() && self.tiers().is_very_large(feed.watches(), was);
        if is != was {
            crowd.is_very_large.store(is, Ordering::Relaxed);
        }
        is
    }

    /// Whether who wants digests of a log is told them now.
    pub fn tells_digests(&self, key: FeedKey) -> bool {
        self.find(key)
            .is_some_and(|feed| feed.crowd.get().is_some_and(|crowd| self.is_very_large(&feed, crowd)))
    }

    /// What a reader at `cursor` who wants digests is told now.
    pub fn turn(&self, key: FeedKey, cursor: Seq) -> Turn {
        let Some(feed) = self.find(key) else { return Turn::Events };
        match feed.crowd.get().filter(|crowd| self.is_very_large(&feed, crowd)) {
            Some(crowd) => crowd.turn(cursor),
            None => Turn::Events,
        }
    }

    /// The store has everything up to `seq`: what is not needed any more is let go.
    pub fn stored(&self, key: FeedKey, seq: Seq) {
        self.clock.fetch_add(1, Ordering::Relaxed);
        let Some(feed) = self.map.read().get(&key).cloned() else { return };
        self.change(&feed, |tail| tail.stored(seq));
        self.drop_idle(&mut self.map.write(), key);
        if self.kept() > self.budget {
            self.trim();
        }
    }

    /// Removes a feed that nobody needs. Under the map's lock, so that nobody can begin to watch it meanwhile.
    fn drop_idle(&self, map: &mut FxHashMap<FeedKey, Arc<Feed>>, key: FeedKey) {
        if map.get(&key).is_some_and(|feed| feed.is_idle())
            && let Some(feed) = map.remove(&key)
        {
            self.kept.fetch_sub(feed.tail.read().kept(), Ordering::Relaxed);
        }
    }

    /// Lets go of what the store has, of the tails that were not used for longest, until there is some room below
    /// the budget.
    fn trim(&self) {
        let map = self.map.read();
        let mut feeds: Vec<_> = map.values().map(|feed| (feed.used.load(Ordering::Relaxed), feed)).collect();
        feeds.sort_unstable_by_key(|(used, _)| *used);
        for (_, feed) in feeds {
            if self.kept() <= self.budget - self.budget / 8 {
                break;
            }
            self.change(feed, Tail::let_go);
        }
    }

    /// The store has everything that was published, after it was opened again: everyone reads on from it.
    pub fn all_stored(&self) {
        let mut map = self.map.write();
        for feed in map.values() {
            self.change(feed, |tail| {
                if let Some(last) = tail.last() {
                    tail.stored(last);
                }
            });
            feed.both().for_each(Shards::ring);
        }
        let keys: Vec<FeedKey> = map.keys().copied().collect();
        keys.into_iter().for_each(|key| self.drop_idle(&mut map, key));
    }

    /// From now on `doorbell` rings when the log grows. An end of the right up to where it stood is not meant for this
    /// watch.
    pub fn watch(&self, interest: Interest, doorbell: &Arc<Doorbell>) -> Arc<Watch> {
        let mut map = self.map.write();
        let feed = map.entry(interest.key).or_default();
        feed.tail.write().head_is(interest.since);
        let shards = match interest.tier {
            Tier::Live => &feed.live,
            Tier::Digest => &feed.crowd.get_or_init(Box::default).watches,
        };
        let size = self.tiers().wake_shard();
        shards.add(size, |shard| Watch::new(interest, Arc::clone(doorbell), shard))
    }

    /// No more.
    pub fn unwatch(&self, watch: &Watch) {
        let mut map = self.map.write();
        let Some(feed) = map.get(&watch.key()) else { return };
        if let (Some(shards), Some(shard)) = (feed.shards(watch.tier()), watch.shard()) {
            shards.remove(&shard, watch);
        }
        self.drop_idle(&mut map, watch.key());
    }

    /// A frame that the store may not have yet, or not as it is now.
    pub fn frame(&self, key: FeedKey, seq: Seq) -> Option<Bytes> {
        self.find(key)?.tail.read().frame(seq)
    }

    /// Watches of a log that have not ended, at most so many of them.
    pub fn watching(&self, key: FeedKey, most: usize) -> Vec<Arc<Watch>> {
        let Some(feed) = self.find(key) else { return Vec::new() };
        let of = |shards: &Shards| shards.some(most, |watch| watch.end() == Seq(u64::MAX));
        feed.both().flat_map(of).take(most).collect()
    }

    /// Feeds that exist, for metrics.
    pub fn len(&self) -> usize {
        self.map.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What all tails keep of what the store has, in bytes, for metrics.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// Watches that exist.
    pub fn watches(&self) -> usize {
        self.map.read().values().map(|feed| feed.watches()).sum()
    }

    /// Those of them that want digests of very large rooms.
    pub fn digests(&self) -> usize {
        self.map.read().values().map(|feed| feed.digests()).sum()
    }

    /// Wake-ups that wait, each of up to a shard of watches.
    pub fn backlog(&self) -> usize {
        self.ringers.waiting()
    }
}
