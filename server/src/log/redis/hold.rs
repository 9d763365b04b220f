//! Whether this node could answer what it appended now: not while its writer writes nothing. PURE.

use quip_protocol::{Position, Refusal};

use super::intake::Told;
use crate::log::NotTaken;
use crate::log::shared_log::{HELD_MS, RETRY_MS};

/// What were appended while it holds, nobody here would have an answer to, and who tries again would append it again.
#[derive(Debug)]
pub(super) struct Hold {
    state: State,
    /// The last entry that the writer was given.
    delivered: Position,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Nothing is written.
    Held,
    /// What was missed is given again; whether it is written is not known. A disk that was mended and is not well fails with
    /// the first entry.
    Tried,
}

impl Hold {
    pub(super) fn new(last: Position) -> Hold {
        Hold { state: State::Free, delivered: last }
    }

    /// The writer is given the entry there.
    pub(super) fn delivered(&mut self, position: Position) {
        self.delivered = position;
    }

    /// What the writer says.
    pub(super) fn heard(&mut self, told: Told) {
        self.state = match (told, self.state) {
            (Told::Missed, _) => State::Held,
            (Told::Durable(_), _) | (Told::Rewind(_), State::Free) => State::Free,
            (Told::Rewind(last), _) if self.delivered.offset > last.offset => State::Tried,
            // There is nothing to try it with.
            (Told::Rewind(_), _) => State::Free,
        };
    }

    /// Why nothing is appended, if so.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let retry_after_ms = match self.state {
            State::Free => return None,
            State::Held => HELD_MS,
            State::Tried => RETRY_MS,
        };
        Some(NotTaken::Held { retry_after_ms }.into())
    }
}

#[cfg(test)]
mod tests {
    use quip_protocol::Epoch;

    use super::*;

    fn at(offset: u64) -> Position {
        Position { epoch: Epoch(1), offset }
    }

    #[test]
    fn it_ends_when_an_entry_is_written_or_none_was_missed() {
        let (missed, held, tried) = (Told::Missed, Some(HELD_MS), Some(RETRY_MS));
        let table: [(&[Told], Option<u32>); 9] = [
            (&[], None),
            (&[Told::Durable(at(7))], None),
            (&[missed], held),
            (&[missed, Told::Rewind(at(7))], None),
            (&[Told::Rewind(at(5))], None),
            (&[missed, Told::Rewind(at(5))], tried),
            (&[missed, Told::Rewind(at(5)), missed], held),
            (&[missed, Told::Rewind(at(5)), missed, Told::Rewind(at(5))], tried),
            (&[missed, Told::Rewind(at(5)), Told::Durable(at(6))], None),
        ];
        for (told, expected) in table {
            let mut hold = Hold::new(at(5));
            [at(6), at(7)].into_iter().for_each(|position| hold.delivered(position));
            told.iter().for_each(|told| hold.heard(*told));
            let refusal = hold.refusal().map(|refusal| refusal.retry_after_ms.expect("later"));
            assert_eq!(refusal, expected, "{told:?}");
        }
    }
}
