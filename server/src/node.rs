//! A node: what the writer and the sessions share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_channel::mpsc::unbounded;
use parking_lot::{Mutex, RwLock};
use quip_protocol::limits::Limits;
use quip_protocol::{ErrorCode, Refusal, SafeLine, Seq, ServerLink};
use quip_storage::journal::JournalReader;
use quip_storage::store::{Store, StoreError};

use crate::cluster::Cluster;
use crate::config::LimitsConfig;
use crate::engine::{Command, Engine, Outcome};
use crate::feed::{Chunk, FeedKey, Feeds};
use crate::log::{Log, NotTaken, Submission, Waiter};
use crate::ops::disk::{free_bytes, has_room};
use crate::ops::metrics::Metrics;
use crate::pipeline::durable::{Durable, NeverDurable};
use crate::pipeline::fault::Fault;
use crate::pipeline::stopping::Stopping;
use crate::pipeline::whole::Whole;
use crate::session::bulletin::{self, Bulletin};
use crate::session::registry::Sessions;

/// One server.
#[derive(Debug)]
pub struct Node {
    /// What the server is called.
    pub name: SafeLine,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Whether accounts can be made without a code.
    pub open_registration: bool,
    /// Its address and key, as they stand in links; `None` where they are not known: no server serves.
    pub link: RwLock<Option<ServerLink>>,
    /// What it enforces; changed by [`crate::ops::limits`].
    pub limits: RwLock<LimitsConfig>,
    /// The same as it was configured, before what `quipd limits` set.
    pub configured: RwLock<LimitsConfig>,
    /// The state, ahead of what is durable by one group. Read it through [`Node::ask`].
    pub engine: RwLock<Engine>,
    /// What of the journal is durable, while it is written.
    pub journal: JournalReader,
    /// Live tails.
    pub feeds: Feeds,
    /// Everything else. Whoever reads it to tell someone asks [`Node::whole`] before and after.
    pub store: Store,
    /// Whether the store has all that it should.
    pub whole: Whole,
    /// Whether the process is to end: a store that is being made again is left as it is then.
    pub stopping: Stopping,
    /// What is durable.
    pub durable: Durable,
    /// The newest group applied to the engine.
    pub applied: AtomicU64,
    /// Who is connected.
    pub sessions: Sessions,
    /// What all clients are told of it.
    pub bulletin: Bulletin,
    /// Of which cluster it is a node, if of any.
    pub cluster: Option<Arc<Cluster>>,
    /// Counts.
    pub metrics: Metrics,
    /// Bytes of the disk below which writing is refused; can change while it runs. At least what the journal, the
    /// groups that wait for the store and the compression of a segment may still take.
    pub disk_reserve: AtomicU64,
    /// A failure to come, for tests.
    #[doc(hidden)]
    pub fault: Mutex<Option<Fault>>,
}

/// Why a log was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It can be read again soon; then whoever watches is woken.
    #[error("the store is being mended")]
    Mending,
    /// The store cannot read it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An answer that may tell of what is not durable yet.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answer.
    pub answer: T,
    /// The group that must be durable before it is told.
    pub group: u64,
}

impl Node {
    /// Asks the engine. The answer is told when [`Node::settled`] says so.
    pub fn ask<T>(&self, question: impl FnOnce(&Engine) -> T) -> Asked<T> {
        let engine = self.engine.read();
        let answer = question(&engine);
        Asked { answer, group: self.applied.load(Ordering::Acquire) }
    }

    /// The answer, once everything it may tell of is durable.
    ///
    /// # Errors
    /// When it never will be.
    pub async fn settled<T>(&self, asked: Asked<T>) -> Result<T, NeverDurable> {
        self.durable.reached(asked.group).await?;
        Ok(asked.answer)
    }

