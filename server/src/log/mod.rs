//! The log: where commands get their order. On one node it is the local journal's intake, in a cluster the log that the nodes
//! share; nothing outside this folder and the pipeline knows which it is.

pub mod local;
pub mod redis;
pub mod shared;
pub mod shared_log;

use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc;
use quip_protocol::{ErrorCode, Position, Refusal};

use crate::engine::{Command, Entry, Outcome};

pub use local::{Intake as LocalIntake, LocalLog};
pub use shared_log::SharedLog;

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// As much waits as may.
    #[error("the server has more to write than its disk takes now; try again in {retry_after_ms} ms")]
    Full {
        /// When there should be room.
        retry_after_ms: u32,
    },
    /// The log that the nodes of a cluster share takes nothing now.
    #[error("the servers' log is away; try again when it is back")]
    Unreachable {
        /// When to try.
        retry_after_ms: u32,
    },
    /// The node's own disk does not take what the shared log has.
    #[error(
        "this node cannot write to its disk now; it keeps serving what it has; try again in {retry_after_ms} ms, or at another node"
    )]
    Held {
        /// When to try.
        retry_after_ms: u32,
    },
    /// Nothing is written any more.
    #[error("the server is stopping; try again")]
    Stopped,
}

impl From<NotTaken> for Refusal {
    fn from(why: NotTaken) -> Refusal {
        let (code, after_ms) = match why {
            NotTaken::Full { retry_after_ms } => (ErrorCode::Unavailable, retry_after_ms),
            NotTaken::Unreachable { retry_after_ms } | NotTaken::Held { retry_after_ms } => {
                (ErrorCode::Degraded, retry_after_ms)
            }
            NotTaken::Stopped => (ErrorCode::Unavailable, 1_000),
        };
        Refusal::retry(code, why.to_string(), after_ms)
    }
}

/// Where sessions put commands.
#[derive(Debug, Clone)]
pub enum Log {
    /// A single node's.
    Local(LocalLog),
    /// A cluster's.
    Shared(SharedLog),
}

impl Log {
    /// Appends a command, unless the log is full.
    ///
    /// # Errors
    /// When it is, or nothing is taken now.
    pub fn offer(&self, submission: Submission) -> Result<(), NotTaken> {
        match self {
            Log::Local(log) => log.offer(submission),
            Log::Shared(log) => log.offer(submission),
        }
    }

    /// Appends a command that is rare; waits while the log is full.
    ///
    /// # Errors
    /// When nothing is taken now.
    pub async fn append(&self, submission: Submission) -> Result<(), NotTaken> {
        match self {
            Log::Local(log) => log.append(submission).await,
            Log::Shared(log) => log.append(submission).await,
        }
    }
}

/// A command on its way into the log, and where its result goes.
#[derive(Debug)]
pub struct Submission {
    /// What is asked.
    pub command: Command,
    /// Who waits for it.
    pub waiter: Waiter,
}

/// Who waits for a command's result: a session by the label of the request, or one caller.
#[derive(Debug)]
pub struct Waiter {
    /// The request's label.
    pub label: u32,
    /// The session. Bounded by the session's permits for requests in flight. Of this channel because an empty one takes
    /// a hundred bytes, not the 3 KiB of tokio's, and most sessions are idle.
    pub results: mpsc::UnboundedSender<Finished>,
}

/// An entry of a shared log, which has its place already.
#[derive(Debug)]
pub struct Placed {
    /// Its place.
    pub position: Position,
    /// Its bytes, as the journal is to keep them.
    pub payload: Bytes,
    /// The same, decoded. Its commands were not decided before they were placed: they may be refused.
    pub entry: Entry,
    /// Who waits for each of its commands, in order; empty where it is another node's.
    pub waiters: Vec<Waiter>,
}

/// What the log gives the writer.
#[derive(Debug)]
pub enum Taken {
    /// Commands that get their place from the writer: a single node's.
    Commands(Vec<Submission>),
    /// Entries that have theirs.
    Entries(Vec<Placed>),
}

/// Where the writer takes what is to be applied, in order.
pub trait Intake: Send {
    /// Everything that waits and fits; blocks until there is something, for so long. Nothing if there was nothing; `None`
    /// when nobody is left who could send.
    fn group(&mut self, patience: Duration) -> Option<Taken>;

    /// The journal has everything up to there, durably.
    fn durable(&mut self, last: Position);

    /// What was taken behind there was not written: entries that have their place are given again, from the next one on. What
    /// was on its way to the writer before it said so may still come; the writer leaves it.
    fn rewind(&mut self, last: Position);

    /// Entries that have their place are not written now, or would not be, and so not answered, until [`Intake::rewind`] and the
    /// first of them after it: nothing more is to be appended by who waits here.
    fn missed(&mut self);
}

/// The result of a command. Sent when what it changed is durable.
#[derive(Debug)]
pub struct Finished {
    /// The request's label.
    pub label: u32,
    /// What it came to.
    pub result: Result<Outcome, Refusal>,
}

impl Waiter {
    /// Gives the result to whoever waits, if it still does.
    pub fn finish(&self, result: Result<Outcome, Refusal>) {
        // A session that went away has no use for it; the command stands.
        let _ = self.results.unbounded_send(Finished { label: self.label, result });
    }
}
