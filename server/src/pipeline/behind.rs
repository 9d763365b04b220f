//! The store, brought up behind the journal in large batches: nothing waits for it, until it is too far behind.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use quip_protocol::{MessageId, Seq};
use quip_storage::record::{Applied, Change};
use tracing::error;

use crate::feed::FeedKey;
use crate::node::Node;

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

/// The writer's end.
pub struct Behind {
    groups: SyncSender<Applied>,
    backlog: Arc<Backlog>,
    stored: Receiver<Vec<MessageId>>,
    thread: JoinHandle<()>,
}

impl Behind {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn start(node: Arc<Node>) -> io::Result<Behind> {
        let (groups, queue) = sync_channel(WAITING);
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
        // The thread ends only when the store broke; then the feeds hold what it does not have.
        let _ = self.groups.send(applied);
    }

    /// Ids that can be read from the store since this was last asked.
    pub fn stored_ids(&self) -> Vec<MessageId> {
        self.stored.try_iter().flatten().collect()
    }

    /// Waits until the store has everything, durably.
    pub fn finish(self) {
        drop(self.groups);
        // A thread that panicked has said so; the journal has everything.
        let _ = self.thread.join();
    }
}

/// Bytes that were handed over and are not stored yet.
#[derive(Default)]
struct Backlog {
    bytes: Mutex<usize>,
    stored: Condvar,
}

impl Backlog {
    /// Waits until there is room for `weight`, or nobody left to make any. One group always has room.
    fn enter(&self, weight: usize, is_over: impl Fn() -> bool) {
        let mut bytes = self.bytes.lock();
        while *bytes > 0 && *bytes + weight > WAITING_BYTES && !is_over() {
            self.stored.wait_for(&mut bytes, COLLECT);
        }
        *bytes += weight;
    }

    fn leave(&self, weight: usize) {
        *self.bytes.lock() -= weight;
        self.stored.notify_one();
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
    fn run(mut self) {
        loop {
            match self.queue.recv_timeout(SYNC) {
                Ok(first) => {
                    let batch = self.collect(first);
                    if let Err(e) = self.node.store.apply(&batch) {
                        error!(error = %e, "the store cannot be written: restart quipd, it is rebuilt from the journal");
                        self.node.durable.fail();
                        return;
                    }
                    self.dirty = true;
                    self.let_go(&batch);
                    self.backlog.leave(batch.iter().map(weight).sum());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.dirty && self.synced.elapsed() >= SYNC {
                self.sync();
            }
        }
        self.sync();
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

    fn sync(&mut self) {
        if let Err(e) = self.node.store.sync() {
            error!(error = %e, "the store cannot be made durable; the journal has everything");
        }
        self.synced = Instant::now();
        self.dirty = false;
    }
}
