//! A reader's interest in a log, and the bell of its session.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quip_protocol::{AccountId, Seq};
use tokio::sync::Notify;

use super::FeedKey;
use super::shards::Shard;

/// What a reader of a very large room is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tier {
    /// Every event.
    #[default]
    Live,
    /// Now and then where the room stands.
    Digest,
}

/// What a session wants of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Which log.
    pub key: FeedKey,
    /// Whose session.
    pub account: AccountId,
    /// Where the log stood when the right to it was checked: what ended before, ended before this watch began.
    pub since: Seq,
    /// What it is told if the log is that of a very large room.
    pub tier: Tier,
    /// It goes before other logs: somebody waits for this one. The same for every watch of a log, so that its order
    /// is kept.
    pub urgent: bool,
}

impl Interest {
    /// In every event of a log; an inbox is urgent.
    pub fn live(key: FeedKey, account: AccountId, since: Seq) -> Interest {
        Interest { key, account, since, tier: Tier::Live, urgent: matches!(key, FeedKey::Inbox(_)) }
    }
}

/// One session's interest in one log.
#[derive(Debug)]
pub struct Watch {
    interest: Interest,
    doorbell: Arc<Doorbell>,
    /// Among whom it is rung.
    shard: Weak<Shard>,
    /// Set while the session has yet to look: one that was woken is not woken again.
    rung: AtomicBool,
    /// The last seq that may be seen.
    end: AtomicU64,
    /// What was served last; [`NOT_BEGUN`] before, and [`OVER`] behind.
    at: AtomicU64,
}

/// In the place of a cursor: the reader's is still being compared with the log.
const NOT_BEGUN: u64 = u64::MAX;
/// In the place of a cursor: the watch was replaced or removed.
const OVER: u64 = u64::MAX - 1;

impl Watch {
    pub(super) fn new(interest: Interest, doorbell: Arc<Doorbell>, shard: &Arc<Shard>) -> Watch {
        let (rung, end, at) = (AtomicBool::new(false), AtomicU64::new(u64::MAX), AtomicU64::new(NOT_BEGUN));
        Watch { interest, doorbell, shard: Arc::downgrade(shard), rung, end, at }
    }

    /// The cursor; none if the watch has not begun or is over.
    pub fn at(&self) -> Option<Seq> {
        let at = self.at.load(Ordering::Acquire);
        (at < OVER).then_some(Seq(at))
    }

    /// It has been served up to `seq`, unless it is over.
    pub fn advance(&self, seq: Seq) {
        let advanced = |at| (at != OVER).then_some(seq.0);
        // What is over stays so.
        let _ = self.at.fetch_update(Ordering::AcqRel, Ordering::Acquire, advanced);
    }

    /// It was replaced or removed, and its session need not look any more.
    pub fn finish(&self) {
        self.over();
        // One that rings from here on sees that it is over.
        if self.rung.load(Ordering::SeqCst) {
            let mut rung = self.doorbell.rung.lock();
            self.side(&mut rung).retain(|other| !std::ptr::eq(&**other, self));
        }
    }

    /// The same, where the bell is taken down as well: see [`Doorbell::clear`].
    pub fn over(&self) {
        self.at.store(OVER, Ordering::SeqCst);
    }

    fn side<'a>(&self, rung: &'a mut Rung) -> &'a mut Vec<Arc<Watch>> {
        if self.interest.urgent { &mut rung.urgent } else { &mut rung.others }
    }

    /// Which log.
    pub fn key(&self) -> FeedKey {
        self.interest.key
    }

    /// Whose session.
    pub fn account(&self) -> AccountId {
        self.interest.account
    }

    /// What it is told if the log is that of a very large room.
    pub fn tier(&self) -> Tier {
        self.interest.tier
    }

    /// Whether it goes before other logs.
    pub fn is_urgent(&self) -> bool {
        self.interest.urgent
    }

    pub(super) fn shard(&self) -> Option<Arc<Shard>> {
        self.shard.upgrade()
    }

    /// Whether it is of the session that this bell wakes.
    pub fn rings(&self, doorbell: &Arc<Doorbell>) -> bool {
        Arc::ptr_eq(&self.doorbell, doorbell)
    }

    /// The last seq that may be seen.
    pub fn end(&self) -> Seq {
        Seq(self.end.load(Ordering::Acquire))
    }

    /// Nothing behind `last` may be seen. A right that ended up to `since` was given again before this watch began.
    pub fn end_at(self: &Arc<Self>, last: Seq) {
        if last > self.interest.since {
            self.end.fetch_min(last.0, Ordering::AcqRel);
            self.ring();
        }
    }

    /// Wakes the session, unless it is awake on account of this watch.
    pub fn ring(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            let mut rung = self.doorbell.rung.lock();
            // It and the bell hold each other while it is there, and nobody would take it out.
            if self.at.load(Ordering::SeqCst) == OVER {
                return;
            }
            self.side(&mut rung).push(Arc::clone(self));
            drop(rung);
            self.doorbell.notify.notify_one();
        }
    }

    /// The session is about to look: what is published from now on rings again.
    pub fn answered(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What wakes a session's live streams: the watches that rang, each once until it is answered.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<Rung>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Rung {
    urgent: Vec<Arc<Watch>>,
    others: Vec<Arc<Watch>>,
    /// There is something to be read beside the watches.
    news: bool,
}

impl Doorbell {
    /// Rings for something that is no watch.
    pub fn ring(&self) {
        self.rung.lock().news = true;
        self.notify.notify_one();
    }

    /// Waits until it rings; then `rung`, which is empty, has the watches that rang, those that are urgent before
    /// others; none if it was [`Doorbell::ring`]. They ring again once they are told so by [`Watch::answered`].
    pub async fn answer(&self, rung: &mut Vec<Arc<Watch>>) {
        loop {
            {
                let mut now = self.rung.lock();
                let Rung { urgent, others, news } = &mut *now;
                // The two buffers change places, so that ringing allocates nothing.
                std::mem::swap(if urgent.is_empty() { others } else { urgent }, rung);
                if std::mem::take(news) || !rung.is_empty() {
                    return;
                }
            }
            self.notify.notified().await;
        }
    }

    /// The same, for what is urgent alone. For who asks for all of it again afterwards: only then the rest is noticed.
    pub async fn answer_urgent(&self, rung: &mut Vec<Arc<Watch>>) {
        loop {
            std::mem::swap(&mut self.rung.lock().urgent, rung);
            if !rung.is_empty() {
                return;
            }
            self.notify.notified().await;
        }
    }

    /// Forgets what rang, once all its watches are over.
    pub fn clear(&self) {
        let rung = std::mem::take(&mut *self.rung.lock());
        drop(rung);
    }

    /// Watches that rang and were not answered yet.
    pub fn waiting(&self) -> usize {
        let rung = self.rung.lock();
        rung.urgent.len() + rung.others.len()
    }
}
