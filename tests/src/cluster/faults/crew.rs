//! The clients of a run: each sends one message after the other, follows every room, and goes to another node by itself when its
//! own is gone. What they sent and saw is the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quip_protocol::client::{Client, Event, Handle, Post, Received};
use quip_protocol::frame::WatchState;
use quip_protocol::{AccountName, Cursor, NodeName, Receipt, RoomId, Seq, Target};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::Random;
use crate::cluster::history::{Acked, Outcome, Reading, Seen, Sent};

/// The longest latency told apart, in microseconds: half an hour.
const LONGEST_US: u64 = 1_800_000_000;
/// A message that was refused for now is sent again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// A room of the run.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Its name.
    pub target: Target,
}

/// Where each room ends, once that is known: who has seen it all is done.
pub type Goal = Option<BTreeMap<RoomId, Seq>>;

/// What all clients of a run share.
#[derive(Debug)]
pub struct Crew {
    begun: Instant,
    /// No more is sent.
    pub enough: AtomicBool,
    /// Where each room ends.
    pub goal: watch::Sender<Goal>,
    sends: Mutex<Vec<Sent>>,
    counts: Counts,
    latencies: Mutex<Latencies>,
}

/// What is counted on the way.
#[derive(Debug, Default)]
struct Counts {
    repeats: AtomicU64,
    failovers: AtomicU64,
}

/// In microseconds.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// From sending to the receipt.
    pub receipt: Histogram<u64>,
    /// From sending to being seen at another node.
    pub elsewhere: Histogram<u64>,
}

/// One who sends and follows.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who.
    pub name: AccountName,
    /// What is sent where follows from it.
    pub seed: u64,
    /// Between two messages, at least.
    pub every: Duration,
    /// Where to.
    pub rooms: Arc<Vec<Room>>,
}

