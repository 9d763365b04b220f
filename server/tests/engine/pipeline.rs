//! The engine behind the real pipeline: what is acknowledged is what the pure engine decides, and it is there after
//! every way of opening the directory again.

use std::path::Path;
use std::time::Duration;

use futures_channel::mpsc;
use proptest::prelude::*;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event};
use quip_protocol::{ErrorCode, Event, Refusal, RoomId, SafeLine, SafeText, Seq, Timestamp};
use quip_server::Config;
use quip_server::Stopping;
use quip_server::engine::{Actor, Command, CommandBody, Engine, Entry, NotApplied, Outcome};
use quip_server::log::{LocalLog, Submission, Waiter};
use quip_server::node::submit;
use quip_server::pipeline::open::open;
use quip_server::start::Core;
use quip_storage::journal::{Fault, MAX_PAYLOAD};
use quip_storage::store::StoreOptions;

use crate::commands::{beginning, commands};
use crate::world::{FIRST, PlainPast, World, account, create, id, key, post, react, room};

type Result<T, E = Refusal> = std::result::Result<T, E>;

pub fn start(dir: &Path, fault: Option<Fault>) -> Core {
    let config = Config::new(Vec::new(), dir.to_owned());
    let mut opened = open(dir, StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default())
        .expect("the directory opens");
    if let Some(fault) = fault {
        opened.journal.fail_next(fault);
    }
    Core::start(&config, opened).expect("a writer starts")
}

/// Hands over commands in groups of this many; their results in order.
pub async fn submit_all(core: &Core, commands: &[Command], at_once: usize) -> Vec<Result<Outcome>> {
    let mut all = Vec::new();
    for group in commands.chunks(at_once) {
        let (results, mut finished) = mpsc::unbounded();
        for command in group {
            let waiter = Waiter { label: 0, results: results.clone() };
            let submission = Submission { command: command.clone(), waiter };
            core.shared.log.append(submission).await.expect("the writer runs");
        }
        for _ in group {
            all.push(finished.recv().await.expect("the writer runs").result);
        }
    }
    all
}

/// What the engine decides on plain maps.
pub fn decide(engine: &mut Engine, past: &mut PlainPast, commands: &[Command]) -> Vec<Result<Outcome>> {
    let decided = commands.iter().map(|command| {
        let mut changes = Vec::new();
        let result = engine.apply(past, FIRST, command, &mut changes);
        past.note(&changes);
        result.map_err(|not_applied| match not_applied {
            NotApplied::Refused(refusal) => refusal,
            NotApplied::Unreadable(why) => panic!("plain maps can be read: {why}"),
        })
    });
    decided.collect()
}

/// Everything in the directory is as the engine and the past say.
pub fn check_dir(dir: &Path, engine: &Engine, past: &PlainPast) {
    let opened = open(dir, StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default())
        .expect("the directory opens");
    assert!(opened.engine == *engine, "the engine of the directory differs");
    assert!(
        Engine::from_snapshot(opened.store.load().expect("readable")) == *engine,
        "the store's engine differs"
    );
    for (room, seq) in past.events.keys() {
        let stored = opened.store.event(*room, *seq).expect("readable").expect("stored");
        assert_eq!(decode_stored_event(&stored).as_ref(), Ok(&past.events[&(*room, *seq)]));
    }
    for (id, receipt) in &past.receipts {
        assert_eq!(opened.store.receipt(*id).expect("readable").as_ref(), Some(receipt));
    }
    assert_eq!(opened.store.check().expect("readable"), Vec::new());
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The outcome of each command is the pure engine's, whether what it depends on is in the same group, in the
    /// feeds or in the store; and so is what is there after a stop, with a store from half way, and with none.
    #[test]
    fn what_is_acknowledged_is_there(commands in commands(80), at_once in 1..20usize, half in 0.0..1.0f64) {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, aside) = (dir.path().join("data"), dir.path().join("aside"));
        let (mut engine, mut past) = (Engine::default(), PlainPast::default());
        let (first, second) = commands.split_at((commands.len() as f64 * half) as usize);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        for (part, keep) in [(first, true), (second, false)] {
            let core = start(&path, None);
            let acknowledged = runtime.block_on(submit_all(&core, part, at_once));
            prop_assert_eq!(acknowledged, decide(&mut engine, &mut past, part));
            prop_assert!(*core.shared.node.engine.read() == engine);
            runtime.block_on(core.close());
            if keep {
                copy_dir(&path.join("store"), &aside);
            }
        }
        check_dir(&path, &engine, &past);
        std::fs::remove_dir_all(path.join("store")).expect("there was a store");
        std::fs::rename(&aside, path.join("store")).expect("the store of before");
        check_dir(&path, &engine, &past);
        std::fs::remove_dir_all(path.join("store")).expect("there was a store");
        check_dir(&path, &engine, &past);
    }
}

