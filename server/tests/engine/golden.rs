//! Journals that were written once and must come to the same for ever: `server/tests/golden`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use quip_protocol::{Cursor, Epoch, Position, Role, RoomId, SafeLine, SafeText, Seq, Target, Timestamp};
use quip_server::Stopping;
use quip_server::engine::{Actor, Command, CommandBody, Engine, Entry, NotApplied, Rules, Terms};
use quip_server::log::shared::contract::BatchId;
use quip_server::pipeline::open::open;
use quip_storage::journal::{Journal, JournalOptions};
use quip_storage::store::StoreOptions;

use crate::commands::{beginning, commands};
use crate::digest::digest;
use crate::world::{PlainPast, account, create, id, invite, key, kick, post, react, reply, room, set_role};

struct Golden {
    /// Its folder.
    name: &'static str,
    /// By which it was written.
    rules: Rules,
    /// Whether it is of a shared log: the entries have what was refused too.
    undecided: bool,
    /// What it was made of.
    made_of: fn() -> Vec<Command>,
}

/// All there are. Only ever appended to.
const JOURNALS: [Golden; 2] = [
    Golden { name: "1", rules: Rules::FIRST, undecided: false, made_of: first },
    Golden { name: "2", rules: Rules::FIRST, undecided: true, made_of: first },
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A data directory with a copy of the journal.
fn data_dir(kept: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("journal")).expect("a directory");
    for entry in fs::read_dir(kept.join("journal")).expect("the journal is there") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), dir.path().join("journal").join(entry.file_name())).expect("a copy");
    }
    dir
}

#[test]
fn every_journal_comes_to_what_it_came_to() {
    for made in JOURNALS {
        let name = made.name;
        let kept = golden().join(name);
        if !kept.exists() {
            write(&kept, &made);
            panic!("{} was not there and has been made: look at its digest and commit it", kept.display());
        }
        let dir = data_dir(&kept);
        let expected = fs::read_to_string(kept.join("digest.txt")).expect("it has a digest");
        // From the journal alone, and with the store that was made of it.
        for _ in 0..2 {
            let opened = open(dir.path(), StoreOptions::default(), false, &Stopping::default())
                .expect("it is replayed");
            let digest = digest(&opened.store);
            for (line, (is, was)) in digest.lines().zip(expected.lines()).enumerate() {
                assert_eq!(is, was, "journal {name}, line {} of its digest", line + 1);
            }
            assert_eq!(digest.len(), expected.len(), "journal {name}");
        }
    }
}

#[test]
fn every_command_is_in_one_of_them() {
    let mut found = BTreeSet::new();
    for Golden { name, .. } in JOURNALS {
        let dir = data_dir(&golden().join(name));
        let journal = Journal::open(dir.path().join("journal"), JournalOptions::default()).expect("it opens");
        for record in journal.replay(Position::ZERO).expect("readable") {
            let entry = Entry::from_bytes(&record.expect("a record").1).expect("an entry");
            found.extend(entry.commands.iter().map(|command| variant(&command.body)));
        }
    }
    assert_eq!(found, BTreeSet::from(VARIANTS), "append a journal that has the others too");
}

const VARIANTS: [&str; 28] = [
    "Archive",
    "Bootstrap",
    "CreateRoom",
    "Delete",
    "DropConsumer",
    "Edit",
    "Invite",
    "Join",
    "Kick",
    "Leave",
    "Mark",
    "MarkUnread",
    "MoveConsumer",
    "NewDeviceCode",
    "NewInvite",
    "NewToken",
    "OpenConsumer",
    "OpenDirect",
    "Post",
    "React",
    "Redeem",
    "Register",
    "Restore",
    "RevokeDevice",
    "RevokeToken",
    "SetRole",
    "SetTopic",
    "Suspend",
];

