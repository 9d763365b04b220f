//! A cluster in virtual time: real engines and real members, on a model of the log, with everything that can go wrong. A seed
//! says all that happens; `QUIP_SEED=n` runs that one, and prints what happens.

mod client;
mod faults;
mod keeper;
mod node;
mod past;
mod world;

use std::collections::BTreeMap;

use quip_tests::cluster::model::Flaw;
use quip_tests::cluster::{Entry, History, NodeLog, Verdict, check};

use world::{Setting, World};

/// So many seeds are run each time.
const SEEDS: u64 = 2_000;
/// Seeds that found something once.
const FOUND: [u64; 0] = [];

/// Runs one seed, and says what is wrong with what came of it.
fn run(setting: Setting) -> Result<Verdict, String> {
    let mut world = World::new(setting);
    world.run()?;
    let verdict = check(&world.history());
    match verdict.faults.is_empty() {
        true => Ok(verdict),
        false => Err(verdict.faults.iter().map(|fault| format!("{fault}\n")).collect()),
    }
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
fn failures(seeds: &[u64], flaw: Option<Flaw>) -> Vec<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let parts = seeds.chunks(seeds.len().div_ceil(threads).max(1));
    std::thread::scope(|scope| {
        let runs: Vec<_> = parts.map(|part| scope.spawn(move || failures_of(part, flaw))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    })
}

fn failures_of(seeds: &[u64], flaw: Option<Flaw>) -> Vec<(u64, String)> {
    let one = |seed: u64| {
        let setting = Setting { seed, flaw, trace: false };
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
        let verdict = run(Setting { seed, flaw: None, trace: true });
        println!("{verdict:#?}");
        assert!(verdict.is_ok(), "seed {seed}: {}", verdict.unwrap_err());
        return;
    }
    let many = std::env::var("QUIP_SEEDS").ok().and_then(|many| many.parse().ok()).unwrap_or(SEEDS);
    let seeds: Vec<u64> = FOUND.into_iter().chain(0..many).collect();
    let failures = failures(&seeds, None);
    let (which, first) = (failures.iter().map(|(seed, _)| *seed).collect::<Vec<_>>(), failures.first());
    assert!(
        failures.is_empty(),
        "{} of {} seeds fail, QUIP_SEED={which:?}: {first:#?}",
        which.len(),
        seeds.len()
    );
}

#[test]
fn a_log_that_does_not_fence_is_caught() {
    let seeds: Vec<u64> = (0..60).collect();
    for flaw in [Flaw::TakesUnagreed, Flaw::TakesUnseen, Flaw::TakesTwice] {
        assert!(!failures(&seeds, Some(flaw)).is_empty(), "{flaw:?} is not noticed");
    }
}
