//! One account: does what people do, and checks what comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use quip_protocol::frame::{PageFrom, Push, Reply, Request};
use quip_protocol::{
    Cursor, Event, EventBody, MessageId, MessageKind, RoomId, SafeLine, SafeText, Seq, Target,
};
use quip_tests::Random;

use super::ledger::{Ledger, check_page};
use super::plan::Kind;
use super::world::{Count, World};
use crate::check::Checker;
use crate::dialer::Key;
use crate::lean::{Lean, Told};
use crate::stamp::Stamp;

/// Own messages of a room that may be edited.
const MINE: usize = 8;
/// The longest that an account is away.
const AWAY_MS: usize = 3_000;
/// Events of a page.
const PAGE: u32 = 50;
/// What is put on messages.
const EMOJI: [&str; 3] = ["👍", "🎉", "👀"];

/// One account and its connection.
pub struct Actor {
    index: usize,
    world: Arc<World>,
    random: Random,
    key: Key,
    lean: Lean,
    /// Since when, by the run's clock: what was sent before is caught up on.
    connected: u64,
    number: u64,
    rooms: BTreeMap<RoomId, Place>,
}

/// Where the account is in a room.
struct Place {
    /// By the plan.
    room: usize,
    target: Target,
    cursor: Cursor,
    last_message: Option<Seq>,
    mine: VecDeque<Seq>,
    leaving: Leaving,
}

/// Whether the account is on its way out of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It has said so.
    Said,
    /// It has seen itself leave: nothing may follow.
    Seen,
}

impl Actor {
    /// Connects, and watches the rooms of the plan from where they begin.
    pub async fn begin(world: Arc<World>, index: usize, random: Random) -> Result<Actor> {
        let key = world.crowd.dialer().key(world.crowd.name(index));
        let mut lean = world.crowd.dialer().connect(&key).await?;
        let rooms: BTreeMap<RoomId, Place> = world.places_of(index).map(Place::at).collect();
        lean.watch(&cursors(&rooms)).await?;
        let connected = world.clock.now();
        Ok(Actor { index, world, random, key, lean, connected, number: 0, rooms })
    }

