//! The writer on a log that is shared: entries that have their place are all written, whatever their commands come to, and
//! what could not be written is taken again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc::{UnboundedReceiver, unbounded};
use parking_lot::{Condvar, Mutex};
use proptest::prelude::*;
use quip_protocol::{Epoch, ErrorCode, Position, Refusal};
use quip_server::cluster::{BootId, Cluster, Roster};
use quip_server::engine::{Command, Engine, Entry, NotApplied, Outcome, Terms};
use quip_server::log::shared::contract::{BatchId, ClusterId};
use quip_server::log::shared::member::Phase;
use quip_server::log::{Finished, Intake, LocalLog, Log, Placed, SharedLog, Taken, Waiter};
use quip_server::pipeline::open::open;
use quip_server::start::Core;
use quip_server::{Config, Stopping};
use quip_storage::journal::Fault;
use quip_storage::store::StoreOptions;
use tokio::sync::watch;

use crate::commands::{beginning, commands};
use crate::mending::eventually;
use crate::pipeline::check_dir;
use crate::world::{PlainPast, key};

/// What a node is given, and what it said.
#[derive(Default)]
struct Stream {
    entries: Vec<(Position, Bytes)>,
    /// Who waits at the node for the commands of an entry.
    waiters: BTreeMap<Position, Vec<Waiter>>,
    /// How many of the entries were given.
    given: usize,
    /// At most so many at once.
    at_once: usize,
    over: bool,
    durable: Position,
    rewound: Vec<Position>,
    /// How often it was told that what is given is not written.
    missed: usize,
}

#[derive(Clone, Default)]
struct Script(Arc<(Mutex<Stream>, Condvar)>);

impl Script {
    fn with<T>(&self, change: impl FnOnce(&mut Stream) -> T) -> T {
        let changed = change(&mut self.0.0.lock());
        self.0.1.notify_all();
        changed
    }

    fn durable(&self) -> Position {
        self.with(|stream| stream.durable)
    }
}

impl Intake for Script {
    fn group(&mut self, patience: Duration) -> Option<Taken> {
        let mut stream = self.0.0.lock();
        if stream.given == stream.entries.len() && !stream.over {
            self.0.1.wait_for(&mut stream, patience);
        }
        let stream = &mut *stream;
        let from = stream.given;
        stream.given = stream.entries.len().min(from + stream.at_once.max(1));
        if from == stream.given && stream.over {
            return None;
        }
        let placed = stream.entries[from..stream.given].iter().map(|(position, payload)| Placed {
            position: *position,
            payload: payload.clone(),
            entry: Entry::from_bytes(payload).expect("an entry"),
            waiters: stream.waiters.remove(position).unwrap_or_default(),
        });
        Some(Taken::Entries(placed.collect()))
    }

    fn durable(&mut self, last: Position) {
        self.with(|stream| stream.durable = last);
    }

    fn rewind(&mut self, last: Position) {
        self.with(|stream| {
            stream.given = stream.entries.iter().take_while(|(position, _)| *position <= last).count();
            stream.rewound.push(last);
        });
    }

    fn missed(&mut self) {
        self.with(|stream| stream.missed += 1);
    }
}

/// Entries of so many commands each, with the epoch raised after the third.
fn entries(commands: &[Command], at_once: usize) -> Vec<(Position, Bytes)> {
    let mut position = Position::ZERO;
    let mut entries = Vec::new();
    for (number, group) in commands.chunks(at_once).enumerate() {
        position = position.next();
        if number == 3 {
            position.epoch = Epoch(7);
            entries.push((position, Bytes::from(Entry::default().to_bytes())));
            position = position.next();
        }
        let batch = BatchId([number as u8; 16]);
        entries.push((position, Bytes::from(Entry::undecided(batch, group.to_vec()).to_bytes())));
    }
    entries
}

/// What the commands of each entry come to.
type Decided = BTreeMap<Position, Vec<Result<Outcome, Refusal>>>;

