//! The log of a single node: a queue in front of the journal, bounded in bytes. Taking everything that waits is what
//! makes groups bigger the busier the node is. When the disk cannot follow, senders are told when to come again, instead
//! of what they send being held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use quip_protocol::Position;

use super::{NotTaken, Submission, Taken};

/// What waits together, by [`crate::engine::Command::weight`], in bytes: some 28,000 short messages. With the group that is being
/// written that is all the log holds.
pub const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// When to come again at the soonest, and at the latest, in milliseconds.
const COME_AGAIN_MS: std::ops::RangeInclusive<u64> = 50..=5_000;
/// From so many bytes on, a group tells how fast the writer is.
const TELLING: usize = 256 * 1024;
/// Most commands in one group: bounds the time a group takes, and so the latency of everyone in it.
const GROUP: usize = 4 * 1024;
/// About the most bytes in one group, whatever its first command has: a journal record has a limit, and a group that
/// were larger would stop all writing.
const GROUP_BYTES: usize = 16 * 1024 * 1024;

/// About the most changes in one group, whatever its first command makes: a room with 10,000 members is 30,000 of them,
/// and nobody waits for two.
const GROUP_CHANGES: usize = 16 * 1024;

/// Where sessions put commands.
#[derive(Debug, Clone)]
pub struct LocalLog {
    /// Bounded by `room`.
    queue: mpsc::UnboundedSender<Submission>,
    room: Arc<Room>,
}

/// What both ends know of how full the queue is.
#[derive(Debug)]
struct Room {
    /// Bytes that are free.
    bytes: Semaphore,
    /// How long half of a full queue takes the writer, as it was lately, in milliseconds.
    half_takes_ms: AtomicU32,
}

/// Where the writer takes them.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::UnboundedReceiver<Submission>,
    room: Arc<Room>,
    /// Taken from the queue, and behind the group before.
    taken: Vec<Submission>,
    /// When the writer was given a group, and of how many bytes.
    given: Option<(Instant, usize)>,
}

impl LocalLog {
    /// Both ends.
    pub fn new() -> (LocalLog, Intake) {
        LocalLog::holding(WAITING_BYTES)
    }

    /// Both ends, between which so many bytes may wait.
    fn holding(bytes: usize) -> (LocalLog, Intake) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Room { bytes: Semaphore::new(bytes), half_takes_ms: AtomicU32::new(1_000) });
        let intake = Intake { queue: receiver, room: Arc::clone(&room), taken: Vec::new(), given: None };
        (LocalLog { queue: sender, room }, intake)
    }

    /// Appends a command, unless the log is full.
    ///
    /// # Errors
    /// When it is, or the writer has stopped.
    pub fn offer(&self, submission: Submission) -> Result<(), NotTaken> {
        match self.room.bytes.try_acquire_many(weight(&submission)) {
            Ok(permit) => permit.forget(),
            Err(_) => return Err(NotTaken::Full { retry_after_ms: self.room.come_again_ms() }),
        }
        self.queue.send(submission).map_err(|_| NotTaken::Stopped)
    }

    /// Appends a command that is rare; waits while the log is full.
    ///
    /// # Errors
    /// When the writer has stopped.
    pub async fn append(&self, submission: Submission) -> Result<(), NotTaken> {
        // It is never closed.
        if let Ok(permit) = self.room.bytes.acquire_many(weight(&submission)).await {
            permit.forget();
        }
        self.queue.send(submission).map_err(|_| NotTaken::Stopped)
    }
}

/// One is never too large to be alone.
fn weight(submission: &Submission) -> u32 {
    u32::try_from(submission.command.weight().min(GROUP_BYTES)).unwrap_or(u32::MAX)
}

impl Room {
    fn come_again_ms(&self) -> u32 {
        self.half_takes_ms.load(Ordering::Relaxed)
    }

