//! Who rings in large logs: tasks that take shards in turn, so that who publishes only says that there is something. And who
//! makes digests, a moment after something was said.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Feed;
use super::shards::Shard;
use super::tiers::Tiers;
use super::watch::Tier;

/// Tasks that are woken at once for new work.
const MOST_WOKEN: usize = 16;
/// How often the tiers follow the load.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// What is to be rung, and who does it.
#[derive(Debug, Default)]
pub(super) struct Ringers {
    pub(super) tiers: Tiers,
    work: Arc<Work>,
    /// They end with this.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Work {
    /// Somebody does it.
    is_done: AtomicBool,
    jobs: Mutex<VecDeque<Job>>,
    /// The most jobs that waited since the tiers followed last.
    waited: AtomicUsize,
    news: Notify,
    /// Logs of which a digest was ordered.
    digests: Mutex<Vec<Arc<Feed>>>,
    ordered: Notify,
}

#[derive(Debug)]
enum Job {
    /// All who watch a log so.
    Feed(Arc<Feed>, Tier),
    Shard(Arc<Shard>),
}

impl Ringers {
    /// Starts the tasks. Without them everyone is rung by who publishes, and nobody is told digests. They hold it weakly,
    /// because they end with it.
    pub(super) fn start(self: &Arc<Self>) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut tasks = self.tasks.lock();
        for _ in 0..threads {
            let work = Arc::clone(&self.work);
            tasks.spawn(async move { work.ring().await });
        }
        let (digesting, following) = (Arc::downgrade(self), Arc::downgrade(self));
        let work = Arc::clone(&self.work);
        tasks.spawn(async move {
            loop {
                work.ordered.notified().await;
                let Some(wait) = digesting.upgrade().map(|ringers| ringers.tiers.interval()) else { return };
                sleep(wait).await;
                work.digest();
            }
        });
        tasks.spawn(async move {
            let mut ticks = interval(FOLLOW_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(ringers) = following.upgrade() else { return };
                ringers.tiers.follow(ringers.work.waited.swap(0, Ordering::Relaxed));
            }
        });
        self.work.is_done.store(true, Ordering::Release);
    }

    /// Whether there are tasks.
    pub(super) fn work(&self) -> bool {
        self.work.is_done.load(Ordering::Acquire)
    }

    /// Has all rung who watch a log so.
    pub(super) fn ring(&self, feed: &Arc<Feed>, tier: Tier) {
        if feed.shards(tier).is_some_and(|shards| shards.flag()) {
            self.work.add([Job::Feed(Arc::clone(feed), tier)]);
        }
    }

    /// Has a digest of a log made, and its readers rung.
    pub(super) fn order(&self, feed: &Arc<Feed>) {
        self.work.digests.lock().push(Arc::clone(feed));
        self.work.ordered.notify_one();
    }

    /// Shards that wait to be rung.
    pub(super) fn waiting(&self) -> usize {
        self.work.jobs.lock().len()
    }
}

impl Work {
    fn add(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut waiting = self.jobs.lock();
        let before = waiting.len();
        waiting.extend(jobs);
        let new = waiting.len() - before;
        drop(waiting);
        // What still waits when more comes: the shards of one large room are no sign of being late.
        self.waited.fetch_max(before, Ordering::Relaxed);
        // As many wake as can do something; one that works looks again before it sleeps.
        (0..new.min(MOST_WOKEN)).for_each(|_| self.news.notify_one());
    }

    async fn ring(&self) {
        loop {
            let job = self.jobs.lock().pop_front();
            match job {
                Some(Job::Feed(feed, tier)) => {
                    let shards = feed.shards(tier).map(|shards| shards.begin()).unwrap_or_default();
                    self.add(shards.into_iter().map(Job::Shard));
                }
                Some(Job::Shard(shard)) => {
                    shard.ring();
                    // So that those who were woken have their turn.
                    tokio::task::yield_now().await;
                }
                None => self.news.notified().await,
            }
        }
    }

    /// Makes the digests that were ordered; what is said from here on orders another one.
    fn digest(&self) {
        let ordered = std::mem::take(&mut *self.digests.lock());
        for feed in ordered {
            let Some(crowd) = feed.crowd.get() else { continue };
            if crowd.make() && crowd.watches.flag() {
                self.add([Job::Feed(feed, Tier::Digest)]);
            }
        }
    }
}
