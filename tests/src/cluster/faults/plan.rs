//! What is done to a cluster, and when: the same for the same seed. PURE.

use std::collections::BTreeMap;

use crate::Random;

/// Nothing is done in the first and in the last of it, in milliseconds.
const CALM: u64 = 4_000;
/// Between two blows, in milliseconds.
const BETWEEN: std::ops::Range<u64> = 1_500..5_000;

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
    /// A node and Redis do not reach each other.
    Cut(usize),
    /// They do again.
    Join(usize),
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

/// What a blow is called in figures.
pub fn name(act: Act) -> Option<&'static str> {
    Some(match act {
        Act::Kill(_) => "node killed",
        Act::Pause(_) => "node stopped",
        Act::Cut(_) => "node cut off from redis",
        Act::KillRedis => "redis killed",
        Act::PauseRedis => "redis stopped",
        Act::RollRedisBack => "redis rolled back",
        Act::Flush => "redis flushed",
        Act::EmptyRedis => "redis replaced by an empty one",
        Act::Start(_)
        | Act::Resume(_)
        | Act::Join(_)
        | Act::StartRedis
        | Act::ResumeRedis
        | Act::SaveRedis => return None,
    })
}

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Node(usize),
    Redis,
}

/// What is done, in order, each at so many milliseconds from the begin. Whatever is begun is ended before the end.
pub fn plan(seed: u64, nodes: usize, length_ms: u64, rollback: bool) -> Vec<(u64, Act)> {
    let mut random = Random::new(seed);
    let mut busy: BTreeMap<Who, u64> = BTreeMap::new();
    let mut acts = Vec::new();
    let end = length_ms.saturating_sub(CALM);
    let mut now = CALM;
    while now < end {
        let who = if random.below(nodes + 2) < nodes { Who::Node(random.below(nodes)) } else { Who::Redis };
        if busy.get(&who).is_none_or(|until| *until < now) {
            let blow = match who {
                Who::Node(node) => at_node(&mut random, node),
                Who::Redis => at_redis(&mut random, rollback),
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

struct Blow {
    begin: Act,
    end: Option<Act>,
    lasts: u64,
}

fn at_node(random: &mut Random, node: usize) -> Blow {
    let (begin, end, lasts) = match random.below(4) {
        0 | 1 => (Act::Kill(node), Act::Start(node), 500..8_000),
        2 => (Act::Pause(node), Act::Resume(node), 1_000..30_000),
        _ => (Act::Cut(node), Act::Join(node), 1_000..10_000),
    };
    Blow { begin, end: Some(end), lasts: between(random, lasts) }
}

fn at_redis(random: &mut Random, rollback: bool) -> Blow {
    let (begin, end, lasts) = match random.below(if rollback { 5 } else { 2 }) {
        0 => (Act::KillRedis, Some(Act::StartRedis), 200..3_000),
        1 => (Act::PauseRedis, Some(Act::ResumeRedis), 1_000..10_000),
        2 => (Act::SaveRedis, Some(Act::RollRedisBack), 200..3_000),
        3 => (Act::Flush, None, 1_000..2_000),
        _ => (Act::EmptyRedis, None, 1_000..2_000),
    };
    Blow { begin, end, lasts: between(random, lasts) }
}

fn between(random: &mut Random, range: std::ops::Range<u64>) -> u64 {
    range.start + random.any() % (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The act that ends another one.
    fn end_of(act: Act) -> Option<Act> {
        Some(match act {
            Act::Kill(node) => Act::Start(node),
            Act::Pause(node) => Act::Resume(node),
            Act::Cut(node) => Act::Join(node),
            Act::KillRedis => Act::StartRedis,
            Act::PauseRedis => Act::ResumeRedis,
            Act::SaveRedis => Act::RollRedisBack,
            _ => return None,
        })
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        assert_eq!(plan(7, 3, 60_000, true), plan(7, 3, 60_000, true));
        assert_ne!(plan(7, 3, 60_000, true), plan(8, 3, 60_000, true));
    }

    #[test]
    fn what_is_begun_is_ended_and_nothing_is_hit_twice_at_once() {
        for seed in 0..200 {
            let (length, nodes) = (20_000 + seed * 1_000, 1 + seed as usize % 5);
            let mut open: Vec<Act> = Vec::new();
            let mut last = 0;
            for (at, act) in plan(seed, nodes, length, true) {
                assert!((CALM..=length - CALM).contains(&at) && at >= last, "seed {seed}: {act:?} at {at}");
                last = at;
                match open.iter().position(|begun| end_of(*begun) == Some(act)) {
                    Some(begun) => drop(open.remove(begun)),
                    None => {
                        let same = |begun: &Act| who(*begun) == who(act);
                        assert!(!open.iter().any(same), "seed {seed}: {act:?} while {open:?}");
                        open.extend(end_of(act).map(|_| act));
                    }
                }
            }
            assert_eq!(open, [], "seed {seed}");
        }
    }

    fn who(act: Act) -> Option<usize> {
        match act {
            Act::Kill(node) | Act::Start(node) | Act::Pause(node) => Some(node),
            Act::Resume(node) | Act::Cut(node) | Act::Join(node) => Some(node),
            _ => None,
        }
    }

    #[test]
    fn every_kind_of_blow_comes_and_those_that_lose_the_log_only_when_asked_for() {
        let names = |rollback| {
            let acts = (0..50).flat_map(move |seed| plan(seed, 3, 60_000, rollback));
            acts.filter_map(|(_, act)| name(act)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((names(false).len(), names(true).len()), (5, 8));
        assert!(!names(false).contains("redis flushed"));
    }
}
