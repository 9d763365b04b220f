//! The journal: append-only files in which a group of commands is durable before anyone hears of it. Knows positions
//! and bytes, and nothing of what the bytes mean.
//!
//! A journal is a directory of segments, each named by the offset of its first record, and each beginning with a header
//! that says which one it follows on. Only the newest is written to; the others are sealed, and compressed in the background. What must stay true: a record that was acknowledged is
//! never skipped and never rewritten, and a file with which an operation failed is never written to again.

mod chain;
mod check;
mod compress;
mod entry;
mod header;
mod prefix;
mod reader;
mod recover;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use quip_protocol::Position;

pub use entry::MAX_PAYLOAD;
pub use reader::{EpochSpan, JournalReader};
pub use replay::Replay;
#[doc(hidden)]
pub use segment::Fault;

use crate::problem::Problem;
use compress::Compressor;
use entry::ENTRY_HEADER_BYTES;
use header::Header;
use reader::Extent;
use segment::{ActiveSegment, Segment};

/// A buffer that a large group has grown is given back above this.
const KEPT_BUFFER: usize = 1024 * 1024;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// A segment is sealed before an append makes it grow beyond this, in bytes. What one append writes may be larger.
    pub segment_bytes: u64,
    /// Whether sealed segments are compressed.
    pub compress: bool,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions { segment_bytes: 64 * 1024 * 1024, compress: true }
    }
}

/// Why the journal did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A record that is not the torn end of the newest segment can't be read.
    #[error("the journal is damaged: {} byte {offset}: {why}; restore that file from a backup", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// The byte where the bad record starts; in a compressed segment, of its uncompressed content.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// Segments are not there, or not the ones that were.
    #[error("the journal is incomplete: {} follows on {before}, which is not there; restore it from a backup", file.display())]
    Incomplete {
        /// The segment that says so.
        file: PathBuf,
        /// The name that the one before it had while it was written to.
        before: String,
    },
    /// A segment in a format that this version does not know.
    #[error("{} was written by a newer quipd (journal format {format}); use that one, or a newer one still", file.display())]
    Newer {
        /// The segment.
        file: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// An earlier write failed; nothing is retried on a file whose state is not known.
    #[error("the journal is read-only until restarted, because writing failed: {why}")]
    ReadOnly {
        /// The first failure.
        why: String,
    },
    /// More than a record may hold.
    #[error("a group of {bytes} bytes is over the journal's limit of {MAX_PAYLOAD}")]
    TooLarge {
        /// The payload's bytes.
        bytes: usize,
    },
    /// The position is not behind the last one.
    #[error("position {position} is not behind the journal's last, {last}")]
    OutOfOrder {
        /// The one that was to be appended.
        position: Position,
        /// The journal's last.
        last: Position,
    },
}

impl JournalError {
    fn io(action: &'static str, file: &Path, source: io::Error) -> JournalError {
        JournalError::Io { action, file: file.to_owned(), source }
    }

    fn corrupt(file: &Path, offset: u64, why: impl Into<String>) -> JournalError {
        JournalError::Corrupt { file: file.to_owned(), offset, why: why.into() }
    }
}

/// What [`Journal::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// All that is wrong.
    pub problems: Vec<Problem>,
    /// The last record that can be read; [`Position::ZERO`] if there is none.
    pub last: Position,
}

/// A journal that is open for writing. One writer; [`Replay`]s and [`JournalReader`]s of it read at the same time.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    options: JournalOptions,
    last: Position,
    active: Option<ActiveSegment>,
    /// All other segments, oldest first, in the form they had when they were met: a directory that is listed while
    /// the background renames in it may show neither form of a segment.
    sealed: Vec<Segment>,
    compressor: Option<Compressor>,
    /// Why nothing is written any more.
    failed: Option<String>,
    /// A record is laid out here, to be written at once.
    buffer: Vec<u8>,
    /// What its readers may read.
    extent: Extent,
    fault: Option<Fault>,
}

