//! Holds what a reader gets to what was sent: nothing lost, doubled or out of order. PURE.

use std::collections::BTreeSet;

use quip_protocol::Seq;

/// What a reader got that it should not have, or did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The room's log has a hole, or goes back.
    #[error("seq {found} where {expected} belongs")]
    Seq {
        /// The one behind the last.
        expected: Seq,
        /// What came.
        found: Seq,
    },
    /// Another message of this sender belongs here: one was lost, doubled or overtaken.
    #[error("message {found} of sender {sender} where {expected} belongs (at seq {seq})")]
    Order {
        /// Whose.
        sender: u32,
        /// The one behind the sender's last.
        expected: u64,
        /// What came.
        found: u64,
        /// Where.
        seq: Seq,
    },
    /// A message of nobody who sends in this run.
    #[error("a message of sender {sender}, who does not exist (at seq {seq})")]
    Stranger {
        /// Whose.
        sender: u32,
        /// Where.
        seq: Seq,
    },
    /// The end came before all that was sent.
    #[error("{got} of {sent} messages of sender {sender} came")]
    Lost {
        /// Whose.
        sender: u32,
        /// How many were acknowledged.
        sent: u64,
        /// How many came.
        got: u64,
    },
}

/// One reader's place in a room and in what each sender sends there.
#[derive(Debug, Clone)]
pub struct Checker {
    seq: Seq,
    next: Vec<u64>,
    /// What came before others of its sender, who may have been told to send those again later.
    ahead: BTreeSet<(u32, u64)>,
    /// The first that did.
    overtook: Option<Fault>,
}

impl Checker {
    /// A reader that has the room up to `after`, before any of `senders` has sent.
    pub fn new(senders: usize, after: Seq) -> Checker {
        Checker { seq: after, next: vec![0; senders], ahead: BTreeSet::new(), overtook: None }
    }

    /// Any event of the room.
    ///
    /// # Errors
    /// [`Fault::Seq`].
    pub fn event(&mut self, seq: Seq) -> Result<(), Fault> {
        let expected = self.seq.next();
        if seq != expected {
            return Err(Fault::Seq { expected, found: seq });
        }
        self.seq = seq;
        Ok(())
    }

    /// A message of a sender.
    ///
    /// # Errors
    /// [`Fault::Seq`], [`Fault::Order`], [`Fault::Stranger`].
    pub fn message(&mut self, seq: Seq, sender: u32, number: u64) -> Result<(), Fault> {
        self.event(seq)?;
        let next = self.next.get_mut(sender as usize).ok_or(Fault::Stranger { sender, seq })?;
        let fault = Fault::Order { sender, expected: *next, found: number, seq };
        if number > *next && self.ahead.insert((sender, number)) {
            self.overtook.get_or_insert(fault);
            return Ok(());
        }
        if number != *next {
            return Err(fault);
        }
        *next += 1;
        while self.ahead.remove(&(sender, *next)) {
            *next += 1;
        }
        Ok(())
    }

    /// The place behind the last.
    pub fn expected(&self) -> Seq {
        self.seq.next()
    }

    /// Messages that came, of all senders.
    pub fn messages(&self) -> u64 {
        self.next.iter().sum::<u64>() + self.ahead.len() as u64
    }

    /// Whether everything came: `sent` is how many of each sender were acknowledged. Where `held_back` messages had to be
    /// sent again later, others may have come before them; else everything came in its sender's order.
    ///
    /// # Errors
    /// [`Fault::Lost`], [`Fault::Order`].
    pub fn complete(&self, sent: &[u64], held_back: u64) -> Result<(), Fault> {
        if let Some(fault) = self.overtook.filter(|_| held_back == 0) {
            return Err(fault);
        }
        for ((sender, &sent), &got) in (0..).zip(sent).zip(&self.next) {
            if sent != got {
                return Err(Fault::Lost { sender, sent, got });
            }
        }
        Ok(())
    }
}