    /// Does something now and then, until it is time.
    pub async fn act_until(mut self, every: Duration, until: Instant) -> Result<Actor> {
        let lag = Duration::from_micros(self.random.below(1 + every.as_micros() as usize) as u64);
        let mut ticks = tokio::time::interval_at((Instant::now() + lag).into(), every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Instant::now() < until {
            let acts = tokio::select! {
                told = self.lean.told() => self.take(told?).map(|()| false),
                _ = ticks.tick() => Ok(true),
            };
            if self.named(acts)? {
                let acted = self.act().await;
                self.named(acted)?;
            }
        }
        Ok(self)
    }

    /// Reads on until it has everything that the server has: nobody does anything any more.
    pub async fn settle(mut self) -> Result<()> {
        let settled = self.read_to_the_heads().await;
        self.world.add(Count::HeldBack, self.lean.held_back());
        self.named(settled)
    }

    async fn read_to_the_heads(&mut self) -> Result<()> {
        let mut heads = BTreeMap::new();
        let open = self.rooms.iter().filter(|(_, place)| place.leaving == Leaving::No);
        for (id, target) in open.map(|(id, place)| (*id, place.target.clone())).collect::<Vec<_>>() {
            heads.insert(id, self.lean.room(Request::Open { target }).await?.head);
        }
        let behind = |rooms: &BTreeMap<RoomId, Place>| {
            rooms.iter().any(|(id, place)| heads.get(id).is_none_or(|head| *head != place.cursor))
        };
        while behind(&self.rooms) {
            let told = self.lean.told().await?;
            self.take(told)?;
        }
        Ok(())
    }

    fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| format!("account {} of seed {}", self.index, self.world.seed))
    }

    fn take(&mut self, told: Told) -> Result<()> {
        match told {
            Told::Event(event) => self.event(&event),
            Told::Push(Push::Unwatched { room, refusal, .. }) => {
                let place = self.rooms.remove(&room).context("the end of a watch that is none")?;
                ensure!(place.leaving == Leaving::Seen, "{} ended unasked: {refusal}", place.target);
                Ok(())
            }
            Told::Notice(_) => bail!("a notice came, and no inbox is watched"),
            Told::Push(other) => bail!("the server said {other:?}"),
        }
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        let now = self.world.clock.now();
        let place = self.rooms.get_mut(&event.room).context("an event of a room that is not watched")?;
        let checked = Checker::new(0, place.cursor.seq).event(event.seq);
        checked.with_context(|| place.target.to_string())?;
        ensure!(place.leaving != Leaving::Seen, "{}: seq {} after its leaving", place.target, event.seq);
        place.cursor = Cursor { epoch: event.epoch, seq: event.seq };
        self.world.ledger(place.room).saw(event)?;
        self.world.count(Count::Delivered);
        match &event.body {
            EventBody::Left if event.author == *self.world.crowd.name(self.index) => {
                place.leaving = Leaving::Seen;
            }
            EventBody::Message(message) => {
                place.last_message = Some(event.seq);
                let stamp = Stamp::parse(message.text()).context("a message that is not of this run")?;
                if stamp.nanos >= self.connected {
                    let index = u64::MAX;
                    self.world.deliveries.record(self.index, index, now.saturating_sub(stamp.nanos));
                }
            }
            _ => {}
        }
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..50 => self.post().await,
            50..62 => self.edit().await,
            62..76 => self.react().await,
            76..88 => self.page().await,
            88..91 => self.leave().await,
            91..95 => self.join().await,
            95..98 => self.mark().await,
            _ => self.reconnect().await,
        }
    }

    /// One of the rooms in which the account stays, if there is one.
    fn any_room(&mut self) -> Option<RoomId> {
        let stays = self.rooms.iter().filter(|(_, place)| place.leaving == Leaving::No);
        let rooms: Vec<RoomId> = stays.map(|(id, _)| *id).collect();
        (!rooms.is_empty()).then(|| rooms[self.random.below(rooms.len())])
    }

    fn text(&mut self) -> String {
        let sender = u32::try_from(self.index).expect("accounts are few");
        self.number += 1;
        let stamp = Stamp { sender, number: self.number, nanos: self.world.clock.now() };
        stamp.text(50 + self.random.below(300))
    }

    async fn post(&mut self) -> Result<()> {
        let Some(room) = self.any_room() else { return Ok(()) };
        let (id, text, target) = (MessageId::generate(), self.text(), self.rooms[&room].target.clone());
        let text = SafeText::new(&text);
        let post = Request::Post { target, id, kind: MessageKind::Plain, text, reply_to: None };
        let seq = self.accepted(room, id, post).await?;
        self.world.count(Count::Posts);
        let place = self.rooms.get_mut(&room).context("a room of this account")?;
        if place.mine.len() == MINE {
            place.mine.pop_front();
        }
        place.mine.push_back(seq);
        Ok(())
    }

    async fn edit(&mut self) -> Result<()> {
        let Some(room) = self.any_room() else { return Ok(()) };
        let mine = &self.rooms[&room].mine;
        if mine.is_empty() {
            return self.post().await;
        }
        let target = mine[self.random.below(mine.len())];
        let (id, text) = (MessageId::generate(), self.text());
        let edit = Request::Edit { room, target, id, text: SafeText::new(&text) };
        let seq = self.accepted(room, id, edit).await?;
        self.world.count(Count::Edits);
        self.ledger(room).edited(target, seq, &text);
        Ok(())
    }

    async fn react(&mut self) -> Result<()> {
        let Some(room) = self.any_room() else { return Ok(()) };
        let Some(target) = self.rooms[&room].last_message else { return self.post().await };
        let (id, emoji) = (MessageId::generate(), SafeLine::new(EMOJI[self.index % EMOJI.len()]));
        let on = self.random.below(4) > 0;
        self.accepted(room, id, Request::React { room, target, id, emoji, on }).await?;
        self.world.count(Count::Reactions);
        Ok(())
    }

    /// Asks for what gets a place in the room; which.
    async fn accepted(&mut self, room: RoomId, id: MessageId, request: Request) -> Result<Seq> {
        match self.lean.ask(request).await? {
            Reply::Receipt(receipt) if receipt.id == id && receipt.room == room => {
                self.ledger(room).acknowledged(receipt.seq, id)?;
                Ok(receipt.seq)
            }
            other => bail!("it was answered with {other:?}"),
        }
    }

    async fn page(&mut self) -> Result<()> {
        let Some(room) = self.any_room() else { return Ok(()) };
        let (target, head) = (self.rooms[&room].target.clone(), self.rooms[&room].cursor.seq);
        let before = Seq(1 + u64::try_from(self.random.below(1 + head.0 as usize))?);
        let from = if self.random.below(2) == 0 { PageFrom::Latest } else { PageFrom::Before(before) };
        let edits = self.ledger(room).edits();
        let (events, newest) = self.lean.page(target, from, PAGE).await?;
        self.world.count(Count::Pages);
        check_page(&events, &edits)?;
        let (last, expected) = match from {
            PageFrom::Before(seq) => (events.last().map_or(Seq::ZERO, |event| event.seq.next()), seq),
            _ => (events.last().map_or(Seq::ZERO, |event| event.seq), newest.seq),
        };
        let whole = last == expected || (events.is_empty() && before <= Seq(1));
        ensure!(whole, "a page from {from:?} ends at {last}, not at {expected}");
        Ok(())
    }

    async fn mark(&mut self) -> Result<()> {
        let Some(room) = self.any_room() else { return Ok(()) };
        let seq = self.rooms[&room].cursor.seq;
        self.lean.ask(Request::Mark { room, seq }).await.map(drop)
    }

    /// A public room that is another's.
    async fn leave(&mut self) -> Result<()> {
        let public = self.rooms.iter().filter(|(_, place)| {
            let plan = &self.world.plan.rooms[place.room];
            let stays = plan.kind != Kind::Public || plan.members[0] == self.index;
            !stays && place.leaving == Leaving::No
        });
        let public: Vec<RoomId> = public.map(|(id, _)| *id).collect();
        if public.is_empty() {
            return Ok(());
        }
        let place =
            self.rooms.get_mut(&public[self.random.below(public.len())]).context("one of its rooms")?;
        place.leaving = Leaving::Said;
        let Target::Room(room) = place.target.clone() else { bail!("a public room has a name") };
        self.lean.ask(Request::Leave { room }).await?;
        self.world.count(Count::Leaves);
        Ok(())
    }

    /// A public room in which the account is not: mostly one that it has left, so that rooms keep their sizes.
    async fn join(&mut self) -> Result<()> {
        let rooms = &self.world.plan.rooms;
        let is_out =
            |at: &usize| rooms[*at].kind == Kind::Public && !self.rooms.contains_key(&self.world.id(*at));
        let out: Vec<usize> = (0..rooms.len()).filter(is_out).collect();
        let left = out.iter().copied().filter(|at| rooms[*at].members.contains(&self.index));
        let left: Vec<usize> = left.collect();
        let from = if left.is_empty() || self.random.below(4) == 0 { out } else { left };
        if from.is_empty() {
            return Ok(());
        }
        let at = from[self.random.below(from.len())];
        let id = self.world.id(at);
        let room = self.world.name(at)?;
        let summary = self.lean.room(Request::Join { room }).await?;
        ensure!(summary.role.is_some() && summary.id == id, "what was joined is {summary:?}");
        let place = Place::new(at, summary.target, summary.head);
        self.lean.watch(&[(id, place.cursor)]).await?;
        self.rooms.insert(id, place);
        self.world.count(Count::Joins);
        Ok(())
    }

    /// Goes, and comes back with its cursors.
    async fn reconnect(&mut self) -> Result<()> {
        if self.rooms.values().any(|place| place.leaving != Leaving::No) {
            return Ok(());
        }
        let away = Duration::from_millis(self.random.below(AWAY_MS) as u64);
        // What was not read of the old connection goes with it, and has to come again.
        self.world.add(Count::HeldBack, self.lean.held_back());
        self.lean.close();
        tokio::time::sleep(away).await;
        self.lean = self.world.crowd.dialer().connect(&self.key).await?;
        self.connected = self.world.clock.now();
        self.lean.watch(&cursors(&self.rooms)).await?;
        self.world.count(Count::Reconnects);
        Ok(())
    }

    fn ledger(&self, room: RoomId) -> MutexGuard<'_, Ledger> {
        self.world.ledger(self.rooms[&room].room)
    }
}

impl Place {
    fn new(room: usize, target: Target, cursor: Cursor) -> Place {
        let (last_message, mine) = (None, VecDeque::new());
        Place { room, target, cursor, last_message, mine, leaving: Leaving::No }
    }

    fn at((room, id, target, cursor): (usize, RoomId, Target, Cursor)) -> (RoomId, Place) {
        (id, Place::new(room, target, cursor))
    }
}

fn cursors(rooms: &BTreeMap<RoomId, Place>) -> Vec<(RoomId, Cursor)> {
    rooms.iter().map(|(id, place)| (*id, place.cursor)).collect()
}
