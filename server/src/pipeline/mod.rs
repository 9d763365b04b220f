//! The one writer: log → engine → journal → feeds, with the store behind it.
//!
//! The writer is a thread. It takes everything that waits in the log as one group, applies it, writes what changed
//! something with one write and one fdatasync, and only then publishes and answers. Whoever reads the engine's
//! state meanwhile waits for [`durable::Durable`] before it tells anyone.

pub mod behind;
pub mod durable;
pub mod open;
pub mod past;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use quip_protocol::codec::encode;
use quip_protocol::{AccountId, ErrorCode, Refusal, RoomId};
use quip_storage::journal::Journal;
use quip_storage::record::{Applied, Change, Standing};
use tracing::error;

use crate::engine::{Engine, Entry, NotApplied, Outcome, Unreadable};
use crate::feed::FeedKey;
use crate::log::{Intake, Submission, Waiter};
use crate::node::Node;

use behind::Behind;
use past::{Applied as AppliedPast, Rewritten, Unpublished};

/// Starts the writer. It ends when every handle of the log is gone, having written what waited.
///
/// # Errors
/// When the operating system gives no thread.
pub fn start(node: Arc<Node>, journal: Journal, intake: Intake) -> std::io::Result<thread::JoinHandle<()>> {
    let behind = Behind::start(Arc::clone(&node))?;
    let writer = Writer {
        node,
        journal,
        intake,
        behind: Some(behind),
        unpublished: Unpublished::default(),
        group: 0,
        durable: 0,
        failed: None,
    };
    thread::Builder::new().name("quip-writer".into()).spawn(move || writer.run())
}

struct Writer {
    node: Arc<Node>,
    journal: Journal,
    intake: Intake,
    /// `None` once writing has failed.
    behind: Option<Behind>,
    unpublished: Unpublished,
    /// Counts groups that changed something.
    group: u64,
    /// The last of them that is durable.
    durable: u64,
    /// Why nothing is written any more.
    failed: Option<Refusal>,
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
        while let Some(submissions) = self.intake.group() {
            if let Some(behind) = &self.behind {
                self.unpublished.stored(behind.stored_ids());
            }
            if self.failed.is_none() && !self.node.durable.is_writable() {
                // The store broke: what it does not take would have to be held in memory for ever.
                self.failed = Some(degraded());
            }
            let group = match &self.failed {
                Some(refusal) => refuse_all(submissions, refusal),
                None => self.commit(submissions),
            };
            for (waiter, result) in group {
                waiter.finish(result);
            }
        }
        if let Some(behind) = self.behind {
            behind.finish();
        }
    }

    fn commit(&mut self, submissions: Vec<Submission>) -> Vec<(Waiter, Result<Outcome, Refusal>)> {
        if let Err(refusal) = self.node.room_on_disk() {
            return refuse_all(submissions, &refusal);
        }
        let group = match self.apply(submissions) {
            Ok(group) => group,
            Err((group, unreadable)) => return self.fail(group, &unreadable.to_string()),
        };
        if !group.changes.is_empty() {
            let begun = Instant::now();
            let position = self.journal.last().next();
            if let Err(e) = self.journal.append(position, &encode(&group.entry)) {
                return self.fail(group, &e.to_string());
            }
            self.node.metrics.journaled(group.entry.commands.len(), begun.elapsed());
            self.publish(&group);
            self.node.durable.advance(self.group);
            self.durable = self.group;
            if let Some(behind) = &self.behind {
                behind.send(Applied { position, changes: group.changes });
            }
        }
        group.results
    }

    /// Applies every command of the group. A query that sees the result waits until the group is durable.
    fn apply(&mut self, submissions: Vec<Submission>) -> Result<Group, (Group, Unreadable)> {
        let node = Arc::clone(&self.node);
        let mut engine = node.engine.write();
        let mut group = Group::default();
        let mut failed = None;
        let mut submissions = submissions.into_iter();
        while let Some(submission) = submissions.next() {
            if let Err((waiter, unreadable)) = self.apply_one(&mut engine, submission, &mut group) {
                let rest = std::iter::once(waiter).chain(submissions.by_ref().map(|s| s.waiter));
                group.results.extend(rest.map(|waiter| (waiter, Err(degraded()))));
                failed = Some(unreadable);
            }
        }
        if !group.changes.is_empty() {
            self.group += 1;
            node.applied.store(self.group, Ordering::Release);
        }
        match failed {
            None => Ok(group),
            Some(unreadable) => Err((group, unreadable)),
        }
    }

    fn apply_one(
        &mut self,
        engine: &mut Engine,
        submission: Submission,
        group: &mut Group,
    ) -> Result<(), (Waiter, Unreadable)> {
        let Submission { command, waiter } = submission;
        let before = group.changes.len();
        let past =
            AppliedPast { unpublished: &self.unpublished, feeds: &self.node.feeds, store: &self.node.store };
        match engine.apply(&past, &command, &mut group.changes) {
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

    /// What is durable is shown: in the order of the log, so that a right that ends, ends before what came after it
    /// is published.
    fn publish(&mut self, group: &Group) {
        let mut amended = group.amended.iter().cloned();
        for (at, change) in group.changes.iter().enumerate() {
            match change {
                Change::Event(recorded) => {
                    let event = &recorded.event;
                    let amended = event.body.amends().and_then(|_| amended.next()).unwrap_or_default();
                    self.node.feeds.publish(
                        FeedKey::Room(event.room),
                        event.seq,
                        recorded.frame.clone(),
                        amended,
                    );
                }
                Change::Notice(recorded) => {
                    let key = FeedKey::Inbox(recorded.account);
                    self.node.feeds.publish(key, recorded.notice.seq, recorded.frame.clone(), Vec::new());
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
            self.node.feeds.end(FeedKey::Room(room), account, last);
        }
    }

    /// Stops writing: what was applied is not durable, so nobody is told that it is.
    fn fail(&mut self, group: Group, why: &str) -> Vec<(Waiter, Result<Outcome, Refusal>)> {
        error!(why, "writing stopped: restart quipd when the disk is well again; reading goes on");
        self.failed = Some(degraded());
        self.node.durable.fail();
        self.take_back();
        group.results.into_iter().map(|(waiter, _)| (waiter, Err(degraded()))).collect()
    }

    /// Puts the engine back to where it was before the group that is not durable, so that reading goes on: to what
    /// the store has, once it has everything that is durable. If it cannot have that, nothing is told any more.
    fn take_back(&mut self) {
        if let Some(behind) = self.behind.take() {
            behind.finish();
        }
        if self.node.store.applied() != self.journal.last() {
            return error!(
                "the store is not as new as the journal: reading is refused too until quipd is restarted"
            );
        }
        match self.node.store.load() {
            Ok(snapshot) => {
                let mut engine = self.node.engine.write();
                *engine = Engine::from_snapshot(snapshot);
                self.group = self.durable;
                self.node.applied.store(self.group, Ordering::Release);
            }
            Err(e) => {
                error!(error = %e, "the store cannot be read: reading is refused too until quipd is restarted")
            }
        }
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