/// A new command has no name here until it gets one, and then it has to be in a journal.
fn variant(body: &CommandBody) -> &'static str {
    use CommandBody as C;
    match body {
        C::Post { .. } => "Post",
        C::Edit { .. } => "Edit",
        C::Delete { .. } => "Delete",
        C::React { .. } => "React",
        C::Mark { .. } => "Mark",
        C::OpenDirect { .. } => "OpenDirect",
        C::CreateRoom { .. } => "CreateRoom",
        C::Join { .. } => "Join",
        C::Leave { .. } => "Leave",
        C::Invite { .. } => "Invite",
        C::Kick { .. } => "Kick",
        C::SetRole { .. } => "SetRole",
        C::SetTopic { .. } => "SetTopic",
        C::Archive { .. } => "Archive",
        C::Bootstrap { .. } => "Bootstrap",
        C::NewInvite { .. } => "NewInvite",
        C::NewDeviceCode { .. } => "NewDeviceCode",
        C::Redeem { .. } => "Redeem",
        C::Register { .. } => "Register",
        C::RevokeDevice { .. } => "RevokeDevice",
        C::NewToken { .. } => "NewToken",
        C::RevokeToken { .. } => "RevokeToken",
        C::Suspend { .. } => "Suspend",
        C::OpenConsumer { .. } => "OpenConsumer",
        C::MoveConsumer { .. } => "MoveConsumer",
        C::DropConsumer { .. } => "DropConsumer",
        C::Restore { .. } => "Restore",
        C::MarkUnread { .. } => "MarkUnread",
    }
}

/// Writes what is accepted of the commands in groups of one to five, with the epoch raised half way, in segments of
/// which all but the last are compressed; and the digest beside it.
fn write(kept: &Path, &Golden { rules, undecided, made_of, .. }: &Golden) {
    let (dir, commands) = (kept.join("journal"), made_of());
    let options = JournalOptions { segment_bytes: 4096, compress: true };
    let mut journal = Journal::open(&dir, options).expect("a new journal");
    let (mut engine, mut past) = (Engine::default(), PlainPast::default());
    let mut batches = (0..=u8::MAX).cycle().map(|n| undecided.then_some(BatchId([n; 16])));
    let mut entry = Entry { rules, batch: batches.next().flatten(), commands: Vec::new() };
    let mut position = Position { offset: 1, ..Position::ZERO };
    for (at, command) in commands.iter().enumerate() {
        let mut changes = Vec::new();
        match engine.apply(&past, Terms { epoch: position.epoch, rules }, command, &mut changes) {
            Err(NotApplied::Unreadable(why)) => panic!("plain maps can be read: {why}"),
            _ if undecided || !changes.is_empty() => entry.commands.push(command.clone()),
            _ => {}
        }
        past.note(&changes);
        let raise = at == commands.len() / 2;
        if !entry.commands.is_empty() && (entry.commands.len() > at % 5 || at + 1 == commands.len() || raise)
        {
            journal.append(position, &entry.to_bytes()).expect("it is written");
            position = position.next();
            entry.commands.clear();
            entry.batch = batches.next().flatten();
        }
        if raise {
            position.epoch = Epoch(position.epoch.0 + 1);
            journal.append(position, &Entry { rules, ..Entry::default() }.to_bytes()).expect("it is written");
            position = position.next();
        }
    }
    let plain = || {
        let names = fs::read_dir(&dir).expect("the journal").map(|e| e.expect("an entry").file_name());
        names.filter(|name| !name.to_string_lossy().ends_with(".log.zst")).count()
    };
    while plain() > 1 {
        std::thread::yield_now();
    }
    drop(journal);
    let opened = open(data_dir(kept).path(), StoreOptions::default(), false, &Stopping::default())
        .expect("it is replayed");
    fs::write(kept.join("digest.txt"), digest(&opened.store)).expect("the digest");
}

/// Every command at least once, all of them accepted, and random ones from a fixed seed.
fn first() -> Vec<Command> {
    let mut all = beginning();
    let begun = all.len();
    all.extend(told().into_iter().enumerate().map(|(at, (name, body))| {
        let by = if name == "operator" { Actor::Operator } else { Actor::Device(key(name)) };
        Command { at: Timestamp(2 + at as u64), by, body }
    }));
    let (mut engine, mut past) = (Engine::default(), PlainPast::default());
    for (at, command) in all.iter().enumerate() {
        let mut changes = Vec::new();
        let terms = Terms { epoch: Epoch::FIRST, rules: Rules::FIRST };
        let applied = engine.apply(&past, terms, command, &mut changes);
        assert!(
            applied.is_ok() && !changes.is_empty(),
            "{} {command:?}: {applied:?}",
            at.saturating_sub(begun)
        );
        past.note(&changes);
    }
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let random = commands(200).new_tree(&mut runner).expect("random commands").current();
        all.extend(random.into_iter().skip(begun));
    }
    all
}

