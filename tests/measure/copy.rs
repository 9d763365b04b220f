//! A client's copy of many rooms, made without a server having said all of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use quip_protocol::{Event, RoomId, Timestamp};
use quip_storage::Replica;
use quip_tests::{Quip, Random, Server, copied};

use quip_tests::pty::Screen;

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
    let name = |room| match room {
        1 => "#general".parse().expect("a valid name"),
        _ => format!("#room-{room}").parse().expect("a valid name"),
    };
    let event = |room, seq| event(room, seq, &mut random);
    copied::fill(&replica, 1..1 + u64::from(rooms), messages, name, event)?;
    let last = replica.newest(RoomId(1))?.context("room 1 has messages")?;
    // Its first word is the only one of its kind.
    Ok(format!("1.{}", last.seq.0))
}

fn event(room: u64, seq: u64, random: &mut Random) -> Event {
    let mut text = format!("{room}.{seq}");
    for _ in 0..4 + random.below(16) {
        text.push(' ');
        text.push_str(WORDS[random.below(WORDS.len())]);
    }
    let author = ["ann", "bob", "carl", "dora"][random.below(4)].parse().expect("a valid name");
    copied::message(room, seq, Timestamp(BEGAN + seq * 1_000), author, &text)
}
