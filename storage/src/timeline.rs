//! The timeline: a room's events in blocks, one key a block, so that paging copies slices. Knows bytes and seqs.
//!
//! A block's value is a version byte, the number of events (u16, little endian) and the events' frames as they go on
//! the wire. Its key names the first event; seqs in it are dense.

use bytes::{BufMut, Bytes};
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, encode_event};
use quip_protocol::safe_text::as_written;
use quip_protocol::{Event, RoomId, Seq};

use crate::keys;

/// Most events in a block: measured best with sled's segments of 512 KiB (facts.md).
const MAX_EVENTS: usize = 32;
/// A block takes no further event beyond this. sled keeps up to 16 values in a leaf, and a leaf above a quarter of
/// its segment in a file of its own.
const FILL_BYTES: usize = 8 * 1024;
/// A block that amendments let grow beyond this is split. With the longest single event, 26 KiB, this keeps every
/// value below the 32 KiB above which sled makes a file of each.
const SPLIT_BYTES: usize = 16 * 1024;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 3;

/// Events or notices in one piece: their frames one after the other, ready for the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    /// The frames, each with its length. Empty if there is none.
    pub bytes: Bytes,
    /// The first one's place; [`Seq::ZERO`] if there is none.
    pub first: Seq,
    /// The last one's place.
    pub last: Seq,
    /// How many.
    pub count: usize,
}

/// Collects frames up to a number of bytes, but at least one.
pub(crate) struct Collector {
    bytes: Vec<u8>,
    max_bytes: usize,
    first: Seq,
    last: Seq,
    count: usize,
}

impl Collector {
    pub(crate) fn new(max_bytes: usize) -> Collector {
        Collector { bytes: Vec::new(), max_bytes, first: Seq::ZERO, last: Seq::ZERO, count: 0 }
    }

    /// Takes one more, or says that there is no room for it.
    pub(crate) fn take(&mut self, seq: Seq, frame: &[u8]) -> bool {
        if self.count > 0 && self.bytes.len() + frame.len() > self.max_bytes {
            return false;
        }
        if self.count == 0 {
            self.first = seq;
        }
        self.bytes.extend_from_slice(frame);
        self.last = seq;
        self.count += 1;
        true
    }

    pub(crate) fn finish(self) -> Frames {
        let Collector { bytes, first, last, count, .. } = self;
        Frames { bytes: bytes.into(), first, last, count }
    }
}

/// A block as it lies in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockBytes<'a> {
    pub first: Seq,
    count: usize,
    frames: &'a [u8],
}

impl<'a> BlockBytes<'a> {
    /// Reads a block's header.
    pub(crate) fn parse(key: &[u8], value: &'a [u8]) -> Result<BlockBytes<'a>, &'static str> {
        let (_, first) = keys::numbers(key).ok_or("its key has the wrong length")?;
        let (header, frames) = value.split_first_chunk::<HEADER_BYTES>().ok_or("it is cut off")?;
        if header[0] != VERSION {
            return Err("it has an unknown version");
        }
        let count = usize::from(u16::from_le_bytes([header[1], header[2]]));
        if count == 0 {
            return Err("it has no event");
        }
        Ok(BlockBytes { first: Seq(first), count, frames })
    }

    /// The seq of the last event.
    pub(crate) fn last(self) -> Seq {
        Seq(self.first.0.saturating_add(self.count as u64 - 1))
    }

