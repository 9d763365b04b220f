//! One entry of the journal as bytes: how it is laid out, and how entries are read one after the other.
//!
//! `magic: u32, crc32c: u32, payload length: u32, epoch: u32, offset: u64, payload`, all numbers little endian. The
//! checksum is over all that is behind it, and starts from the seed of the segment's salt.

use std::io::{self, Read};

use quip_protocol::{Epoch, Position};

/// Largest payload of an entry, in bytes: what one group of commands may take.
pub const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

pub(super) const ENTRY_HEADER_BYTES: usize = 24;
/// Its first and last byte never occur in UTF-8, so that no text of a user looks like an entry.
pub(super) const MAGIC: [u8; 4] = [0xF5, b'q', b'j', 0xFE];
/// Where what the checksum covers starts.
const CHECKED_FROM: usize = 8;

/// Appends the bytes of an entry to `out`. The payload is at most [`MAX_PAYLOAD`] bytes.
pub(super) fn put(out: &mut Vec<u8>, seed: u32, position: Position, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("the caller has checked it against MAX_PAYLOAD");
    let mut checked = [0; ENTRY_HEADER_BYTES - CHECKED_FROM];
    checked[..4].copy_from_slice(&length.to_le_bytes());
    checked[4..8].copy_from_slice(&position.epoch.0.to_le_bytes());
    checked[8..].copy_from_slice(&position.offset.to_le_bytes());
    let crc = checksum(seed, &checked, payload);
    out.reserve(ENTRY_HEADER_BYTES + payload.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&checked);
    out.extend_from_slice(payload);
}

fn checksum(seed: u32, checked: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, checked), payload)
}

/// Why an entry can't be read.
#[derive(Debug)]
pub(super) enum BadEntry {
    /// The bytes at `byte` are no entry.
    Bad { byte: u64, why: String },
    /// The file can't be read.
    Io(io::Error),
}

/// Reads entries from bytes.
pub(super) struct Entries<R> {
    reader: R,
    /// Where the next entry starts.
    byte: u64,
    seed: u32,
    /// The last entry that was read.
    last: Position,
}

impl<R: Read> Entries<R> {
    /// `reader` stands at `byte` of its file, whose checksums start from `seed`; the entries to come are behind `last`.
    pub(super) fn new(reader: R, byte: u64, seed: u32, last: Position) -> Entries<R> {
        Entries { reader, byte, seed, last }
    }

    /// Where the next entry starts.
    pub(super) fn byte(&self) -> u64 {
        self.byte
    }

    /// The last entry that was read; before the first, what it has to be behind.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// The next entry, or nothing at the end of the bytes.
    pub(super) fn next(&mut self) -> Result<Option<(Position, Vec<u8>)>, BadEntry> {
        let mut header = [0; ENTRY_HEADER_BYTES];
        match read_up_to(&mut self.reader, &mut header).map_err(BadEntry::Io)? {
            0 => return Ok(None),
            ENTRY_HEADER_BYTES => {}
            some => return Err(self.bad(format!("the file ends after {some} bytes of a record's header"))),
        }
        let (position, payload) = self.body(&header)?;
        if position.offset <= self.last.offset || position.epoch < self.last.epoch {
            return Err(self.bad(format!("position {position} is not behind {}", self.last)));
        }
        self.last = position;
        self.byte += (ENTRY_HEADER_BYTES + payload.len()) as u64;
        Ok(Some((position, payload)))
    }

    fn body(&mut self, header: &[u8; ENTRY_HEADER_BYTES]) -> Result<(Position, Vec<u8>), BadEntry> {
        if header[..4] != MAGIC {
            return Err(self.bad("no record starts here".to_owned()));
        }
        let length = word(header, 8) as usize;
        if length > MAX_PAYLOAD {
            return Err(self.bad(format!("a payload of {length} bytes is over the limit of {MAX_PAYLOAD}")));
        }
        // Grows with what is there, so that a wrong length allocates nothing.
        let mut payload = Vec::new();
        (&mut self.reader).take(length as u64).read_to_end(&mut payload).map_err(BadEntry::Io)?;
        if payload.len() < length {
            return Err(self.bad(format!("the file ends after {} of {length} payload bytes", payload.len())));
        }
        if checksum(self.seed, &header[CHECKED_FROM..], &payload) != word(header, 4) {
            return Err(self.bad("the checksum is wrong".to_owned()));
        }
        Ok((position(header), payload))
    }

    fn bad(&self, why: String) -> BadEntry {
        BadEntry::Bad { byte: self.byte, why }
    }
}

fn word(header: &[u8; ENTRY_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn position(header: &[u8; ENTRY_HEADER_BYTES]) -> Position {
    let offset = u64::from(word(header, 16)) | u64::from(word(header, 20)) << 32;
    Position { epoch: Epoch(word(header, 12)), offset }
}

/// Fills the buffer as far as there is something to fill it with.
pub(super) fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(some) => filled += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
