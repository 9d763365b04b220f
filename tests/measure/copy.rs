//! A client's copy of many rooms, made without a server having said all of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use quip_protocol::room::RoomSummary;
use quip_protocol::{Event, RoomId, Seq, Timestamp};
use quip_storage::Replica;
use quip_tests::{Quip, Random, Server, copied};

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
        Ok(copied::bytes(&self.dir)? / 1024 / 1024)
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
    let author = ["ann", "bob", "carl", "dora"][random.below(4)].parse().expect("a valid name");
    copied::message(room, seq, at(seq), author, &text)
}

fn at(seq: u64) -> Timestamp {
    Timestamp(BEGAN + seq * 1_000)
}

fn summary(room: u64, head: Seq) -> RoomSummary {
    let name = if room == 1 { "#general".to_owned() } else { format!("#room-{room}") };
    copied::summary(room, name.parse().expect("a valid name"), head, at(head.0))
}
