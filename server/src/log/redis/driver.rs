//! The shell around a member of the shared log: gives it answers, batches and the time, and does what it says. Everything that
//! is decided is decided in `log::shared::member`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quip_protocol::{Position, Refusal};
use quip_storage::JournalReader;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tracing::error;

use super::address::Address;
use super::hold::Hold;
use super::intake::{Deliveries, SharedIntake, Told, both};
use super::lanes::Lanes;
use super::notes::{self, Notes};
use super::recall::recall;
use crate::cluster::{Cluster, Roster};
use crate::engine::{Command, Entry, EntryError};
use crate::log::shared::contract::{BatchId, Claim, Stored};
use crate::log::shared::member::{Chance, Effect, Input, Member, Own, Phase, StepAside};
use crate::log::shared_log::{RETRY_MS, SharedLog};
use crate::log::{LocalIntake, LocalLog, NotTaken, Placed, Submission, Waiter};

/// How long the end waits for the place of what was asked for already.
const END: Duration = Duration::from_secs(2);

/// How long anybody waits for the place of what was asked for. It may get one later: a message sent again has the same id, and
/// is not there twice.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the driver needs.
#[derive(Debug)]
pub struct Parts {
    /// Where Redis is.
    pub address: Address,
    /// Of which cluster, and as whom.
    pub cluster: Arc<Cluster>,
    /// What of the journal is durable.
    pub journal: JournalReader,
}

/// Why the driver is at its end: the node cannot go on as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The log and this node have parted: get what is missing, and begin again.
    #[error(transparent)]
    Aside(StepAside),
    /// There is an entry that this version cannot read.
    #[error("cannot apply the entry {position} of the shared log: {why}")]
    Unreadable {
        /// Where.
        position: Position,
        /// Why.
        why: EntryError,
    },
}

impl SharedLog {
    /// Starts the driver on the runtime of the caller. It ends when every handle is gone, having placed what waited, or says
    /// why it cannot go on.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn start(parts: Parts) -> io::Result<(SharedLog, SharedIntake, oneshot::Receiver<Ended>)> {
        let (driver, queue, intake, ended) = Driver::new(parts)?;
        let phase = driver.cluster.phase.subscribe();
        tokio::spawn(driver.run());
        Ok((SharedLog { queue, phase }, intake, ended))
    }
}

struct Driver {
    member: Member,
    chance: Random,
    /// The member's clock.
    begun: Instant,
    alarm: Option<u64>,
    queue: LocalIntake,
    /// Whether there are handles.
    is_open: bool,
    hold: Hold,
    /// The batch that the member has, and until when those who sent it wait.
    asked: Option<(BatchId, Option<Instant>)>,
    /// Who waits for what is not delivered yet.
    waiting: BTreeMap<BatchId, Vec<Waiter>>,
    lanes: Lanes,
    deliveries: Deliveries,
    journal: JournalReader,
    /// For the operator.
    notes: Notes,
    recalled: mpsc::UnboundedSender<Vec<Stored>>,
    recalls: mpsc::UnboundedReceiver<Vec<Stored>>,
    roster: watch::Receiver<Roster>,
    cluster: Arc<Cluster>,
    /// Gone when it was said why this is the end.
    end: Option<oneshot::Sender<Ended>>,
}

/// What comes next.
enum Next {
    Told(Input),
    /// What the writer says.
    Writer(Told),
    /// Something waits to be appended.
    Waiting,
    /// What was asked for has had no place for too long.
    Overdue,
    /// Every handle is gone.
    Closed,
    /// The writer is gone.
    Alone,
}

