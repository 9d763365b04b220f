//! A cluster in virtual time: real engines and real members, on a model of the log, with everything that can go wrong. A seed
//! says all that happens; `QUIP_SEED=n` runs that one, and prints what happens.

mod client;
mod faults;
mod keeper;
mod node;
mod past;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use quip_server::engine::Entry as Batched;
use quip_server::log::shared::contract::Stored;
use quip_tests::cluster::model::Flaw;
use quip_tests::cluster::{Entry, History, NodeLog, Verdict, check};

use world::{Broken, Fails, Setting, World};

/// So many seeds are run each time.
const SEEDS: u64 = 2_000;
/// At most so many until what is broken is noticed.
const BROKEN_SEEDS: u64 = 1_000;
/// So many are run in which nothing but the log fails.
const LOG_SEEDS: u64 = 200;
/// Seeds that found something once.
const FOUND: [u64; 3] = [548, 618, 859];

/// Runs one seed, and says what is wrong with what came of it.
fn run(setting: Setting) -> Result<Verdict, String> {
    let mut world = World::new(setting);
    world.run()?;
    once(&world.nodes[0].journal)?;
    let verdict = check(&world.history());
    match verdict.faults.is_empty() {
        true => Ok(verdict),
        false => Err(verdict.faults.iter().map(|fault| format!("{fault}\n")).collect()),
    }
}

/// No batch is in the log twice: messages have ids, but not every command.
fn once(journal: &[Stored]) -> Result<(), String> {
    let mut batches = BTreeSet::new();
    let again = journal
        .iter()
        .filter_map(|entry| Batched::batch_of(&entry.payload))
        .find(|batch| !batches.insert(*batch));
    again.map_or(Ok(()), |batch| Err(format!("{batch:?} is in the log twice")))
}

impl World {
    fn history(&self) -> History {
        History {
            sends: self.clients.iter().flat_map(|client| client.sends.clone()).collect(),
            readings: self.clients.iter().map(|client| client.reading.clone()).collect(),
            nodes: self.nodes.iter().map(log_of).collect(),
            reappended: self.reappended.clone(),
        }
    }
}

fn log_of(node: &node::Node) -> NodeLog {
    let live = node.live.as_ref().expect("all is well");
    let rooms =
        live.past.rooms.iter().map(|(room, events)| (*room, events.iter().map(Entry::from).collect()));
    NodeLog { node: node.name.clone(), rooms: rooms.collect::<BTreeMap<_, _>>() }
}

/// Says which seeds fail, and why, of those that are run on every core.
fn failures(seeds: &[u64], broken: Broken) -> Vec<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let parts = seeds.chunks(seeds.len().div_ceil(threads).max(1));
    std::thread::scope(|scope| {
        let runs: Vec<_> = parts.map(|part| scope.spawn(move || failures_of(part, broken))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    })
}

fn failures_of(seeds: &[u64], broken: Broken) -> Vec<(u64, String)> {
    let one = |seed: u64| {
        let setting = Setting { seed, broken, fails: Fails::All, trace: false };
        let ran = std::panic::catch_unwind(|| run(setting));
        let why = ran
            .unwrap_or_else(|panic| Err(format!("panicked: {:?}", panic.downcast_ref::<String>())))
            .err()?;
        Some((seed, why))
    };
    seeds.iter().copied().filter_map(one).collect()
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered_whatever_fails() {
    if let Some(seed) = std::env::var("QUIP_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let verdict = run(Setting { seed, broken: Broken::Nothing, fails: Fails::All, trace: true });
        println!("{verdict:#?}");
        assert!(verdict.is_ok(), "seed {seed}: {}", verdict.unwrap_err());
        return;
    }
    let many = std::env::var("QUIP_SEEDS").ok().and_then(|many| many.parse().ok()).unwrap_or(SEEDS);
    let seeds: Vec<u64> = FOUND.into_iter().chain(0..many).collect();
    let failures = failures(&seeds, Broken::Nothing);
    let (which, first) = (failures.iter().map(|(seed, _)| *seed).collect::<Vec<_>>(), failures.first());
    assert!(
        failures.is_empty(),
        "{} of {} seeds fail, QUIP_SEED={which:?}: {first:#?}",
        which.len(),
        seeds.len()
    );
}

/// Whoever has most writes back what the log has lost: as long as all nodes live, no receipt becomes wrong.
#[test]
fn where_the_log_alone_fails_nothing_has_to_be_appended_again() {
    let mut acked = 0;
    for seed in 0..LOG_SEEDS {
        let setting = Setting { seed, broken: Broken::Nothing, fails: Fails::Log, trace: false };
        let figures = run(setting).unwrap_or_else(|why| panic!("seed {seed}: {why}")).figures;
        assert_eq!(figures.reappended, 0, "seed {seed}");
        acked += figures.acked;
    }
    assert!(acked > 0, "nothing was sent");
}

#[test]
fn what_is_broken_is_noticed() {
    let broken = [
        Broken::Keeper(Flaw::TakesUnagreed),
        Broken::Keeper(Flaw::TakesTwice),
        Broken::Orphans,
        Broken::Epochs,
        Broken::Disks,
    ];
    let seeds: Vec<u64> = (0..BROKEN_SEEDS).collect();
    for broken in broken {
        let noticed = seeds.chunks(50).find_map(|some| failures(some, broken).into_iter().next());
        println!("{broken:?}: {noticed:?}");
        assert!(noticed.is_some(), "{broken:?} is not noticed");
    }
}
