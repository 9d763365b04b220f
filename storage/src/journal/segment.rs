//! Segments: the files a journal consists of, their names, reading one, and writing to the last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use quip_protocol::Position;

use super::JournalError;
use super::entry::{BadEntry, Entries, MAGIC};
use super::header::{BadHeader, HEADER_BYTES, Header};
use crate::durable::sync_dir;

const READ_BUFFER: usize = 256 * 1024;

/// One file of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The offset of its first entry, which is its name.
    pub first: u64,
    pub path: PathBuf,
    /// Sealed and compressed.
    pub compressed: bool,
}

impl Segment {
    pub(super) fn plain(dir: &Path, first: u64) -> Segment {
        Segment { first, path: dir.join(Segment::name(first)), compressed: false }
    }

    /// The file name of a segment that is not compressed.
    pub(super) fn name(first: u64) -> String {
        format!("{first:020}.log")
    }

    /// The same segment, compressed.
    pub(super) fn to_compressed(&self) -> Segment {
        let path = self.path.with_added_extension("zst");
        Segment { path, compressed: true, ..*self }
    }

    fn parse(path: PathBuf) -> Option<Segment> {
        let name = path.file_name()?.to_str()?;
        let (digits, compressed) = match name.strip_suffix(".zst") {
            Some(name) => (name.strip_suffix(".log")?, true),
            None => (name.strip_suffix(".log")?, false),
        };
        let named = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        let first = digits.parse().ok().filter(|_| named)?;
        Some(Segment { first, path, compressed })
    }

    /// The size of the file.
    pub(super) fn bytes(&self) -> Result<u64, JournalError> {
        let metadata = fs::metadata(&self.path);
        Ok(metadata.map_err(|source| JournalError::io("read", &self.path, source))?.len())
    }

    /// Reads it from the start up to `limit` bytes.
    pub(super) fn read(&self, limit: u64) -> Result<SegmentReader, JournalError> {
        let open = || -> io::Result<Box<dyn Read + Send>> {
            let file = BufReader::with_capacity(READ_BUFFER, File::open(&self.path)?);
            if self.compressed {
                Ok(Box::new(zstd::Decoder::with_buffer(file)?.take(limit)))
            } else {
                Ok(Box::new(file.take(limit)))
            }
        };
        let mut reader = open().map_err(|source| JournalError::io("read", &self.path, source))?;
        let header = Header::read(&mut reader).map_err(|bad| self.bad_header(bad))?;
        let entries = Entries::new(reader, HEADER_BYTES as u64, header.seed(), header.before);
        Ok(SegmentReader { segment: self.clone(), header, entries, begun: false })
    }

    /// The same, in whichever form it is now: the background may have compressed it since it was met.
    pub(super) fn read_either(&self, limit: u64) -> Result<SegmentReader, JournalError> {
        match self.read(limit) {
            Err(JournalError::Io { .. }) if !self.compressed && !self.path.exists() => {
                self.to_compressed().read(limit)
            }
            opened => opened,
        }
    }

    fn bad_header(&self, bad: BadHeader) -> JournalError {
        match bad {
            BadHeader::Bad(why) => JournalError::corrupt(&self.path, 0, why),
            BadHeader::Newer(format) => JournalError::Newer { file: self.path.clone(), format },
            BadHeader::Io(error) => self.unreadable(0, error),
        }
    }

    /// What the decompressor can't read is damage, not a failing disk.
    fn unreadable(&self, byte: u64, error: io::Error) -> JournalError {
        if self.compressed {
            JournalError::corrupt(&self.path, byte, format!("it cannot be decompressed: {error}"))
        } else {
            JournalError::io("read", &self.path, error)
        }
    }
}

/// The segments in `dir`, oldest first. Where both forms of one are there, only the plain one: a crash has
/// interrupted the step that removes it, or the one that made the other.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let paths = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let mut segments = paths.collect::<io::Result<Vec<_>>>()?;
    let mut segments: Vec<Segment> = segments.drain(..).filter_map(Segment::parse).collect();
    segments.sort_by_key(|segment| (segment.first, segment.compressed));
    segments.dedup_by_key(|segment| segment.first);
    Ok(segments)
}

/// Removes what an interrupted compression left.
pub(super) fn tidy(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let stale = match Segment::parse(path.clone()) {
            Some(segment) => segment.compressed && path.with_extension("").exists(),
            None => path.extension().is_some_and(|extension| extension == "tmp"),
        };
        if stale {
            fs::remove_file(&path)?;
        }
    }
    sync_dir(dir)
}

/// Reads the entries of one segment.
pub(super) struct SegmentReader {
    segment: Segment,
    header: Header,
    entries: Entries<Box<dyn Read + Send>>,
    begun: bool,
}