    /// The events' frames with their seqs.
    pub(crate) fn frames(self) -> impl Iterator<Item = Result<(Seq, &'a [u8]), &'static str>> {
        let mut rest = self.frames;
        (0..self.count as u64).map(move |index| {
            let length = rest.first_chunk::<LENGTH_BYTES>().ok_or("an event is missing")?;
            let length = LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
            let (frame, behind) = rest.split_at_checked(length).ok_or("an event is cut off")?;
            rest = behind;
            let seq = self.first.0.checked_add(index).ok_or("its seqs overflow")?;
            Ok((Seq(seq), frame))
        })
    }

    /// The frame of `seq`, if it is in here.
    pub(crate) fn frame(self, seq: Seq) -> Result<Option<&'a [u8]>, &'static str> {
        for frame in self.frames() {
            let (at, frame) = frame?;
            if at == seq {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// A block that is being changed.
#[derive(Debug)]
pub(crate) struct Block {
    pub room: RoomId,
    first: Seq,
    frames: Vec<Bytes>,
    bytes: usize,
    /// Whether it differs from what lies in the store.
    pub changed: bool,
}

impl Block {
    /// A new one.
    pub(crate) fn new(room: RoomId, first: Seq) -> Block {
        Block { room, first, frames: Vec::new(), bytes: HEADER_BYTES, changed: false }
    }

    /// One that lies in the store.
    pub(crate) fn load(room: RoomId, key: &[u8], value: &[u8]) -> Result<Block, &'static str> {
        let stored = BlockBytes::parse(key, value)?;
        let mut block = Block::new(room, stored.first);
        let whole = Bytes::copy_from_slice(stored.frames);
        for frame in stored.frames() {
            let (_, frame) = frame?;
            let start = block.bytes - HEADER_BYTES;
            block.put(whole.slice(start..start + frame.len()));
        }
        block.changed = false;
        Ok(block)
    }

    fn put(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push(frame);
        self.changed = true;
    }

    pub(crate) fn first(&self) -> Seq {
        self.first
    }

    /// The seq behind the last event.
    pub(crate) fn next(&self) -> Seq {
        Seq(self.first.0.saturating_add(self.frames.len() as u64))
    }

    pub(crate) fn contains(&self, seq: Seq) -> bool {
        seq >= self.first && seq.0 - self.first.0 < self.frames.len() as u64
    }

    /// Appends an event, unless the block is full.
    pub(crate) fn append(&mut self, frame: &Bytes) -> bool {
        let full = self.frames.len() >= MAX_EVENTS || self.bytes + frame.len() > FILL_BYTES;
        if full && !self.frames.is_empty() {
            return false;
        }
        self.put(frame.clone());
        true
    }

    /// Lets `by` amend the event at `target`, which is in this block.
    pub(crate) fn amend(&mut self, target: Seq, by: &Event) -> Result<(), &'static str> {
        let index = (target.0 - self.first.0) as usize;
        let frame = &mut self.frames[index];
        let stored = as_written(|| decode_stored_event(&frame[LENGTH_BYTES..]));
        let mut event = stored.map_err(|_| "an event is malformed")?;
        event.amend(by);
        let amended = encode_event(&event);
        if amended != *frame {
            self.bytes = self.bytes - frame.len() + amended.len();
            *frame = amended;
            self.changed = true;
        }
        Ok(())
    }

    /// What is to be stored: keys and values. More than one if the block has outgrown its key.
    pub(crate) fn values(&self) -> Vec<(sled::IVec, Vec<u8>)> {
        let limit = if self.bytes > SPLIT_BYTES { FILL_BYTES } else { usize::MAX };
        let mut values = Vec::new();
        let mut start = 0;
        while start < self.frames.len() {
            let end = self.piece_end(start, limit);
            let first = Seq(self.first.0 + start as u64);
            values.push((keys::block(self.room, first), value(&self.frames[start..end])));
            start = end;
        }
        values
    }

    /// Where the piece that starts with frame `start` ends: behind at least one frame.
    fn piece_end(&self, start: usize, limit: usize) -> usize {
        let mut bytes = HEADER_BYTES;
        let fits = |frame: &&Bytes| {
            bytes += frame.len();
            bytes <= limit
        };
        start + self.frames[start..].iter().take_while(fits).count().max(1)
    }
}

fn value(frames: &[Bytes]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + frames.iter().map(Bytes::len).sum::<usize>());
    value.put_u8(VERSION);
    value.put_u16_le(u16::try_from(frames.len()).expect("a block has at most MAX_EVENTS events"));
    frames.iter().for_each(|frame| value.put_slice(frame));
    value
}