impl Driver {
    fn new(parts: Parts) -> io::Result<(Driver, LocalLog, SharedIntake, oneshot::Receiver<Ended>)> {
        let chance = Random::from_system()?;
        let (queue, waiting) = LocalLog::new();
        let (deliveries, intake) = both();
        let (end, ended) = oneshot::channel();
        // Whatever it was for a driver before this one.
        parts.cluster.phase.send_replace(Phase::Unreachable);
        let mut roster = parts.cluster.roster.subscribe();
        // Who lives may be known, and stay the same for long. That nobody does is not known.
        if !parts.cluster.roster.borrow().is_empty() {
            roster.mark_changed();
        }
        let lanes = Lanes::start(&parts.address, &parts.cluster.counts);
        let hold = Hold::new(parts.journal.last());
        let own = Own {
            name: parts.cluster.name.clone(),
            cluster: parts.cluster.id,
            last: parts.journal.last(),
            raising: Entry::default().to_bytes().into(),
            batch_of: Entry::batch_of,
        };
        let (recalled, recalls) = mpsc::unbounded_channel();
        let driver = Driver {
            member: Member::new(own),
            chance,
            begun: Instant::now(),
            alarm: None,
            queue: waiting,
            is_open: true,
            hold,
            asked: None,
            waiting: BTreeMap::new(),
            lanes,
            deliveries,
            journal: parts.journal,
            notes: Notes::new(&parts.address),
            recalled,
            recalls,
            roster,
            cluster: parts.cluster,
            end: Some(end),
        };
        Ok((driver, queue, intake, ended))
    }

    async fn run(mut self) {
        self.step(Input::Tick);
        loop {
            match self.next().await {
                Next::Told(input) => self.step(input),
                Next::Writer(told) => self.heard(told),
                Next::Waiting => self.take(),
                Next::Overdue => self.give_up(),
                Next::Closed => break,
                Next::Alone => return self.refuse_all(&NotTaken::Stopped.into()),
            }
        }
        // What was asked for is in the log, or will be: those who wait are to hear of it.
        let _ = timeout(END, self.finish()).await;
        self.refuse_all(&NotTaken::Stopped.into());
    }

    async fn finish(&mut self) {
        while !self.waiting.is_empty() && self.end.is_some() {
            match self.next().await {
                Next::Told(input) => self.step(input),
                Next::Overdue => self.give_up(),
                Next::Writer(told) => self.heard(told),
                Next::Waiting | Next::Closed => {}
                Next::Alone => return,
            }
        }
    }