/// Ann's commands on message 5 of `#general`: posted, edited, deleted, and refused from then on.
fn amendments() -> Vec<Command> {
    let (room, target) = (RoomId(1), Seq(5));
    let edit = |number, text| CommandBody::Edit { room, target, id: id(number), text: SafeText::new(text) };
    let bodies = [
        post("#general", 1, "helo"),
        edit(2, "hello"),
        react(room, 5, 3, "+1", true),
        CommandBody::Delete { room, target, id: id(4) },
        edit(5, "too late"),
        react(room, 5, 6, "+1", true),
        post("#general", 1, "again"),
    ];
    let by = Actor::Device(key("ann"));
    bodies.into_iter().map(|body| Command { at: Timestamp(10), by, body }).collect()
}

#[tokio::test]
async fn amending_what_is_not_stored_yet_comes_to_the_same_from_the_journal() {
    for at_once in [1, 100] {
        let dir = tempfile::tempdir().unwrap();
        let commands: Vec<Command> = beginning().into_iter().chain(amendments()).collect();
        let begun = beginning().len();
        let core = start(dir.path(), None);
        let live = submit_all(&core, &commands, at_once).await;
        let codes: Vec<_> =
            live[begun..].iter().map(|result| result.as_ref().err().map(|r| r.code)).collect();
        let gone = Some(ErrorCode::NoSuchMessage);
        assert_eq!(codes, [None, None, None, None, gone, gone, None]);
        assert_eq!(live[begun], live[begun + 6], "a repeated post gives the first receipt");
        assert!(!told(&core, 1..=8).contains("hel"), "its edit says nothing any more");
        core.close().await;
        std::fs::remove_dir_all(dir.path().join("store")).unwrap();
        let core = start(dir.path(), None);
        let again = submit_all(&core, &commands[begun..], 1).await;
        assert_eq!(again, live[begun..], "repeated after a rebuild");
        let message = stored(&core, 5).message().cloned().unwrap();
        assert_eq!((message.text(), message.deleted, message.reactions.len()), ("", true, 0));
        assert!(!told(&core, 1..=8).contains("hel"), "nor from the journal");
        core.close().await;
    }
}

/// What a reader of `#general` is told.
fn told(core: &Core, seqs: std::ops::RangeInclusive<u64>) -> String {
    seqs.map(|seq| format!("{:?}\n", stored(core, seq).body)).collect()
}

fn stored(core: &Core, seq: u64) -> Event {
    let node = &core.shared.node;
    let chunk = node.read(quip_server::feed::FeedKey::Room(RoomId(1)), Seq(seq - 1), Seq(seq), 1);
    let frames = chunk.expect("readable").frames;
    decode_stored_event(&frames[0].slice(LENGTH_BYTES..)).expect("an event")
}

