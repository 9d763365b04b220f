//! Reading a log from any cursor: near the head from the feed, behind it from the store, without decoding.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use quip_protocol::Seq;
use quip_protocol::codec::LENGTH_BYTES;
use quip_storage::store::{Frames, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{FeedKey, Feeds};

/// What copies of the store's bytes together take that are on their way to readers, in bytes. Beyond it a reader gets
/// [`SMALL`] ones: so thousands that take nothing cost little, and nobody waits for them.
const COPIES_BYTES: usize = 64 * 1024 * 1024;
/// Of a small copy, in bytes.
const SMALL: usize = 4 * 1024;

/// What is left for copies.
pub(super) fn copies() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(COPIES_BYTES))
}

/// Dense frames of one log.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Whole frames, some of them concatenated.
    pub frames: Vec<Bytes>,
    /// The last seq in it; the cursor it was read from if it is empty.
    pub last: Seq,
    /// Whether there is more behind it and up to the end, as far as is known without asking the store.
    pub more: bool,
    /// It was read from the store: who reads so waits for the turn that [`super::pace::Pace`] gives.
    pub stored: bool,
    /// Of a copy of its own, its share of what all copies may take; given back when it was written.
    pub copied: Option<OwnedSemaphorePermit>,
}

impl Chunk {
    /// Of all frames.
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }
}

impl Feeds {
    /// What is behind `after` and up to `end`: about `max_bytes`, but at least one frame if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(
        &self,
        store: &Store,
        key: FeedKey,
        after: Seq,
        end: Seq,
        max_bytes: usize,
    ) -> Result<Chunk, StoreError> {
        if after >= end {
            return Ok(Chunk { last: after, ..Chunk::default() });
        }
        let mut upto = end;
        let mut head = end;
        let mut patches: Vec<(Seq, Bytes)> = Vec::new();
        if let Some(feed) = self.find(key) {
            let tail = feed.tail.read();
            head = end.min(tail.head());
            if after >= head {
                return Ok(Chunk { last: after, ..Chunk::default() });
            }
            if let Some((frames, last)) = tail.read(after, end, max_bytes) {
                return Ok(Chunk { frames, last, more: last < head, ..Chunk::default() });
            }
            // Everything before what is held is stored; what of it is amended is noted before the store is read, so
            // that it is in one of the two.
            upto = tail.first().map_or(end, |first| end.min(Seq(first.0.saturating_sub(1))));
            patches.extend(tail.patches(after.next().0..=upto.0.max(after.next().0)));
        }
        let share = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let copied = Arc::clone(&self.copies).try_acquire_many_owned(share).ok();
        let max_bytes = if copied.is_some() { max_bytes } else { max_bytes.min(SMALL) };
        let stored = match key {
            FeedKey::Room(room) => store.events(room, after, upto, max_bytes)?,
            FeedKey::Inbox(account) => store.notices(account, after, upto, max_bytes)?,
        };
        if stored.count == 0 {
            return Ok(Chunk { last: after, more: after < head, ..Chunk::default() });
        }
        let last = stored.last;
        let frames = if patches.is_empty() { stored.bytes } else { patched(&stored, &patches) };
        Ok(Chunk { frames: vec![frames], last, more: last < head, stored: true, copied })
    }
}

/// Replaces the frames of `patches` in what was read from the store.
fn patched(stored: &Frames, patches: &[(Seq, Bytes)]) -> Bytes {
    let mut out = BytesMut::with_capacity(stored.bytes.len() + 1024);
    let mut rest = stored.bytes.clone();
    let mut seq = stored.first;
    while let Some(length) = rest.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_le_bytes(*bytes)) {
        let frame = rest.split_to((LENGTH_BYTES + length as usize).min(rest.len()));
        let patch = patches.iter().find(|(target, _)| *target == seq);
        out.extend_from_slice(patch.map_or(&frame, |(_, patch)| patch));
        seq = seq.next();
    }
    out.freeze()
}
