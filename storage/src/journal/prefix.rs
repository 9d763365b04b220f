//! Another journal of the beginning of one: whole segments are the same files under another name, only the last one is
//! written anew. So it costs what one segment costs, and no more room than that. Knows segments.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use quip_protocol::Position;

use super::JournalError;
use super::entry;
use super::header::Header;
use super::segment::{ActiveSegment, Segment, SegmentReader};
use crate::durable::{sync_dir, sync_parent};

/// Bytes that are written with one fdatasync.
const BLOCK: usize = 4 * 1024 * 1024;

/// Makes it in `to`, which has no segment, of these segments, each with the bytes of it that may be read, up to `last`.
pub(super) fn make(segments: &[(Segment, u64)], last: Position, to: &Path) -> Result<(), JournalError> {
    let io = |source| JournalError::io("make", to, source);
    fs::create_dir_all(to).and_then(|()| sync_parent(to)).map_err(io)?;
    // Those that end before the one with the last record begins.
    let begun = segments.iter().take_while(|(segment, _)| segment.first <= last.offset).count();
    if let Some(((cut, limit), whole)) = segments[..begun].split_last() {
        whole.iter().try_for_each(|(segment, _)| share(segment, to))?;
        copy(cut.read_either(*limit)?, last, cut.first, to)?;
    } else if last != Position::ZERO {
        return Err(JournalError::OutOfOrder { position: last, last: Position::ZERO });
    }
    sync_dir(to).map_err(io)
}

/// Nobody writes to a sealed segment, whatever it is called; what is compressed is another file.
fn share(segment: &Segment, to: &Path) -> Result<(), JournalError> {
    let shared = share_file(&segment.path, to);
    let shared = match shared {
        // It was compressed since it was met.
        Err(e) if e.kind() == io::ErrorKind::NotFound && !segment.compressed => {
            share_file(&segment.to_compressed().path, to)
        }
        shared => shared,
    };
    shared.map_err(|source| JournalError::io("share", &segment.path, source))
}

fn share_file(file: &Path, to: &Path) -> io::Result<()> {
    let name = to.join(file.file_name().unwrap_or_default());
    match fs::hard_link(file, &name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(e),
        // A file system without links.
        Err(_) => fs::copy(file, &name).and_then(|_| File::open(&name)?.sync_all()),
        Ok(()) => Ok(()),
    }
}

/// Writes the records of a segment up to `last` into one of the same place.
fn copy(mut from: SegmentReader, last: Position, first: u64, to: &Path) -> Result<(), JournalError> {
    let segment = Segment::plain(to, first);
    let path = segment.path.clone();
    let io = |source| JournalError::io("write", &path, source);
    let header = Header::new(from.header().before, from.header().follows).map_err(io)?;
    let mut active = ActiveSegment::create(to, segment, &header).map_err(io)?;
    let mut block = Vec::new();
    while from.last() < last
        && let Some((position, payload)) = from.next()?
    {
        if position > last {
            break;
        }
        entry::put(&mut block, active.seed, position, &payload);
        if block.len() >= BLOCK {
            active.append(&block, None).map_err(io)?;
            block.clear();
        }
    }
    match from.last() == last {
        true => active.append(&block, None).map_err(io),
        false => Err(JournalError::OutOfOrder { position: last, last: from.last() }),
    }
}
