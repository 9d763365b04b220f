//! Receivers: every event checked, every latency recorded, until the message that ends the run.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use quip_protocol::Seq;
use quip_protocol::client::{Client, Event, Received};

use crate::check::Checker;
use crate::latency::Deliveries;
use crate::stamp::{Clock, Stamp};

/// One who watches the room.
#[derive(Debug)]
pub struct Receiver {
    /// Watches already.
    pub client: Client,
    /// Which it is.
    pub index: usize,
    /// The room's newest event when the watch began, by which messages are counted.
    pub after: Seq,
    /// Of the run.
    pub clock: Clock,
    /// Of the run.
    pub deliveries: Arc<Deliveries>,
}

/// What a receiver has at the end. Its connection stays open, so that closing costs nothing while others receive.
#[derive(Debug)]
pub struct Got {
    /// What came.
    pub checker: Checker,
    _client: Client,
}

impl Receiver {
    /// Receives to the end of the run.
    ///
    /// # Errors
    /// When something is missing, doubled or out of order, or the connection breaks.
    pub async fn receive(mut self, senders: usize) -> Result<Got> {
        let mut checker = Checker::new(senders, self.after);
        loop {
            let event = self.client.next().await.context("the client ended")?;
            let ended = match event.with_context(|| format!("receiver {}", self.index))? {
                Event::Message(message) => self.message(&mut checker, &message)?,
                Event::Other(event) => checker.event(event.seq).map(|()| false)?,
                Event::Up(_) | Event::Notice(_) | Event::Presence { .. } => false,
                other => bail!("receiver {} got {other:?}", self.index),
            };
            if ended {
                return Ok(Got { checker, _client: self.client });
            }
        }
    }

    fn message(&self, checker: &mut Checker, message: &Received) -> Result<bool> {
        let now = self.clock.now();
        let stamp = Stamp::parse(message.text()).context("a message that is not of this run")?;
        if stamp.is_end() {
            checker.event(message.seq())?;
            return Ok(true);
        }
        let checked = checker.message(message.seq(), stamp.sender, stamp.number);
        checked.with_context(|| format!("receiver {}", self.index))?;
        let index = message.seq().0 - self.after.next().0;
        self.deliveries.record(self.index, index, now.saturating_sub(stamp.nanos));
        Ok(false)
    }
}
