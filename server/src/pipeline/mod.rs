//! The one writer: log → engine → journal → feeds, with the store behind it.
//!
//! The writer is a thread. It takes everything that waits in the log as one group, applies it, writes what changed
//! something with one write and one fdatasync, and only then publishes and answers. Whoever reads the engine's
//! state meanwhile waits for [`durable::Durable`] before it tells anyone.

pub mod behind;
pub mod durable;
mod epoch;
pub mod fault;
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

use quip_protocol::{AccountId, ErrorCode, Position, Refusal, RoomId, Timestamp};
use quip_storage::journal::Journal;
use quip_storage::record::{Applied, Change, Standing};
use rustc_hash::FxHashMap;

use crate::engine::{Engine, Entry, NotApplied, Outcome, Terms, Unreadable};
use crate::feed::{FeedKey, Grown};
use crate::log::{LocalIntake as Intake, Submission, Waiter};
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
    intake: Intake,
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
    intake: Intake,
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
}

/// A group that was applied and is not durable yet.
#[derive(Default)]
struct Group {
    entry: Entry,
    changes: Vec<Change>,
    /// For each event that amends a message, in order.
    amended: Vec<Rewritten>,
    results: Vec<(Waiter, Result<Outcome, Refusal>)>,
}

impl Writer {
    fn run(mut self) {
        let _ends = EndsWithPanic(Arc::clone(&self.node));
        while let Some(submissions) = self.intake.group(self.patience()) {
            self.note_stored();
            self.tend();
            let results = match (&self.stall, submissions.is_empty()) {
                (_, true) => continue,
                (Some(_), false) => refuse_all(submissions, &degraded()),
                (None, false) => self.commit(submissions),
            };
            finish(results);
        }
        self.end();
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

    fn commit(&mut self, submissions: Vec<Submission>) -> Vec<(Waiter, Result<Outcome, Refusal>)> {
        if let Err(refusal) = self.node.room_on_disk() {
            return refuse_all(submissions, &refusal);
        }
        let looked_up = match self.look_up(&submissions) {
            Ok(looked_up) => looked_up,
            Err(unreadable) => {
                self.stall(&unreadable.to_string(), Cure::Store);
                return refuse_all(submissions, &degraded());
            }
        };
        let mut group = match self.apply(submissions, &looked_up) {
            Ok(group) => group,
            Err(failed) => {
                let (group, unreadable) = *failed;
                return self.fail(group, &unreadable.to_string(), Cure::Store);
            }
        };
        if !group.changes.is_empty() {
            let begun = Instant::now();
            Fault::SlowDisk.linger(&self.node, SLOW_SYNC);
            let position = self.last.next();
            let journal =
                self.journal.as_mut().expect("nothing is committed while the journal is opened again");
            if let Err(e) = journal.append(position, &group.entry.to_bytes()) {
                return self.fail(group, &e.to_string(), Cure::of(&e));
            }
            self.last = position;
            self.node.metrics.journaled(group.entry.commands.len(), begun.elapsed());
            let grown = self.publish(&group);
            self.node.durable.advance(self.group);
            self.durable = self.group;
            // Who sent it hears that before the many who watch are woken, and these once for all of the group.
            finish(std::mem::take(&mut group.results));
            grown.values().for_each(|grown| self.node.feeds.wake(grown));
            if let Some(behind) = &self.behind {
                behind.send(Applied { position, changes: std::mem::take(&mut group.changes) });
            }
        }
        group.results
    }

    /// Asks the store about the ids that it may have, while the engine can still be read by everyone.
    fn look_up(&self, submissions: &[Submission]) -> Result<LookedUp, Unreadable> {
        let mut looked_up = LookedUp::new();
        for id in submissions.iter().filter_map(|submission| submission.command.id()) {
            if self.unpublished.has_id(id) || looked_up.contains_key(&id) {
                continue;
            }
            let found = match self.recent.is_new(id) {
                true => None,
                false => self.node.store.receipt(id).map_err(|e| Unreadable(e.to_string()))?,
            };
            looked_up.insert(id, found);
        }
        Ok(looked_up)
    }

    /// Applies every command of the group. A query that sees the result waits until the group is durable.
    fn apply(
        &mut self,
        submissions: Vec<Submission>,
        looked_up: &LookedUp,
    ) -> Result<Group, Box<(Group, Unreadable)>> {
        let node = Arc::clone(&self.node);
        let mut engine = node.engine.write();
        let before = (self.group, node.applied.load(Ordering::Acquire));
        // First, so that nobody is told what a panic leaves half done.
        self.group += 1;
        node.applied.store(self.group, Ordering::Release);
        let mut group = Group::default();
        let mut failed = None;
        let mut submissions = submissions.into_iter();
        while let Some(submission) = submissions.next() {
            if let Err((waiter, unreadable)) = self.apply_one(&mut engine, submission, looked_up, &mut group)
            {
                let rest = std::iter::once(waiter).chain(submissions.by_ref().map(|s| s.waiter));
                group.results.extend(rest.map(|waiter| (waiter, Err(degraded()))));
                failed = Some(unreadable);
            }
        }
        Fault::WriterPanics.strike(&node, || panic!("injected: the writer panics"));
        if group.changes.is_empty() {
            self.group = before.0;
            node.applied.store(before.1, Ordering::Release);
        }
        match failed {
            None => Ok(group),
            Some(unreadable) => Err(Box::new((group, unreadable))),
        }
    }

    fn apply_one(
        &mut self,
        engine: &mut Engine,
        submission: Submission,
        looked_up: &LookedUp,
        group: &mut Group,
    ) -> Result<(), (Waiter, Unreadable)> {
        let Submission { command, waiter } = submission;
        let before = group.changes.len();
        let applied =
            AppliedPast { unpublished: &self.unpublished, feeds: &self.node.feeds, store: &self.node.store };
        let terms = Terms { epoch: self.last.epoch, rules: group.entry.rules };
        let past = Prepared { applied, looked_up };
        match engine.apply(&past, terms, &command, &mut group.changes) {
            Ok(outcome) => {
                let changes = &group.changes[before..];
                match self.unpublished.note(&self.node.feeds, &self.node.store, changes) {
                    Ok(amended) => group.amended.extend(amended),
                    Err(unreadable) => return Err((waiter, unreadable)),
                }
                // A command that changed nothing (a repeated one) needs no place in the log.
                if !changes.is_empty() {
                    group.entry.commands.push(command);
                }
                group.results.push((waiter, Ok(outcome)));
                Ok(())
            }
            Err(NotApplied::Refused(refusal)) => {
                group.results.push((waiter, Err(refusal)));
                Ok(())
            }
            Err(NotApplied::Unreadable(unreadable)) => Err((waiter, unreadable)),
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

fn finish(results: Vec<(Waiter, Result<Outcome, Refusal>)>) {
    for (waiter, result) in results {
        waiter.finish(result);
    }
}

fn refuse_all(submissions: Vec<Submission>, refusal: &Refusal) -> Vec<(Waiter, Result<Outcome, Refusal>)> {
    submissions.into_iter().map(|submission| (submission.waiter, Err(refusal.clone()))).collect()
}

fn degraded() -> Refusal {
    Refusal::retry(
        ErrorCode::Degraded,
        "the server cannot write now; it keeps serving what it has; try again later",
        5_000,
    )
}
