//! What a client's copy consists of, made without a server having said it: for programs that measure large copies.

use std::ops::Range;
use std::path::Path;
use std::{fs, io};

use quip_protocol::room::{RoomKind, RoomSummary};
use quip_protocol::{
    AccountName, Cursor, Epoch, Event, EventBody, Message, MessageId, MessageKind, Role, RoomId, SafeLine,
    SafeText, Seq, Target, Timestamp,
};
use quip_storage::Replica;

/// Events that are written at once.
const BATCH: u64 = 2_000;

/// Fills a copy with so many messages, spread over these rooms: in each behind what it has already, and up to its head.
///
/// # Errors
/// When it cannot be written, or there is no room.
pub fn fill(
    replica: &Replica,
    rooms: Range<u64>,
    messages: u64,
    name: impl Fn(u64) -> Target,
    mut event: impl FnMut(u64, u64) -> Event,
) -> anyhow::Result<()> {
    let count = rooms.end.saturating_sub(rooms.start);
    anyhow::ensure!(count > 0, "a copy has rooms");
    for (room, nth) in rooms.zip(0..) {
        let mut seq = replica.newest(RoomId(room))?.map_or(0, |cursor| cursor.seq.0);
        let head = seq + messages / count + u64::from(nth < messages % count);
        let mut active = Timestamp::default();
        while seq < head {
            let upto = (seq + BATCH).min(head);
            let events: Vec<Event> = (seq + 1..=upto).map(|seq| event(room, seq)).collect();
            active = events.last().map_or(active, |event| event.at);
            replica.insert(RoomId(room), &events, Seq(seq))?;
            seq = upto;
        }
        replica.put_rooms(&[summary(room, name(room), Seq(head), active)])?;
    }
    Ok(replica.sync()?)
}

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
fn summary(room: u64, target: Target, head: Seq, active_at: Timestamp) -> RoomSummary {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_filled_behind_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (replica, _) = Replica::open(dir.path().join("replica")).unwrap();
        let name = |room| format!("#room-{room}").parse().unwrap();
        let event = |room, seq| message(room, seq, Timestamp(seq), "ann".parse().unwrap(), "x");
        let heads = || [1, 2, 3].map(|room| replica.newest(RoomId(room)).unwrap().map(|cursor| cursor.seq.0));
        fill(&replica, 1..4, 10, name, event).unwrap();
        assert_eq!(heads(), [Some(4), Some(3), Some(3)]);
        fill(&replica, 1..4, 2 * BATCH * 3, name, event).unwrap();
        assert_eq!(heads(), [Some(4 + 2 * BATCH), Some(3 + 2 * BATCH), Some(3 + 2 * BATCH)]);
        assert!(fill(&replica, 4..4, 1, name, event).is_err());
    }
}
