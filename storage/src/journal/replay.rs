//! Reading a journal from a position on.

use std::collections::VecDeque;

use quip_protocol::Position;

use super::JournalError;
use super::chain;
use super::segment::{Segment, SegmentReader};

/// Everything behind a position, in order, up to what was there when it was made. Ends with the first error.
pub struct Replay {
    /// Segments yet to be read, each with the bytes of it that may be read.
    segments: VecDeque<(Segment, u64)>,
    reader: Option<SegmentReader>,
    behind: u64,
    /// The last record that was read; none before the first.
    last: Option<Position>,
}

impl Replay {
    /// `segments` are in order; those that end before `behind` are left out.
    pub(super) fn new(segments: Vec<(Segment, u64)>, behind: Position) -> Result<Replay, JournalError> {
        let needless = segments
            .iter()
            .skip(1)
            .take_while(|(next, _)| next.first <= behind.offset.saturating_add(1))
            .count();
        let segments = segments.into_iter().skip(needless).collect();
        let mut replay = Replay { segments, reader: None, behind: behind.offset, last: None };
        replay.open_next()?;
        Ok(replay)
    }

    fn entry(&mut self) -> Result<Option<(Position, Vec<u8>)>, JournalError> {
        loop {
            if self.reader.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            match reader.next()? {
                Some((position, payload)) => {
                    self.last = Some(position);
                    if position.offset > self.behind {
                        return Ok(Some((position, payload)));
                    }
                }
                None => self.reader = None,
            }
        }
    }

    fn open_next(&mut self) -> Result<bool, JournalError> {
        let Some((segment, limit)) = self.segments.pop_front() else { return Ok(false) };
        let opened = segment.read_either(limit)?;
        if let Some(last) = self.last {
            chain::joins(&segment.path, &opened.header(), last)?;
        }
        self.reader = Some(opened);
        Ok(true)
    }
}

impl Iterator for Replay {
    type Item = Result<(Position, Vec<u8>), JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry().transpose();
        if matches!(entry, Some(Err(_))) {
            self.segments.clear();
            self.reader = None;
        }
        entry
    }
}
