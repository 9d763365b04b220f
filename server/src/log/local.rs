//! The log of a single node: a bounded queue in front of the journal. Taking everything that waits is what makes
//! groups bigger the busier the node is.

use tokio::sync::mpsc;

use super::Submission;

/// Commands that may wait before senders do.
const WAITING: usize = 16 * 1024;
/// Most commands in one group: bounds the time a group takes, and so the latency of everyone in it.
const GROUP: usize = 4 * 1024;

/// Where sessions put commands.
#[derive(Debug, Clone)]
pub struct LocalLog {
    queue: mpsc::Sender<Submission>,
}

/// Where the writer takes them.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::Receiver<Submission>,
}

impl LocalLog {
    /// Both ends.
    pub fn new() -> (LocalLog, Intake) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (LocalLog { queue: sender }, Intake { queue: receiver })
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
    /// Everything that waits, in order; blocks until there is something. `None` when no sender is left.
    pub fn group(&mut self) -> Option<Vec<Submission>> {
        let mut group = Vec::new();
        if self.queue.blocking_recv_many(&mut group, GROUP) == 0 { None } else { Some(group) }
    }

    /// Takes no more; what waits can still be taken.
    pub fn close(&mut self) {
        self.queue.close();
    }
}
