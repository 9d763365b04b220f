//! A reader's cursor held against a log, as Raft compares logs: it is good if what is there has that epoch. PURE:
//! the log is a function that says the epoch at a seq.

use quip_protocol::{Cursor, Epoch, Seq};

/// What a cursor is to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Of this log: what is behind it follows.
    Good(Cursor),
    /// Of another one, which is surely the same up to here.
    Reset(Cursor),
}

/// The answer, where the newest event says enough and the log need not be looked at.
pub fn at_once(cursor: Option<Cursor>, head: Cursor) -> Option<Fit> {
    let Some(cursor) = cursor else { return Some(Fit::Good(head)) };
    let start = Cursor { epoch: Epoch::FIRST, seq: Seq::ZERO };
    if cursor.seq == Seq::ZERO || cursor == head {
        return Some(Fit::Good(cursor));
    }
    // Epochs never fall along a log: all of this one is of the first.
    if head.epoch != Epoch::FIRST {
        return None;
    }
    Some(match cursor.epoch {
        Epoch::FIRST if cursor.seq <= head.seq => Fit::Good(cursor),
        Epoch::FIRST => Fit::Reset(head),
        _ => Fit::Reset(start),
    })
}

/// The answer in any case. `epoch_at` is asked for at most some sixty seqs from 1 to `head`.
///
/// # Errors
/// When the log cannot be read.
pub fn compare<E>(
    cursor: Cursor,
    head: Cursor,
    epoch_at: impl Fn(Seq) -> Result<Epoch, E>,
) -> Result<Fit, E> {
    if cursor.seq == Seq::ZERO || (cursor.seq <= head.seq && epoch_at(cursor.seq)? == cursor.epoch) {
        return Ok(Fit::Good(cursor));
    }
    last_shared(cursor, head, epoch_at).map(Fit::Reset)
}

/// The last event that a reader with `cursor` surely has as the log has it: the last one of the reader's epoch, up to the
/// cursor. No epoch gives a place twice, so who has a later event of the epoch has this one, and all before it. If the
/// log has none of that epoch, nothing is sure: epochs are taken at random where a log was put back, so that an earlier
/// number says nothing.
fn last_shared<E>(
    cursor: Cursor,
    head: Cursor,
    epoch_at: impl Fn(Seq) -> Result<Epoch, E>,
) -> Result<Cursor, E> {
    // Epochs never fall along a log.
    let (mut low, mut high) = (0, cursor.seq.0.min(head.seq.0));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if epoch_at(Seq(middle))? <= cursor.epoch {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    let start = Cursor { epoch: Epoch::FIRST, seq: Seq::ZERO };
    let epoch = if low == 0 { return Ok(start) } else { epoch_at(Seq(low))? };
    Ok(if epoch == cursor.epoch { Cursor { epoch, seq: Seq(low) } } else { start })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use proptest::prelude::*;

    fn log_of(epochs: &[u32]) -> impl Fn(Seq) -> Result<Epoch, Infallible> + '_ {
        |seq| Ok(Epoch(epochs[usize::try_from(seq.0).expect("small") - 1]))
    }

    fn head_of(epochs: &[u32]) -> Cursor {
        Cursor { epoch: Epoch(epochs.last().copied().unwrap_or(1)), seq: Seq(epochs.len() as u64) }
    }

    fn cursor(epoch: u32, seq: u64) -> Cursor {
        Cursor { epoch: Epoch(epoch), seq: Seq(seq) }
    }

    #[test]
    fn cursors_and_logs() {
        let log = [1, 1, 2, 2, 4];
        let table = [
            (cursor(1, 0), Fit::Good(cursor(1, 0))),
            (cursor(9, 0), Fit::Good(cursor(9, 0))),
            (cursor(1, 2), Fit::Good(cursor(1, 2))),
            (cursor(2, 3), Fit::Good(cursor(2, 3))),
            (cursor(4, 5), Fit::Good(cursor(4, 5))),
            (cursor(1, 3), Fit::Reset(cursor(1, 2))),
            (cursor(2, 9), Fit::Reset(cursor(2, 4))),
            (cursor(2, 1), Fit::Reset(cursor(1, 0))),
            (cursor(3, 5), Fit::Reset(cursor(1, 0))),
            (cursor(4, 9), Fit::Reset(cursor(4, 5))),
            (cursor(7, 9), Fit::Reset(cursor(1, 0))),
            (cursor(0, u64::MAX), Fit::Reset(cursor(1, 0))),
        ];
        for (asked, fit) in table {
            assert_eq!(compare(asked, head_of(&log), log_of(&log)), Ok(fit), "{asked:?}");
        }
    }

    proptest! {
        /// What is answered without a look at the log is what the log says; and the log is looked at only where it
        /// was repaired and the reader is not at its head.
        #[test]
        fn the_short_way_leads_to_the_same(
            steps in prop::collection::vec(prop_oneof![8 => Just(0u32), 1 => 1u32..3], 0..30),
            epoch in 0u32..5,
            seq in 0u64..40,
        ) {
            let mut epoch_now = 1;
            let log: Vec<u32> = steps.iter().map(|step| { epoch_now += step; epoch_now }).collect();
            let (asked, head) = (cursor(epoch, seq), head_of(&log));
            let long = compare(asked, head, log_of(&log)).expect("infallible");
            match at_once(Some(asked), head) {
                Some(short) => prop_assert_eq!(short, long),
                None => prop_assert!(head.epoch > Epoch::FIRST && asked != head && seq > 0),
            }
            prop_assert_eq!(at_once(None, head), Some(Fit::Good(head)));
            let good = seq == 0 || log.get(seq as usize - 1) == Some(&epoch);
            prop_assert_eq!(long == Fit::Good(asked), good);
        }
    }
}
