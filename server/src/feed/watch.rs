//! A reader's interest in a log, and the bell of its session.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use quip_protocol::{AccountId, Seq};
use tokio::sync::Notify;

use super::FeedKey;

/// One session's interest in one log.
#[derive(Debug)]
pub struct Watch {
    key: FeedKey,
    account: AccountId,
    doorbell: Arc<Doorbell>,
    /// Set while the session has yet to look: one that was woken is not woken again.
    rung: AtomicBool,
    /// Where the log stood when the right to it was checked: what ended before, ended before this watch began.
    since: Seq,
    /// The last seq that may be seen.
    end: AtomicU64,
}

impl Watch {
    pub(super) fn new(key: FeedKey, account: AccountId, since: Seq, doorbell: Arc<Doorbell>) -> Watch {
        Watch { key, account, doorbell, rung: AtomicBool::new(false), since, end: AtomicU64::new(u64::MAX) }
    }

    /// Which log.
    pub fn key(&self) -> FeedKey {
        self.key
    }

    /// Whose session.
    pub fn account(&self) -> AccountId {
        self.account
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
        if last > self.since {
            self.end.fetch_min(last.0, Ordering::AcqRel);
        }
    }

    /// Wakes the session, unless it is awake on account of this watch.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.doorbell.rung.lock().insert(self.key);
            self.doorbell.notify.notify_one();
        }
    }

    /// The session is about to look: what is published from now on rings again.
    pub fn answered(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What wakes a session's live stream: the logs that rang. As many as the session watches, however often a watch is
/// replaced while nobody answers.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<HashSet<FeedKey>>,
    notify: Notify,
}

impl Doorbell {
    /// Waits until it rings; returns the logs that rang. Their watches ring again once they are told so by
    /// [`Watch::answered`].
    pub async fn answer(&self) -> HashSet<FeedKey> {
        loop {
            let rung = std::mem::take(&mut *self.rung.lock());
            if !rung.is_empty() {
                return rung;
            }
            self.notify.notified().await;
        }
    }

    /// The log is no longer watched.
    pub fn forget(&self, key: FeedKey) {
        self.rung.lock().remove(&key);
    }

    /// Logs that rang and were not answered yet.
    pub fn waiting(&self) -> usize {
        self.rung.lock().len()
    }
}