impl Journal {
    /// Opens the journal in `dir`, making it if there is none. The newest segment is read; a record at its end
    /// that was not completely written, and so never acknowledged, is cut off and, unless the disk is full, kept aside in
    /// a file `cut-<segment>-<byte>`.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] for a bad record with a valid one behind it, [`JournalError::Incomplete`] if a segment
    /// other than the newest is missing, [`JournalError::Newer`], and I/O errors.
    pub fn open(dir: impl Into<PathBuf>, options: JournalOptions) -> Result<Journal, JournalError> {
        let dir = dir.into();
        let tail = recover::open_tail(&dir)?;
        let compressor = start_compressor(&dir, &options, &tail.sealed)?;
        let journal = Journal {
            dir,
            options,
            last: tail.last,
            active: tail.active,
            sealed: tail.sealed,
            compressor,
            failed: None,
            buffer: Vec::new(),
            extent: Extent::default(),
            fault: None,
        };
        journal.show_all();
        Ok(journal)
    }

    /// The last record; [`Position::ZERO`] if there is none.
    pub fn last(&self) -> Position {
        self.last
    }

    /// Makes one group of commands durable: one write, one fdatasync. After an error of the disk every further
    /// append fails.
    ///
    /// # Errors
    /// [`JournalError::TooLarge`] and [`JournalError::OutOfOrder`] change nothing; [`JournalError::Io`] is the
    /// first failure of the disk, [`JournalError::ReadOnly`] every append after it.
    pub fn append(&mut self, position: Position, payload: &[u8]) -> Result<(), JournalError> {
        self.append_all(&[(position, payload)])
    }

    /// The same for several records, in order: one write, one fdatasync for all of them. Nothing is done for none.
    ///
    /// # Errors
    /// As [`Journal::append`]. After a failure of the disk any of them may be there, from the first on.
    pub fn append_all<P: AsRef<[u8]>>(&mut self, records: &[(Position, P)]) -> Result<(), JournalError> {
        if let Some(why) = &self.failed {
            return Err(JournalError::ReadOnly { why: why.clone() });
        }
        let Some(last) = self.checked(records)? else { return Ok(()) };
        let written = self.write(records);
        self.buffer.shrink_to(KEPT_BUFFER);
        match written {
            Ok(()) => self.last = last,
            Err(error) => {
                self.failed = Some(error.to_string());
                return Err(error);
            }
        }
        self.extent.grow(last, self.active.as_ref().map_or(0, |active| active.bytes));
        Ok(())
    }

    /// The last of the records, if all are behind what is there and behind each other.
    fn checked<P: AsRef<[u8]>>(&self, records: &[(Position, P)]) -> Result<Option<Position>, JournalError> {
        let mut last = self.last;
        for (position, payload) in records {
            let bytes = payload.as_ref().len();
            if bytes > MAX_PAYLOAD {
                return Err(JournalError::TooLarge { bytes });
            }
            if position.offset <= last.offset || position.epoch < last.epoch {
                return Err(JournalError::OutOfOrder { position: *position, last });
            }
            last = *position;
        }
        Ok((!records.is_empty()).then_some(last))
    }

    /// Cuts off what is behind `last`, which was never acknowledged; in the newest segment alone. After an append of several
    /// records failed, some of them may be there.
    ///
    /// # Errors
    /// [`JournalError::OutOfOrder`] when `last` is not in that segment, and I/O errors.
    pub fn cut_behind(&mut self, last: Position) -> Result<(), JournalError> {
        if last == self.last {
            return Ok(());
        }
        let missing = JournalError::OutOfOrder { position: last, last: self.last };
        let Some(active) = &mut self.active else { return Err(missing) };
        let mut reader = active.segment.read(active.bytes)?;
        while reader.last() < last && reader.next()?.is_some() {}
        if reader.last() != last {
            return Err(missing);
        }
        let path = active.segment.path.clone();
        let is_empty = last == reader.header().before;
        let cut = if is_empty { active.remove(&self.dir) } else { active.cut(reader.byte()) };
        cut.map_err(|source| JournalError::io("cut", &path, source))?;
        self.active.take_if(|_| is_empty);
        self.last = last;
        self.show_all();
        Ok(())
    }

    /// Reads what is durable, while this writes.
    pub fn reader(&self) -> JournalReader {
        self.extent.reader()
    }

    /// From now on this reader, of a journal that was here before, reads this one.
    pub fn show_to(&mut self, reader: &JournalReader) {
        self.extent = Extent::of(reader);
        self.show_all();
    }

