//! What a member has on its way into the log: one batch that is asked for until its outcome is known, and those that have
//! their place and are not durable here. PURE.

use std::collections::VecDeque;

use bytes::Bytes;
use quip_protocol::{Epoch, NodeName, Position};

use super::contract::{Ask, BatchId};

#[derive(Debug, Default)]
pub(super) struct Batches {
    asked: Option<Asked>,
    placed: VecDeque<Placed>,
}

/// The batch whose outcome is not known.
#[derive(Debug)]
struct Asked {
    batch: BatchId,
    payload: Bytes,
    /// In no other one can it come to stand.
    epoch: Epoch,
}

/// A batch that the log took. It may lose it again.
#[derive(Debug)]
struct Placed {
    batch: BatchId,
    position: Position,
    /// Whether it was delivered.
    found: bool,
}

impl Batches {
    /// Whether another one can be taken.
    pub(super) fn has_room(&self) -> bool {
        self.asked.is_none()
    }

    pub(super) fn take(&mut self, batch: BatchId, payload: Bytes, epoch: Epoch) {
        self.asked = Some(Asked { batch, payload, epoch });
    }

    /// What is to be asked in this epoch, and for which batch.
    pub(super) fn ask(&self, epoch: Epoch, node: &NodeName, read: Position) -> Option<(BatchId, Ask)> {
        let asked = self.asked.as_ref().filter(|asked| asked.epoch == epoch)?;
        let seen = self.placed.back().map_or(read, |placed| placed.position.max(read));
        let (batch, payload) = (asked.batch, asked.payload.clone());
        Some((batch, Ask::Append { epoch, seen, node: node.clone(), batch, payload }))
    }

    /// The log says where it is. Says whether that was not known.
    pub(super) fn placed(&mut self, batch: BatchId, position: Position) -> bool {
        let was_asked = self.asked.take_if(|asked| asked.batch == batch).is_some();
        if was_asked {
            self.placed.push_back(Placed { batch, position, found: false });
        }
        was_asked
    }

    /// It was read there. Says whether it was not known that it is in the log.
    pub(super) fn found(&mut self, batch: BatchId, position: Position) -> bool {
        let news = self.placed(batch, position);
        if let Some(placed) = self.placed.iter_mut().find(|placed| placed.batch == batch) {
            placed.found = true;
        }
        news
    }

    /// Everything up to `read` was looked at. What was asked for in an epoch before that one and was not found does not
    /// come any more: an epoch that was raised takes nothing.
    pub(super) fn overtaken(&mut self, read: Position) -> Vec<BatchId> {
        let asked = self.asked.take_if(|asked| asked.epoch < read.epoch).map(|asked| asked.batch);
        let is_lost = |placed: &Placed| !placed.found && placed.position.epoch < read.epoch;
        let lost: Vec<_> =
            self.placed.iter().filter(|placed| is_lost(placed)).map(|placed| placed.batch).collect();
        self.placed.retain(|placed| !is_lost(placed));
        lost.into_iter().chain(asked).collect()
    }

    /// The journal has everything up to there.
    pub(super) fn durable(&mut self, last: Position) {
        self.placed.retain(|placed| !placed.found || placed.position > last);
    }

    /// What is behind there is to be delivered again.
    pub(super) fn rewind(&mut self, last: Position) {
        for placed in self.placed.iter_mut().filter(|placed| placed.position > last) {
            placed.found = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn batch(n: u8) -> BatchId {
        BatchId([n; 16])
    }

    fn asking(n: u8, epoch: u32) -> Batches {
        let mut batches = Batches::default();
        batches.take(batch(n), Bytes::new(), Epoch(epoch));
        batches
    }

    fn seen(batches: &Batches, read: Position) -> Option<Position> {
        match batches.ask(Epoch(1), &"a".parse().unwrap(), read)? {
            (_, Ask::Append { seen, .. }) => Some(seen),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_asked_for_in_its_epoch_until_its_place_is_known() {
        let mut batches = asking(1, 1);
        assert_eq!(seen(&batches, at(1, 3)), Some(at(1, 3)));
        assert!(batches.ask(Epoch(2), &"a".parse().unwrap(), at(2, 9)).is_none());
        assert!(!batches.placed(batch(9), at(1, 7)), "an answer to another question");
        assert!(batches.placed(batch(1), at(1, 7)));
        assert!(batches.has_room());
        batches.take(batch(2), Bytes::new(), Epoch(1));
        assert_eq!(seen(&batches, at(1, 3)), Some(at(1, 7)), "it knows of its own");
        assert!(!batches.found(batch(1), at(1, 7)), "that was known");
        assert!(batches.found(batch(2), at(1, 8)), "read before the answer came");
        batches.durable(at(1, 8));
        assert!(batches.placed.is_empty() && batches.has_room());
    }

    #[test]
    fn what_a_raised_epoch_has_not_does_not_come() {
        let table = [
            // read up to, was it found before, what is lost
            (at(1, 9), false, vec![]),
            (at(4, 9), true, vec![]),
            (at(4, 9), false, vec![batch(1)]),
        ];
        for (read, found, lost) in table {
            let mut asked = asking(1, 1);
            let mut placed = asking(1, 1);
            placed.placed(batch(1), at(1, 8));
            for batches in [&mut asked, &mut placed] {
                if found {
                    batches.found(batch(1), at(1, 8));
                }
                assert_eq!(batches.overtaken(read), lost, "{read}");
                assert_eq!(batches.overtaken(read), [], "said once");
            }
        }
    }

    #[test]
    fn what_is_to_be_delivered_again_is_not_found_yet() {
        let mut batches = asking(1, 1);
        batches.found(batch(1), at(1, 8));
        batches.rewind(at(1, 7));
        assert_eq!(batches.overtaken(at(4, 9)), [batch(1)]);
    }
}
