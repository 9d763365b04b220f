//! Opening a journal's end: finding the last entry, and cutting off what a crash left half written behind it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use quip_protocol::Position;

use super::JournalError;
use super::chain;
use super::header::HEADER_BYTES;
use super::segment::{ActiveSegment, Segment, SegmentReader, find_entry, list, tidy};
use crate::durable::{is_full, sync_dir, sync_parent};

/// A journal's end.
pub(super) struct Tail {
    pub last: Position,
    /// The segment that is written on; none if the journal is empty or its last segment is compressed.
    pub active: Option<ActiveSegment>,
    /// All other segments, oldest first.
    pub sealed: Vec<Segment>,
}

/// Finds the end of the journal in `dir`.
pub(super) fn open_tail(dir: &Path) -> Result<Tail, JournalError> {
    let io = |source| JournalError::io("open", dir, source);
    fs::create_dir_all(dir).map_err(io)?;
    sync_parent(dir).map_err(io)?;
    tidy(dir).map_err(io)?;
    let mut segments = list(dir).map_err(io)?;
    let tail = find_tail(dir, &mut segments)?;
    let active = tail.active.as_ref().map(|active| &active.segment);
    chain::verify(tail.sealed.iter().chain(active))?;
    Ok(tail)
}

fn find_tail(dir: &Path, segments: &mut Vec<Segment>) -> Result<Tail, JournalError> {
    // Only the segment that was written to last can end within an entry; one before it was complete.
    let mut torn_allowed = true;
    while let Some(segment) = segments.pop() {
        let writable = torn_allowed && !segment.compressed;
        let read = if writable { repair(dir, &segment)? } else { Some(scan(&segment)?) };
        match read.filter(|reader| reader.last() != reader.header().before) {
            Some(reader) => return open_at(segment, &reader, writable, std::mem::take(segments)),
            None if segment.compressed || !torn_allowed => {
                return Err(JournalError::corrupt(&segment.path, 0, "it holds no record"));
            }
            // A crash came between making the file and writing its first entry.
            None => remove(dir, &segment)?,
        }
        torn_allowed = false;
    }
    Ok(Tail { last: Position::ZERO, active: None, sealed: Vec::new() })
}

fn open_at(
    segment: Segment,
    read: &SegmentReader,
    writable: bool,
    mut sealed: Vec<Segment>,
) -> Result<Tail, JournalError> {
    let last = read.last();
    if !writable {
        sealed.push(segment);
        return Ok(Tail { last, active: None, sealed });
    }
    let path = segment.path.clone();
    let active = ActiveSegment::reopen(segment, read.header().seed(), read.byte())
        .map_err(|source| JournalError::io("open", &path, source))?;
    Ok(Tail { last, active: Some(active), sealed })
}

/// Reads all entries of a segment of which every byte must be good.
fn scan(segment: &Segment) -> Result<SegmentReader, JournalError> {
    let mut reader = segment.read(u64::MAX)?;
    while reader.next()?.is_some() {}
    Ok(reader)
}

