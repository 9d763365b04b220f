//! A reader's interest in a log, and the bell of its session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
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
    /// Set while the watch waits in its doorbell: one that was woken is not woken again.
    rung: AtomicBool,
    /// The last seq that may be seen.
    end: AtomicU64,
}

impl Watch {
    pub(super) fn new(key: FeedKey, account: AccountId, doorbell: Arc<Doorbell>) -> Watch {
        Watch { key, account, doorbell, rung: AtomicBool::new(false), end: AtomicU64::new(u64::MAX) }
    }

    /// Which log.
    pub fn key(&self) -> FeedKey {
        self.key
    }

    /// Whose session.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The last seq that may be seen.
    pub fn end(&self) -> Seq {
        Seq(self.end.load(Ordering::Acquire))
    }

    pub(super) fn end_at(&self, last: Seq) {
        self.end.fetch_min(last.0, Ordering::AcqRel);
    }

    /// Wakes the session, unless it is awake on account of this watch.
    pub fn ring(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.doorbell.rung.lock().push(Arc::clone(self));
            self.doorbell.notify.notify_one();
        }
    }
}

/// What wakes a session's live stream: watches that rang, and frames for this session alone.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<Vec<Arc<Watch>>>,
    frames: Mutex<Vec<Bytes>>,
    notify: Notify,
}

impl Doorbell {
    /// Sends one frame to this session alone.
    pub fn push(&self, frame: Bytes) {
        self.frames.lock().push(frame);
        self.notify.notify_one();
    }

    /// Waits until it rings; returns the watches that rang and the frames for this session alone. A watch rings
    /// again as soon as it is returned here: what is published from then on is not missed.
    pub async fn answer(&self) -> (Vec<Arc<Watch>>, Vec<Bytes>) {
        loop {
            let rung = std::mem::take(&mut *self.rung.lock());
            let frames = std::mem::take(&mut *self.frames.lock());
            if !rung.is_empty() || !frames.is_empty() {
                for watch in &rung {
                    watch.rung.store(false, Ordering::Release);
                }
                return (rung, frames);
            }
            self.notify.notified().await;
        }
    }
}
