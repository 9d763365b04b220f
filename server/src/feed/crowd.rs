//! What a log has only while somebody watches it for a digest: who that is, and where it stood when they were told last.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quip_protocol::codec::{FrameKind, LENGTH_BYTES, decode_stored_event, encode_frame};
use quip_protocol::frame::Push;
use quip_protocol::room::Digest;
use quip_protocol::{Cursor, Seq};

use super::shards::Shards;

/// The readers of one log who want digests.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) watches: Shards,
    /// Whether the log was that of a very large room when that was looked at last.
    pub(super) is_very_large: AtomicBool,
    /// A digest is to be made: whoever wants one will have it.
    waits: AtomicBool,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// The newest event since the last digest, which is durable as all that is published.
    newest: Option<Bytes>,
    /// The last digest, encoded once for all, and the event that it ends with.
    digest: Option<(Seq, Bytes)>,
}

impl Crowd {
    /// Takes note of an event that is published to a very large room; whether the next digest was not ordered yet.
    pub(super) fn note(&self, frame: &Bytes) -> bool {
        self.told.lock().newest = Some(frame.clone());
        !self.waits.swap(true, Ordering::AcqRel)
    }

    /// Makes the digest that was ordered; whether it says anything new.
    pub(super) fn make(&self) -> bool {
        self.waits.swap(false, Ordering::AcqRel);
        let mut told = self.told.lock();
        let Some(frame) = told.newest.take() else { return false };
        let Ok(event) = decode_stored_event(&frame[LENGTH_BYTES.min(frame.len())..]) else { return false };
        let head = Cursor { epoch: event.epoch, seq: event.seq };
        let digest = Digest { room: event.room, head, messages: event.ordinal, at: event.at };
        told.digest = Some((event.seq, encode_frame(FrameKind::Push, &Push::Digest(digest))));
        true
    }

    /// The log is none of a very large room, and its events are told: a digest of before would end behind them.
    pub(super) fn forget(&self) {
        *self.told.lock() = Told::default();
    }

    /// What a reader at `cursor` of a very large room is told.
    pub(super) fn turn(&self, cursor: Seq) -> Turn {
        let told = self.told.lock();
        match &told.digest {
            Some((seq, frame)) if *seq > cursor => Turn::Digest(*seq, frame.clone()),
            _ if told.newest.is_some() => Turn::Later,
            // It became very large since the reader was woken.
            _ => Turn::Events,
        }
    }
}

/// What a reader is told when it is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The events behind its cursor.
    Events,
    /// Where the room stands, and the event that it ends with.
    Digest(Seq, Bytes),
    /// Nothing: a digest is to come, and rings.
    Later,
}