    /// Refuses while the disk has too little room for more.
    pub(crate) fn room_on_disk(&self) -> Result<(), Refusal> {
        if has_room(&self.data_dir, self.disk_reserve.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let text = "the server's disk is full: nothing is written until there is room again; reading goes on";
        Err(Refusal::retry(ErrorCode::Degraded, text, 5_000))
    }

    /// Why it writes nothing now, if so, in a few words.
    pub fn read_only(&self) -> Option<SafeLine> {
        let why = if self.room_on_disk().is_err() {
            Some("the server's disk is full")
        } else if !self.durable.is_writable() {
            Some("the server cannot write now")
        } else {
            self.cluster.as_deref().and_then(bulletin::read_only)
        };
        why.map(SafeLine::new)
    }

    /// Whether the store may write what the journal has: it goes further into the reserve, so that what was accepted
    /// before the disk was full is stored, but not to its end; when all ends, only what is small is left to do.
    pub(crate) fn has_room_to_store(&self, ending: bool) -> bool {
        let part = if ending { 8 } else { 2 };
        has_room(&self.data_dir, self.disk_reserve.load(Ordering::Relaxed) / part)
    }

    /// Whether it writes.
    pub fn is_ready(&self) -> bool {
        self.read_only().is_none()
    }

    /// Whether the store failed and is being opened, or made, again: what it cannot tell now, it can soon.
    pub fn is_mending(&self) -> bool {
        !self.durable.is_writable() || self.store.is_given_up()
    }

    /// As [`Feeds::read`], and never from a store that is being made again: that one lacks what came last.
    ///
    /// # Errors
    /// See [`Unread`].
    pub fn read(&self, key: FeedKey, after: Seq, end: Seq, max_bytes: usize) -> Result<Chunk, Unread> {
        let before = self.whole.glance();
        let read = self.feeds.read(&self.store, key, after, end, max_bytes);
        if !self.whole.was_since(before) || (read.is_err() && self.is_mending()) {
            return Err(Unread::Mending);
        }
        Ok(read?)
    }

    /// What is counted elsewhere, for metrics.
    pub fn gauges(&self) -> [(&'static str, u64); 12] {
        let (accounts, rooms) = {
            let engine = self.engine.read();
            (engine.all_accounts().count() as u64, engine.all_rooms().count() as u64)
        };
        [
            ("accounts", accounts),
            ("rooms", rooms),
            ("connections_now", u64::from(self.sessions.total())),
            ("accounts_online", self.sessions.online() as u64),
            ("feeds", self.feeds.len() as u64),
            ("ready", u64::from(self.is_ready())),
            ("disk_free_bytes", free_bytes(&self.data_dir).unwrap_or_default()),
            ("feed_bytes_kept", self.feeds.kept() as u64),
            ("watches", self.feeds.watches() as u64),
            ("watches_for_digests", self.feeds.digests() as u64),
            ("wake_backlog", self.feeds.backlog() as u64),
            ("digest_from_now", self.feeds.tiers().digest_from() as u64),
        ]
    }

    /// The same of the shared log; nothing on a single node.
    pub fn shared_gauges(&self) -> Vec<(&'static str, u64)> {
        let of = |cluster: &Arc<Cluster>| cluster.counts.gauges(&cluster.phase.borrow()).to_vec();
        self.cluster.as_ref().map(of).unwrap_or_default()
    }

    /// What is announced in `Welcome`.
    pub fn announced(&self) -> Limits {
        self.limits.read().announced()
    }
}

/// Applies one command and waits until it is durable.
///
/// # Errors
/// The refusal.
pub async fn submit(log: &Log, command: Command) -> Result<Outcome, Refusal> {
    let (results, mut finished) = unbounded();
    let submission = Submission { command, waiter: Waiter { label: 0, results } };
    log.append(submission).await?;
    finished.recv().await.map_err(|_| NotTaken::Stopped)?.result
}

/// Everything a session needs.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The node.
    pub node: Arc<Node>,
    /// Where commands go.
    pub log: Log,
}
