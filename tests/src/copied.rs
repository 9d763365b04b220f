//! What a client's copy consists of, made without a server having said it: for programs that measure large copies.

use std::path::Path;
use std::{fs, io};

use quip_protocol::room::{RoomKind, RoomSummary};
use quip_protocol::{
    AccountName, Cursor, Epoch, Event, EventBody, Message, MessageId, MessageKind, Role, RoomId, SafeLine,
    SafeText, Seq, Target, Timestamp,
};

/// The message at a place, with an id that follows from it.
pub fn message(room: u64, seq: u64, at: Timestamp, author: AccountName, text: &str) -> Event {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&room.to_be_bytes());
    id[8..].copy_from_slice(&seq.to_be_bytes());
    let message = Message::new(MessageId::from_bytes(id), MessageKind::Plain, SafeText::new(text), None);
    Event {
        room: RoomId(room),
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at,
        ordinal: seq,
        author,
        body: EventBody::Message(message),
    }
}

/// A public room of four, read up to its newest event.
pub fn summary(room: u64, target: Target, head: Seq, active_at: Timestamp) -> RoomSummary {
    RoomSummary {
        id: RoomId(room),
        target,
        kind: RoomKind::Public,
        topic: SafeLine::default(),
        archived: false,
        role: Some(Role::Member),
        members: 4,
        head: Cursor { epoch: Epoch::FIRST, seq: head },
        active_at,
        read: head,
        unread: 0,
        mentions: 0,
    }
}

/// Bytes of a file, or of all files below a directory.
///
/// # Errors
/// When one cannot be looked at.
pub fn bytes(path: &Path) -> io::Result<u64> {
    let meta = fs::metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}
