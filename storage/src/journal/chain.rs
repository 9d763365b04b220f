//! Whether segments follow on each other: by their names, which takes no more than their headers, and by the records
//! at their ends.

use std::path::Path;

use quip_protocol::Position;

use super::JournalError;
use super::header::Header;
use super::segment::Segment;

/// Reads the headers of all segments, oldest first, and makes sure that none is missing between or before them.
pub(super) fn verify<'a>(segments: impl Iterator<Item = &'a Segment>) -> Result<(), JournalError> {
    let mut before = 0;
    for segment in segments {
        follows(segment, &segment.read(u64::MAX)?.header(), before)?;
        before = segment.first;
    }
    Ok(())
}

/// Makes sure that a segment follows on the one named `before`; 0 is none.
pub(super) fn follows(segment: &Segment, header: &Header, before: u64) -> Result<(), JournalError> {
    if header.follows == before {
        return Ok(());
    }
    let file = segment.path.clone();
    Err(match header.follows {
        0 => JournalError::corrupt(&file, 0, "it says that it is the first, and there is one before it"),
        missing => JournalError::Incomplete { file, before: Segment::name(missing) },
    })
}

/// Makes sure that the segment in `file` follows on a record.
pub(super) fn joins(file: &Path, header: &Header, last: Position) -> Result<(), JournalError> {
    if header.before == last {
        return Ok(());
    }
    let why = format!("it follows on record {}, but the file before it ends with {last}", header.before);
    Err(JournalError::corrupt(file, 0, why))
}
