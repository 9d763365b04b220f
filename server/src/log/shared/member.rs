//! A node as a member of the shared log: what it asks next, when, and what it does about a log that was repaired, or is to be.
//! PURE: answers, time and randomness come in as [`Input`], what is to be done goes out as [`Effect`].
//!
//! Two lanes with one open question each: `Read` waits for entries (`tail`), `Write` does everything else: it looks, appends
//! (`batches`), or repairs (`repair`).

use std::collections::BTreeSet;

use bytes::Bytes;
use quip_protocol::{Epoch, NodeName, Position};

use super::batches::Batches;
use super::contract::{Answer, Ask, BatchId, Claim, ClusterId, Look, Lost, Stored};
use super::lane::Open;
use super::repair::Repair;
use super::tail::Tail;

/// How often the log is looked at when nothing is appended: one that was wiped, and that nobody writes to, is noticed.
const LOOK_MS: u64 = 1_000;
/// How long the log waits for an entry before it answers that there is none.
pub(super) const WAIT_MS: u64 = 1_000;

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
    /// Otherwise it is `NotTaken` at once.
    Batch(BatchId, Bytes),
    /// The answer to the one question of this lane that is open.
    Answered(Lane, Result<Answer, Lost>),
    /// The journal has everything up to there, durably.
    Durable(Position),
    /// What was recalled; nothing where the journal has nothing, or cannot be read.
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
    /// The batch has this place; its results follow from the delivery. A log that loses it before it was delivered makes it
    /// [`Effect::NotTaken`] after all.
    Placed(BatchId, Position),
    /// The batch is not in the log, and will not be, unless by a node that has it and steps aside. Whoever waits is to try
    /// again.
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
    /// Tick again at the latest at this time, in milliseconds. It replaces the alarm before.
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
    /// The log does not answer, or has not yet: nothing is written, everything else goes on.
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepAside {
    /// The log begins behind what this node has: the rest is with other nodes.
    #[error("the shared log begins at {base}, behind what this node has")]
    Behind {
        /// Where the log begins.
        base: Position,
    },
    /// This node has entries that the log does not have, and the log has gone on without them.
    #[error("this node has what the shared log does not have, and the log has gone on without it")]
    Diverged,
    /// The log is another cluster's.
    #[error("the shared log has become another cluster's")]
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

/// What a member is from the beginning.
#[derive(Debug, Clone)]
pub struct Own {
    /// The node's name.
    pub name: NodeName,
    /// Of which cluster it is.
    pub cluster: ClusterId,
    /// Its journal has everything up to there, durably.
    pub last: Position,
    /// The bytes of the entry without commands that raises the epoch.
    pub raising: Bytes,
    /// Which batch a payload is; nothing of one that is none.
    pub batch_of: fn(&[u8]) -> Option<BatchId>,
}

/// A node as a member.
#[derive(Debug)]
pub struct Member {
    pub(super) own: Own,
    pub(super) stand: Stand,
    pub(super) tail: Tail,
    pub(super) batches: Batches,
    pub(super) write: Open<Question>,
    /// The question is what is read behind, and how often a log had been agreed on when it was asked.
    pub(super) reading: Open<(Position, u64)>,
    /// How often that was found.
    pub(super) agreements: u64,
    /// When to look again, where nothing else is to be asked.
    pub(super) look_at: u64,
    /// Who is alive; unknown before it was told.
    pub(super) alive: Option<BTreeSet<NodeName>>,
    /// The highest epoch that was heard of.
    pub(super) highest: Epoch,
    /// Whether it has been [`Phase::Live`]: who has just begun does not know who else is about to.
    pub(super) was_live: bool,
    is_reachable: bool,
    /// Whether the question that is open on the write lane changes something.
    writes: bool,
    /// The last one that did was lost. A log that can be read and not written, for Redis refuses that, is looked at with
    /// success all the time.
    unwritten: bool,
    phase: Phase,
    alarm: u64,
}

/// How the log stands, as it was seen last.
#[derive(Debug)]
pub(super) enum Stand {
    /// It was not looked at yet.
    Unknown,
    /// It takes entries.
    Agreed(Agreement),
    /// It does not.
    Repair(Repair),
    /// This member is at its end.
    Aside,
}

/// A log that takes entries.
#[derive(Debug)]
pub(super) struct Agreement {
    /// In this epoch.
    pub(super) epoch: Epoch,
    /// What is to be read before anything is appended.
    pub(super) to: Position,
    /// Entries were read in this epoch that do not follow. It is looked at once more whether the log was agreed on all the
    /// time; if not, it was being repaired.
    pub(super) suspect: Option<(Epoch, StepAside)>,
}

/// What is open on the write lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// How the log stands, when everything up to `seen` had been read: it can have more by now than the answer tells.
    Look { seen: Position },
    /// A batch.
    Append(BatchId),
    /// Part of a repair.
    Repair,
}