impl SegmentReader {
    /// What the segment says of itself.
    pub(super) fn header(&self) -> Header {
        self.header
    }

    /// How many bytes header and entries read so far take, uncompressed.
    pub(super) fn byte(&self) -> u64 {
        self.entries.byte()
    }

    /// The last entry that was read; before the first, the one before the segment.
    pub(super) fn last(&self) -> Position {
        self.entries.last()
    }

    /// The next entry. Anything wrong is an error that names file and byte.
    pub(super) fn next(&mut self) -> Result<Option<(Position, Vec<u8>)>, JournalError> {
        let byte = self.byte();
        let entry = self.entries.next().map_err(|bad| self.error(byte, bad))?;
        if let Some((position, _)) = &entry
            && !self.begun
            && position.offset != self.segment.first
        {
            let why = format!("its first record has offset {}, not the one in its name", position.offset);
            return Err(JournalError::corrupt(&self.segment.path, byte, why));
        }
        self.begun = true;
        Ok(entry)
    }

    fn error(&self, at: u64, bad: BadEntry) -> JournalError {
        match bad {
            BadEntry::Bad { byte, why } => JournalError::corrupt(&self.segment.path, byte, why),
            BadEntry::Io(error) => self.segment.unreadable(at, error),
        }
    }
}

/// Where the first valid entry at or behind `from` starts in an uncompressed segment, if there is one.
pub(super) fn find_entry(path: &Path, seed: u32, from: u64) -> io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut from = file.seek(SeekFrom::Start(from))?;
    let mut window = Vec::new();
    loop {
        let read = (&mut file).take(READ_BUFFER as u64).read_to_end(&mut window)?;
        for at in window.windows(MAGIC.len()).enumerate().filter(|(_, w)| *w == MAGIC).map(|(at, _)| at) {
            if is_entry(path, seed, from + at as u64)? {
                return Ok(Some(from + at as u64));
            }
        }
        if read == 0 {
            return Ok(None);
        }
        // The magic may lie across two reads.
        let done = window.len().saturating_sub(MAGIC.len() - 1);
        window.drain(..done);
        from += done as u64;
    }
}

fn is_entry(path: &Path, seed: u32, byte: u64) -> io::Result<bool> {
    let mut file = BufReader::new(File::open(path)?);
    file.seek(SeekFrom::Start(byte))?;
    match Entries::new(file, byte, seed, Position::ZERO).next() {
        Ok(entry) => Ok(entry.is_some()),
        Err(BadEntry::Bad { .. }) => Ok(false),
        Err(BadEntry::Io(error)) => Err(error),
    }
}

/// A failure to come, for tests of what happens when a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Only so many bytes of the next write arrive.
    Write(usize),
    /// The next sync fails.
    Sync,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub segment: Segment,
    file: File,
    /// What the checksums of its entries start from.
    pub seed: u32,
    /// Bytes of the header and of whole, durable entries.
    pub bytes: u64,
}

impl ActiveSegment {
    /// A new one without entries. Name and header are durable before any entry is written: where there is one, a bad
    /// header is damage, and never what a crash left.
    pub(super) fn create(dir: &Path, segment: Segment, header: &Header) -> io::Result<ActiveSegment> {
        let mut file = OpenOptions::new().append(true).create_new(true).open(&segment.path)?;
        file.write_all(&header.bytes())?;
        file.sync_all()?;
        sync_dir(dir)?;
        Ok(ActiveSegment { segment, file, seed: header.seed(), bytes: HEADER_BYTES as u64 })
    }

    /// One that is there, with `bytes` bytes of header and entries.
    pub(super) fn reopen(segment: Segment, seed: u32, bytes: u64) -> io::Result<ActiveSegment> {
        let file = OpenOptions::new().append(true).open(&segment.path)?;
        Ok(ActiveSegment { segment, file, seed, bytes })
    }

    /// Forgets what is behind so many bytes.
    pub(super) fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.sync_all()?;
        self.bytes = bytes;
        Ok(())
    }

    /// It is not written to any more.
    pub(super) fn remove(&self, dir: &Path) -> io::Result<()> {
        fs::remove_file(&self.segment.path)?;
        sync_dir(dir)
    }

    /// One write and one sync.
    pub(super) fn append(&mut self, bytes: &[u8], fault: Option<Fault>) -> io::Result<()> {
        if let Some(Fault::Write(some)) = fault {
            self.file.write_all(&bytes[..some.min(bytes.len())])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(bytes)?;
        if let Some(Fault::Sync) = fault {
            return Err(io::Error::other("injected failure of fdatasync"));
        }
        self.file.sync_data()?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