/// What they come to on plain maps.
fn decide(entries: &[(Position, Bytes)]) -> (Engine, PlainPast, Decided) {
    let (mut engine, mut past, mut all) = (Engine::default(), PlainPast::default(), Decided::new());
    for (position, payload) in entries {
        let entry = Entry::from_bytes(payload).expect("an entry");
        let terms = Terms { epoch: position.epoch, rules: entry.rules };
        let results = entry.commands.iter().map(|command| {
            let mut changes = Vec::new();
            let result = engine.apply(&past, terms, command, &mut changes);
            past.note(&changes);
            result.map_err(|not_applied| match not_applied {
                NotApplied::Refused(refusal) => refusal,
                NotApplied::Unreadable(why) => panic!("plain maps can be read: {why}"),
            })
        });
        all.insert(*position, results.collect());
    }
    (engine, past, all)
}

fn start(dir: &Path, script: &Script, fault: Option<Fault>) -> Core {
    let config = Config::new(Vec::new(), dir.to_owned());
    let options = StoreOptions { cache_bytes: 4 << 20 };
    let mut opened = open(dir, options, false, &Stopping::default()).expect("the directory opens");
    fault.into_iter().for_each(|fault| opened.journal.fail_next(fault));
    let cluster = Cluster {
        id: ClusterId([1; 16]),
        name: "a".parse().expect("a name"),
        boot: BootId([2; 16]),
        roster: watch::Sender::new(Roster::new()),
        phase: watch::Sender::new(Phase::Live),
        counts: Arc::default(),
        barrier: quip_server::cluster::barrier::Barrier::new().0,
    };
    let log = Log::Shared(SharedLog { queue: LocalLog::new().0, phase: cluster.phase.subscribe() });
    Core::start_on(&config, opened, Some(Arc::new(cluster)), log, Box::new(script.clone()))
        .expect("it starts")
}

async fn close(core: Core, script: &Script) {
    script.with(|stream| stream.over = true);
    core.close().await;
}

/// The node waits for these as who took them.
fn wait_for(script: &Script, entry: &(Position, Bytes)) -> UnboundedReceiver<Finished> {
    let (results, finished) = unbounded();
    let count = Entry::from_bytes(&entry.1).expect("an entry").commands.len();
    let waiter = |label| Waiter { label: label as u32, results: results.clone() };
    script.with(|stream| stream.waiters.insert(entry.0, (0..count).map(waiter).collect()));
    finished
}

async fn results(mut finished: UnboundedReceiver<Finished>) -> Vec<Result<Outcome, Refusal>> {
    let mut all = Vec::new();
    while let Ok(finished) = finished.recv().await {
        all.push(finished.result);
    }
    all
}

