//! The log of a single node: a bounded queue in front of the journal. Taking everything that waits is what makes
//! groups bigger the busier the node is.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Submission;

/// Commands that may wait before senders do.
const WAITING: usize = 16 * 1024;
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
    queue: mpsc::Sender<Submission>,
}

/// Where the writer takes them.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::Receiver<Submission>,
    /// Taken from the queue, and behind the group before.
    taken: Vec<Submission>,
}

impl LocalLog {
    /// Both ends.
    pub fn new() -> (LocalLog, Intake) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (LocalLog { queue: sender }, Intake { queue: receiver, taken: Vec::new() })
    }

    /// Appends a command; waits while the log is full. Gives it back if the writer has stopped.
    ///
    /// # Errors
    /// The submission, when the writer has stopped.
    pub async fn append(&self, submission: Submission) -> Result<(), Submission> {
        self.queue.send(submission).await.map_err(|refused| refused.0)
    }
}

impl Intake {
    /// Everything that waits and fits, in order; blocks until there is something, for so long. Nothing if there was
    /// nothing; `None` when no sender is left.
    pub fn group(&mut self, patience: Duration) -> Option<Vec<Submission>> {
        if self.taken.is_empty() && !self.wait(Instant::now() + patience) {
            return None;
        }
        let (mut bytes, mut changes) = (0, 0);
        let fits = |submission: &&Submission| {
            bytes += submission.command.weight();
            changes += submission.command.changes();
            bytes <= GROUP_BYTES && changes <= GROUP_CHANGES
        };
        let fitting = self.taken.iter().take_while(fits).count().max(1);
        let rest = self.taken.split_off(fitting.min(self.taken.len()));
        Some(std::mem::replace(&mut self.taken, rest))
    }

    /// Takes what comes until then. Says whether there is still a sender. Needs no runtime: the writer is a thread
    /// that outlives it.
    fn wait(&mut self, until: Instant) -> bool {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            match self.queue.poll_recv_many(&mut cx, &mut self.taken, GROUP) {
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
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
