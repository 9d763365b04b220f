//! What a member has of the log: delivered, and of that durable. PURE.

use std::collections::VecDeque;

use quip_protocol::Position;

use super::contract::Stored;
use super::member::StepAside;

/// So many bytes are delivered and not durable, at most, and one entry: a disk that cannot follow holds the reading back.
const UNSETTLED_BYTES: usize = 16 * 1024 * 1024;
/// At most so many are asked for at a time.
const READ_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Tail {
    /// The last entry that was delivered.
    pub(super) read: Position,
    durable: Position,
    /// What was delivered and is not durable, with its bytes.
    unsettled: VecDeque<(Position, usize)>,
    bytes: usize,
}

impl Tail {
    pub(super) fn new(last: Position) -> Tail {
        Tail { read: last, durable: last, unsettled: VecDeque::new(), bytes: 0 }
    }

    /// How much may be read now; nothing while the journal has enough to do.
    pub(super) fn room(&self) -> Option<usize> {
        let room = UNSETTLED_BYTES.saturating_sub(self.bytes).min(READ_BYTES);
        (room > 0).then_some(room)
    }

    /// Where it ends, if all of it is durable.
    pub(super) fn settled(&self) -> Option<Position> {
        (self.read == self.durable).then_some(self.durable)
    }

    /// Of entries that were read behind this tail, those that follow on it; and why the others do not.
    pub(super) fn follow(&mut self, mut entries: Vec<Stored>) -> (Vec<Stored>, Option<StepAside>) {
        let follows = |entry: &&Stored| {
            let is_next = entry.before == self.read && entry.position > self.read;
            if is_next {
                self.read = entry.position;
                self.bytes += entry.payload.len();
                self.unsettled.push_back((entry.position, entry.payload.len()));
            }
            is_next
        };
        let many = entries.iter().take_while(follows).count();
        let why = entries.get(many).map(|other| match other.before > self.read {
            true => StepAside::Behind { base: other.before },
            false => StepAside::Diverged,
        });
        entries.truncate(many);
        (entries, why)
    }

    /// The journal has everything up to there.
    pub(super) fn settle(&mut self, last: Position) {
        self.durable = self.durable.max(last.min(self.read));
        while let Some((_, bytes)) = self.unsettled.pop_front_if(|(position, _)| *position <= last) {
            self.bytes -= bytes;
        }
    }

    /// What was delivered behind there was not written.
    pub(super) fn rewind(&mut self, last: Position) {
        self.read = self.read.min(last.max(self.durable));
        while let Some((_, bytes)) = self.unsettled.pop_back_if(|(position, _)| *position > self.read) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quip_protocol::Epoch;

    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn entry(before: Position, position: Position, bytes: usize) -> Stored {
        Stored { before, position, payload: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn each_entry_names_the_one_before() {
        let table = [
            (at(1, 5), at(1, 6), None),
            (at(1, 5), at(4, 6), None),
            (at(1, 6), at(1, 7), Some(StepAside::Behind { base: at(1, 6) })),
            (at(4, 3), at(4, 4), Some(StepAside::Behind { base: at(4, 3) })),
            (at(1, 4), at(4, 5), Some(StepAside::Diverged)),
            (at(1, 5), at(1, 5), Some(StepAside::Diverged)),
        ];
        for (before, position, why) in table {
            let mut tail = Tail::new(at(1, 5));
            let (follow, other) = tail.follow(vec![entry(before, position, 1)]);
            assert_eq!(other, why, "{before} → {position}");
            assert_eq!(follow.len(), usize::from(why.is_none()));
            assert_eq!(tail.read, if why.is_none() { position } else { at(1, 5) });
        }
    }

    #[test]
    fn so_much_is_read_as_the_journal_takes() {
        let mut tail = Tail::new(Position::ZERO);
        assert_eq!(tail.room(), Some(READ_BYTES));
        tail.follow(vec![entry(at(1, 0), at(1, 1), UNSETTLED_BYTES - 7), entry(at(1, 1), at(1, 2), 6)]);
        assert_eq!((tail.room(), tail.settled()), (Some(1), None));
        tail.follow(vec![entry(at(1, 2), at(1, 3), 100)]);
        assert_eq!(tail.room(), None);
        tail.settle(at(1, 1));
        assert_eq!((tail.room(), tail.settled()), (Some(READ_BYTES), None));
        tail.rewind(at(1, 1));
        assert_eq!((tail.read, tail.settled(), tail.bytes), (at(1, 1), Some(at(1, 1)), 0));
    }

    #[test]
    fn what_is_durable_is_not_taken_back() {
        let mut tail = Tail::new(at(1, 5));
        tail.follow(vec![entry(at(1, 5), at(1, 6), 1)]);
        tail.settle(at(1, 6));
        tail.rewind(at(1, 2));
        assert_eq!(tail.settled(), Some(at(1, 6)));
    }
}
