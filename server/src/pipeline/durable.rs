//! What is durable: the gate between the engine's state, which is ahead by one group, and whoever is told of it.

use tokio::sync::watch;

/// The disk failed before what was seen became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server cannot write now")]
pub struct NeverDurable;

#[derive(Debug, Default)]
struct Progress {
    group: u64,
    stalled: bool,
    dead: bool,
    /// Groups that were applied and taken back: their numbers are not used again.
    lost: Vec<u64>,
}

impl Progress {
    /// What can be told of `group`; nothing while it is on its way.
    fn of(&self, group: u64) -> Option<Result<(), NeverDurable>> {
        if self.lost.contains(&group) {
            Some(Err(NeverDurable))
        } else if self.group >= group {
            Some(Ok(()))
        } else {
            self.stalled.then_some(Err(NeverDurable))
        }
    }
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
    /// Groups up to this one, but for those that were lost, are durable and published.
    pub fn advance(&self, group: u64) {
        self.progress.send_modify(|progress| progress.group = group);
    }

    /// Nothing is written until [`Durable::resume`].
    pub fn stall(&self) {
        self.progress.send_modify(|progress| progress.stalled = true);
    }

    /// This group was applied and will never be durable.
    pub fn lose(&self, group: u64) {
        self.progress.send_modify(|progress| progress.lost.push(group));
    }

    /// Writing goes on.
    pub fn resume(&self) {
        self.progress.send_modify(|progress| progress.stalled = progress.dead);
    }

    /// A thread that everything depends on has ended: nothing is ever written again by this process.
    pub fn die(&self) {
        self.progress.send_modify(|progress| (progress.stalled, progress.dead) = (true, true));
    }

    /// Waits until [`Durable::die`].
    pub async fn died(&self) {
        // It fails only when the sender is gone, and that is `self`.
        let _ = self.progress.subscribe().wait_for(|progress| progress.dead).await;
    }

    /// Whether writing goes on.
    pub fn is_writable(&self) -> bool {
        !self.progress.borrow().stalled
    }

    /// Waits until `group` is durable.
    ///
    /// # Errors
    /// When it never will be.
    pub async fn reached(&self, group: u64) -> Result<(), NeverDurable> {
        if let Some(known) = self.progress.borrow().of(group) {
            return known;
        }
        let mut progress = self.progress.subscribe();
        let told = progress.wait_for(|progress| progress.of(group).is_some()).await;
        told.ok().and_then(|progress| progress.of(group)).unwrap_or(Err(NeverDurable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_group_stays_lost_when_writing_goes_on() {
        let durable = Durable::default();
        durable.advance(3);
        durable.stall();
        durable.lose(4);
        assert_eq!(durable.reached(3).await, Ok(()), "what is durable stays so");
        assert_eq!(durable.reached(4).await, Err(NeverDurable));
        durable.resume();
        durable.advance(5);
        assert!(durable.is_writable());
        assert_eq!(durable.reached(5).await, Ok(()));
        assert_eq!(durable.reached(4).await, Err(NeverDurable), "who asked before is not told of it later");
    }

    #[tokio::test]
    async fn nothing_brings_back_what_died() {
        let durable = Durable::default();
        durable.die();
        durable.resume();
        durable.died().await;
        assert!(!durable.is_writable());
        assert_eq!(durable.reached(1).await, Err(NeverDurable));
    }
}
