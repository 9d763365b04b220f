//! What each segment begins with: the format, the salt of its checksums, and which segment it follows on. Knows bytes
//! only.
//!
//! `magic: 8 bytes, format: u32, salt: 16 bytes, epoch: u32, offset: u64, follows: u64, crc32c: u32`, all numbers little
//! endian; epoch and offset are those of the last record before the segment. This layout is the same in every format,
//! so that every `quipd` can say of a segment whether it is damaged or newer.

use std::io::{self, Read};

use quip_protocol::{Epoch, Position};

use super::entry::read_up_to;

pub(super) const HEADER_BYTES: usize = 52;
const MAGIC: [u8; 8] = [0xF5, b'q', b'u', b'i', b'p', b'j', b'l', 0xFE];
/// The layout of records that this version writes and reads.
const FORMAT: u32 = 1;

/// The header of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// From the operating system, and known to nobody else. What a client sends lies in the records: without the salt
    /// it could be made to look like a record, and a torn one with that in it like damage in the middle of a file.
    salt: [u8; 16],
    /// The last record before this segment; [`Position::ZERO`] in the first one.
    pub before: Position,
    /// The name of the segment before this one, which is the offset of that one's first record; 0 in the first one.
    pub follows: u64,
}

/// Why a header can't be read.
#[derive(Debug)]
pub(super) enum BadHeader {
    /// It is not what was written.
    Bad(&'static str),
    /// It is in a format that only a newer version knows.
    Newer(u32),
    /// The file can't be read.
    Io(io::Error),
}

impl Header {
    /// One with a salt of its own.
    pub(super) fn new(before: Position, follows: u64) -> io::Result<Header> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(io::Error::other)?;
        Ok(Header { salt, before, follows })
    }

    /// What the checksum of each record of the segment starts from.
    pub(super) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.salt)
    }

    pub(super) fn bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..28].copy_from_slice(&self.salt);
        bytes[28..32].copy_from_slice(&self.before.epoch.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.before.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.follows.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the one that `reader` stands at.
    pub(super) fn read(reader: &mut impl Read) -> Result<Header, BadHeader> {
        let mut bytes = [0; HEADER_BYTES];
        if read_up_to(reader, &mut bytes).map_err(BadHeader::Io)? < HEADER_BYTES {
            return Err(BadHeader::Bad("the file ends within its header"));
        }
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Bad("it does not begin as a journal segment does"));
        }
        if crc32c::crc32c(&bytes[..48]) != u32::from_le_bytes(part(&bytes, 48)) {
            return Err(BadHeader::Bad("the checksum of its header is wrong"));
        }
        match u32::from_le_bytes(part(&bytes, 8)) {
            FORMAT => Ok(Header {
                salt: part(&bytes, 12),
                before: Position {
                    epoch: Epoch(u32::from_le_bytes(part(&bytes, 28))),
                    offset: u64::from_le_bytes(part(&bytes, 32)),
                },
                follows: u64::from_le_bytes(part(&bytes, 40)),
            }),
            newer => Err(BadHeader::Newer(newer)),
        }
    }
}

fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|n| bytes[at + n])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::new(Position { epoch: Epoch(3), offset: 1 << 40 }, 77).unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_every_flipped_bit_is_seen() {
        let header = header();
        let bytes = header.bytes();
        assert_eq!(Header::read(&mut bytes.as_slice()).ok(), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::read(&mut flipped.as_slice()), Err(BadHeader::Bad(_))), "bit {bit}");
        }
        for end in 0..HEADER_BYTES {
            assert!(matches!(Header::read(&mut &bytes[..end]), Err(BadHeader::Bad(_))), "cut at {end}");
        }
    }

    #[test]
    fn a_newer_format_is_not_damage() {
        let mut bytes = header().bytes();
        bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..48]);
        bytes[48..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(Header::read(&mut bytes.as_slice()), Err(BadHeader::Newer(2))));
    }

    #[test]
    fn no_two_salts_are_the_same() {
        assert_ne!(header().salt, header().salt);
        assert_ne!(header().seed(), header().seed());
    }
}
