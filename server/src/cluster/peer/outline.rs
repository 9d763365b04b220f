//! What two journals have in common, by their epochs alone. PURE.

use quip_protocol::Position;
use quip_storage::EpochSpan;

/// So many epochs of a journal are told of at most, the newest: each is a repair.
pub(super) const MAX_EPOCHS: usize = 1_024;

/// The last record that two journals have in common, each told by its epochs, in order. In each epoch only one log took
/// entries: who has one of them has all before it as everybody else has them. So it is in the greatest epoch that
/// both have, where the shorter one ends.
pub fn common(ours: &[EpochSpan], theirs: &[EpochSpan]) -> Position {
    let shared = ours.iter().rev().find_map(|our| {
        let their = theirs.iter().rev().find(|their| their.epoch == our.epoch)?;
        Some(Position { epoch: our.epoch, offset: our.last.min(their.last) })
    });
    shared.unwrap_or(Position::ZERO)
}

#[cfg(test)]
mod tests {
    use quip_protocol::Epoch;

    use super::*;

    #[test]
    fn what_two_journals_have_in_common_ends_in_the_greatest_epoch_of_both() {
        let journal = |spans: &[(u32, u64, u64)]| -> Vec<EpochSpan> {
            spans.iter().map(|&(epoch, first, last)| EpochSpan { epoch: Epoch(epoch), first, last }).collect()
        };
        // Ours, theirs, where what is common ends.
        type Row<'a> = (&'a [(u32, u64, u64)], &'a [(u32, u64, u64)], (u32, u64));
        let table: &[Row] = &[
            (&[], &[], (1, 0)),
            (&[(1, 1, 5)], &[], (1, 0)),
            (&[(1, 1, 5)], &[(1, 1, 9)], (1, 5)),
            (&[(1, 1, 9)], &[(1, 1, 5), (2, 6, 9)], (1, 5)),
            // Both went on without the other, in epochs of their own.
            (&[(1, 1, 9), (3, 10, 12)], &[(1, 1, 7), (4, 8, 30)], (1, 7)),
            (&[(1, 1, 9), (3, 10, 12), (4, 13, 20)], &[(1, 1, 9), (3, 10, 15)], (3, 12)),
            (&[(1, 1, 9), (7, 10, 12)], &[(1, 1, 9), (7, 10, 12)], (7, 12)),
            (&[(5, 1, 4)], &[(6, 1, 4)], (1, 0)),
        ];
        for (ours, theirs, (epoch, offset)) in table {
            let expected = Position { epoch: Epoch(*epoch), offset: *offset };
            assert_eq!(common(&journal(ours), &journal(theirs)), expected, "{ours:?} and {theirs:?}");
            assert_eq!(common(&journal(theirs), &journal(ours)), expected, "the other way round");
        }
    }
}