/// Reads all entries of the segment that was written to last; what is behind them is cut off. Nothing if it was left
/// before its header was durable, and so before it had an entry.
fn repair(dir: &Path, segment: &Segment) -> Result<Option<SegmentReader>, JournalError> {
    if segment.bytes()? <= HEADER_BYTES as u64 {
        return Ok(None);
    }
    let mut reader = segment.read(u64::MAX)?;
    loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(JournalError::Corrupt { offset, why, .. }) => {
                cut_torn(dir, segment, (reader.header().seed(), offset), &why, io::copy)?;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    // What a killed process had written and not synced is about to be shown, and must not vanish after that.
    let synced = File::open(&segment.path).and_then(|file| file.sync_all()).and_then(|()| sync_dir(dir));
    synced.map_err(|source| JournalError::io("sync", &segment.path, source))?;
    Ok(Some(reader))
}

/// How what is cut off is copied.
type Copying = fn(&mut File, &mut File) -> io::Result<u64>;

fn cut_torn(
    dir: &Path,
    segment: &Segment,
    (seed, byte): (u32, u64),
    why: &str,
    copy: Copying,
) -> Result<(), JournalError> {
    let io = |source| JournalError::io("repair", &segment.path, source);
    if let Some(found) = find_entry(&segment.path, seed, byte).map_err(io)? {
        let why = format!("{why}, but a valid record follows at byte {found}");
        return Err(JournalError::corrupt(&segment.path, byte, why));
    }
    let kept = keep_aside(dir, segment, byte, copy).map_err(io)?;
    let file = OpenOptions::new().write(true).open(&segment.path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len().saturating_sub(byte);
    file.set_len(byte).and_then(|()| file.sync_all()).map_err(io)?;
    let kept = kept.map_or_else(|| "nowhere, the disk is full".into(), |path| path.display().to_string());
    tracing::warn!(
        file = %segment.path.display(), byte, bytes, why, kept,
        "the journal ended within a record that was never acknowledged; it was cut off"
    );
    Ok(())
}

/// Copies everything from `byte` on into a file of its own; on a full disk there is none, and nothing of it: the room is
/// needed for what is acknowledged.
fn keep_aside(dir: &Path, segment: &Segment, byte: u64, copy: Copying) -> io::Result<Option<PathBuf>> {
    let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
    let kept = create_new(&dir.join(format!("cut-{name}-{byte}"))).and_then(|(path, mut to)| {
        let mut from = File::open(&segment.path)?;
        from.seek(SeekFrom::Start(byte))?;
        let copied = copy(&mut from, &mut to).and_then(|_| to.sync_all()).and_then(|()| sync_dir(dir));
        // Half a copy keeps nothing, and the next attempt would make another one.
        copied.inspect_err(|_| drop(fs::remove_file(&path))).map(|()| path)
    });
    match kept {
        Err(error) if is_full(&error) => Ok(None),
        kept => kept.map(Some),
    }
}

/// Creates `path`, or `path.2`, `path.3` … if there was a cut at that byte before.
fn create_new(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut number = 1_u32;
    loop {
        let path = if number == 1 { path.to_owned() } else { path.with_added_extension(number.to_string()) };
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            created => return created.map(|file| (path, file)),
        }
    }
}

fn remove(dir: &Path, segment: &Segment) -> Result<(), JournalError> {
    fs::remove_file(&segment.path)
        .and_then(|()| sync_dir(dir))
        .map_err(|source| JournalError::io("remove", &segment.path, source))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use quip_protocol::Epoch;

    use super::super::{Journal, JournalOptions};
    use super::*;

    /// As on a disk that fills up within the copy.
    fn fail_after_some(from: &mut File, to: &mut File, kind: io::ErrorKind) -> io::Result<u64> {
        let mut some = [0; 3];
        from.read_exact(&mut some)?;
        to.write_all(&some)?;
        Err(kind.into())
    }

    /// A journal of one record with a torn one behind it; what the segment has, and where the torn one begins.
    fn torn(dir: &Path) -> (Segment, Vec<u8>, u64) {
        let mut journal = Journal::open(dir, JournalOptions::default()).unwrap();
        journal.append(Position { epoch: Epoch::FIRST, offset: 1 }, b"acknowledged").unwrap();
        drop(journal);
        let segment = list(dir).unwrap().remove(0);
        let whole = fs::read(&segment.path).unwrap();
        fs::write(&segment.path, [whole.as_slice(), b"half a record"].concat()).unwrap();
        let byte = whole.len() as u64;
        (segment, whole, byte)
    }

    fn seed(segment: &Segment) -> u32 {
        segment.read(u64::MAX).unwrap().header().seed()
    }

    #[test]
    fn on_a_full_disk_it_is_cut_without_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, whole, byte) = torn(dir.path());
        for full in [
            |from: &mut File, to: &mut File| fail_after_some(from, to, io::ErrorKind::StorageFull),
            |from: &mut File, to: &mut File| fail_after_some(from, to, io::ErrorKind::QuotaExceeded),
        ] {
            cut_torn(dir.path(), &segment, (seed(&segment), byte), "torn", full).unwrap();
            assert_eq!(fs::read(&segment.path).unwrap(), whole);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no copy is left");
            fs::write(&segment.path, [whole.as_slice(), b"another half"].concat()).unwrap();
        }
        Journal::open(dir.path(), JournalOptions::default()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "with room there is one");
    }

    #[test]
    fn a_copy_that_fails_otherwise_is_removed_and_nothing_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, whole, byte) = torn(dir.path());
        let bad = |from: &mut File, to: &mut File| fail_after_some(from, to, io::ErrorKind::Other);
        let error = cut_torn(dir.path(), &segment, (seed(&segment), byte), "torn", bad).unwrap_err();
        assert!(matches!(error, JournalError::Io { action: "repair", .. }), "{error}");
        assert!(fs::read(&segment.path).unwrap().len() > whole.len());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no copy is left");
    }
}
