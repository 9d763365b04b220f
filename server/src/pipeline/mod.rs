//! The one writer: log → engine → journal → feeds, with the store behind it.
//!
//! The writer is a thread. It takes everything that waits in the log as one group, applies it, writes it with one write and
//! one fdatasync, and only then publishes and answers. Whoever reads the engine's
//! state meanwhile waits for [`durable::Durable`] before it tells anyone.
//!
//! A single node's commands get their place here, as one entry, if they changed something. Entries of a shared log have their
//! place: all of them are written, so that the journal is that log. What of them could not be written is taken again, in order.

pub mod behind;
pub mod durable;
mod epoch;
pub mod fault;
pub mod judge;
pub mod open;
pub mod past;
pub mod stopping;
pub mod whole;

mod mend;
mod recent;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quip_protocol::{AccountId, ErrorCode, Position, Refusal, RoomId, Timestamp};
use quip_storage::journal::Journal;
use quip_storage::record::{Applied, Change, Standing};
use rustc_hash::FxHashMap;

use crate::engine::{Command, Engine, Entry, NotApplied, Outcome, Terms, Unreadable};
use crate::feed::{FeedKey, Grown};
use crate::log::{Intake, Placed, Submission, Taken, Waiter};
use crate::node::Node;

use behind::Behind;
use fault::{EndsWithPanic, Fault};
use mend::{Cure, Stall};
use past::{Applied as AppliedPast, LookedUp, Prepared, Rewritten, Unpublished};
use recent::Recent;

/// How often the writer looks after store and disk when nobody sends anything.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a sync of a slow disk takes, in tests.
const SLOW_SYNC: Duration = Duration::from_millis(1_000);
/// The same while nothing is written.
const STALLED_PATIENCE: Duration = Duration::from_millis(100);

/// Starts the writer on the journal in `journal_dir`. It ends when every handle of the log is gone, having written
/// what waited.
///
/// # Errors
/// When the operating system gives no thread.
pub fn start(
    node: Arc<Node>,
    journal: Journal,
    journal_dir: PathBuf,
    intake: Box<dyn Intake>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let behind = Behind::start(Arc::clone(&node))?;
    let recent = Recent::load(&node.store, Timestamp::now()).unwrap_or_else(|_| Recent::unknown());
    let writer = Writer {
        node,
        last: journal.last(),
        journal: Some(journal),
        journal_dir,
        intake,
        behind: Some(behind),
        unpublished: Unpublished::default(),
        recent,
        group: 0,
        durable: 0,
        stall: None,
        store_failed: false,
        unmade: None,
        pause: mend::PAUSE,
        mended: None,
        is_low: false,
        missed: false,
    };
    thread::Builder::new().name("quip-writer".into()).spawn(move || writer.run())
}

struct Writer {
    node: Arc<Node>,
    /// `None` while it is opened again.
    journal: Option<Journal>,
    journal_dir: PathBuf,
    /// The last record that was acknowledged.
    last: Position,
    intake: Box<dyn Intake>,
    /// `None` while the store is opened again.
    behind: Option<Behind>,
    unpublished: Unpublished,
    recent: Recent,
    /// Counts groups that changed something.
    group: u64,
    /// The last of them that is durable.
    durable: u64,
    /// Why nothing is written now.
    stall: Option<Stall>,
    /// Whether the store is to be opened again before anything is written.
    store_failed: bool,
    /// Why the store could not be made again, when that was tried last.
    unmade: Option<String>,
    /// How long it is waited before what failed is opened again.
    pause: Duration,
    /// When writing last went on by itself.
    mended: Option<Instant>,
    /// Whether the disk has too little room.
    is_low: bool,
    /// Whether it was said that entries which have their place are not written: they are to be taken again.
    missed: bool,
}

type Results = Vec<(Waiter, Result<Outcome, Refusal>)>;

/// A group that was applied and is not durable yet.
#[derive(Default)]
struct Group {
    /// What gets its place here.
    entry: Entry,
    /// What has its place.
    placed: Vec<(Position, Bytes)>,
    /// How many commands that is.
    commands: usize,
    changes: Vec<Change>,
    /// For each event that amends a message, in order.
    amended: Vec<Rewritten>,
    results: Results,
}

impl Writer {
    fn run(mut self) {
        let _ends = EndsWithPanic(Arc::clone(&self.node));
        while let Some(taken) = self.intake.group(self.patience()) {
            self.note_stored();
            self.tend();
            self.hold();
            finish(self.take(taken));
            self.take_again();
        }
        self.end();
    }

