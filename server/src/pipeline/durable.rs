//! What is durable: the gate between the engine's state, which is ahead by one group, and whoever is told of it.

use tokio::sync::watch;

/// The disk failed before what was seen became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server cannot write now")]
pub struct NeverDurable;

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    group: u64,
    failed: bool,
}

/// The newest durable group.
#[derive(Debug)]
pub struct Durable {
    progress: watch::Sender<Progress>,
}

impl Default for Durable {
    fn default() -> Self {
        Durable { progress: watch::Sender::new(Progress::default()) }
    }
}

impl Durable {
    /// Groups up to this one are durable and published.
    pub fn advance(&self, group: u64) {
        self.progress.send_modify(|progress| progress.group = group);
    }

    /// No further group will be durable.
    pub fn fail(&self) {
        self.progress.send_modify(|progress| progress.failed = true);
    }

    /// Whether writing goes on.
    pub fn is_writable(&self) -> bool {
        !self.progress.borrow().failed
    }

    /// Waits until `group` is durable.
    ///
    /// # Errors
    /// When it never will be.
    pub async fn reached(&self, group: u64) -> Result<(), NeverDurable> {
        if self.progress.borrow().group >= group {
            return Ok(());
        }
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|p| p.group >= group || p.failed).await.map_err(|_| NeverDurable)?;
        if reached.group >= group { Ok(()) } else { Err(NeverDurable) }
    }
}
