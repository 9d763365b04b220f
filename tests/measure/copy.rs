//! A client's copy of many rooms, made without a server having said all of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use quip_protocol::room::{RoomKind, RoomSummary};
use quip_protocol::{
    AccountName, Cursor, Epoch, Event, EventBody, Message, MessageId, MessageKind, Role, RoomId, SafeLine,
    SafeText, Seq, Timestamp,
};
use quip_storage::Replica;
use quip_tests::{Quip, Random, Server};

use quip_tests::pty::Screen;

/// Events that are written at once.
const BATCH: u64 = 2_000;
/// 2026-01-01, in milliseconds.
const BEGAN: u64 = 1_767_225_600_000;
/// What people who work together say: the words of the messages.
const WORDS: &[&str] = &[
    "deploy",
    "rollback",
    "latency",
    "the",
    "a",
    "is",
    "was",
    "on",
    "staging",
    "production",
    "queue",
    "worker",
    "retry",
    "timeout",
    "socket",
    "cursor",
    "index",
    "why",
    "does",
    "this",
    "fail",
    "again",
    "fixed",
    "in",
    "main",
    "branch",
    "merge",
    "review",
    "please",
    "thanks",
    "tests",
    "green",
    "red",
    "flaky",
    "build",
    "cache",
    "memory",
    "leak",
    "page",
    "fault",
    "kernel",
    "driver",
    "release",
    "notes",
    "customer",
    "ticket",
    "urgent",
    "tomorrow",
    "today",
    "meeting",
];

/// A user with a copy.
pub struct Copy {
    /// The user.
    pub quip: Quip,
    /// The first word of the last message of the room that is shown first.
    pub last: String,
    dir: PathBuf,
}

impl Copy {
    /// How large it is, on the disk.
    pub fn mib(&self) -> Result<u64> {
        Ok(bytes(&self.dir)? / 1024 / 1024)
    }
}

/// A copy of so many rooms with so many messages in all; the server is away for good.
pub fn make(rooms: u32, messages: u64) -> Result<Copy> {
    let mut server = Server::start();
    let quip = Quip::joined(server.owner.as_ref().context("a new server has an owner")?, "ann");
    let mut screen = Screen::start(&quip)?;
    screen.shows("connected to")?;
    screen.shows("ann joined")?;
    drop(screen);
    ensure!(server.stop(), "the server stops");
    let dir = only_entry(&quip.home().join("data/servers"))?;
    let last = fill(&dir.join("replica"), rooms, messages)?;
    Ok(Copy { quip, last, dir })
}

fn only_entry(dir: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(dir)?.next().context("the client has kept nothing")??;
    Ok(entry.path())
}

/// Room 1 is the one that the client came in, and shows first.
fn fill(dir: &Path, rooms: u32, messages: u64) -> Result<String> {
    let (replica, _) = Replica::open(dir)?;
    let mut random = Random::new(1);
    let mut last = String::new();
    for room in 1..=u64::from(rooms) {
        let count = messages / u64::from(rooms) + u64::from(room <= messages % u64::from(rooms));
        let known = replica.newest(RoomId(room))?.map_or(Seq::ZERO, |cursor| cursor.seq);
        let mut seq = known.0;
        while seq < known.0 + count {
            let upto = (seq + BATCH).min(known.0 + count);
            let events: Vec<Event> = (seq + 1..=upto).map(|seq| event(room, seq, &mut random)).collect();
            replica.insert(RoomId(room), &events, Seq(seq))?;
            if let (1, Some(event)) = (room, events.last()) {
                // Its first word is the only one of its kind.
                last = format!("{room}.{}", event.seq.0);
            }
            seq = upto;
        }
        replica.put_rooms(&[summary(room, Seq(seq))])?;
    }
    replica.sync()?;
    Ok(last)
}

fn event(room: u64, seq: u64, random: &mut Random) -> Event {
    let mut text = format!("{room}.{seq}");
    for _ in 0..4 + random.below(16) {
        text.push(' ');
        text.push_str(WORDS[random.below(WORDS.len())]);
    }
    let mut id = [0; 16];
    id[..8].copy_from_slice(&room.to_be_bytes());
    id[8..].copy_from_slice(&seq.to_be_bytes());
    let message = Message::new(MessageId::from_bytes(id), MessageKind::Plain, SafeText::new(&text), None);
    let author: AccountName = ["ann", "bob", "carl", "dora"][random.below(4)].parse().expect("a valid name");
    Event {
        room: RoomId(room),
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at: Timestamp(BEGAN + seq * 1_000),
        ordinal: seq,
        author,
        body: EventBody::Message(message),
    }
}

fn summary(room: u64, head: Seq) -> RoomSummary {
    let name = if room == 1 { "#general".to_owned() } else { format!("#room-{room}") };
    RoomSummary {
        id: RoomId(room),
        target: name.parse().expect("a valid name"),
        kind: RoomKind::Public,
        topic: SafeLine::default(),
        archived: false,
        role: Some(Role::Member),
        members: 4,
        head: Cursor { epoch: Epoch::FIRST, seq: head },
        active_at: Timestamp(BEGAN + head.0 * 1_000),
        read: head,
        unread: 0,
        mentions: 0,
    }
}

fn bytes(path: &Path) -> Result<u64> {
    let meta = fs::metadata(path)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    fs::read_dir(path)?.map(|entry| bytes(&entry?.path())).sum()
}
