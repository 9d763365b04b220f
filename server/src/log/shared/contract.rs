//! What is asked of the shared log, one atomic operation each, and what it answers. Types alone: Redis carries the
//! operations out by scripts (`log/redis`), the simulation by a model; both pass one contract suite.
//!
//! The log is a sequence of entries that each name the one before. It is *agreed on* while the process that keeps it is
//! the incarnation that the nodes last agreed on, in one epoch. In each epoch exactly one incarnation takes entries, so a position
//! identifies an entry: who has the entry at a position has all before it as the log has them (as in Raft, section 5.3).
//! A process that restarted, lost its tail, was wiped or promoted is another incarnation, or has no agreement at all: it takes
//! nothing until a node has written back what it lacks and raised the epoch.

use std::collections::BTreeMap;

use bytes::Bytes;
use quip_protocol::{Epoch, NodeName, Position};

/// One life of the process that keeps the log, as its master: of Redis the `run_id`, which is new at each start, and the
/// `master_replid`, which is new at each promotion. The first alone does not do: a master that was demoted, took over the
/// shorter log of another and was promoted again has the same `run_id`, and the agreement of before in its copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub String);

/// A cluster, for ever: made at random by its first node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// What a node appends as one entry, made at random. It is in the payload too (`engine::Entry::batch`), so that the node finds
/// its own in the log, however it came there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub [u8; 16]);

/// Who holds the repair of one incarnation; made at random for each try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim(pub [u8; 16]);

/// An entry as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The one before it; [`Position::ZERO`] of the first.
    pub before: Position,
    /// Its place.
    pub position: Position,
    /// The bytes of an [`crate::engine::Entry`].
    pub payload: Bytes,
}

/// What the nodes last agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// Whose log it is.
    pub cluster: ClusterId,
    /// The only process that may take entries.
    pub incarnation: Incarnation,
    /// The only epoch in which it may.
    pub epoch: Epoch,
}

/// How the log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The process that answers.
    pub incarnation: Incarnation,
    /// Nothing of an empty log, or one that was wiped.
    pub agreed: Option<Agreed>,
    /// The entry before the first that is there: what was up to here was trimmed.
    pub base: Position,
    /// The last entry; the base if there is none.
    pub last: Position,
    /// Where the nodes are that wait for this incarnation to be agreed on.
    pub reports: BTreeMap<NodeName, Position>,
    /// Since when there are reports of this incarnation, in milliseconds.
    pub reported_for_ms: u64,
}

impl Look {
    /// Whether it takes entries.
    pub fn is_agreed(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.incarnation == self.incarnation)
    }
}

/// What is asked. Each is done as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// → [`Answer::Look`]
    Look,
    /// The entries behind a position, at most about so many bytes, at least one if there is one. Waits so long for one.
    /// Those that were trimmed are not there: the first names another one before it. → [`Answer::Entries`]
    Read {
        /// Behind which.
        after: Position,
        /// Bytes of payloads.
        max_bytes: usize,
        /// How long to wait for one, in milliseconds; 0 does not wait.
        wait_ms: u64,
    },
    /// One entry at the end of a log that is agreed on in this epoch and is not behind `seen`. The node's last batch once more
    /// is answered with its place, and not appended again. Another batch whose `seen` is behind the place of the node's last
    /// one is old, and comes late by a connection that was given up: it is fenced, or it would be there twice.
    /// → [`Answer::Placed`] or [`Answer::Fenced`]
    Append {
        /// The epoch in which it is to stand.
        epoch: Epoch,
        /// The last entry that the node knows of: which it has read, or which is its own and was answered with its place.
        seen: Position,
        /// Who appends.
        node: NodeName,
        /// What.
        batch: BatchId,
        /// Its bytes.
        payload: Bytes,
    },
    /// A new cluster, in a log with nothing in it: its entries follow on `base`. Where nodes report or one has claimed the
    /// repair, a cluster is there, and was wiped. The same once more is done. → [`Answer::Done`] or [`Answer::Fenced`]
    Found {
        /// Its id.
        cluster: ClusterId,
        /// The first epoch in which entries are taken: above those of what the first node brings.
        epoch: Epoch,
        /// What the first node brings ends here; nobody else has it.
        base: Position,
    },
    /// The node waits for this incarnation to be agreed on, and has everything up to there. Said anew, it replaces the
    /// report of before. Reports are forgotten when none came for `CLAIM_MS`. → [`Answer::Look`]
    Report {
        /// Who.
        node: NodeName,
        /// Up to where.
        position: Position,
    },
    /// Begins the repair of this incarnation: nobody else may while the claim lasts (`CLAIM_MS`, from each operation of its
    /// holder on). From here on the log is agreed on no more, if it was: it takes nothing until [`Ask::Raise`]. The holder's
    /// own claim once more is done. → [`Answer::Done`] or [`Answer::Fenced`]
    Claim {
        /// Which is to be repaired.
        incarnation: Incarnation,
        /// By whom.
        claim: Claim,
    },
    /// Drops all entries, of a log that is none of this cluster's, or lacks the one that the repair goes on from: those to come
    /// follow on `base`. → [`Answer::Done`] or [`Answer::Fenced`]
    Reset {
        /// By whom.
        claim: Claim,
        /// The new base.
        base: Position,
    },
    /// Writes entries back with the positions that they had; the first names the last that is there. → [`Answer::Done`] or
    /// [`Answer::Fenced`]
    Restore {
        /// By whom.
        claim: Claim,
        /// Which, in order.
        entries: Vec<Stored>,
    },
    /// Ends the repair: appends the entry without commands that raises the epoch, above that of the last entry and the one
    /// agreed on, and from here on this incarnation is agreed on in that epoch. Forgets reports, claim and last batches. → [`Answer::Done`] or [`Answer::Fenced`]
    Raise {
        /// By whom.
        claim: Claim,
        /// Of which cluster.
        cluster: ClusterId,
        /// The entry; it names the last that is there.
        entry: Stored,
    },
    /// Forgets the entries up to and with this one; never more than there are. → [`Answer::Done`] or [`Answer::Fenced`], where
    /// the log is not agreed on
    Trim {
        /// The new base.
        upto: Position,
    },
}

/// How long a claim lasts after the last operation of its holder, in milliseconds.
pub const CLAIM_MS: u64 = 5_000;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// How it stands.
    Look(Look),
    /// In order.
    Entries(Vec<Stored>),
    /// The place that a batch has.
    Placed(Position),
    /// It is done.
    Done,
    /// It was not done: the log is not, or no longer, as the asker takes it to be. Look again.
    Fenced,
}

/// There was no answer. What was asked may have been done or not, or be done later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the shared log does not answer: {0}")]
pub struct Lost(pub String);