    fn show_all(&self) {
        let active = self.active.as_ref().map(|active| (active.segment.clone(), active.bytes));
        self.extent.show(self.last, self.sealed.clone(), active);
    }

    /// Everything behind `behind`, up to the last record of now.
    ///
    /// # Errors
    /// When the first file to be read can't be opened. Damage shows when it is met.
    pub fn replay(&self, behind: Position) -> Result<Replay, JournalError> {
        let sealed = self.sealed.iter().map(|segment| (segment.clone(), u64::MAX));
        // A record that failed half written is not read.
        let active = self.active.iter().map(|active| (active.segment.clone(), active.bytes));
        Replay::new(sealed.chain(active).collect(), behind)
    }

    /// What the last record holds; nothing if there is none.
    ///
    /// # Errors
    /// When what is before it in its segment can't be read.
    pub fn last_payload(&self) -> Result<Option<Vec<u8>>, JournalError> {
        let before = Position { offset: self.last.offset.saturating_sub(1), ..self.last };
        Ok(self.replay(before)?.next().transpose()?.map(|(_, payload)| payload))
    }

    /// Whether there is a record at exactly this position. [`Position::ZERO`] is before every first one.
    ///
    /// # Errors
    /// When what is before it in its segment can't be read.
    pub fn holds(&self, position: Position) -> Result<bool, JournalError> {
        self.reader().holds(position)
    }

    /// Verifies every record of the journal in `dir`, which nobody writes to meanwhile, and says all that is wrong,
    /// with file and byte. Changes nothing; a record that a crash left incomplete at the very end is a problem too,
    /// until [`Journal::open`] has cut it off. A directory that is not there is an empty journal.
    ///
    /// # Errors
    /// When a file can't be read at all, or is of a newer version.
    pub fn check(dir: &Path) -> Result<Checked, JournalError> {
        check::check(dir)
    }

    /// Makes the next append fail.
    #[doc(hidden)]
    pub fn fail_next(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Writes records, in a new segment if they do not fit into the present one.
    fn write<P: AsRef<[u8]>>(&mut self, records: &[(Position, P)]) -> Result<(), JournalError> {
        let fault = self.fault.take();
        let bytes = |(_, payload): &(Position, P)| (ENTRY_HEADER_BYTES + payload.as_ref().len()) as u64;
        let bytes: u64 = records.iter().map(bytes).sum();
        let first = records.first().map_or(0, |(position, _)| position.offset);
        let fits = |active: &ActiveSegment| active.bytes + bytes <= self.options.segment_bytes;
        let mut active = match self.active.take() {
            Some(active) if fits(&active) => active,
            full => self.roll(full, first)?,
        };
        self.buffer.clear();
        for (position, payload) in records {
            entry::put(&mut self.buffer, active.seed, *position, payload.as_ref());
        }
        let written = active.append(&self.buffer, fault);
        let active = self.active.insert(active);
        written.map_err(|source| JournalError::io("write", &active.segment.path, source))
    }

    /// A new segment, which begins with the record at `first`; `full` is sealed.
    fn roll(&mut self, full: Option<ActiveSegment>, first: u64) -> Result<ActiveSegment, JournalError> {
        let full = full.map(|full| full.segment);
        self.sealed.extend(full.clone());
        let follows = self.sealed.last().map_or(0, |segment| segment.first);
        let segment = Segment::plain(&self.dir, first);
        let path = segment.path.clone();
        let created = Header::new(self.last, follows)
            .and_then(|header| ActiveSegment::create(&self.dir, segment, &header))
            .map_err(|source| JournalError::io("write", &path, source))?;
        self.extent.roll(created.segment.clone());
        if let Some((compressor, full)) = self.compressor.as_ref().zip(full) {
            compressor.push(full);
        }
        Ok(created)
    }
}

fn start_compressor(
    dir: &Path,
    options: &JournalOptions,
    sealed: &[Segment],
) -> Result<Option<Compressor>, JournalError> {
    if !options.compress {
        return Ok(None);
    }
    let compressor = Compressor::start(dir.to_owned())
        .map_err(|source| JournalError::io("start compressing", dir, source))?;
    for segment in sealed.iter().filter(|segment| !segment.compressed) {
        compressor.push(segment.clone());
    }
    Ok(Some(compressor))
}
