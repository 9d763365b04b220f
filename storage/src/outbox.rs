//! The outbox: what a client has yet to deliver, in a file of its own that outlives crashes. Imports the protocol's
//! types.
//!
//! The file is only ever appended to: `magic, payload length: u32, crc32c: u32, payload`, little endian. A record that
//! was cut off at the end is removed; one that is damaged in between is left out, and the file kept beside. When
//! nothing is left to deliver the file is emptied.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quip_protocol::codec::{decode, encode};
use quip_protocol::frame::Request;
use quip_protocol::{MessageId, Refusal, RoomId, Seq, Target, Timestamp};
use serde::{Deserialize, Serialize};

use crate::durable::sync_parent;

/// Its first and last byte never occur in UTF-8, so that no text of a user looks like a record.
const MAGIC: [u8; 4] = [0xF5, b'q', b'o', 0xFE];
const HEADER_BYTES: usize = 12;
/// With more finished records than this the file is written anew when it is opened.
const MOST_DEAD: usize = 1_000;

/// Why the outbox cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The operating system refused.
    #[error("cannot {action} the outbox {}: {source}; check that the disk has room", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Something to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where, as it is shown.
    pub target: Target,
    /// When it was made.
    pub at: Timestamp,
    /// A `Post`, `Edit`, `Delete` or `React`.
    pub request: Request,
}

/// Something that is not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is.
    pub entry: Entry,
    /// Why the server does not take it, if it was asked.
    pub refused: Option<Refusal>,
}

/// The idempotency key of what an outbox can hold; `None` for any other request.
pub fn id(request: &Request) -> Option<MessageId> {
    match request {
        Request::Post { id, .. }
        | Request::Edit { id, .. }
        | Request::Delete { id, .. }
        | Request::React { id, .. } => Some(*id),
        _ => None,
    }
}

/// One line of the file. Variants are only ever added at the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Record {
    Added(Entry),
    Ended(MessageId),
    Refused(MessageId, Refusal),
    Read(RoomId, Seq),
    Told(RoomId, Seq),
}

/// What the records of a file come to.
#[derive(Debug, Default)]
struct Contents {
    kept: Vec<Kept>,
    marks: BTreeMap<RoomId, Seq>,
    /// Records that say nothing any more.
    dead: usize,
}

impl Contents {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Added(entry) => self.kept.push(Kept { entry, refused: None }),
            Record::Ended(id) => {
                self.kept.retain(|kept| self::id(&kept.entry.request) != Some(id));
                self.dead += 2;
            }
            Record::Refused(id, refusal) => {
                self.dead += 1;
                let found = self.kept.iter_mut().find(|kept| self::id(&kept.entry.request) == Some(id));
                if let Some(kept) = found {
                    kept.refused = Some(refusal);
                }
            }
            Record::Read(room, seq) => {
                self.dead += 1;
                let mark = self.marks.entry(room).or_default();
                *mark = seq.max(*mark);
            }
            Record::Told(room, seq) => {
                self.dead += 1;
                if self.marks.get(&room).is_some_and(|mark| *mark <= seq) {
                    self.marks.remove(&room);
                }
            }
        }
    }

    /// The shortest records that come to the same.
    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for Kept { entry, refused } in &self.kept {
            records.push(Record::Added(entry.clone()));
            if let (Some(id), Some(refusal)) = (id(&entry.request), refused) {
                records.push(Record::Refused(id, refusal.clone()));
            }
        }
        records.extend(self.marks.iter().map(|(room, seq)| Record::Read(*room, *seq)));
        records
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.marks.is_empty()
    }
}

/// The outbox. Its owner holds the lock of the directory that it lies in.
#[derive(Debug)]
pub struct Outbox {
    path: PathBuf,
    /// `None` once something failed: what may be half there is cut off before more is written.
    file: Option<File>,
    /// What is written and was not said to have failed.
    bytes: u64,
    contents: Contents,
}

