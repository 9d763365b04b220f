//! Reading a journal while it is written: up to what is durable, from any thread. Imports segments and replays.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quip_protocol::{Epoch, Position};

use super::prefix;
use super::segment::Segment;
use super::{JournalError, Replay};

/// What of a journal can be read: what its writer made durable.
#[derive(Debug, Clone, Default)]
struct Shown {
    last: Position,
    sealed: Vec<Segment>,
    /// The one that is written to, and how many bytes of it are durable.
    active: Option<(Segment, u64)>,
}

impl Shown {
    /// All segments in order, each with the bytes of it that may be read.
    fn segments(&self) -> Vec<(Segment, u64)> {
        let sealed = self.sealed.iter().map(|segment| (segment.clone(), u64::MAX));
        sealed.chain(self.active.clone()).collect()
    }
}

/// The writer's end.
#[derive(Debug, Default)]
pub(super) struct Extent(Arc<Mutex<Shown>>);

impl Extent {
    /// The one that this reader looks at.
    pub(super) fn of(reader: &JournalReader) -> Extent {
        Extent(Arc::clone(&reader.shown))
    }

    pub(super) fn reader(&self) -> JournalReader {
        JournalReader { shown: Arc::clone(&self.0) }
    }

    /// This is all there is.
    pub(super) fn show(&self, last: Position, sealed: Vec<Segment>, active: Option<(Segment, u64)>) {
        *lock(&self.0) = Shown { last, sealed, active };
    }

    /// The active segment has so many bytes now.
    pub(super) fn grow(&self, last: Position, bytes: u64) {
        let mut shown = lock(&self.0);
        shown.last = last;
        if let Some((_, durable)) = &mut shown.active {
            *durable = bytes;
        }
    }

    /// The active segment is sealed, and this one, without a record yet, is the active one.
    pub(super) fn roll(&self, active: Segment) {
        let mut shown = lock(&self.0);
        let full = shown.active.replace((active, super::header::HEADER_BYTES as u64));
        shown.sealed.extend(full.map(|(segment, _)| segment));
    }
}

/// Nothing panics while it is held, and each change is whole.
fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a journal that is written at the same time. Clones read the same.
#[derive(Debug, Clone)]
pub struct JournalReader {
    shown: Arc<Mutex<Shown>>,
}

/// Where the records of one epoch lie in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochSpan {
    /// Which.
    pub epoch: Epoch,
    /// The offset of its first record.
    pub first: u64,
    /// The offset of its last one.
    pub last: u64,
}

impl JournalReader {
    /// The last durable record; [`Position::ZERO`] if there is none.
    pub fn last(&self) -> Position {
        lock(&self.shown).last
    }

    /// Everything behind `behind`, up to the last durable record of now.
    ///
    /// # Errors
    /// When the first file to be read can't be opened. Damage shows when it is met.
    pub fn replay(&self, behind: Position) -> Result<Replay, JournalError> {
        let shown = lock(&self.shown).clone();
        Replay::new(shown.segments(), behind)
    }

