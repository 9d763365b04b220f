//! What is done to a cluster, and when: the same for the same seed. PURE.

use std::collections::BTreeMap;

use super::cut::{self, Cut};
use crate::Random;

/// Nothing is done in the first and in the last of it, in milliseconds.
const CALM: u64 = 4_000;
/// Between two blows, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 1_500..5_000;
/// How long a partition lasts, in milliseconds.
const PARTED: std::ops::Range<u64> = 1_000..15_000;

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// kill -9 of a node.
    Kill(usize),
    /// It starts again.
    Start(usize),
    /// SIGSTOP of a node.
    Pause(usize),
    /// SIGCONT.
    Resume(usize),
    /// Some do not reach others.
    Cut(Cut),
    /// They do again.
    Mend(Cut),
    /// kill -9 of Redis.
    KillRedis,
    /// It starts again, with what its files have.
    StartRedis,
    /// SIGSTOP of Redis.
    PauseRedis,
    /// SIGCONT.
    ResumeRedis,
    /// Its files are copied.
    SaveRedis,
    /// kill -9 of Redis, and started with that copy: what it acknowledged since is lost.
    RollRedisBack,
    /// FLUSHALL.
    Flush,
    /// kill -9 of Redis, and started with nothing.
    EmptyRedis,
}

/// What a blow that is no partition is called in figures.
pub fn name(act: Act) -> Option<&'static str> {
    Some(match act {
        Act::Kill(_) => "node killed",
        Act::Pause(_) => "node stopped",
        Act::KillRedis => "redis killed",
        Act::PauseRedis => "redis stopped",
        Act::RollRedisBack => "redis rolled back",
        Act::Flush => "redis flushed",
        Act::EmptyRedis => "redis replaced by an empty one",
        Act::Start(_)
        | Act::Resume(_)
        | Act::Cut(_)
        | Act::Mend(_)
        | Act::StartRedis
        | Act::ResumeRedis
        | Act::SaveRedis => return None,
    })
}

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Node(usize),
    /// The way between two nodes, whatever else happens to them.
    Pair,
    Redis,
}

/// What plans are made for.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    /// How many nodes.
    pub nodes: usize,
    /// How long it is, in milliseconds.
    pub length_ms: u64,
    /// Redis loses what it acknowledged, too.
    pub rollback: bool,
    /// Everyone can be cut off from everyone; if not, nodes from Redis.
    pub networks: bool,
}

/// What is done, in order, each at so many milliseconds from the begin. Whatever is begun is ended before the end.
pub fn plan(seed: u64, scene: Scene) -> Vec<(u64, Act)> {
    let mut random = Random::new(seed);
    let mut busy: BTreeMap<Who, u64> = BTreeMap::new();
    let mut acts = Vec::new();
    let end = scene.length_ms.saturating_sub(CALM);
    let mut now = CALM;
    while now < end {
        let who = who(&mut random, scene);
        if busy.get(&who).is_none_or(|until| *until < now) {
            let blow = match who {
                Who::Node(node) => at_node(&mut random, node, scene.networks),
                Who::Pair => parted(&mut random, cut::of_pair(scene.nodes)),
                Who::Redis => at_redis(&mut random, scene),
            };
            let until = (now + blow.lasts).min(end);
            // What comes behind a blow's end finds it over.
            busy.insert(who, until + 1_000);
            acts.push((now, blow.begin));
            acts.extend(blow.end.map(|act| (until, act)));
        }
        now += between(&mut random, BETWEEN);
    }
    acts.sort_by_key(|(at, _)| *at);
    acts
}

fn who(random: &mut Random, scene: Scene) -> Who {
    let pairs = usize::from(scene.networks && scene.nodes > 1);
    match random.below(scene.nodes + pairs + 2) {
        n if n < scene.nodes => Who::Node(n),
        n if n < scene.nodes + pairs => Who::Pair,
        _ => Who::Redis,
    }
}

struct Blow {
    begin: Act,
    end: Option<Act>,
    lasts: u64,
}

fn at_node(random: &mut Random, node: usize, networks: bool) -> Blow {
    let (begin, end, lasts) = match random.below(if networks { 6 } else { 4 }) {
        0 | 1 => (Act::Kill(node), Act::Start(node), 500..8_000),
        2 => (Act::Pause(node), Act::Resume(node), 1_000..30_000),
        _ => return parted(random, cut::of_node(node, networks)),
    };
    Blow { begin, end: Some(end), lasts: between(random, lasts) }
}