/// A story, by who does what.
fn told() -> Vec<(&'static str, CommandBody)> {
    use CommandBody as C;
    let (ops, expires, label) = (RoomId(2), Timestamp(1_000_000), || SafeLine::new("second"));
    let consumer = || "reader".parse().expect("a valid name");
    let target = || Target::Room(room("ops"));
    let text = |text| SafeText::new(text);
    let action = |body| match body {
        C::Post { target, id, text, reply_to, .. } => {
            C::Post { target, id, kind: quip_protocol::MessageKind::Action, text, reply_to }
        }
        other => other,
    };
    vec![
        ("ann", post("#ops", 1, "hello @bob, @zoe and @nobody")),
        ("ann", C::Edit { room: ops, target: Seq(2), id: id(2), text: text("hello @bob") }),
        ("bob", react(ops, 2, 3, "👍", true)),
        ("eve", react(ops, 2, 4, "👍", true)),
        ("bob", react(ops, 2, 5, "👍", false)),
        ("bob", reply("#ops", 6, "see @ann", Some(2))),
        ("zoe", C::Mark { room: ops, seq: Seq(4) }),
        ("ann", C::Delete { room: ops, target: Seq(7), id: id(7) }),
        ("bob", action(post("#general", 8, "waves"))),
        ("ann", C::OpenDirect { with: account("bob") }),
        ("bob", post("@ann", 9, "between us")),
        ("ann", create("team", false, &["zoe"])),
        ("bob", C::Join { room: room("team") }),
        ("bob", C::Leave { room: room("team") }),
        ("zoe", invite("team", &["eve", "bob"])),
        ("ann", set_role("team", "eve", Role::Moderator)),
        ("eve", C::SetTopic { room: room("team"), topic: SafeLine::new("what we do") }),
        ("eve", kick("team", "bob")),
        ("ann", invite("team", &["bob"])),
        ("ann", C::NewInvite { hash: [9; 32], room: Some(room("team")), admin: true, uses: 2, expires }),
        ("carl", C::Redeem { hash: [9; 32], name: Some(account("carl")), label: label() }),
        ("zoe", post("#team", 11, "@eve @bob grüße 漢字 👩\u{200d}💻\n\tline two")),
        ("eve", C::Mark { room: RoomId(4), seq: Seq(10) }),
        ("operator", C::NewInvite { hash: [7; 32], room: None, admin: true, uses: 1, expires }),
        ("dora", C::Redeem { hash: [7; 32], name: Some(account("dora")), label: label() }),
        ("ann", C::NewDeviceCode { hash: [8; 32], expires }),
        ("ann2", C::Redeem { hash: [8; 32], name: None, label: label() }),
        ("ann", C::NewDeviceCode { hash: [6; 32], expires }),
        ("ann", C::RevokeDevice { key: key("ann2") }),
        ("ann", C::NewToken { name: account("ci"), key: key("ci"), label: label() }),
        ("ci", post("#general", 10, "built")),
        ("ann", C::RevokeToken { name: account("ci") }),
        ("operator", C::Suspend { name: account("carl"), on: true }),
        ("operator", C::Suspend { name: account("carl"), on: false }),
        ("ann", C::OpenConsumer { name: consumer(), target: target(), since: Some(Seq(2)) }),
        (
            "ann",
            C::MoveConsumer {
                name: consumer(),
                room: ops,
                cursor: Cursor { epoch: Epoch::FIRST, seq: Seq(5) },
            },
        ),
        (
            "ann",
            C::OpenConsumer { name: "other".parse().expect("a valid name"), target: target(), since: None },
        ),
        ("ann", C::DropConsumer { name: consumer(), target: Some(target()) }),
        ("ann", C::Archive { room: room("team") }),
        ("operator", C::Restore { room: room("team") }),
        ("zoe", C::MarkUnread { room: ops, seq: Seq(2) }),
    ]
}