    /// The records behind `behind`, of about so many bytes, at least one if there is one. Whoever reads on and on takes
    /// [`JournalReader::replay`]: each of these begins at the start of a segment.
    ///
    /// # Errors
    /// When a file can't be read, or is damaged.
    pub fn block(
        &self,
        behind: Position,
        max_bytes: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, JournalError> {
        let mut bytes = 0;
        let mut block = Vec::new();
        for record in self.replay(behind)? {
            let (position, payload) = record?;
            bytes += payload.len();
            if !block.is_empty() && bytes > max_bytes {
                break;
            }
            block.push((position, payload));
        }
        Ok(block)
    }

    /// Makes in `to`, which is not there, a journal of its own with the records up to `last`. Whole segments are shared with
    /// this one and not copied, where the file system can; neither journal ever writes to those. Durable but for the name
    /// of `to`.
    ///
    /// # Errors
    /// [`JournalError::OutOfOrder`] when there is no record `last`, and I/O errors; what was made may be there then.
    pub fn prefix(&self, last: Position, to: &Path) -> Result<(), JournalError> {
        let shown = lock(&self.shown).clone();
        prefix::make(&shown.segments(), last, to)
    }

    /// Whether there is a record at exactly this position. [`Position::ZERO`] is before every first one.
    ///
    /// # Errors
    /// When what is before it in its segment can't be read.
    pub fn holds(&self, position: Position) -> Result<bool, JournalError> {
        if position == self.last() || position == Position::ZERO {
            return Ok(true);
        }
        let before = Position { offset: position.offset.saturating_sub(1), ..position };
        let found = self.replay(before)?.next().transpose()?;
        Ok(found.is_some_and(|(found, _)| found == position))
    }

    /// All epochs of which there are records, in order. A segment is read only where its epoch changes within it; memory
    /// is taken for one record at a time.
    ///
    /// # Errors
    /// When a file can't be read, or is damaged.
    pub fn epochs(&self) -> Result<Vec<EpochSpan>, JournalError> {
        let shown = lock(&self.shown).clone();
        let segments = shown.segments();
        let mut spans = Vec::new();
        for (at, (segment, limit)) in segments.iter().enumerate() {
            let before = header_of(segment, *limit)?;
            let last = match segments.get(at + 1) {
                Some((next, limit)) => header_of(next, *limit)?,
                None => shown.last,
            };
            // Epochs never fall: with the same at both ends there is no other between.
            if before.epoch == last.epoch {
                if before != last {
                    note(&mut spans, Position { offset: segment.first, ..last });
                    note(&mut spans, last);
                }
                continue;
            }
            let mut reader = segment.read_either(*limit)?;
            while let Some((position, _)) = reader.next()? {
                note(&mut spans, position);
            }
        }
        Ok(spans)
    }
}

/// The last record before the segment.
fn header_of(segment: &Segment, limit: u64) -> Result<Position, JournalError> {
    Ok(segment.read_either(limit)?.header().before)
}

fn note(spans: &mut Vec<EpochSpan>, Position { epoch, offset }: Position) {
    match spans.last_mut() {
        Some(span) if span.epoch == epoch => span.last = offset,
        _ => spans.push(EpochSpan { epoch, first: offset, last: offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Journal, JournalOptions};
    use super::*;

    fn at(epoch: u32, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn open(dir: &std::path::Path, segment_bytes: u64) -> Journal {
        Journal::open(dir, JournalOptions { segment_bytes, compress: true }).unwrap()
    }

    fn offsets(reader: &JournalReader, behind: Position) -> Vec<u64> {
        reader.replay(behind).unwrap().map(|record| record.unwrap().0.offset).collect()
    }

    #[test]
    fn what_is_durable_is_read_while_it_is_written_and_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), 300);
        let reader = journal.reader();
        for n in 1..40u64 {
            let records: Vec<_> = (n * 3..n * 3 + 3).map(|offset| (at(1, offset), [7; 20])).collect();
            journal.append_all(&records).unwrap();
            assert_eq!(reader.last(), at(1, n * 3 + 2));
            assert_eq!(offsets(&reader.clone(), Position::ZERO), (3..n * 3 + 3).collect::<Vec<_>>());
            assert_eq!(offsets(&reader, at(1, n * 3)), [n * 3 + 1, n * 3 + 2]);
            assert!(reader.holds(at(1, n * 3)).unwrap() && !reader.holds(at(1, n * 3 + 3)).unwrap());
        }
        let block = reader.block(at(1, 10), 50).unwrap();
        assert_eq!(block.iter().map(|(position, _)| position.offset).collect::<Vec<_>>(), [11, 12]);
        assert_eq!(reader.block(at(1, 10), 1).unwrap().len(), 1, "at least one");
        assert_eq!(reader.block(reader.last(), 1).unwrap(), []);
    }

    #[test]
    fn a_reader_goes_on_with_the_journal_that_was_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), 1000);
        let reader = journal.reader();
        journal.append(at(1, 1), b"one").unwrap();
        drop(journal);
        let mut journal = open(dir.path(), 1000);
        journal.show_to(&reader);
        journal.append(at(1, 2), b"two").unwrap();
        assert_eq!((reader.last(), offsets(&reader, Position::ZERO)), (at(1, 2), vec![1, 2]));
    }

    #[test]
    fn each_epoch_is_told_with_its_ends() {
        let all = [(1, 1), (1, 2), (1, 3), (4, 4), (4, 5), (9, 6), (9, 7), (9, 8), (9, 9)];
        for segment_bytes in [1, 100, 150, 200, 10_000] {
            for count in 0..=all.len() {
                let dir = tempfile::tempdir().unwrap();
                let mut journal = open(dir.path(), segment_bytes);
                let mut expected: Vec<EpochSpan> = Vec::new();
                for (epoch, offset) in &all[..count] {
                    journal.append(at(*epoch, *offset), b"x").unwrap();
                    note(&mut expected, at(*epoch, *offset));
                }
                assert_eq!(journal.reader().epochs().unwrap(), expected, "{segment_bytes} bytes, {count}");
                drop(journal);
                let opened = open(dir.path(), segment_bytes);
                assert_eq!(opened.reader().epochs().unwrap(), expected, "opened again");
            }
        }
    }

    #[test]
    fn of_several_records_those_that_were_not_acknowledged_are_cut_off() {
        for (before, segment_bytes) in [(0, 1000), (1, 1000), (1, 30), (3, 1000)] {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = open(dir.path(), segment_bytes);
            (1..=before).for_each(|offset| journal.append(at(1, offset), b"x").unwrap());
            journal.fail_next(super::super::Fault::Write(60));
            let records = [before + 1, before + 2, before + 3].map(|offset| (at(2, offset), b"y"));
            journal.append_all(&records).unwrap_err();
            let reader = journal.reader();
            assert_eq!(reader.last().offset, before, "nothing that failed is shown");
            drop(journal);
            let mut journal = open(dir.path(), segment_bytes);
            assert_eq!(journal.last(), at(2, before + 2), "two of three were written");
            let last = if before == 0 { Position::ZERO } else { at(1, before) };
            journal.cut_behind(last).unwrap();
            journal.append_all(&records).unwrap();
            drop(journal);
            let journal = open(dir.path(), segment_bytes);
            assert_eq!(offsets(&journal.reader(), Position::ZERO), (1..=before + 3).collect::<Vec<_>>());
            assert_eq!(Journal::check(dir.path()).unwrap().problems, []);
        }
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path(), 1);
        (1..=3).for_each(|offset| journal.append(at(1, offset), b"x").unwrap());
        assert!(journal.cut_behind(at(1, 1)).is_err(), "never what is sealed");
    }
}