impl Outbox {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// When it can't be read or written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Outbox, OutboxError> {
        let path = path.into();
        let failed = |action, source| OutboxError::Io { action, path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed("read", error)),
        };
        let Scanned { contents, end, damaged } = scan(&bytes);
        if damaged {
            set_aside(&path).map_err(|error| failed("set aside", error))?;
        }
        if damaged || contents.dead > MOST_DEAD {
            rewrite(&path, &contents).map_err(|error| failed("write", error))?;
        }
        let opened = open_file(&path, (!damaged && contents.dead <= MOST_DEAD).then_some(end as u64));
        let (file, bytes) = opened.map_err(|error| failed("open", error))?;
        Ok(Outbox { path, file: Some(file), bytes, contents })
    }

    /// What is not delivered, in the order in which it was added.
    pub fn kept(&self) -> &[Kept] {
        &self.contents.kept
    }

    /// Read markers that the server is to be told, by room.
    pub fn marks(&self) -> impl Iterator<Item = (RoomId, Seq)> {
        self.contents.marks.iter().map(|(room, seq)| (*room, *seq))
    }

    /// Adds something to deliver. It survives a power cut when this returns.
    ///
    /// # Errors
    /// When it can't be written; then it is not added.
    pub fn add(&mut self, entry: Entry) -> Result<(), OutboxError> {
        let record = Record::Added(entry);
        self.append(&record, true)?;
        self.contents.apply(record);
        Ok(())
    }

    /// It is delivered, or was dropped.
    ///
    /// # Errors
    /// When that can't be written; at worst it is delivered again, under the same id.
    pub fn end(&mut self, id: MessageId) -> Result<(), OutboxError> {
        if self.contents.kept.iter().all(|kept| self::id(&kept.entry.request) != Some(id)) {
            return Ok(());
        }
        self.note(Record::Ended(id))
    }

    /// The server does not take it.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn refused(&mut self, id: MessageId, refusal: Refusal) -> Result<(), OutboxError> {
        self.note(Record::Refused(id, refusal))
    }

    /// The account has read the room up to `seq`.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn read(&mut self, room: RoomId, seq: Seq) -> Result<(), OutboxError> {
        match self.contents.marks.get(&room) {
            Some(mark) if *mark >= seq => Ok(()),
            _ => self.note(Record::Read(room, seq)),
        }
    }

    /// The server was told that the room is read up to `seq`.
    ///
    /// # Errors
    /// When that can't be written.
    pub fn told(&mut self, room: RoomId, seq: Seq) -> Result<(), OutboxError> {
        if self.contents.marks.contains_key(&room) { self.note(Record::Told(room, seq)) } else { Ok(()) }
    }

    /// Writes what may be lost in a power cut.
    fn note(&mut self, record: Record) -> Result<(), OutboxError> {
        self.append(&record, false)?;
        self.contents.apply(record);
        if self.contents.is_empty() {
            self.cut(0)?;
            self.contents.dead = 0;
        }
        Ok(())
    }

    fn append(&mut self, record: &Record, durable: bool) -> Result<(), OutboxError> {
        let bytes = framed(record);
        let write = |file: &mut File| {
            file.write_all(&bytes)?;
            if durable { file.sync_data() } else { Ok(()) }
        };
        match self.file().and_then(write) {
            Ok(()) => self.bytes += bytes.len() as u64,
            Err(source) => {
                // What was said not to be kept must not turn up at the next start.
                let _ = self.cut(self.bytes);
                self.file = None;
                return Err(OutboxError::Io { action: "write", path: self.path.clone(), source });
            }
        }
        Ok(())
    }

    /// The file, opened again if it failed: a disk that was full need not be.
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open_file(&self.path, Some(self.bytes))?.0,
        };
        Ok(self.file.insert(file))
    }

    fn cut(&mut self, bytes: u64) -> Result<(), OutboxError> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |source| OutboxError::Io { action: "cut", path: self.path.clone(), source };
        file.set_len(bytes).map_err(failed)?;
        self.bytes = bytes;
        Ok(())
    }
}

