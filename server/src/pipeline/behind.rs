//! The store, brought up behind the journal in large batches: nothing waits for it, until it is too far behind.
//!
//! A batch is begun only while the disk has room for it, since sled that runs into a full disk has to be opened again.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use quip_protocol::{MessageId, Seq};
use quip_storage::record::{Applied, Change};
use quip_storage::store::StoreError;
use tracing::{error, info};

use crate::feed::FeedKey;
use crate::node::Node;

use super::fault::{EndsWithPanic, Fault};

/// Groups that may wait for the store before the writer does.
const WAITING: usize = 256;
/// How much they may be together, in bytes: bounds what queue and feeds hold beyond the store.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// What a change takes beside its frame, in bytes, as an estimate.
const CHANGE_BYTES: usize = 256;
/// Changes in one batch: sled lets no reader in while it applies one, so a batch stays below some milliseconds.
const BATCH: usize = 2_000;
/// How long a batch collects when little happens: the block of a room is then written once for all of it.
const COLLECT: Duration = Duration::from_millis(100);
/// How often the store is made durable, which bounds how much journal is replayed after a crash.
const SYNC: Duration = Duration::from_secs(5);
/// How often it is looked whether a full disk has room again.
const LOOK: Duration = Duration::from_millis(250);

/// The writer's end.
pub struct Behind {
    groups: Sender<Applied>,
    backlog: Arc<Backlog>,
    stored: Receiver<Vec<MessageId>>,
    thread: JoinHandle<bool>,
}

impl Behind {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start(node: Arc<Node>) -> io::Result<Behind> {
        let (groups, queue) = channel();
        let (ids, stored) = channel();
        let backlog = Arc::new(Backlog::default());
        let kept = Arc::clone(&backlog);
        let follower = Follower { node, queue, backlog: kept, ids, synced: Instant::now(), dirty: false };
        let thread = thread::Builder::new().name("quip-store".into()).spawn(move || follower.run())?;
        Ok(Behind { groups, backlog, stored, thread })
    }

    /// Hands over a durable group; waits while the store is too far behind.
    pub fn send(&self, applied: Applied) {
        self.backlog.enter(weight(&applied), || self.thread.is_finished());
        // If the thread has ended, the feeds hold what the store does not have, and the writer is about to see it.
        let _ = self.groups.send(applied);
    }

    /// Whether nothing is stored any more: the store has failed.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ids that can be read from the store since this was last asked.
    pub fn stored_ids(&self) -> Vec<MessageId> {
        self.stored.try_iter().flatten().collect()
    }

    /// Waits until the store has everything, durably, unless it fails or the disk is full. Says whether it did not
    /// fail.
    pub fn finish(self) -> bool {
        self.backlog.close();
        drop(self.groups);
        // A thread that panicked has said so; the journal has everything.
        self.thread.join().unwrap_or(false)
    }
}

/// What was handed over and is not stored yet.
#[derive(Default)]
struct Backlog {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    groups: usize,
    bytes: usize,
    /// Nothing is stored until the disk has room: waiting for that would keep everyone waiting.
    paused: bool,
    closing: bool,
}

impl Backlog {
    /// Waits until there is room for `weight`, or nobody left to make any. One group always has room.
    fn enter(&self, weight: usize, is_over: impl Fn() -> bool) {
        let mut waiting = self.waiting.lock();
        while waiting.groups > 0
            && (waiting.groups >= WAITING || waiting.bytes + weight > WAITING_BYTES)
            && !waiting.paused
            && !is_over()
        {
            self.changed.wait_for(&mut waiting, COLLECT);
        }
        waiting.groups += 1;
        waiting.bytes += weight;
    }

    fn leave(&self, batch: &[Applied]) {
        let mut waiting = self.waiting.lock();
        waiting.groups -= batch.len();
        waiting.bytes -= batch.iter().map(weight).sum::<usize>();
        self.changed.notify_all();
    }

    fn close(&self) {
        self.waiting.lock().closing = true;
        self.changed.notify_all();
    }

