//! Where the writer takes the entries of the shared log. It is a thread without a runtime, which outlives the driver.

use std::time::{Duration, Instant};

use quip_protocol::Position;
use tokio::sync::mpsc;

use crate::log::local::{Bounds, take_waiting};
use crate::log::{Intake, Placed, Taken};

/// What the writer tells the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Everything up to there is durable.
    Durable(Position),
    /// What was delivered behind there was not written.
    Rewind(Position),
    /// What is delivered is not written, or would not be, until it says from where on it is to be delivered again.
    Missed,
}

/// The driver's end. What is on its way is bounded by the member, which reads no more than the journal takes.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) entries: mpsc::UnboundedSender<Placed>,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
}

/// The writer's end.
#[derive(Debug)]
pub struct SharedIntake {
    entries: mpsc::UnboundedReceiver<Placed>,
    told: mpsc::UnboundedSender<Told>,
    /// Taken from the queue, and behind the group before.
    taken: Vec<Placed>,
}

/// Both ends.
pub(super) fn both() -> (Deliveries, SharedIntake) {
    let (entries, queue) = mpsc::unbounded_channel();
    let (tell, told) = mpsc::unbounded_channel();
    (Deliveries { entries, told }, SharedIntake { entries: queue, told: tell, taken: Vec::new() })
}

impl Intake for SharedIntake {
    fn group(&mut self, patience: Duration) -> Option<Taken> {
        if self.taken.is_empty()
            && !take_waiting(&mut self.entries, &mut self.taken, Instant::now() + patience)
        {
            return None;
        }
        let mut bounds = Bounds::default();
        let fits = |placed: &&Placed| {
            let changes = placed.entry.commands.iter().map(|command| command.changes()).sum();
            bounds.fits(placed.payload.len(), changes)
        };
        let fitting = self.taken.iter().take_while(fits).count().max(1);
        let rest = self.taken.split_off(fitting.min(self.taken.len()));
        Some(Taken::Entries(std::mem::replace(&mut self.taken, rest)))
    }

    fn durable(&mut self, last: Position) {
        // A driver that has ended has no use for it.
        let _ = self.told.send(Told::Durable(last));
    }

    fn rewind(&mut self, last: Position) {
        let _ = self.told.send(Told::Rewind(last));
    }

    fn missed(&mut self) {
        let _ = self.told.send(Told::Missed);
    }
}