/// Whether one sender's receipts are in the order in which it sent, each at a place of its own.
pub fn in_order(places: &[Seq]) -> bool {
    places.is_sorted_by(|a, b| a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two senders send two each; what the reader gets, by (seq, sender, number).
    fn verdict(got: &[(u64, u32, u64)], held_back: u64) -> Result<(), Fault> {
        let mut checker = Checker::new(2, Seq(7));
        for (seq, sender, number) in got {
            checker.message(Seq(*seq), *sender, *number)?;
        }
        checker.complete(&[2, 2], held_back)
    }

    #[test]
    fn what_is_right_passes() {
        assert_eq!(verdict(&[(8, 0, 0), (9, 1, 0), (10, 1, 1), (11, 0, 1)], 0), Ok(()));
        assert_eq!(verdict(&[(8, 0, 0), (9, 0, 1), (10, 1, 0), (11, 1, 1)], 0), Ok(()));
    }

    #[test]
    fn what_is_lost_doubled_or_swapped_fails() {
        let order = |sender, expected, found, seq| Fault::Order { sender, expected, found, seq: Seq(seq) };
        let seq = |expected, found| Fault::Seq { expected: Seq(expected), found: Seq(found) };
        let table = [
            ("lost with its place", vec![(8, 0, 0), (10, 1, 0)], seq(9, 10)),
            ("lost, the place filled", vec![(8, 0, 0), (9, 1, 1)], order(1, 0, 1, 9)),
            (
                "lost at the end",
                vec![(8, 0, 0), (9, 1, 0), (10, 1, 1)],
                Fault::Lost { sender: 0, sent: 2, got: 1 },
            ),
            ("lost altogether", vec![(8, 0, 0), (9, 0, 1)], Fault::Lost { sender: 1, sent: 2, got: 0 }),
            ("doubled at its place", vec![(8, 0, 0), (8, 0, 0)], seq(9, 8)),
            ("doubled at another place", vec![(8, 0, 0), (9, 0, 0)], order(0, 1, 0, 9)),
            (
                "one too many",
                vec![(8, 0, 0), (9, 0, 1), (10, 0, 2)],
                Fault::Lost { sender: 0, sent: 2, got: 3 },
            ),
            ("swapped", vec![(8, 0, 1), (9, 0, 0)], order(0, 0, 1, 8)),
            ("swapped places", vec![(9, 0, 0), (8, 0, 1)], seq(8, 9)),
            ("of nobody", vec![(8, 2, 0)], Fault::Stranger { sender: 2, seq: Seq(8) }),
        ];
        for (what, got, fault) in table {
            assert_eq!(verdict(&got, 0), Err(fault), "{what}");
        }
    }

    #[test]
    fn what_was_held_back_may_be_overtaken_but_not_lost_or_doubled() {
        let swapped = [(8, 0, 1), (9, 0, 0), (10, 1, 0), (11, 1, 1)];
        assert!(verdict(&swapped, 0).is_err());
        assert_eq!(verdict(&swapped, 1), Ok(()));
        for wrong in [
            vec![(8, 0, 1), (9, 1, 0), (10, 1, 1)],
            vec![(8, 0, 1), (9, 0, 1), (10, 1, 0), (11, 1, 1)],
            vec![(8, 0, 1), (9, 0, 0), (10, 0, 1), (11, 1, 0), (12, 1, 1)],
        ] {
            assert!(verdict(&wrong, 1).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn other_events_take_a_place() {
        let mut checker = Checker::new(1, Seq::ZERO);
        assert_eq!(checker.event(Seq(1)), Ok(()));
        assert_eq!(checker.message(Seq(2), 0, 0), Ok(()));
        assert_eq!(checker.complete(&[1], 0), Ok(()));
        assert!(checker.event(Seq(2)).is_err());
    }

    #[test]
    fn receipts_in_order() {
        assert!(in_order(&[]) && in_order(&[Seq(1), Seq(5)]));
        assert!(!in_order(&[Seq(1), Seq(1)]) && !in_order(&[Seq(2), Seq(1)]));
    }
}