struct Scanned {
    contents: Contents,
    /// Where the last whole record ends.
    end: usize,
    /// Whether there is something else between records.
    damaged: bool,
}

fn scan(bytes: &[u8]) -> Scanned {
    let mut scanned = Scanned { contents: Contents::default(), end: 0, damaged: false };
    let mut at = 0;
    while at < bytes.len() {
        match record(&bytes[at..]) {
            Some((record, length)) => {
                scanned.damaged |= at != scanned.end;
                scanned.contents.apply(record);
                at += length;
                scanned.end = at;
            }
            None => at += 1,
        }
    }
    scanned
}

/// The record that `bytes` start with, and its length.
fn record(bytes: &[u8]) -> Option<(Record, usize)> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let payload = rest.get(..word(4) as usize).filter(|_| header[..4] == MAGIC)?;
    if crc32c::crc32c(payload) != word(8) {
        return None;
    }
    Some((decode(payload, "outbox record").ok()?, HEADER_BYTES + payload.len()))
}

fn framed(record: &Record) -> Vec<u8> {
    let payload = encode(record);
    let length = u32::try_from(payload.len()).expect("messages are bounded far below 4 GiB");
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// Opens the file for appending, after cutting it off at `end`.
fn open_file(path: &Path, end: Option<u64>) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    if let Some(end) = end.filter(|end| file.metadata().is_ok_and(|now| now.len() > *end)) {
        file.set_len(end)?;
    }
    file.sync_all()?;
    sync_parent(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// Replaces the file as a whole.
fn rewrite(path: &Path, contents: &Contents) -> io::Result<()> {
    let new = path.with_added_extension("new");
    // What a crash has left of an earlier attempt.
    let _ = fs::remove_file(&new);
    let (mut file, _) = open_file(&new, None)?;
    for record in contents.records() {
        file.write_all(&framed(&record))?;
    }
    file.sync_all()?;
    fs::rename(&new, path).and_then(|()| sync_parent(path))
}

/// Keeps a copy of a damaged file for its owner.
fn set_aside(path: &Path) -> io::Result<()> {
    let seconds = Timestamp::now().0 / 1_000;
    fs::copy(path, path.with_added_extension(format!("broken-{seconds}"))).map(drop)
}

#[cfg(test)]
mod tests {
    use quip_protocol::{MessageKind, SafeText};

    use super::*;

    fn entry(number: u8) -> Entry {
        let target: Target = "#ops".parse().unwrap();
        let (id, text) = (MessageId::from_bytes([number; 16]), SafeText::new("words"));
        let request =
            Request::Post { target: target.clone(), id, kind: MessageKind::Plain, text, reply_to: None };
        Entry { target, at: Timestamp(1), request }
    }

    /// As after a full disk: what fails is not kept, not even the half of it that was written, and what comes then is.
    #[test]
    fn after_a_failure_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let mut outbox = Outbox::open(&path).unwrap();
        outbox.add(entry(1)).unwrap();
        // Nothing can be written, nor cut off.
        outbox.file = Some(File::open(&path).unwrap());
        assert!(matches!(outbox.add(entry(2)), Err(OutboxError::Io { .. })));
        let half = &framed(&Record::Added(entry(2)))[..20];
        OpenOptions::new().append(true).open(&path).unwrap().write_all(half).unwrap();
        outbox.add(entry(3)).unwrap();
        let both = [entry(1), entry(3)];
        assert!(outbox.kept().iter().map(|kept| &kept.entry).eq(&both));
        drop(outbox);
        assert!(Outbox::open(&path).unwrap().kept().iter().map(|kept| &kept.entry).eq(&both));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was damaged");
    }
}