/// Four thousand of the longest messages at once are more than one journal record takes.
#[tokio::test]
async fn a_group_fits_into_a_journal_record() {
    let (log, mut intake) = LocalLog::new();
    // The writer takes them meanwhile: the log holds fewer than these.
    let labels = tokio::task::spawn_blocking(move || {
        let mut labels = Vec::new();
        while let Some(group) = intake.submissions(std::time::Duration::from_secs(60)) {
            labels.extend(group.iter().map(|submission| submission.waiter.label));
            let commands: Vec<Command> = group.into_iter().map(|submission| submission.command).collect();
            let weight: usize = commands.iter().map(Command::weight).sum();
            let bytes = Entry { commands, ..Entry::default() }.to_bytes().len();
            assert!(bytes <= weight && bytes <= MAX_PAYLOAD, "{bytes} bytes in a group, {weight} expected");
        }
        labels
    });
    let text = SafeText::new(&"x".repeat(quip_protocol::limits::MAX_TEXT));
    let (results, _finished) = mpsc::unbounded();
    for label in 0..5_000 {
        let mut body = post("#general", label.into(), "");
        if let CommandBody::Post { text: empty, .. } = &mut body {
            *empty = text.clone();
        }
        let command = Command { at: Timestamp(1), by: Actor::Device(key("ann")), body };
        let submission = Submission { command, waiter: Waiter { label, results: results.clone() } };
        log.append(submission).await.unwrap();
    }
    drop(log);
    assert_eq!(labels.await.unwrap(), (0..5_000).collect::<Vec<_>>(), "all, in order");
}

/// Rooms with many members at once: the writer, and everyone who waits for it, is not held up by all in one group.
#[tokio::test]
async fn a_group_makes_a_bounded_number_of_changes() {
    let (log, mut intake) = LocalLog::new();
    let (results, _finished) = mpsc::unbounded();
    let members: Vec<_> = (0..10_000).map(|n| account(&format!("p{n}"))).collect();
    for label in 0..48u32 {
        let (name, topic) = (room(&format!("#r{label}")), SafeLine::default());
        let large = CommandBody::CreateRoom { name, private: true, topic, members: members.clone() };
        for body in [large, post("#general", label.into(), "x")] {
            let command = Command { at: Timestamp(1), by: Actor::Device(key("ann")), body };
            let submission = Submission { command, waiter: Waiter { label, results: results.clone() } };
            log.append(submission).await.unwrap();
        }
    }
    drop(log);
    let groups = tokio::task::spawn_blocking(move || {
        std::iter::from_fn(|| intake.submissions(Duration::from_secs(60))).collect::<Vec<_>>()
    });
    let groups = groups.await.unwrap();
    let large = |submission: &&Submission| submission.command.body.names() > 0;
    assert!(groups.iter().all(|group| group.iter().filter(large).count() <= 1));
    assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 96, "all of them");
    // What is expected of a command is what it makes.
    let mut world = World::with(&["ann", "bob", "eve"]);
    let before = world.changes.len();
    let body = create("#ops", true, &["bob", "eve"]);
    let expected = Command { at: Timestamp(1), by: Actor::Operator, body: body.clone() }.changes();
    world.does("ann", body);
    let made = world.changes.len() - before;
    assert!((expected..=expected + 6).contains(&made), "{made} changes, {expected} expected");
}

#[tokio::test]
async fn who_waits_when_the_server_stops_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let core = start(dir.path(), None);
    submit_all(&core, &beginning(), 100).await;
    let log = core.shared.log.clone();
    let waiting: Vec<_> = (0..50u128)
        .map(|n| {
            let (log, command) = (
                log.clone(),
                Command { at: Timestamp(10), by: Actor::Device(key("ann")), body: post("#general", n, "x") },
            );
            tokio::spawn(async move { submit(&log, command).await })
        })
        .collect();
    drop(log);
    core.close().await;
    for result in waiting {
        assert!(result.await.unwrap().is_ok(), "what was accepted before the stop is finished");
    }
}