    /// The writer took so long for so many bytes.
    fn note(&self, took: Duration, bytes: usize) {
        // What a small group takes is the disk's latency, not its rate.
        if bytes < TELLING {
            return;
        }
        let half = (WAITING_BYTES / 2) as u128 * took.as_millis() / bytes.max(1) as u128;
        let half =
            u64::try_from(half).unwrap_or(u64::MAX).clamp(*COME_AGAIN_MS.start(), *COME_AGAIN_MS.end());
        self.half_takes_ms.store(u32::try_from(half).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl Intake {
    /// Everything that waits and fits, in order; blocks until there is something, for so long. Nothing if there was
    /// nothing; `None` when no sender is left.
    pub fn submissions(&mut self, patience: Duration) -> Option<Vec<Submission>> {
        // Asked for the next group, the writer is done with the one before.
        self.done();
        let until = Instant::now() + patience;
        if self.taken.is_empty() && !take_waiting(&mut self.queue, &mut self.taken, until) {
            return None;
        }
        let mut bounds = Bounds::default();
        let fits =
            |submission: &&Submission| bounds.fits(submission.command.weight(), submission.command.changes());
        let fitting = self.taken.iter().take_while(fits).count().max(1);
        let rest = self.taken.split_off(fitting.min(self.taken.len()));
        let group = std::mem::replace(&mut self.taken, rest);
        let bytes = group.iter().map(|submission| weight(submission) as usize).sum();
        self.room.bytes.add_permits(bytes);
        if bytes > 0 {
            self.given = Some((Instant::now(), bytes));
        }
        Some(group)
    }

    /// The group that was given is written, or has its place: how long that took says when to come again.
    pub(super) fn done(&mut self) {
        if let Some((at, bytes)) = self.given.take() {
            self.room.note(at.elapsed(), bytes);
        }
    }

    /// Waits until there is something to take; for whoever has a runtime. Says whether there is still a sender. Can be given up
    /// and awaited again.
    pub(super) async fn ready(&mut self) -> bool {
        !self.taken.is_empty() || self.queue.recv_many(&mut self.taken, GROUP).await > 0
    }
}

/// How much goes into one group.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    bytes: usize,
    changes: usize,
}

impl Bounds {
    /// Whether one more still does. The first one goes alone if it must.
    pub(super) fn fits(&mut self, bytes: usize, changes: usize) -> bool {
        self.bytes += bytes;
        self.changes += changes;
        self.bytes <= GROUP_BYTES && self.changes <= GROUP_CHANGES
    }
}

/// Takes what comes until then. Says whether there is still a sender. Needs no runtime: the writer is a thread that
/// outlives it.
pub(super) fn take_waiting<T>(
    queue: &mut mpsc::UnboundedReceiver<T>,
    taken: &mut Vec<T>,
    until: Instant,
) -> bool {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match queue.poll_recv_many(&mut cx, taken, GROUP) {
            Poll::Ready(taken) => return taken > 0,
            Poll::Pending => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::park_timeout(left);
    }
}

impl super::Intake for Intake {
    fn group(&mut self, patience: Duration) -> Option<Taken> {
        self.submissions(patience).map(Taken::Commands)
    }

    /// Nobody else has to know.
    fn durable(&mut self, _: Position) {}

    /// What was not written was refused, and is not given again.
    fn rewind(&mut self, _: Position) {}

    /// The writer refuses what comes.
    fn missed(&mut self) {}
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::{DeviceKey, MessageId, MessageKind, SafeText, Timestamp};

    use super::*;
    use crate::engine::{Actor, Command, CommandBody};
    use crate::log::Waiter;

    fn submission(text: usize) -> Submission {
        let body = CommandBody::Post {
            target: "#general".parse().expect("a room"),
            id: MessageId::from_bytes([1; 16]),
            kind: MessageKind::Plain,
            text: SafeText::new(&"x".repeat(text)),
            reply_to: None,
        };
        let command = Command { at: Timestamp(1), by: Actor::Device(DeviceKey([1; 32])), body };
        Submission { command, waiter: Waiter { label: 0, results: futures_channel::mpsc::unbounded().0 } }
    }

    #[test]
    fn what_is_too_much_is_told_when_to_come_again_and_taken_when_there_is_room() {
        let one = weight(&submission(1_000)) as usize;
        let (log, mut intake) = LocalLog::holding(3 * one);
        for _ in 0..3 {
            assert_eq!(log.offer(submission(1_000)), Ok(()));
        }
        assert!(matches!(log.offer(submission(0)), Err(NotTaken::Full { .. })));
        assert_eq!(intake.submissions(Duration::ZERO).map(|group| group.len()), Some(3));
        assert_eq!(log.offer(submission(1_000)), Ok(()));
        drop(intake);
        assert_eq!(log.offer(submission(1_000)), Err(NotTaken::Stopped));
    }

    #[test]
    fn when_to_come_again_follows_from_how_long_the_writer_takes() {
        let (log, _intake) = LocalLog::new();
        let half = WAITING_BYTES / 2;
        let table =
            [(0, half, 50), (400, half, 400), (400, half / 4, 1_600), (60_000, half, 5_000), (9, 0, 5_000)];
        for (took, bytes, expected) in table {
            log.room.note(Duration::from_millis(took), bytes);
            assert_eq!(log.room.come_again_ms(), expected, "{took} ms for {bytes}");
        }
    }
}