impl Crew {
    /// One whose clock starts now.
    pub fn new() -> Crew {
        let empty = || Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are in order");
        Crew {
            begun: Instant::now(),
            enough: AtomicBool::new(false),
            goal: watch::Sender::new(None),
            sends: Mutex::default(),
            counts: Counts::default(),
            latencies: Mutex::new(Latencies { receipt: empty(), elsewhere: empty() }),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn sends(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that was sent.
    pub fn all_sent(&self) -> Vec<Sent> {
        self.sends().clone()
    }

    /// How long everything took.
    pub fn all_latencies(&self) -> Latencies {
        self.latencies().clone()
    }

    /// How often a message was refused for now, and how often a client connected again.
    pub fn repeats_and_failovers(&self) -> (u64, u64) {
        (self.counts.repeats.load(Ordering::Relaxed), self.counts.failovers.load(Ordering::Relaxed))
    }

    fn begin(&self, sent: Sent) -> usize {
        let mut sends = self.sends();
        sends.push(sent);
        sends.len() - 1
    }

    fn end(&self, index: usize, outcome: Outcome) {
        self.sends()[index].outcome = outcome;
    }
}

impl Default for Crew {
    fn default() -> Self {
        Crew::new()
    }
}

/// The node that a client is connected to, or was last.
fn node_of(handle: &Handle) -> NodeName {
    let first = handle.welcome().and_then(|welcome| welcome.nodes.into_iter().next());
    first.map_or_else(|| "unknown".parse().expect("a name of a node"), |summary| summary.node.name)
}

/// Sends until it is enough, each message when the one before has its receipt.
pub async fn send(crew: Arc<Crew>, handle: Handle, person: Person) {
    let mut random = Random::new(person.seed);
    let mut turns = interval(person.every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !crew.enough.load(Ordering::Relaxed) {
        turns.tick().await;
        let room = &person.rooms[random.below(person.rooms.len())];
        let begun = crew.now();
        let post = Post::new(room.target.clone(), &format!("{begun} {}", node_of(&handle)));
        let sent = Sent {
            client: person.name.clone(),
            number,
            id: post.id,
            room: room.id,
            begun,
            outcome: Outcome::Open,
        };
        let index = crew.begin(sent);
        let outcome = insist(&crew, &handle, post).await;
        if let Outcome::Acked(acked) = &outcome {
            crew.latencies().receipt.saturating_record(acked.at - begun);
        }
        crew.end(index, outcome);
        number += 1;
    }
}

/// The same message until there is a receipt, or it is refused for good.
async fn insist(crew: &Crew, handle: &Handle, post: Post) -> Outcome {
    loop {
        match handle.post(post.clone()).await {
            Ok(receipt) => return acked(crew, handle, receipt),
            Err(error) if error.is_final() => return Outcome::Refused,
            Err(_) => {
                crew.counts.repeats.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn acked(crew: &Crew, handle: &Handle, receipt: Receipt) -> Outcome {
    Outcome::Acked(Acked { at: crew.now(), node: node_of(handle), receipt })
}

/// What a client has seen so far, and where it is.
struct Reader {
    crew: Arc<Crew>,
    reading: Reading,
    places: BTreeMap<RoomId, Cursor>,
    /// Rooms that it has yet to watch: at first all; later those that its node could not serve when it came there.
    unwatched: BTreeSet<RoomId>,
}

/// Follows all rooms from their begin until it has seen what the goal says, or is told to stop; what it saw.
pub async fn follow(
    crew: Arc<Crew>,
    mut client: Client,
    name: AccountName,
    rooms: Arc<Vec<Room>>,
    mut stop: watch::Receiver<bool>,
) -> Reading {
    let mut goal = crew.goal.subscribe();
    let begins = rooms.iter().map(|room| (room.id, Seq::ZERO)).collect();
    let places = rooms.iter().map(|room| (room.id, Cursor::default())).collect();
    let unwatched = rooms.iter().map(|room| room.id).collect();
    let reading = Reading { client: name, rooms: begins, seen: Vec::new() };
    let mut reader = Reader { crew, reading, places, unwatched };
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !reader.has(&goal.borrow()) && !*stop.borrow() {
        tokio::select! {
            event = client.next() => match event {
                Some(Ok(event)) => reader.take(event, &client),
                // The run is over for it; the checker says what it lacks.
                Some(Err(_)) | None => break,
            },
            _ = again.tick(), if !reader.unwatched.is_empty() => reader.watch_again(&client).await,
            _ = goal.changed() => {}
            _ = stop.changed() => {}
        }
    }
    client.close().await;
    reader.reading
}

impl Reader {
    fn has(&self, goal: &Goal) -> bool {
        let there = |(room, seq): (&RoomId, &Seq)| self.places.get(room).is_some_and(|at| at.seq >= *seq);
        goal.as_ref().is_some_and(|goal| goal.iter().all(there))
    }

    fn take(&mut self, event: Event, client: &Client) {
        match event {
            Event::Message(message) => {
                self.time(&message, client);
                self.saw(message.event());
            }
            Event::Other(event) => self.saw(&event),
            Event::Reset { room, keep, .. } => {
                self.places.insert(room, keep);
                self.reading.seen.push(Seen::Reset { room, keep: keep.seq });
            }
            // A node that cannot serve a room now may later.
            Event::Unwatched { room, refusal } if refusal.retry_after_ms.is_some() => {
                self.unwatched.insert(room);
            }
            Event::Down { .. } => {
                self.crew.counts.failovers.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn saw(&mut self, event: &quip_protocol::Event) {
        self.places.insert(event.room, Cursor { epoch: event.epoch, seq: event.seq });
        self.reading.seen.push(Seen::from(event));
    }

    /// How long it took, if it was sent at another node.
    fn time(&self, message: &Received, client: &Client) {
        let Some((begun, node)) = message.text().split_once(' ') else { return };
        let Ok(begun) = begun.parse::<u64>() else { return };
        if node != node_of(client).as_str() {
            let took = self.crew.now().saturating_sub(begun);
            self.crew.latencies().elsewhere.saturating_record(took);
        }
    }

    /// What is refused or not answered stays to be asked for: a node may hear a moment later of a room that was made at another.
    async fn watch_again(&mut self, client: &Client) {
        let asked = self.unwatched.iter().map(|room| (*room, self.places.get(room).copied())).collect();
        for state in client.watch(asked).await.unwrap_or_default() {
            if let WatchState::Live { room, .. } | WatchState::Reset { room, .. } = state {
                self.unwatched.remove(&room);
            }
        }
    }
}
