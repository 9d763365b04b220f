//! What a node writes back of its own journal into a log that lacks it. Imports the journal.

use quip_protocol::Position;
use quip_storage::{EpochSpan, JournalError, JournalReader};

use crate::log::shared::contract::Stored;

/// Entries of a journal behind a position, of about so many bytes; at least one if there is one. Of a position that this journal
/// does not have, because the log that has it went another way, those that are greater.
pub(super) fn recall(
    journal: &JournalReader,
    after: Position,
    max_bytes: usize,
) -> Result<Vec<Stored>, JournalError> {
    let epochs = journal.epochs()?;
    let Some(first) = first_behind(&epochs, after) else { return Ok(Vec::new()) };
    // The first entry names the one before it.
    let mut before = position_at(&epochs, first - 1);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for record in journal.replay(before)? {
        let (position, payload) = record?;
        bytes += payload.len();
        if !entries.is_empty() && bytes > max_bytes {
            break;
        }
        entries.push(Stored { before, position, payload: payload.into() });
        before = position;
    }
    Ok(entries)
}

/// The offset of the first record behind a position.
fn first_behind(epochs: &[EpochSpan], after: Position) -> Option<u64> {
    let behind = |span: &&EpochSpan| (span.epoch, span.last) > (after.epoch, after.offset);
    epochs.iter().find(behind).map(|span| match span.epoch == after.epoch {
        true => span.first.max(after.offset + 1),
        false => span.first,
    })
}

/// Where the record with this offset stands; offsets are dense. Before the first one it is [`Position::ZERO`].
fn position_at(epochs: &[EpochSpan], offset: u64) -> Position {
    let span = epochs.iter().find(|span| (span.first..=span.last).contains(&offset));
    span.map_or(Position::ZERO, |span| Position { epoch: span.epoch, offset })
}

#[cfg(test)]
mod tests {
    use quip_protocol::Epoch;
    use quip_storage::{Journal, JournalOptions};

    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    /// Of `1-1 1-2 6-3 6-4 9-5`.
    fn recalled(after: Position, max_bytes: usize) -> Vec<(Position, Position)> {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        for (epoch, offset) in [(1, 1), (1, 2), (6, 3), (6, 4), (9, 5)] {
            journal.append(at(epoch, offset), b"0123456789").unwrap();
        }
        let entries = recall(&journal.reader(), after, max_bytes).unwrap();
        entries.into_iter().map(|entry| (entry.before, entry.position)).collect()
    }

    #[test]
    fn it_is_what_follows_in_this_journal_whatever_way_the_log_went() {
        let all = [
            (at(1, 0), at(1, 1)),
            (at(1, 1), at(1, 2)),
            (at(1, 2), at(6, 3)),
            (at(6, 3), at(6, 4)),
            (at(6, 4), at(9, 5)),
        ];
        let table = [
            (Position::ZERO, &all[..]),
            (at(1, 1), &all[1..]),
            (at(1, 2), &all[2..]),
            (at(6, 4), &all[4..]),
            (at(9, 5), &[]),
            // Not in this journal: of another way, shorter, as long, and longer.
            (at(1, 3), &all[2..]),
            (at(1, 5), &all[2..]),
            (at(1, 99), &all[2..]),
            (at(4, 2), &all[2..]),
            (at(7, 5), &all[4..]),
            (at(9, 9), &[]),
        ];
        for (after, expected) in table {
            assert_eq!(recalled(after, 1_000), expected, "{after}");
        }
        assert_eq!(recalled(at(1, 1), 20), all[1..3]);
        assert_eq!(recalled(at(1, 1), 1), all[1..2], "at least one");
    }
}