    async fn next(&mut self) -> Next {
        let takes = self.asked.is_none() || *self.member.phase() != Phase::Live;
        let alarm = self.alarm.map(|at| self.begun + Duration::from_millis(at));
        let overdue = self.asked.and_then(|(_, overdue)| overdue);
        tokio::select! {
            // What the writer said before it answered somebody counts before what that one sends next.
            biased;
            Some((lane, answer)) = self.lanes.answered() => {
                self.notes.answered(Instant::now(), lane, &answer);
                Next::Told(Input::Answered(lane, answer))
            }
            told = self.deliveries.told.recv() => told.map_or(Next::Alone, Next::Writer),
            Some(entries) = self.recalls.recv() => Next::Told(Input::Recalled(entries)),
            Ok(()) = self.roster.changed() => {
                let nodes = self.roster.borrow_and_update().keys().cloned().collect();
                Next::Told(Input::Nodes(nodes))
            }
            () = tick(alarm) => {
                self.alarm = None;
                Next::Told(Input::Tick)
            }
            () = tick(overdue) => Next::Overdue,
            is_open = self.queue.ready(), if takes && self.is_open => {
                self.is_open = is_open;
                if is_open { Next::Waiting } else { Next::Closed }
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.member.step(self.now(), &mut self.chance, input, &mut effects);
        effects.into_iter().for_each(|effect| self.perform(effect));
    }

    fn heard(&mut self, told: Told) {
        self.hold.heard(told);
        match told {
            Told::Durable(last) => self.step(Input::Durable(last)),
            Told::Rewind(last) => self.step(Input::Rewind(last)),
            Told::Missed => {}
        }
    }

    /// What waits becomes one entry, or is refused.
    fn take(&mut self) {
        // All that the writer said before it refused somebody who is back already: it may have since the driver looked.
        while let Ok(told) = self.deliveries.told.try_recv() {
            self.heard(told);
        }
        let group = self.queue.submissions(Duration::ZERO).unwrap_or_default();
        let refusal = match () {
            () if *self.member.phase() != Phase::Live || self.end.is_none() => Some(unreachable()),
            () => self.hold.refusal(),
        };
        if let Some(refusal) = refusal {
            return refuse(group.into_iter().map(|submission| submission.waiter), &refusal);
        }
        if group.is_empty() {
            return;
        }
        let (commands, waiters): (Vec<Command>, Vec<Waiter>) =
            group.into_iter().map(|Submission { command, waiter }| (command, waiter)).unzip();
        let batch = BatchId(self.chance.bytes());
        self.waiting.insert(batch, waiters);
        self.asked = Some((batch, Some(Instant::now() + PATIENCE)));
        let payload = Bytes::from(Entry::undecided(batch, commands).to_bytes());
        self.step(Input::Batch(batch, payload));
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Ask(lane, ask) => {
                self.notes.asked(&ask);
                self.lanes.ask(lane, ask);
            }
            Effect::Deliver(entries) => self.deliver(entries),
            Effect::Placed(batch, _) => self.outcome(batch),
            Effect::NotTaken(batch) => {
                self.outcome(batch);
                refuse(self.waiting.remove(&batch).unwrap_or_default(), &unreachable());
            }
            Effect::Recall { after, max_bytes } => self.recall(after, max_bytes),
            // After the end the node stands as it was told.
            Effect::Phase(_) if self.end.is_none() => {}
            Effect::Phase(phase) => {
                self.notes.phase(Instant::now(), &phase);
                self.cluster.phase.send_replace(phase);
            }
            Effect::StepAside(why) => self.end(Ended::Aside(why)),
            Effect::Alarm(at) => self.alarm = Some(at),
        }
    }

    /// The member has no batch any more.
    fn outcome(&mut self, batch: BatchId) {
        if self.asked.take_if(|(asked, _)| *asked == batch).is_some() {
            self.queue.done();
        }
    }

    /// Those who wait are told to try again; the member goes on asking.
    fn give_up(&mut self) {
        if let Some((batch, overdue)) = &mut self.asked {
            *overdue = None;
            refuse(self.waiting.remove(batch).unwrap_or_default(), &unreachable());
        }
    }

    fn deliver(&mut self, entries: Vec<Stored>) {
        for Stored { position, payload, .. } in entries {
            // What comes behind an entry that cannot be applied, cannot be either.
            if self.end.is_none() {
                return;
            }
            let entry = match Entry::from_bytes(&payload) {
                Ok(entry) => entry,
                Err(why) => return self.end(Ended::Unreadable { position, why }),
            };
            let waiters = entry.batch.and_then(|batch| self.waiting.remove(&batch)).unwrap_or_default();
            self.hold.delivered(position);
            // A writer that is gone is noticed where it would tell something.
            let _ = self.deliveries.entries.send(Placed { position, payload, entry, waiters });
        }
    }

    fn recall(&self, after: Position, max_bytes: usize) {
        let (journal, recalled) = (self.journal.clone(), self.recalled.clone());
        tokio::task::spawn_blocking(move || {
            let entries = recall(&journal, after, max_bytes).unwrap_or_else(|e| {
                error!(%after, error = %e, "cannot read the journal for writing it back: this node leaves the repair to others for some seconds");
                Vec::new()
            });
            let _ = recalled.send(entries);
        });
    }

    /// The node is told, once; nothing is taken from here on.
    fn end(&mut self, why: Ended) {
        if let Some(end) = self.end.take() {
            notes::ended(&why);
            self.cluster.phase.send_replace(Phase::Unreachable);
            self.refuse_all(&unreachable());
            let _ = end.send(why);
        }
    }

    fn refuse_all(&mut self, refusal: &Refusal) {
        self.asked = None;
        refuse(std::mem::take(&mut self.waiting).into_values().flatten(), refusal);
    }
}

async fn tick(alarm: Option<Instant>) {
    match alarm {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn unreachable() -> Refusal {
    NotTaken::Unreachable { retry_after_ms: RETRY_MS }.into()
}

fn refuse(waiters: impl IntoIterator<Item = Waiter>, refusal: &Refusal) {
    waiters.into_iter().for_each(|waiter| waiter.finish(Err(refusal.clone())));
}

/// The operating system's randomness.
struct Random;

impl Random {
    /// Fails now if it ever would.
    fn from_system() -> io::Result<Random> {
        getrandom::fill(&mut [0; 16]).map_err(io::Error::other)?;
        Ok(Random)
    }

    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("it gave some when the driver began");
        bytes
    }
}

impl Chance for Random {
    fn claim(&mut self) -> Claim {
        Claim(self.bytes())
    }

    fn below(&mut self, bound: u32) -> u32 {
        let [a, b, c, d, ..] = self.bytes();
        u32::from_le_bytes([a, b, c, d]) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use futures_channel::mpsc::{UnboundedReceiver, unbounded};
    use quip_protocol::{DeviceKey, Epoch, MessageId, MessageKind, SafeText, Timestamp};
    use quip_storage::{Journal, JournalOptions};

    use super::*;
    use crate::cluster::BootId;
    use crate::cluster::barrier::Barrier;
    use crate::engine::{Actor, CommandBody};
    use crate::log::shared::contract::{Agreed, Answer, ClusterId, Incarnation, Look};
    use crate::log::shared::member::Lane;
    use crate::log::{Finished, Intake as _};

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn parts(journal: &Journal) -> Parts {
        let cluster = Cluster {
            id: CLUSTER,
            name: "a".parse().unwrap(),
            boot: BootId([2; 16]),
            roster: watch::Sender::new(Roster::new()),
            phase: watch::Sender::new(Phase::Unreachable),
            counts: Arc::default(),
            barrier: Barrier::new().0,
        };
        // Nobody is there, and nobody is asked before the test ends.
        let address = "redis://127.0.0.1:1".parse().unwrap();
        Parts { address, cluster: Arc::new(cluster), journal: journal.reader() }
    }

    /// An empty log that takes entries.
    fn agreed() -> Look {
        let incarnation = Incarnation("one".into());
        Look {
            agreed: Some(Agreed { cluster: CLUSTER, incarnation: incarnation.clone(), epoch: Epoch(1) }),
            incarnation,
            base: Position::ZERO,
            last: Position::ZERO,
            reports: BTreeMap::new(),
            reported_for_ms: 0,
        }
    }

    fn submission() -> (Submission, UnboundedReceiver<Finished>) {
        let (results, finished) = unbounded();
        let body = CommandBody::Post {
            target: "#general".parse().unwrap(),
            id: MessageId::from_bytes([1; 16]),
            kind: MessageKind::Plain,
            text: SafeText::new("hello"),
            reply_to: None,
        };
        let command = Command { at: Timestamp(1), by: Actor::Device(DeviceKey([1; 32])), body };
        (Submission { command, waiter: Waiter { label: 0, results } }, finished)
    }

    #[tokio::test]
    async fn what_the_writer_said_before_it_refused_somebody_counts_before_what_that_one_sends() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        let (mut driver, queue, mut intake, _ended) = Driver::new(parts(&journal)).unwrap();
        driver.step(Input::Tick);
        driver.step(Input::Answered(Lane::Write, Ok(Answer::Look(agreed()))));
        assert_eq!(*driver.member.phase(), Phase::Live);
        let (submission, mut finished) = submission();
        queue.offer(submission).unwrap();
        assert!(matches!(driver.next().await, Next::Waiting));
        // Behind the driver's back.
        intake.missed();
        driver.take();
        assert_eq!(driver.asked, None, "nothing is appended");
        let refused = finished.try_recv().unwrap().result.unwrap_err();
        assert_eq!(refused.retry_after_ms, Some(5_000), "{refused}");
    }
}