fn journal(dir: &Path) -> Vec<(Position, Bytes)> {
    let opened = open(dir, StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default())
        .expect("the directory opens");
    assert_eq!(opened.store.applied(), opened.journal.last(), "the store has come as far");
    let records = opened.journal.replay(Position::ZERO).expect("readable");
    records.map(|record| record.expect("a record")).map(|(at, bytes)| (at, bytes.into())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whoever took the commands is told what they come to, and the journal is the log, byte for byte, whoever wrote it in
    /// whatever groups, and whichever way the disk failed meanwhile.
    #[test]
    fn every_node_writes_the_log_as_it_is(
        commands in commands(60), in_entry in 1..9usize, at_once in 1..9usize, fails in any::<bool>(), wrote in 0..4000usize,
    ) {
        let entries = entries(&commands, in_entry);
        let (engine, past, expected) = decide(&entries);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let dir = tempfile::tempdir().expect("a directory");
        let script = Script::default();
        script.with(|stream| stream.at_once = at_once);
        let waiting: Vec<_> = entries.iter().map(|entry| (entry.0, wait_for(&script, entry))).collect();
        let core = start(dir.path(), &script, fails.then_some(Fault::Write(wrote)));
        script.with(|stream| stream.entries.clone_from(&entries));
        let last = entries.last().expect("some").0;
        runtime.block_on(eventually("all is durable", || script.durable() == last));
        for (position, finished) in waiting {
            for (result, expected) in runtime.block_on(results(finished)).into_iter().zip(&expected[&position]) {
                let lost = matches!(&result, Err(refusal) if refusal.code == ErrorCode::Degraded);
                prop_assert!(&result == expected || (fails && lost), "{result:?}, not {expected:?}");
            }
        }
        prop_assert!(*core.shared.node.engine.read() == engine);
        runtime.block_on(close(core, &script));
        prop_assert_eq!(script.with(|stream| stream.rewound.len()), usize::from(fails));
        prop_assert_eq!(journal(dir.path()), entries);
        check_dir(dir.path(), &engine, &past);
        std::fs::remove_dir_all(dir.path().join("store")).expect("there was a store");
        prop_assert!(open(dir.path(), StoreOptions::default(), false, &Stopping::default()).expect("opens").engine == engine);
    }
}

/// What is refused stays where it is, and moves everything on: journal, store, and what the others are told.
#[tokio::test]
async fn an_entry_that_changes_nothing_is_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut commands = beginning();
    let refused = Command { by: quip_server::engine::Actor::Device(key("nobody")), ..commands[0].clone() };
    commands.push(refused);
    let entries = entries(&commands, commands.len() - 1);
    assert_eq!(entries.len(), 2);
    let script = Script::default();
    let finished = wait_for(&script, &entries[1]);
    let core = start(dir.path(), &script, None);
    script.with(|stream| stream.entries.clone_from(&entries));
    assert!(matches!(results(finished).await.as_slice(), [Err(_)]));
    assert_eq!(script.durable(), entries[1].0);
    assert_eq!(core.shared.node.journal.last(), entries[1].0);
    close(core, &script).await;
    assert_eq!(journal(dir.path()), entries);
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_is_taken_and_then_everything() {
    let dir = tempfile::tempdir().unwrap();
    let entries = entries(&beginning(), 2);
    let script = Script::default();
    let core = start(dir.path(), &script, None);
    let node = Arc::clone(&core.shared.node);
    let reserve = node.disk_reserve.swap(u64::MAX, Ordering::Relaxed);
    eventually("it is said before an entry is missed", || script.with(|stream| stream.missed == 1)).await;
    let finished = wait_for(&script, &entries[0]);
    script.with(|stream| stream.entries.clone_from(&entries));
    for result in results(finished).await {
        let refusal = result.expect_err("there is no room");
        assert_eq!((refusal.code, refusal.retry_after_ms.is_some()), (ErrorCode::Degraded, true));
    }
    eventually("all were offered", || script.with(|stream| stream.given == stream.entries.len())).await;
    assert_eq!((script.durable(), node.journal.last()), (Position::ZERO, Position::ZERO));
    assert_eq!(
        script.with(|stream| (stream.missed, stream.rewound.len())),
        (1, 0),
        "nobody is to append more"
    );
    node.disk_reserve.store(reserve, Ordering::Relaxed);
    eventually("all is taken", || script.durable() == entries[entries.len() - 1].0).await;
    drop(node);
    close(core, &script).await;
    assert_eq!(journal(dir.path()), entries);
}

/// What was on its way when the log was asked for it again comes twice, or too early.
#[tokio::test]
async fn what_does_not_come_next_is_left_and_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let entries = entries(&beginning(), 1);
    let script = Script::default();
    script.with(|stream| stream.at_once = 2);
    let core = start(dir.path(), &script, None);
    script.with(|stream| (stream.entries, stream.given) = (entries.clone(), 3));
    eventually("all is durable", || script.durable() == entries[entries.len() - 1].0).await;
    let rewound = script.with(|stream| stream.rewound.clone());
    assert_eq!(rewound.first(), Some(&Position::ZERO));
    // Once more from the start: all of it is there.
    let late = wait_for(&script, &entries[0]);
    script.with(|stream| stream.given = 0);
    let told = results(late).await;
    assert!(told.iter().all(|result| matches!(result, Err(refusal) if refusal.code == ErrorCode::Degraded)));
    eventually("all came", || script.with(|stream| stream.given == stream.entries.len())).await;
    close(core, &script).await;
    assert_eq!(journal(dir.path()), entries);
}
