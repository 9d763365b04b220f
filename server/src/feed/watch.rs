//! A reader's interest in a log, and the bell of its session.

use std::collections::HashSet;
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
}

impl Watch {
    pub(super) fn new(interest: Interest, doorbell: Arc<Doorbell>, shard: &Arc<Shard>) -> Watch {
        let (rung, end) = (AtomicBool::new(false), AtomicU64::new(u64::MAX));
        Watch { interest, doorbell, shard: Arc::downgrade(shard), rung, end }
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

    /// A right that ended up to `since` was given again before this watch began.
    pub(super) fn end_at(&self, last: Seq) {
        if last > self.interest.since {
            self.end.fetch_min(last.0, Ordering::AcqRel);
        }
    }

    /// Wakes the session, unless it is awake on account of this watch.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            let mut rung = self.doorbell.rung.lock();
            if self.interest.urgent { &mut rung.urgent } else { &mut rung.others }.insert(self.interest.key);
            drop(rung);
            self.doorbell.notify.notify_one();
        }
    }

    /// The session is about to look: what is published from now on rings again.
    pub fn answered(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What wakes a session's live streams: the logs that rang. As many as the session watches, however often a watch is
/// replaced while nobody answers.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<Rung>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Rung {
    urgent: HashSet<FeedKey>,
    others: HashSet<FeedKey>,
}

impl Doorbell {
    /// Waits until it rings; returns the logs that rang, those that are urgent before others. Their watches ring again
    /// once they are told so by [`Watch::answered`].
    pub async fn answer(&self) -> HashSet<FeedKey> {
        self.take(|rung| if rung.urgent.is_empty() { &mut rung.others } else { &mut rung.urgent }).await
    }

    /// The same, for what is urgent alone. For who asks for all of it again afterwards: only then the rest is noticed.
    pub async fn answer_urgent(&self) -> HashSet<FeedKey> {
        self.take(|rung| &mut rung.urgent).await
    }

    async fn take(&self, which: impl Fn(&mut Rung) -> &mut HashSet<FeedKey>) -> HashSet<FeedKey> {
        loop {
            let rung = std::mem::take(which(&mut self.rung.lock()));
            if !rung.is_empty() {
                return rung;
            }
            self.notify.notified().await;
        }
    }

    /// The log is no longer watched.
    pub fn forget(&self, key: FeedKey) {
        let mut rung = self.rung.lock();
        rung.urgent.remove(&key);
        rung.others.remove(&key);
    }

    /// Logs that rang and were not answered yet.
    pub fn waiting(&self) -> usize {
        let rung = self.rung.lock();
        rung.urgent.len() + rung.others.len()
    }
}