    fn take(&mut self, taken: Taken) -> Results {
        match taken {
            Taken::Commands(submissions) if submissions.is_empty() => Results::new(),
            Taken::Commands(_) => self.commit(taken),
            Taken::Entries(entries) => self.follow(entries),
        }
    }

    /// Entries that have their place: those that come next. Where they are not written, it is said before anybody is told to try
    /// again.
    fn follow(&mut self, entries: Vec<Placed>) -> Results {
        let had_missed = self.missed;
        let results = self.write_next(entries);
        if self.missed && !had_missed {
            self.intake.missed();
        }
        results
    }

    fn write_next(&mut self, mut entries: Vec<Placed>) -> Results {
        let had = entries.iter().take_while(|placed| placed.position.offset <= self.last.offset).count();
        // Only what was on its way when the log was asked for them again.
        let mut results = refuse_all(Taken::Entries(entries.drain(..had).collect()), &degraded());
        let next = (self.last.offset + 1)..;
        let fitting =
            entries.iter().zip(next).take_while(|(placed, next)| placed.position.offset == *next).count();
        let beyond = entries.split_off(fitting);
        self.missed |= !beyond.is_empty();
        if let Some(last) = entries.last().map(|placed| placed.position) {
            results.extend(self.commit(Taken::Entries(entries)));
            self.missed |= self.last != last;
        }
        results.extend(refuse_all(Taken::Entries(beyond), &degraded()));
        results
    }

    /// Says that nothing is written as soon as that is known: by the next entry it would be one too late.
    fn hold(&mut self) {
        if !self.missed && (self.stall.is_some() || self.is_low) {
            self.missed = true;
            self.intake.missed();
        }
    }

    /// Asks for the entries that were not written, when they can be.
    fn take_again(&mut self) {
        if self.missed && self.stall.is_none() && !self.is_low {
            self.missed = false;
            self.intake.rewind(self.last);
        }
    }

    fn patience(&self) -> Duration {
        if self.stall.is_some() { STALLED_PATIENCE } else { PATIENCE }
    }

    /// What the store has need not be held here.
    fn note_stored(&mut self) {
        let Some(behind) = &self.behind else { return };
        let ids = behind.stored_ids();
        if !ids.is_empty() {
            let now = Timestamp::now();
            ids.iter().for_each(|id| self.recent.stored(*id, now));
            self.unpublished.stored(ids);
        }
    }

    fn commit(&mut self, taken: Taken) -> Results {
        if self.stall.is_some() {
            return refuse_all(taken, &degraded());
        }
        if let Err(refusal) = self.note_room() {
            return refuse_all(taken, &refusal);
        }
        let looked_up = match self.look_up(&taken) {
            Ok(looked_up) => looked_up,
            Err(unreadable) => {
                self.stall(&unreadable.to_string(), Cure::Store);
                return refuse_all(taken, &degraded());
            }
        };
        let mut group = match self.apply(taken, &looked_up) {
            Ok(group) => group,
            Err(failed) => {
                let (group, unreadable) = *failed;
                return self.fail(group, &unreadable.to_string(), Cure::Store);
            }
        };
        let placed = std::mem::take(&mut group.placed);
        match (placed.is_empty(), group.changes.is_empty()) {
            (false, _) => self.write(group, &placed),
            (true, true) => group.results,
            (true, false) => {
                let record = (self.last.next(), group.entry.to_bytes());
                self.write(group, &[record])
            }
        }
    }

    /// Makes a group durable, then publishes it, then answers.
    fn write<P: AsRef<[u8]>>(&mut self, mut group: Group, records: &[(Position, P)]) -> Results {
        let begun = Instant::now();
        Fault::SlowDisk.linger(&self.node, SLOW_SYNC);
        let journal = self.journal.as_mut().expect("nothing is committed while the journal is opened again");
        if let Err(e) = journal.append_all(records) {
            return self.fail(group, &e.to_string(), Cure::of(&e));
        }
        let position = journal.last();
        self.last = position;
        self.node.metrics.journaled(group.commands, begun.elapsed());
        let grown = self.publish(&group);
        self.node.durable.advance(self.group);
        self.durable = self.group;
        self.intake.durable(position);
        // Who sent it hears that before the many who watch are woken, and these once for all of the group.
        finish(std::mem::take(&mut group.results));
        grown.values().for_each(|grown| self.node.feeds.wake(grown));
        if let Some(behind) = &self.behind {
            behind.send(Applied { position, changes: group.changes });
        }
        Results::new()
    }

