//! A node as a member of the shared log: what it asks next, when, and what it does about a log that was repaired, or is to be.
//! PURE: answers, time and randomness come in as [`Input`], what is to be done goes out as [`Effect`].

use std::collections::BTreeSet;

use quip_protocol::{NodeName, Position};

use super::contract::{Answer, Ask, BatchId, Claim, ClusterId, Lost, Stored};

/// Questions of one lane are answered one after the other; each lane is a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Reads entries, and waits for them.
    Read,
    /// Everything else.
    Write,
}

/// What a member is told. Each comes with the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An alarm is due, or nothing but time has passed.
    Tick,
    /// A batch that waits for its place; only while [`Phase::Live`], and one at a time, until it is `Placed` or `NotTaken`.
    Batch(BatchId, bytes::Bytes),
    /// The answer to the one question of this lane that is open.
    Answered(Lane, Result<Answer, Lost>),
    /// The journal has everything up to there, durably.
    Durable(Position),
    /// What was recalled.
    Recalled(Vec<Stored>),
    /// The nodes that are alive, by their heartbeats as they were seen last.
    Nodes(BTreeSet<NodeName>),
    /// What was delivered behind here was not written: it is to be delivered again.
    Rewind(Position),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the log. The answer comes as [`Input::Answered`], or [`Lost`] after a time-out.
    Ask(Lane, Ask),
    /// Apply these, in order, and write them to the journal; what is durable is said by [`Input::Durable`].
    Deliver(Vec<Stored>),
    /// The batch has this place; its results follow from the delivery.
    Placed(BatchId, Position),
    /// The batch is not in the log, and will not be. Whoever waits is to try again.
    NotTaken(BatchId),
    /// Read entries of the own journal behind a position, about so many bytes: → [`Input::Recalled`].
    Recall {
        /// Behind which.
        after: Position,
        /// Bytes of payloads.
        max_bytes: usize,
    },
    /// How it stands from now on.
    Phase(Phase),
    /// This node cannot go on as it is: stop serving, get what is missing, begin again.
    StepAside(StepAside),
    /// Tick again at the latest at this time, in milliseconds.
    Alarm(u64),
}

/// How a member stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It reads what the log had when it began.
    CatchingUp {
        /// Where that ends.
        to: Position,
    },
    /// It appends and follows.
    Live,
    /// The log does not answer: nothing is written, everything else goes on.
    Unreachable,
    /// The log is another incarnation: it is being agreed on again.
    Repairing,
}

impl Phase {
    /// For people and scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::CatchingUp { .. } => "catching_up",
            Phase::Live => "live",
            Phase::Unreachable => "unreachable",
            Phase::Repairing => "repairing",
        }
    }
}

/// Why a node cannot go on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAside {
    /// The log begins behind what this node has: the rest is with other nodes.
    Behind {
        /// Where the log begins.
        base: Position,
    },
    /// This node has entries that the log does not have, and the log has gone on without them.
    Diverged,
    /// The log is another cluster's.
    Foreign {
        /// Whose.
        cluster: ClusterId,
    },
}

/// Where the random numbers come from.
pub trait Chance {
    /// Sixteen random bytes.
    fn claim(&mut self) -> Claim;
    /// One in so many, for jitter and epochs.
    fn below(&mut self, bound: u32) -> u32;
}
