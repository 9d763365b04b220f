//! Where sessions of a node of a cluster put commands: the same queue as a single node's, which the driver of the shared log
//! empties into batches; closed while the log takes nothing.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::shared::member::Phase;
use super::{LocalLog, NotTaken, Submission};

/// When to come again while the log takes nothing, in milliseconds: it is back within a second of Redis.
pub(super) const RETRY_MS: u32 = 500;
/// The same while this node's disk takes nothing: people see to that.
pub(super) const HELD_MS: u32 = 5_000;
/// How long a command that is rare waits for a log that takes something.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The handle that sessions have.
#[derive(Debug, Clone)]
pub struct SharedLog {
    /// Bounded in bytes.
    pub queue: LocalLog,
    /// How the log stands.
    pub phase: watch::Receiver<Phase>,
}

impl SharedLog {
    /// Appends a command, unless as much waits as may, or the log takes nothing now.
    ///
    /// # Errors
    /// When it does, or the driver has stopped.
    pub fn offer(&self, submission: Submission) -> Result<(), NotTaken> {
        match *self.phase.borrow() {
            Phase::Live => self.queue.offer(submission),
            _ => Err(NotTaken::Unreachable { retry_after_ms: RETRY_MS }),
        }
    }

    /// Appends a command that is rare; waits while there is no room, and some seconds for a log that takes nothing now.
    ///
    /// # Errors
    /// When the driver has stopped, or the log took nothing for all that time.
    pub async fn append(&self, submission: Submission) -> Result<(), NotTaken> {
        let mut phase = self.phase.clone();
        match timeout(PATIENCE, phase.wait_for(|phase| *phase == Phase::Live)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(NotTaken::Stopped),
            Err(_) => return Err(NotTaken::Unreachable { retry_after_ms: RETRY_MS }),
        }
        self.queue.append(submission).await
    }
}
