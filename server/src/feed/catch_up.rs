//! Reading a log from any cursor: near the head from the feed, behind it from the store, without decoding.

use bytes::{Bytes, BytesMut};
use quip_protocol::Seq;
use quip_protocol::codec::LENGTH_BYTES;
use quip_storage::store::{Frames, Store, StoreError};

use super::{FeedKey, Feeds};

/// Dense frames of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Whole frames, some of them concatenated.
    pub frames: Vec<Bytes>,
    /// The last seq in it; the cursor it was read from if it is empty.
    pub last: Seq,
    /// Whether there is more behind it and up to the end, as far as is known without asking the store.
    pub more: bool,
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
            return Ok(Chunk { frames: Vec::new(), last: after, more: false });
        }
        let mut upto = end;
        let mut head = end;
        let mut patches: Vec<(Seq, Bytes)> = Vec::new();
        if let Some(feed) = self.find(key) {
            let tail = feed.tail.read();
            head = end.min(tail.head());
            if after >= head {
                return Ok(Chunk { frames: Vec::new(), last: after, more: false });
            }
            if let Some((frames, last)) = tail.read(after, end, max_bytes) {
                return Ok(Chunk { frames, last, more: last < head });
            }
            // Everything before what is held is stored; what of it is amended is noted before the store is read, so
            // that it is in one of the two.
            upto = tail.first().map_or(end, |first| end.min(Seq(first.0.saturating_sub(1))));
            patches.extend(tail.patches(after.next().0..=upto.0.max(after.next().0)));
        }
        let stored = match key {
            FeedKey::Room(room) => store.events(room, after, upto, max_bytes)?,
            FeedKey::Inbox(account) => store.notices(account, after, upto, max_bytes)?,
        };
        if stored.count == 0 {
            return Ok(Chunk { frames: Vec::new(), last: after, more: after < head });
        }
        let last = stored.last;
        let frames = if patches.is_empty() { stored.bytes } else { patched(&stored, &patches) };
        Ok(Chunk { frames: vec![frames], last, more: last < head })
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
