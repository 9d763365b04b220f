//! Where sessions of a node of a cluster put commands: the same queue as a single node's, which the driver of the shared log
//! empties into batches.

use super::{LocalLog, NotTaken, Submission};

/// The handle that sessions have.
#[derive(Debug, Clone)]
pub struct SharedLog {
    /// Bounded in bytes.
    pub queue: LocalLog,
}

impl SharedLog {
    /// Appends a command, unless as much waits as may.
    ///
    /// # Errors
    /// When it does, or the driver has stopped.
    pub fn offer(&self, submission: Submission) -> Result<(), NotTaken> {
        self.queue.offer(submission)
    }

    /// Appends a command that is rare; waits while there is no room.
    ///
    /// # Errors
    /// When the driver has stopped.
    pub async fn append(&self, submission: Submission) -> Result<(), NotTaken> {
        self.queue.append(submission).await
    }
}