    /// Waits until the disk has room for a batch. Says whether it has; once this is closing, it is not waited for.
    fn await_room(&self, node: &Node) -> bool {
        let mut waiting = self.waiting.lock();
        while !node.has_room_to_store(waiting.closing) {
            if waiting.closing {
                return false;
            }
            waiting.paused = true;
            self.changed.notify_all();
            self.changed.wait_for(&mut waiting, LOOK);
        }
        waiting.paused = false;
        true
    }
}

fn weight(applied: &Applied) -> usize {
    let frames = applied.changes.iter().map(|change| match change {
        Change::Event(recorded) => recorded.frame.len(),
        Change::Notice(recorded) => recorded.frame.len(),
        _ => 0,
    });
    frames.sum::<usize>() + applied.changes.len() * CHANGE_BYTES
}

struct Follower {
    node: Arc<Node>,
    queue: Receiver<Applied>,
    backlog: Arc<Backlog>,
    ids: Sender<Vec<MessageId>>,
    synced: Instant,
    dirty: bool,
}

impl Follower {
    /// Says whether the store did not fail.
    fn run(mut self) -> bool {
        let _ends = EndsWithPanic(Arc::clone(&self.node));
        let Err(e) = self.follow() else { return true };
        error!(error = %e, "the store cannot be written: nothing is written until it was opened again");
        // What does not follow on it, or was not synced by a failing disk, may be damaged.
        if !is_full(&e) {
            self.node.store.give_up(&e.to_string());
        }
        self.node.durable.stall();
        false
    }

    fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            match self.queue.recv_timeout(SYNC) {
                Ok(first) => {
                    let batch = self.collect(first);
                    if !self.backlog.await_room(&self.node) {
                        info!(
                            "the disk is full: the journal has what the store has not, the next start stores it"
                        );
                        return Ok(());
                    }
                    self.store(&batch)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            if self.synced.elapsed() >= SYNC {
                self.sync()?;
            }
        }
    }

    fn store(&mut self, batch: &[Applied]) -> Result<(), StoreError> {
        Fault::StorePanics.strike(&self.node, || panic!("injected: the store's thread panics"));
        let mut failed = Ok(());
        Fault::StoreIsFull.strike(&self.node, || failed = Err(full()));
        let broken = || failed = Err(StoreError::Broken { why: "injected: the store breaks".into() });
        Fault::StoreBreaks.strike(&self.node, broken);
        failed.and_then(|()| self.node.store.apply(batch))?;
        self.dirty = true;
        self.let_go(batch);
        self.backlog.leave(batch);
        Ok(())
    }

    fn collect(&self, first: Applied) -> Vec<Applied> {
        let until = Instant::now() + COLLECT;
        let mut changes = first.changes.len();
        let mut batch = vec![first];
        while changes < BATCH {
            match self.queue.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(applied) => {
                    changes += applied.changes.len();
                    batch.push(applied);
                }
                Err(_) => break,
            }
        }
        batch
    }

    /// Feeds and writer need not hold any more what the store has.
    fn let_go(&self, batch: &[Applied]) {
        let mut heads: HashMap<FeedKey, Seq> = HashMap::new();
        let mut ids = Vec::new();
        for change in batch.iter().flat_map(|applied| &applied.changes) {
            match change {
                Change::Event(recorded) => {
                    heads.insert(FeedKey::Room(recorded.event.room), recorded.event.seq);
                    ids.extend(recorded.id());
                }
                Change::Notice(recorded) => {
                    heads.insert(FeedKey::Inbox(recorded.account), recorded.notice.seq);
                }
                _ => {}
            }
        }
        for (key, seq) in heads {
            self.node.feeds.stored(key, seq);
        }
        // The writer has ended if nobody listens.
        let _ = self.ids.send(ids);
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.synced = Instant::now();
        if self.dirty && self.node.has_room_to_store(true) {
            self.node.store.sync()?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Whether it says that the disk is full, which damages nothing.
fn is_full(error: &StoreError) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, StoreError::Io { source, .. } if matches!(source.kind(), QuotaExceeded | StorageFull))
}

fn full() -> StoreError {
    let source = io::ErrorKind::StorageFull.into();
    StoreError::Io { action: "use", path: "the store".into(), source }
}
