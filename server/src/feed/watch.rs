//! A reader's interest in a log, and the bell of its session.

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
    /// What was served last; [`NOT_BEGUN`] before, and [`OVER`] behind.
    at: AtomicU64,
}

/// In the place of a cursor: the reader's is still being compared with the log.
const NOT_BEGUN: u64 = u64::MAX;
/// In the place of a cursor: the watch was replaced or removed.
const OVER: u64 = u64::MAX - 1;

impl Watch {
    pub(super) fn new(key: FeedKey, account: AccountId, since: Seq, doorbell: Arc<Doorbell>) -> Watch {
        let (rung, end, at) = (AtomicBool::new(false), AtomicU64::new(u64::MAX), AtomicU64::new(NOT_BEGUN));
        Watch { key, account, doorbell, rung, since, end, at }
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
        self.at.store(OVER, Ordering::Release);
        self.doorbell.rung.lock().retain(|other| !std::ptr::eq(&**other, self));
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
    pub fn ring(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.doorbell.rung.lock().push(Arc::clone(self));
            self.doorbell.notify.notify_one();
        }
    }

    /// The session is about to look: what is published from now on rings again.
    pub fn answered(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// What wakes a session's live stream: the watches that rang, each once until it is answered.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<Vec<Arc<Watch>>>,
    notify: Notify,
}

impl Doorbell {
    /// Waits until it rings; then `rung`, which is empty, has the watches that rang. They ring again once they are
    /// told so by [`Watch::answered`].
    pub async fn answer(&self, rung: &mut Vec<Arc<Watch>>) {
        loop {
            // The two buffers change places, so that ringing allocates nothing.
            std::mem::swap(&mut *self.rung.lock(), rung);
            if !rung.is_empty() {
                return;
            }
            self.notify.notified().await;
        }
    }

    /// Watches that rang and were not answered yet.
    pub fn waiting(&self) -> usize {
        self.rung.lock().len()
    }
}