    /// Asks the store about the ids that it may have, while the engine can still be read by everyone.
    fn look_up(&self, taken: &Taken) -> Result<LookedUp, Unreadable> {
        let mut looked_up = LookedUp::new();
        let mut look = |command: &Command| -> Result<(), Unreadable> {
            let Some(id) = command.id() else { return Ok(()) };
            if self.unpublished.has_id(id) || looked_up.contains_key(&id) {
                return Ok(());
            }
            let found = match self.recent.is_new(id) {
                true => None,
                false => self.node.store.receipt(id).map_err(|e| Unreadable(e.to_string()))?,
            };
            looked_up.insert(id, found);
            Ok(())
        };
        match taken {
            Taken::Commands(submissions) => submissions.iter().try_for_each(|s| look(&s.command))?,
            Taken::Entries(entries) => {
                entries.iter().flat_map(|placed| &placed.entry.commands).try_for_each(look)?;
            }
        }
        Ok(looked_up)
    }

    /// Applies every command of the group. A query that sees the result waits until the group is durable.
    fn apply(&mut self, taken: Taken, looked_up: &LookedUp) -> Result<Group, Box<(Group, Unreadable)>> {
        let node = Arc::clone(&self.node);
        let mut engine = node.engine.write();
        let before = (self.group, node.applied.load(Ordering::Acquire));
        // First, so that nobody is told what a panic leaves half done.
        self.group += 1;
        node.applied.store(self.group, Ordering::Release);
        let mut group = Group::default();
        let applied = match taken {
            Taken::Commands(submissions) => {
                self.apply_commands(&mut engine, submissions, looked_up, &mut group)
            }
            Taken::Entries(entries) => self.apply_entries(&mut engine, entries, looked_up, &mut group),
        };
        Fault::WriterPanics.strike(&node, || panic!("injected: the writer panics"));
        if group.changes.is_empty() {
            self.group = before.0;
            node.applied.store(before.1, Ordering::Release);
        }
        match applied {
            Ok(()) => Ok(group),
            Err(unreadable) => Err(Box::new((group, unreadable))),
        }
    }

    /// Commands that get their place here: those that change something.
    fn apply_commands(
        &mut self,
        engine: &mut Engine,
        submissions: Vec<Submission>,
        looked_up: &LookedUp,
        group: &mut Group,
    ) -> Result<(), Unreadable> {
        let terms = Terms { epoch: self.last.epoch, rules: group.entry.rules };
        let mut submissions = submissions.into_iter();
        while let Some(Submission { command, waiter }) = submissions.next() {
            let before = group.changes.len();
            match self.apply_one(engine, terms, &command, looked_up, group) {
                Ok(result) => group.results.push((waiter, result)),
                Err(unreadable) => {
                    let rest = std::iter::once(waiter).chain(submissions.map(|s| s.waiter));
                    group.results.extend(rest.map(|waiter| (waiter, Err(degraded()))));
                    return Err(unreadable);
                }
            }
            // A command that changed nothing (a repeated one) needs no place in the log.
            if group.changes.len() > before {
                group.entry.commands.push(command);
                group.commands += 1;
            }
        }
        Ok(())
    }

    /// Entries that have their place, and keep it whatever their commands come to.
    fn apply_entries(
        &mut self,
        engine: &mut Engine,
        entries: Vec<Placed>,
        looked_up: &LookedUp,
        group: &mut Group,
    ) -> Result<(), Unreadable> {
        let mut entries = entries.into_iter();
        while let Some(Placed { position, payload, entry, waiters }) = entries.next() {
            let terms = Terms { epoch: position.epoch, rules: entry.rules };
            let mut waiters = waiters.into_iter();
            for command in &entry.commands {
                let waiter = waiters.next();
                let result = self.apply_one(engine, terms, command, looked_up, group);
                match result.and_then(|result| as_decided(&entry, position, result)) {
                    Ok(result) => group.results.extend(waiter.map(|waiter| (waiter, result))),
                    Err(unreadable) => {
                        let others = entries.flat_map(|placed| placed.waiters);
                        let rest = waiter.into_iter().chain(waiters).chain(others);
                        group.results.extend(rest.map(|waiter| (waiter, Err(degraded()))));
                        return Err(unreadable);
                    }
                }
            }
            group.commands += entry.commands.len();
            group.placed.push((position, payload));
        }
        Ok(())
    }

