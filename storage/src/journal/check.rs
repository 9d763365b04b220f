//! Verifying a journal: every segment, every record, and every problem, not only the first.

use std::path::Path;

use super::JournalError;
use super::entry::{BadEntry, Entries};
use super::segment::{Segment, find_entry, list};
use crate::problem::Problem;

/// Reads all of the journal in `dir`, which nobody writes to meanwhile.
pub(super) fn check(dir: &Path) -> Result<Vec<Problem>, JournalError> {
    let segments = list(dir).map_err(|source| JournalError::io("read", dir, source))?;
    let mut check = Check { problems: Vec::new(), last: 0 };
    let newest = segments.last().map(|segment| segment.first);
    for segment in &segments {
        check.segment(segment, Some(segment.first) == newest)?;
    }
    Ok(check.problems)
}

struct Check {
    problems: Vec<Problem>,
    last: u64,
}

impl Check {
    fn segment(&mut self, segment: &Segment, newest: bool) -> Result<(), JournalError> {
        let before = self.problems.len();
        let bytes = self.records(segment)?;
        if bytes == 0 && !newest && before == self.problems.len() {
            self.report(&segment.path, 0, "it holds no record");
        }
        Ok(())
    }

    /// Reads a segment to its end, going on at the next valid record where one is bad.
    fn records(&mut self, segment: &Segment) -> Result<u64, JournalError> {
        let mut reader = segment.read(u64::MAX, self.last)?;
        loop {
            match reader.next() {
                Ok(Some((position, _))) => self.last = position.offset,
                Ok(None) => return Ok(reader.byte()),
                Err(JournalError::Corrupt { offset, why, .. }) => {
                    self.report(&segment.path, offset, why);
                    if !segment.compressed {
                        self.after_bad(segment, offset + 1)?;
                    }
                    return Ok(reader.byte());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The records of an uncompressed segment from `from` on, which lies within a bad one.
    fn after_bad(&mut self, segment: &Segment, mut from: u64) -> Result<(), JournalError> {
        let io = |source| JournalError::io("read", &segment.path, source);
        while let Some(found) = find_entry(&segment.path, from).map_err(io)? {
            let mut file = std::fs::File::open(&segment.path).map_err(io)?;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(found)).map_err(io)?;
            let mut entries = Entries::new(std::io::BufReader::new(file), found, self.last);
            from = loop {
                match entries.next() {
                    Ok(Some((position, _))) => self.last = position.offset,
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
