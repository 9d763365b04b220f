//! Receivers: every event checked, every latency recorded, until the message that ends the run.

use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use quip_protocol::codec::{Frame, FrameKind};
use quip_protocol::frame::Push;
use quip_protocol::{Event, Seq};

use crate::check::Checker;
use crate::latency::Deliveries;
use crate::lean::Lean;
use crate::stamp::{Clock, Stamp};

/// Receivers are rarely further from each other than this; beyond it each decodes for itself.
const KEPT: usize = 4_096;

/// One who watches the room.
#[derive(Debug)]
pub struct Receiver {
    lean: Lean,
    index: usize,
    after: Seq,
    checker: Checker,
    room: Arc<Room>,
}

/// What all receivers of a room share.
#[derive(Debug)]
pub struct Room {
    clock: Clock,
    /// What came, by all of them.
    pub deliveries: Deliveries,
    decoded: Decoded,
}

/// Everyone gets the same bytes: one decodes them, and the others compare them with what was decoded.
#[derive(Debug)]
struct Decoded(Vec<RwLock<Option<(Bytes, Told)>>>);

/// What an event says to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    seq: Seq,
    /// Of a message; anything else only takes a place.
    stamp: Option<Stamp>,
}

/// What a receiver has at the end. Its connection stays open, so that closing costs nothing while others receive.
#[derive(Debug)]
pub struct Got {
    /// What came.
    pub checker: Checker,
    _lean: Lean,
}

impl Room {
    /// Nothing came yet.
    pub fn new(clock: Clock) -> Arc<Room> {
        let decoded = Decoded((0..KEPT).map(|_| RwLock::default()).collect());
        Arc::new(Room { clock, deliveries: Deliveries::default(), decoded })
    }
}

impl Decoded {
    /// Decodes an event that is expected to be the one at `expected`.
    fn read(&self, expected: Seq, frame: &Frame) -> Result<Told> {
        if let Some(told) = self.known(expected, &frame.body) {
            return Ok(told);
        }
        let event: Event = frame.decode(FrameKind::Event, "event")?;
        let stamp = match event.message() {
            Some(message) => Some(Stamp::parse(message.text()).context("a message that is not of this run")?),
            None => None,
        };
        let told = Told { seq: event.seq, stamp };
        let mut slot = self.slot(event.seq).write().unwrap_or_else(PoisonError::into_inner);
        // Who is behind does not take the place of what the others are at.
        if slot.as_ref().is_none_or(|(_, there)| there.seq < event.seq) {
            *slot = Some((Bytes::copy_from_slice(&frame.body), told));
        }
        Ok(told)
    }

    fn known(&self, expected: Seq, body: &Bytes) -> Option<Told> {
        let slot = self.slot(expected).read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().filter(|(bytes, _)| bytes == body).map(|(_, told)| *told)
    }

    fn slot(&self, seq: Seq) -> &RwLock<Option<(Bytes, Told)>> {
        &self.0[usize::try_from(seq.0 % KEPT as u64).expect("less than KEPT")]
    }
}

impl Receiver {
    /// One who watches the room already, from behind `after` on, and to whom so many send.
    pub fn new(lean: Lean, index: usize, senders: usize, after: Seq, room: &Arc<Room>) -> Receiver {
        Receiver { lean, index, after, checker: Checker::new(senders, after), room: Arc::clone(room) }
    }

    /// Receives to the end of the run.
    ///
    /// # Errors
    /// When something is missing, doubled or out of order, or the connection breaks.
    pub async fn receive(mut self) -> Result<Got> {
        while !self.step().await.with_context(|| format!("receiver {}", self.index))? {}
        Ok(Got { checker: self.checker, _lean: self.lean })
    }

    /// Receives as many messages of all senders together.
    ///
    /// # Errors
    /// As [`Receiver::receive`], and when the run ends before.
    pub async fn receive_some(&mut self, messages: u64) -> Result<()> {
        while self.checker.messages() < messages {
            if self.step().await? {
                bail!("the run ended at {} of {messages} messages", self.checker.messages());
            }
        }
        Ok(())
    }

    /// Its connection.
    pub fn lean(&self) -> &Lean {
        &self.lean
    }

    /// What comes next; whether that ends the run.
    async fn step(&mut self) -> Result<bool> {
        let frame = self.lean.frame().await?;
        match frame.kind {
            FrameKind::Event => {}
            // A node of a cluster says who else there is.
            FrameKind::Push => match frame.decode(FrameKind::Push, "push")? {
                Push::Nodes(_) => return Ok(false),
                other => bail!("{other:?} came"),
            },
            other => bail!("a frame of kind {other:?} came"),
        }
        let now = self.room.clock.now();
        let told = self.room.decoded.read(self.checker.expected(), &frame)?;
        match told.stamp {
            Some(stamp) if !stamp.is_end() => {
                self.checker.message(told.seq, stamp.sender, stamp.number)?;
                let index = told.seq.0 - self.after.next().0;
                self.room.deliveries.record(self.index, index, now.saturating_sub(stamp.nanos));
                Ok(false)
            }
            stamp => Ok(self.checker.event(told.seq).map(|()| stamp.is_some())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::codec::encode_event;
    use quip_protocol::{MessageId, Timestamp};
    use quip_tests::copied;

    use super::*;

    fn frame(seq: u64, text: &str) -> Frame {
        let event = copied::message(7, seq, Timestamp(1), "ann".parse().unwrap(), text);
        assert_ne!(event.message().unwrap().id, MessageId::from_bytes([0; 16]));
        Frame::from_stored(&encode_event(&event).slice(4..)).unwrap()
    }

    #[test]
    fn what_is_compared_is_what_would_be_decoded() {
        let decoded = Decoded((0..KEPT).map(|_| RwLock::default()).collect());
        let text = |number| Stamp { sender: 1, number, nanos: 5 }.text(60);
        let far = KEPT as u64;
        // What is expected, what came, and what it has to be told as: the same whoever read it before.
        let table =
            [(4, 4, 0), (4, 4, 0), (4, 5, 1), (5, 5, 1), (5, 5, 9), (4, 4 + far, 3), (4, 4, 0), (4, 4, 0)];
        for (expected, seq, number) in table {
            let told = decoded.read(Seq(expected), &frame(seq, &text(number))).unwrap();
            assert_eq!((told.seq, told.stamp.map(|stamp| stamp.number)), (Seq(seq), Some(number)));
        }
        assert!(decoded.read(Seq(6), &frame(6, "of somebody else")).is_err());
    }
}