    /// What one command comes to.
    fn apply_one(
        &mut self,
        engine: &mut Engine,
        terms: Terms,
        command: &Command,
        looked_up: &LookedUp,
        group: &mut Group,
    ) -> Result<Result<Outcome, Refusal>, Unreadable> {
        let before = group.changes.len();
        let applied =
            AppliedPast { unpublished: &self.unpublished, feeds: &self.node.feeds, store: &self.node.store };
        let past = Prepared { applied, looked_up };
        match engine.apply(&past, terms, command, &mut group.changes) {
            Ok(outcome) => {
                let changes = &group.changes[before..];
                let amended = self.unpublished.note(&self.node.feeds, &self.node.store, changes)?;
                group.amended.extend(amended);
                Ok(Ok(outcome))
            }
            Err(NotApplied::Refused(refusal)) => Ok(Err(refusal)),
            Err(NotApplied::Unreadable(unreadable)) => Err(unreadable),
        }
    }

    /// Makes readable what is durable: in the order of the log, so that a right that ends, ends before what came after it
    /// is there. The logs that have grown by it.
    fn publish(&mut self, group: &Group) -> FxHashMap<FeedKey, Grown> {
        let mut all = FxHashMap::default();
        let mut amended = group.amended.iter().cloned();
        for (at, change) in group.changes.iter().enumerate() {
            match change {
                Change::Event(recorded) => {
                    let event = &recorded.event;
                    let amended = event.body.amends().and_then(|_| amended.next()).unwrap_or_default();
                    let (key, frame) = (FeedKey::Room(event.room), recorded.frame.clone());
                    all.insert(key, self.node.feeds.append(key, event.seq, frame, amended));
                }
                Change::Notice(recorded) => {
                    let key = FeedKey::Inbox(recorded.account);
                    let (seq, frame) = (recorded.notice.seq, recorded.frame.clone());
                    all.insert(key, self.node.feeds.append(key, seq, frame, Vec::new()));
                }
                Change::MemberGone(room, account) => self.end_watch(*room, *account, &group.changes[..at]),
                Change::Member(member) if matches!(member.standing, Standing::Removed(_)) => {
                    self.end_watch(member.room, member.account, &group.changes[..at]);
                }
                Change::Device(device) if device.revoked => self.node.sessions.revoke_device(&device.key),
                Change::Account(account) if account.suspended => self.end_sessions(account.id),
                _ => {}
            }
        }
        self.unpublished.published();
        all
    }

    /// Whoever is suspended is disconnected, and so are their bots.
    fn end_sessions(&self, account: AccountId) {
        let bots: Vec<AccountId> = self.node.engine.read().bots(account).collect();
        for account in bots.into_iter().chain([account]) {
            self.node.sessions.revoke_account(account);
        }
    }

    /// A member who left or was removed sees nothing behind the event that says so, which is the last of its room
    /// before this change.
    fn end_watch(&self, room: RoomId, account: AccountId, before: &[Change]) {
        let last = before.iter().rev().find_map(|change| match change {
            Change::Event(recorded) if recorded.event.room == room => Some(recorded.event.seq),
            _ => None,
        });
        if let Some(last) = last {
            self.node.sessions.end_watches(account, FeedKey::Room(room), last);
        }
    }
}

/// A refusal is a result of its own where entries are undecided; where not, the command was accepted by who wrote it.
fn as_decided(
    entry: &Entry,
    position: Position,
    result: Result<Outcome, Refusal>,
) -> Result<Result<Outcome, Refusal>, Unreadable> {
    match result {
        Err(refusal) if entry.batch.is_none() => {
            Err(Unreadable(format!("entry {position} was accepted, and is refused now: {refusal}")))
        }
        result => Ok(result),
    }
}

fn finish(results: Results) {
    for (waiter, result) in results {
        waiter.finish(result);
    }
}

fn refuse_all(taken: Taken, refusal: &Refusal) -> Results {
    let refused = |waiter| (waiter, Err(refusal.clone()));
    match taken {
        Taken::Commands(submissions) => submissions.into_iter().map(|s| refused(s.waiter)).collect(),
        Taken::Entries(entries) => {
            entries.into_iter().flat_map(|placed| placed.waiters).map(refused).collect()
        }
    }
}

fn degraded() -> Refusal {
    Refusal::retry(
        ErrorCode::Degraded,
        "the server cannot write now; it keeps serving what it has; try again later",
        5_000,
    )
}
