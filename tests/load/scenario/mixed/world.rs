//! What all accounts of a run share: the rooms as they were made, what everyone must agree on, counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use quip_protocol::frame::Request;
use quip_protocol::room::RoomSummary;
use quip_protocol::{Cursor, RoomId, RoomName, SafeLine, Target};

use super::ledger::Ledger;
use super::plan::{Kind, Plan, Room};
use crate::crowd::Crowd;
use crate::latency::Deliveries;
use crate::progress::Progress;
use crate::stamp::Clock;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Count {
    /// Messages acknowledged.
    Posts,
    /// Edits acknowledged.
    Edits,
    /// Reactions acknowledged.
    Reactions,
    /// Pages read.
    Pages,
    /// Rooms entered.
    Joins,
    /// Rooms left.
    Leaves,
    /// Connections that were made again.
    Reconnects,
    /// Requests that had to be sent again later.
    HeldBack,
    /// Events that came.
    Delivered,
}

impl Count {
    /// What a report calls them; it has what was delivered anyway.
    pub const NAMED: [(Count, &'static str); 8] = [
        (Count::Posts, "posts"),
        (Count::Edits, "edits"),
        (Count::Reactions, "reactions"),
        (Count::Pages, "pages"),
        (Count::Joins, "joins"),
        (Count::Leaves, "leaves"),
        (Count::Reconnects, "reconnects"),
        (Count::HeldBack, "held_back"),
    ];
}

/// A run.
pub struct World {
    /// The accounts.
    pub crowd: Crowd,
    /// Who is in which room at the beginning.
    pub plan: Plan,
    /// By room of the plan: its id and its first cursor.
    made: Vec<(RoomId, Cursor)>,
    ledgers: Vec<Mutex<Ledger>>,
    /// Latencies of messages that came live.
    pub deliveries: Deliveries,
    /// Of the run.
    pub clock: Clock,
    /// From which all follows.
    pub seed: u64,
    counts: [AtomicU64; Count::Delivered as usize + 1],
}

impl World {
    /// Makes the accounts and the rooms.
    pub async fn make(
        crowd: Crowd,
        plan: Plan,
        clock: Clock,
        seed: u64,
        progress: &Progress,
    ) -> Result<World> {
        let mut leans = crowd.join(progress).await?;
        progress.phase("rooms made");
        let mut made = Vec::new();
        for (at, room) in plan.rooms.iter().enumerate() {
            let summary: RoomSummary = leans[room.members[0]].room(request(&crowd, at, room)?).await?;
            made.push((summary.id, summary.head));
            progress.set(at as u64);
        }
        let ledgers = plan.rooms.iter().map(|_| Mutex::default()).collect();
        let (deliveries, counts) = (Deliveries::default(), Default::default());
        Ok(World { crowd, plan, made, ledgers, deliveries, clock, seed, counts })
    }

    /// Which room that is.
    pub fn id(&self, room: usize) -> RoomId {
        self.made[room].0
    }

    /// What it is called, if it is no direct room.
    pub fn name(&self, room: usize) -> Result<RoomName> {
        name(&self.crowd, room)
    }

    /// The rooms of an account at the beginning: which it is, how this account calls it, and its first cursor.
    pub fn places_of(&self, account: usize) -> impl Iterator<Item = (usize, RoomId, Target, Cursor)> {
        let of = self.plan.rooms.iter().enumerate().filter(move |(_, room)| room.members.contains(&account));
        of.map(move |(at, room)| {
            let (id, cursor) = self.made[at];
            let target = match room.kind {
                Kind::Direct => other(&self.crowd, room, account),
                _ => Target::from(self.name(at).expect("it was made by that name")),
            };
            (at, id, target, cursor)
        })
    }

    /// What is known of a room.
    pub fn ledger(&self, room: usize) -> MutexGuard<'_, Ledger> {
        self.ledgers[room].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// So many more.
    pub fn add(&self, what: Count, more: u64) {
        self.counts[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn counted(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    /// Whether nothing that was acknowledged is missing.
    ///
    /// # Errors
    /// When something is.
    pub fn complete(&self) -> Result<()> {
        (0..self.made.len()).try_for_each(|room| {
            self.ledger(room).complete().with_context(|| format!("room {room} of seed {}", self.seed))
        })
    }
}

fn name(crowd: &Crowd, room: usize) -> Result<RoomName> {
    Ok(format!("{}-{room}", crowd.room).parse()?)
}

fn other(crowd: &Crowd, room: &Room, account: usize) -> Target {
    let other = room.members.iter().find(|member| **member != account);
    crowd.name(*other.expect("a direct room has two members")).clone().into()
}

fn request(crowd: &Crowd, at: usize, room: &Room) -> Result<Request> {
    if room.kind == Kind::Direct {
        return Ok(Request::Open { target: other(crowd, room, room.members[0]) });
    }
    let members = room.members[1..].iter().map(|member| crowd.name(*member).clone()).collect();
    let (name, private, topic) = (name(crowd, at)?, room.kind == Kind::Private, SafeLine::default());
    Ok(Request::CreateRoom { name, private, topic, members })
}
