//! The message index: which place each sender's id has got, in sorted blocks. A key per message would cost ten times
//! as much (facts.md); ids are made in the order of time, so nearly all new ones go into the last block.
//!
//! The blocks divide all ids among them: a block holds the ids from the one in its key up to the next block's. The
//! first block's key is the least id there can be, so that every id has a block. A block's value is a version byte
//! and entries of 44 bytes.

use quip_protocol::{AccountId, Epoch, MessageId, Receipt, RoomId, Seq};

/// Most entries in a block. sled keeps up to 16 values in a leaf, and a leaf above 128 KiB in a file of its own.
const MAX_ENTRIES: usize = 160;
const ENTRY_BYTES: usize = 44;
const VERSION: u8 = 1;

/// The id that is before all others.
pub(crate) const LEAST: MessageId = MessageId::from_bytes([0; 16]);

/// What the index says of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub account: AccountId,
    pub receipt: Receipt,
}

impl IndexEntry {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.receipt.id.to_bytes());
        out.extend_from_slice(&self.account.0.to_be_bytes());
        out.extend_from_slice(&self.receipt.room.0.to_be_bytes());
        out.extend_from_slice(&self.receipt.epoch.0.to_be_bytes());
        out.extend_from_slice(&self.receipt.seq.0.to_be_bytes());
    }

    fn parse(bytes: &[u8; ENTRY_BYTES]) -> IndexEntry {
        let mut at = 0;
        let receipt_id = MessageId::from_bytes(take(bytes, &mut at));
        let account = AccountId(u64::from_be_bytes(take(bytes, &mut at)));
        let room = RoomId(u64::from_be_bytes(take(bytes, &mut at)));
        let epoch = Epoch(u32::from_be_bytes(take(bytes, &mut at)));
        let seq = Seq(u64::from_be_bytes(take(bytes, &mut at)));
        IndexEntry { account, receipt: Receipt { room, epoch, seq, id: receipt_id } }
    }
}

fn take<const N: usize>(bytes: &[u8; ENTRY_BYTES], at: &mut usize) -> [u8; N] {
    let taken = bytes[*at..*at + N].try_into().expect("the fields of an entry are 44 bytes together");
    *at += N;
    taken
}

fn entries(value: &[u8]) -> Result<&[[u8; ENTRY_BYTES]], &'static str> {
    match value.split_first() {
        Some((&VERSION, bytes)) => match bytes.as_chunks() {
            (entries, []) => Ok(entries),
            _ => Err("it is cut off"),
        },
        _ => Err("it has an unknown version"),
    }
}

/// All entries of a block.
pub(crate) fn all(value: &[u8]) -> Result<impl Iterator<Item = IndexEntry>, &'static str> {
    Ok(entries(value)?.iter().map(IndexEntry::parse))
}

/// The entry of `id` in a block.
pub(crate) fn find(value: &[u8], id: MessageId) -> Result<Option<IndexEntry>, &'static str> {
    let entries = entries(value)?;
    let found = entries.binary_search_by(|entry| entry[..16].cmp(&id.to_bytes()));
    Ok(found.ok().map(|at| IndexEntry::parse(&entries[at])))
}

/// A block under construction: the id its key names, and its entries.
pub(crate) type NewBlock = (MessageId, Vec<u8>);

/// Adds entries, which are sorted, to the block that starts with `start` (empty if it is new). An id that is there
/// already stays as it is. The first block of the result keeps the key.
pub(crate) fn merge(
    start: MessageId,
    value: Option<&[u8]>,
    new: &[IndexEntry],
) -> Result<Vec<NewBlock>, &'static str> {
    let old: Vec<IndexEntry> = value.map(all).transpose()?.into_iter().flatten().collect();
    let appended =
        old.last().is_none_or(|last| new.first().is_some_and(|new| new.receipt.id > last.receipt.id));
    let mut merged = old;
    merged.extend_from_slice(new);
    // Stable, so that of equal ids the old entry is the first, which stays.
    merged.sort_by_key(|entry| entry.receipt.id);
    merged.dedup_by_key(|entry| entry.receipt.id);
    let pieces = merged.len().div_ceil(MAX_ENTRIES).max(1);
    // At the right edge blocks are left full; elsewhere they keep room for more.
    let piece = if appended { MAX_ENTRIES } else { merged.len().div_ceil(pieces).max(1) };
    let blocks = merged.chunks(piece).enumerate();
    Ok(blocks.map(|(at, piece)| (if at == 0 { start } else { piece[0].receipt.id }, encode(piece))).collect())
}

fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + entries.len() * ENTRY_BYTES);
    value.push(VERSION);
    entries.iter().for_each(|entry| entry.put(&mut value));
    value
}
