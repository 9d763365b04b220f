//! Who is in which room: a few rooms of everyone, some of half of all, many small ones, directs. PURE: follows from the seed.

use std::collections::BTreeSet;

use quip_tests::Random;

/// Accounts and rooms of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many accounts, counted from 0.
    pub accounts: usize,
    /// The rooms.
    pub rooms: Vec<Room>,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Who may enter.
    pub kind: Kind,
    /// At the beginning; the first makes it and stays.
    pub members: Vec<usize>,
}

/// What kind of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Members come and go.
    Public,
    /// Members stay.
    Private,
    /// Of two.
    Direct,
}

/// The plan of a seed, for at least 8 accounts and rooms.
pub fn plan(random: &mut Random, accounts: usize, rooms: usize) -> Plan {
    let mut pairs = BTreeSet::new();
    let rooms = (0..rooms).map(|at| match at % 4 {
        3 => direct(random, accounts, &mut pairs),
        _ => group(random, accounts, at, rooms),
    });
    Plan { accounts, rooms: rooms.collect() }
}

/// Two who have no direct room yet; when they run out, a small group in its place.
fn direct(random: &mut Random, accounts: usize, pairs: &mut BTreeSet<(usize, usize)>) -> Room {
    for _ in 0..100 {
        let (a, b) = (random.below(accounts), random.below(accounts));
        if a != b && pairs.insert((a.min(b), a.max(b))) {
            return Room { kind: Kind::Direct, members: vec![a, b] };
        }
    }
    Room { kind: Kind::Private, members: some(random, accounts, 3) }
}

fn group(random: &mut Random, accounts: usize, at: usize, rooms: usize) -> Room {
    let size = match at * 100 / rooms {
        0..2 => accounts,
        2..7 => accounts / 2,
        7..30 => 5 + random.below(20),
        _ => 2 + random.below(6),
    };
    let kind = if at.is_multiple_of(4) { Kind::Private } else { Kind::Public };
    Room { kind, members: some(random, accounts, size.clamp(2, accounts)) }
}

/// So many of them, in any order.
fn some(random: &mut Random, accounts: usize, size: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..accounts).collect();
    for at in 0..size {
        let other = at + random.below(accounts - at);
        all.swap(at, other);
    }
    all.truncate(size);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed_and_has_rooms_of_all_sizes() {
        for (accounts, rooms) in [(8, 8), (100, 200), (20, 1_000)] {
            let of = |seed| plan(&mut Random::new(seed), accounts, rooms);
            assert_eq!(of(3), of(3));
            assert_ne!(of(3), of(4));
            let plan = of(3);
            assert_eq!(plan.rooms.len(), rooms);
            assert_eq!(plan.rooms[0].members.len(), accounts, "one of everyone");
            let mut pairs = BTreeSet::new();
            for room in &plan.rooms {
                let members: BTreeSet<usize> = room.members.iter().copied().collect();
                assert!(members.len() == room.members.len() && members.iter().all(|at| *at < accounts));
                assert!(members.len() >= 2);
                if room.kind == Kind::Direct {
                    assert!(members.len() == 2 && pairs.insert(members), "directs differ");
                }
            }
            for kind in [Kind::Public, Kind::Private, Kind::Direct] {
                assert!(plan.rooms.iter().any(|room| room.kind == kind), "{kind:?}");
            }
        }
    }
}