fn at_redis(random: &mut Random, scene: Scene) -> Blow {
    let (cuts, losses) = (usize::from(scene.networks), if scene.rollback { 3 } else { 0 });
    let (begin, end, lasts) = match random.below(2 + cuts + losses) {
        0 => (Act::KillRedis, Some(Act::StartRedis), 200..3_000),
        1 => (Act::PauseRedis, Some(Act::ResumeRedis), 1_000..10_000),
        2 if scene.networks => return parted(random, vec![Cut::Redis]),
        n => match n - 2 - cuts {
            0 => (Act::SaveRedis, Some(Act::RollRedisBack), 200..3_000),
            1 => (Act::Flush, None, 1_000..2_000),
            _ => (Act::EmptyRedis, None, 1_000..2_000),
        },
    };
    Blow { begin, end, lasts: between(random, lasts) }
}

/// One of these partitions.
fn parted(random: &mut Random, cuts: Vec<Cut>) -> Blow {
    let cut = cuts[random.below(cuts.len())];
    Blow { begin: Act::Cut(cut), end: Some(Act::Mend(cut)), lasts: between(random, PARTED) }
}

fn between(random: &mut Random, range: std::ops::Range<u64>) -> u64 {
    range.start + random.any() % (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(length_ms: u64) -> Scene {
        Scene { nodes: 3, length_ms, rollback: true, networks: true }
    }

    /// The act that ends another one.
    fn end_of(act: Act) -> Option<Act> {
        Some(match act {
            Act::Kill(node) => Act::Start(node),
            Act::Pause(node) => Act::Resume(node),
            Act::Cut(cut) => Act::Mend(cut),
            Act::KillRedis => Act::StartRedis,
            Act::PauseRedis => Act::ResumeRedis,
            Act::SaveRedis => Act::RollRedisBack,
            _ => return None,
        })
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        assert_eq!(plan(7, scene(60_000)), plan(7, scene(60_000)));
        assert_ne!(plan(7, scene(60_000)), plan(8, scene(60_000)));
    }

    #[test]
    fn what_is_begun_is_ended_and_nothing_is_hit_twice_at_once() {
        for seed in 0..200 {
            let (length_ms, nodes) = (20_000 + seed * 1_000, 1 + seed as usize % 5);
            let scene = Scene { nodes, networks: seed % 3 > 0, ..scene(length_ms) };
            let mut open: Vec<Act> = Vec::new();
            let mut last = 0;
            for (at, act) in plan(seed, scene) {
                assert!(
                    (CALM..=length_ms - CALM).contains(&at) && at >= last,
                    "seed {seed}: {act:?} at {at}"
                );
                last = at;
                match open.iter().position(|begun| end_of(*begun) == Some(act)) {
                    Some(begun) => drop(open.remove(begun)),
                    None => {
                        let same = |begun: &Act| hit(*begun) == hit(act);
                        assert!(!open.iter().any(same), "seed {seed}: {act:?} while {open:?}");
                        open.extend(end_of(act).map(|_| act));
                    }
                }
            }
            assert_eq!(open, [], "seed {seed}");
        }
    }

    fn hit(act: Act) -> Who {
        match act {
            Act::Kill(node) | Act::Start(node) | Act::Pause(node) | Act::Resume(node) => Who::Node(node),
            Act::Cut(cut) | Act::Mend(cut) => match cut {
                Cut::Nodes(..) | Cut::OneWay(..) => Who::Pair,
                Cut::Redis => Who::Redis,
                Cut::NodeAndRedis(node) | Cut::ToRedis(node) | Cut::FromRedis(node) => Who::Node(node),
                Cut::NodeAndClients(node) | Cut::ToClients(node) => Who::Node(node),
                Cut::Node(node) | Cut::Cable(node) => Who::Node(node),
            },
            _ => Who::Redis,
        }
    }

    /// What comes in many plans.
    fn names(rollback: bool, networks: bool) -> std::collections::BTreeSet<&'static str> {
        let plans = (0..100).map(|seed| plan(seed, Scene { rollback, networks, ..scene(60_000) }));
        let name = |act| if let Act::Cut(cut) = act { Some(cut.name()) } else { name(act) };
        plans.flatten().filter_map(|(_, act)| name(act)).collect()
    }

    #[test]
    fn every_kind_of_blow_comes_and_those_that_lose_the_log_only_when_asked_for() {
        assert_eq!((names(false, false).len(), names(true, false).len()), (5, 8));
        assert_eq!((names(false, true).len(), names(true, true).len()), (14, 17));
        assert!(!names(false, true).contains("redis flushed"));
        assert!(names(false, false).contains(Cut::NodeAndRedis(0).name()));
    }
}
