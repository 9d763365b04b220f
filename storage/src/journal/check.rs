//! Verifying a journal: every segment, every record, and every problem, not only the first.

use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

use quip_protocol::Position;

use super::entry::{BadEntry, Entries};
use super::header::HEADER_BYTES;
use super::segment::{Segment, SegmentReader, find_entry, list};
use super::{Checked, JournalError, chain};
use crate::problem::Problem;

/// Reads all of the journal in `dir`, which nobody writes to meanwhile.
pub(super) fn check(dir: &Path) -> Result<Checked, JournalError> {
    let mut check = Check { problems: Vec::new(), last: Position::ZERO, before: 0, unsure: false };
    let segments = match list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|source| JournalError::io("read", dir, source))?,
    };
    let newest = segments.last().map(|segment| segment.first);
    for segment in &segments {
        check.segment(segment, Some(segment.first) == newest)?;
        check.before = segment.first;
    }
    Ok(Checked { problems: check.problems, last: check.last })
}

struct Check {
    problems: Vec<Problem>,
    last: Position,
    /// The name of the segment before; 0 is none.
    before: u64,
    /// Whether that one could not be read to its end, so that `last` may not be its last record.
    unsure: bool,
}

impl Check {
    fn segment(&mut self, segment: &Segment, newest: bool) -> Result<(), JournalError> {
        let unsure = std::mem::replace(&mut self.unsure, true);
        // A crash leaves no more than that before the first record, and the next start removes it.
        if newest && !segment.compressed && segment.bytes()? <= HEADER_BYTES as u64 {
            return Ok(());
        }
        let mut reader = match segment.read(u64::MAX) {
            Err(JournalError::Corrupt { offset, why, .. }) => {
                self.report(&segment.path, offset, why);
                return Ok(());
            }
            opened => opened?,
        };
        self.chain(segment, &reader, unsure);
        let before = self.problems.len();
        self.records(segment, &mut reader)?;
        if reader.last() == reader.header().before && before == self.problems.len() {
            self.report(&segment.path, 0, "it holds no record");
        }
        Ok(())
    }

    /// A segment that is missing is told once, by the one that follows on it.
    fn chain(&mut self, segment: &Segment, reader: &SegmentReader, unsure: bool) {
        let header = reader.header();
        let joined = chain::follows(segment, &header, self.before).and_then(|()| match unsure {
            true => Ok(()),
            false => chain::joins(&segment.path, &header, self.last),
        });
        match joined {
            Err(JournalError::Corrupt { why, .. }) => self.report(&segment.path, 0, why),
            Err(error) => {
                self.problems.push(Problem::new(segment.path.display().to_string(), error.to_string()))
            }
            Ok(()) => {}
        }
    }

    /// Reads a segment to its end, going on at the next valid record where one is bad.
    fn records(&mut self, segment: &Segment, reader: &mut SegmentReader) -> Result<(), JournalError> {
        loop {
            match reader.next() {
                Ok(Some((position, _))) => self.last = position,
                Ok(None) => {
                    self.unsure = false;
                    return Ok(());
                }
                Err(JournalError::Corrupt { offset, why, .. }) => {
                    self.report(&segment.path, offset, why);
                    if !segment.compressed {
                        self.after_bad(segment, reader.header().seed(), offset + 1)?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The records of an uncompressed segment from `from` on, which lies within a bad one.
    fn after_bad(&mut self, segment: &Segment, seed: u32, mut from: u64) -> Result<(), JournalError> {
        let io = |source| JournalError::io("read", &segment.path, source);
        while let Some(found) = find_entry(&segment.path, seed, from).map_err(io)? {
            let mut file = std::fs::File::open(&segment.path).map_err(io)?;
            file.seek(SeekFrom::Start(found)).map_err(io)?;
            let mut entries = Entries::new(BufReader::new(file), found, seed, self.last);
            from = loop {
                match entries.next() {
                    Ok(Some((position, _))) => self.last = position,
                    Ok(None) => return Ok(()),
                    Err(BadEntry::Io(error)) => return Err(io(error)),
                    Err(BadEntry::Bad { byte, why }) => {
                        self.report(&segment.path, byte, why);
                        break byte + 1;
                    }
                }
            };
        }
        Ok(())
    }

    fn report(&mut self, path: &Path, byte: u64, why: impl Into<String>) {
        self.problems.push(Problem::new(format!("{} byte {byte}", path.display()), why));
    }
}
