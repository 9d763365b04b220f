//! A node: what the writer and the sessions share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use quip_protocol::limits::Limits;
use quip_protocol::{ErrorCode, Refusal, SafeLine, ServerLink};
use quip_storage::store::Store;
use tokio::sync::mpsc;

use crate::config::LimitsConfig;
use crate::engine::{Command, Engine, Outcome};
use crate::feed::Feeds;
use crate::log::{LocalLog, Submission, Waiter};
use crate::ops::disk::free_bytes;
use crate::ops::metrics::Metrics;
use crate::pipeline::durable::{Durable, NeverDurable};
use crate::session::registry::Sessions;

/// Writing is refused while less than this is free, so that what runs can end well.
const DISK_RESERVE: u64 = 64 * 1024 * 1024;

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
    /// What it enforces; can change while it runs.
    pub limits: RwLock<LimitsConfig>,
    /// The state, ahead of what is durable by one group. Read it through [`Node::ask`].
    pub engine: RwLock<Engine>,
    /// Live tails.
    pub feeds: Feeds,
    /// Everything else.
    pub store: Store,
    /// What is durable.
    pub durable: Durable,
    /// The newest group applied to the engine.
    pub applied: AtomicU64,
    /// Who is connected.
    pub sessions: Sessions,
    /// Counts.
    pub metrics: Metrics,
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
        if free_bytes(&self.data_dir).is_none_or(|free| free >= DISK_RESERVE) {
            return Ok(());
        }
        let text = "the server's disk is full: nothing is written until there is room again; reading goes on";
        Err(Refusal::retry(ErrorCode::Degraded, text, 5_000))
    }

    /// What is counted elsewhere, for metrics.
    pub fn gauges(&self) -> [(&'static str, u64); 5] {
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
        ]
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
pub async fn submit(log: &LocalLog, command: Command) -> Result<Outcome, Refusal> {
    let (results, mut finished) = mpsc::unbounded_channel();
    let submission = Submission { command, waiter: Waiter { label: 0, results } };
    let stopped = || Refusal::retry(ErrorCode::Unavailable, "the server is stopping; try again", 1_000);
    log.append(submission).await.map_err(|_| stopped())?;
    finished.recv().await.ok_or_else(stopped)?.result
}

/// Everything a session needs.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The node.
    pub node: Arc<Node>,
    /// Where commands go.
    pub log: LocalLog,
}