impl Member {
    /// Begins; the first [`Input`] makes it look at the log.
    pub fn new(own: Own) -> Member {
        Member {
            stand: Stand::Unknown,
            tail: Tail::new(own.last),
            batches: Batches::default(),
            write: Open::new(),
            reading: Open::new(),
            agreements: 0,
            look_at: 0,
            alive: None,
            highest: own.last.epoch,
            was_live: false,
            is_reachable: false,
            writes: false,
            unwritten: false,
            phase: Phase::Unreachable,
            alarm: 0,
            own,
        }
    }

    /// How it stands. Begins with [`Phase::Unreachable`].
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// One input, at a time in milliseconds that never goes back; what is to be done about it, in order.
    pub fn step(&mut self, now: u64, chance: &mut impl Chance, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Batch(batch, payload) => self.take(batch, payload, effects),
            _ if matches!(self.stand, Stand::Aside) => return,
            Input::Tick => {}
            Input::Answered(Lane::Read, answer) => self.read_answered(now, chance, answer, effects),
            Input::Answered(Lane::Write, answer) => self.write_answered(now, chance, answer, effects),
            Input::Durable(last) => {
                self.tail.settle(last);
                self.batches.durable(last);
            }
            Input::Recalled(entries) => self.recalled(now, entries),
            Input::Nodes(alive) => self.alive = Some(alive),
            Input::Rewind(last) => {
                self.tail.rewind(last);
                self.batches.rewind(self.tail.read);
            }
        }
        self.ask_on_write(now, chance, effects);
        self.ask_on_read(now, effects);
        self.tell_phase(effects);
        self.tell_alarm(now, effects);
    }

    fn take(&mut self, batch: BatchId, payload: Bytes, effects: &mut Vec<Effect>) {
        match &self.stand {
            Stand::Agreed(agreed) if self.phase == Phase::Live && self.batches.has_room() => {
                self.batches.take(batch, payload, agreed.epoch);
            }
            _ => effects.push(Effect::NotTaken(batch)),
        }
    }

    fn write_answered(
        &mut self,
        now: u64,
        chance: &mut impl Chance,
        answer: Result<Answer, Lost>,
        effects: &mut Vec<Effect>,
    ) {
        let Ok(answer) = answer else {
            self.write.lose(now, chance);
            self.is_reachable = false;
            self.unwritten |= self.writes;
            return self.repair_interrupted();
        };
        self.is_reachable = true;
        self.unwritten &= !self.writes;
        match (self.write.answered(), answer) {
            (Some(Question::Look { seen }), Answer::Look(look)) => {
                self.looked(now, chance, seen, look, effects)
            }
            (Some(Question::Append(batch)), Answer::Placed(position)) => {
                self.look_at = now + LOOK_MS;
                if self.batches.placed(batch, position) {
                    effects.push(Effect::Placed(batch, position));
                }
            }
            (Some(Question::Repair), answer) => self.repair_answered(now, chance, answer, effects),
            // Fenced, or no answer to what was asked: see how it stands before anything else.
            _ => self.stand = Stand::Unknown,
        }
    }

    /// What a look at the log tells.
    pub(super) fn looked(
        &mut self,
        now: u64,
        chance: &mut impl Chance,
        seen: Position,
        look: Look,
        effects: &mut Vec<Effect>,
    ) {
        self.look_at = now + LOOK_MS;
        let epochs = look.agreed.iter().map(|agreed| agreed.epoch).chain([look.last.epoch]);
        self.highest = epochs.fold(self.highest, Epoch::max);
        match &look.agreed {
            Some(agreed) if agreed.cluster != self.own.cluster => {
                self.aside(StepAside::Foreign { cluster: agreed.cluster }, effects);
            }
            // What was read and taken back meanwhile does not count.
            Some(agreed) if look.is_agreed() && look.last >= seen.min(self.tail.read) => {
                let epoch = agreed.epoch;
                self.follow(epoch, &look, effects);
            }
            _ => self.mend(now, chance, look, effects),
        }
    }

    pub(super) fn aside(&mut self, why: StepAside, effects: &mut Vec<Effect>) {
        self.stand = Stand::Aside;
        effects.push(Effect::StepAside(why));
    }

    fn ask_on_write(&mut self, now: u64, chance: &mut impl Chance, effects: &mut Vec<Effect>) {
        if !self.write.is_free(now) {
            return;
        }
        let asked = match &self.stand {
            Stand::Aside => None,
            Stand::Unknown => Some((Question::Look { seen: self.tail.read }, Ask::Look)),
            Stand::Agreed(agreed) => self.ask_of_agreed(now, agreed),
            Stand::Repair(_) => self.ask_to_repair(chance),
        };
        if let Some((question, ask)) = asked {
            self.write.ask(question);
            self.writes = ask != Ask::Look;
            effects.push(Effect::Ask(Lane::Write, ask));
        }
    }

    fn ask_of_agreed(&self, now: u64, agreed: &Agreement) -> Option<(Question, Ask)> {
        let look = || (Question::Look { seen: self.tail.read }, Ask::Look);
        if agreed.suspect.is_some() || now >= self.look_at {
            return Some(look());
        }
        let append = self.append(agreed).filter(|_| self.tail.read >= agreed.to);
        append.map(|(batch, ask)| (Question::Append(batch), ask))
    }

    fn append(&self, agreed: &Agreement) -> Option<(BatchId, Ask)> {
        self.batches.ask(agreed.epoch, &self.own.name, self.tail.read)
    }

    /// Otherwise nothing is known of whether it could be.
    fn has_to_append(&self, agreed: &Agreement) -> bool {
        self.append(agreed).is_some()
    }

    fn tell_phase(&mut self, effects: &mut Vec<Effect>) {
        let phase = match &self.stand {
            Stand::Aside => return,
            _ if !self.is_reachable => Phase::Unreachable,
            // It is looked at at once.
            Stand::Unknown => return,
            Stand::Repair(_) if self.unwritten => Phase::Unreachable,
            Stand::Repair(_) => Phase::Repairing,
            Stand::Agreed(agreed) if self.tail.read < agreed.to => Phase::CatchingUp { to: agreed.to },
            Stand::Agreed(agreed) if self.unwritten && self.has_to_append(agreed) => Phase::Unreachable,
            Stand::Agreed(_) => Phase::Live,
        };
        self.unwritten &= phase == Phase::Unreachable;
        self.was_live |= phase == Phase::Live;
        if phase != self.phase {
            self.phase = phase.clone();
            effects.push(Effect::Phase(phase));
        }
    }

    fn tell_alarm(&mut self, now: u64, effects: &mut Vec<Effect>) {
        let write = match &self.stand {
            _ if !self.write.is_idle() => None,
            Stand::Aside => None,
            Stand::Unknown => Some(self.write.due),
            Stand::Agreed(agreed) if self.ask_of_agreed(self.write.due, agreed).is_some() => {
                Some(self.write.due)
            }
            Stand::Agreed(_) => Some(self.look_at.max(self.write.due)),
            Stand::Repair(repair) => repair.is_asking().then_some(self.write.due),
        };
        let read = self.wants_to_read().then_some(self.reading.due);
        let next = write.into_iter().chain(read).filter(|at| *at > now).min();
        if let Some(at) = next.filter(|at| *at != self.alarm) {
            self.alarm = at;
            effects.push(Effect::Alarm(at));
        }
    }
}

#[cfg(test)]
mod tests;
