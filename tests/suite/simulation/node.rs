//! A node: the real engine and the real member, over a journal in memory that keeps what is durable.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use quip_protocol::{NodeName, Position, RoomId, RoomName, Timestamp};
use quip_server::engine::{Command, Engine, Entry, NotApplied, Outcome, Terms};
use quip_server::log::shared::contract::{Ask, BatchId, Stored};
use quip_server::log::shared::member::{Effect, Input, Lane, Member, Own, Phase};
use quip_storage::record::Change;

use super::client::Replied;
use super::past::PlainPast;
use super::world::{Asker, Broken, CLUSTER, Event, Fails, World};

/// Commands of one batch.
const BATCH: usize = 8;

pub struct Node {
    pub name: NodeName,
    /// Counts its starts: what is of an earlier one does not reach it.
    pub life: u32,
    /// It is stopped until then.
    pub paused_until: Option<u64>,
    /// Whom it asks.
    pub keeper: usize,
    /// Nothing goes to its keeper, or comes from there.
    pub is_cut: bool,
    /// Its disk takes long, and fails now and then.
    pub has_bad_disk: bool,
    /// What is durable.
    pub journal: Vec<Stored>,
    /// Durable too: what only this node had, to be appended again.
    pub orphans: Vec<Command>,
    /// Nothing while it is down, or steps aside.
    pub live: Option<Live>,
    pub is_aside: bool,
}

/// What a crash takes.
pub struct Live {
    pub member: Member,
    engine: Engine,
    pub past: PlainPast,
    /// Delivered, and not durable; so many of them are being written.
    unwritten: Vec<Stored>,
    writing: usize,
    /// What waits for a batch.
    queue: VecDeque<(Command, Waiter)>,
    batches: HashMap<BatchId, Vec<(Command, Waiter)>>,
    /// A batch whose outcome is not known.
    asking: bool,
    open: [Option<u64>; 2],
    alarm: u64,
    /// Orphans that are not durable again.
    orphans_left: usize,
}

/// Who waits for a command.
#[derive(Debug, Clone, Copy)]
pub enum Waiter {
    Client {
        client: usize,
        number: u64,
        attempt: u32,
    },
    /// It was in the journal, and is no more.
    Orphan,
}

impl Node {
    pub fn new(name: NodeName, journal: Vec<Stored>) -> Node {
        Node {
            name,
            life: 0,
            paused_until: None,
            keeper: 0,
            is_cut: false,
            has_bad_disk: false,
            journal,
            orphans: Vec::new(),
            live: None,
            is_aside: false,
        }
    }

    pub fn last(&self) -> Position {
        self.journal.last().map_or(Position::ZERO, |entry| entry.position)
    }

    pub fn is_up(&self) -> bool {
        self.live.is_some()
    }

    pub fn is_live(&self) -> bool {
        self.live.as_ref().is_some_and(|live| *live.member.phase() == Phase::Live)
    }

    /// Nothing is on its way.
    pub fn is_settled(&self) -> bool {
        let is_idle =
            |live: &Live| live.unwritten.is_empty() && live.queue.is_empty() && live.batches.is_empty();
        self.orphans.is_empty() && self.live.as_ref().is_some_and(is_idle)
    }

    pub fn rooms(&self) -> Vec<(RoomName, RoomId)> {
        let live = self.live.as_ref().expect("it was started");
        live.engine.all_rooms().filter_map(|room| Some((room.room.name.clone()?, room.room.id))).collect()
    }

    pub fn describe(&self) -> String {
        let live = self.live.as_ref();
        let phase = live.map(|live| live.member.phase().clone());
        let waits =
            live.map(|live| (live.unwritten.len(), live.queue.len(), live.batches.len(), live.asking));
        format!(
            "{} at {} {phase:?}, aside {}, {waits:?}, {} orphans",
            self.name,
            self.last(),
            self.is_aside,
            self.orphans.len()
        )
    }

    pub fn asked(&mut self, lane: Lane, serial: u64) {
        if let Some(live) = &mut self.live {
            let before = live.open[lane as usize].replace(serial);
            assert_eq!(before, None, "one question of a lane is open");
        }
    }

    pub fn is_open(&self, asker: Asker) -> bool {
        let open = self.live.as_ref().and_then(|live| live.open[asker.lane as usize]);
        self.life == asker.life && open == Some(asker.serial)
    }

    pub fn closed(&mut self, lane: Lane) {
        if let Some(live) = &mut self.live {
            live.open[lane as usize] = None;
        }
    }
}

impl World {
    /// A process of the node begins, with what is durable.
    pub fn start(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        here.life += 1;
        here.is_aside = false;
        here.paused_until = None;
        let own = Own {
            name: here.name.clone(),
            cluster: CLUSTER,
            last: here.last(),
            raising: Bytes::from(Entry::default().to_bytes()),
            batch_of: Entry::batch_of,
        };
        let mut live = Live {
            member: Member::new(own),
            engine: Engine::default(),
            past: PlainPast::default(),
            unwritten: Vec::new(),
            writing: 0,
            queue: here.orphans.iter().map(|command| (command.clone(), Waiter::Orphan)).collect(),
            batches: HashMap::new(),
            asking: false,
            open: [None; 2],
            alarm: 0,
            orphans_left: here.orphans.len(),
        };
        for entry in &here.journal {
            live.apply(entry);
        }
        here.live = Some(live);
        let (life, last) = (here.life, here.last());
        self.trace(|| format!("{} starts at {last}", self.nodes[node].name));
        self.input(node, life, Input::Tick);
    }

    /// The process is gone.
    pub fn crash(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        // Of what was being written any part may be there.
        if let Some(live) = here.live.take() {
            let part = self.luck.index(live.writing + 1);
            let written = live.unwritten.into_iter().take(part);
            here.journal.extend(written);
            if self.setting.broken == Broken::Disks && here.journal.len() > 1 {
                here.journal.pop();
            }
        }
        here.life += 1;
        here.is_aside = false;
        here.paused_until = None;
        self.note_known(node);
        self.trace(|| format!("{} crashes at {}", self.nodes[node].name, self.nodes[node].last()));
    }

    pub fn alarm(&mut self, node: usize, life: u32, at: u64) {
        let is_set = self.nodes[node].live.as_ref().is_some_and(|live| live.alarm == at);
        if is_set && self.nodes[node].life == life {
            self.input(node, life, Input::Tick);
        }
    }

    /// Tells the member, and does what it says.
    pub fn input(&mut self, node: usize, life: u32, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let here = &mut self.nodes[node];
            let Some(live) = here.live.as_mut().filter(|_| here.life == life) else { return };
            let mut effects = Vec::new();
            live.member.step(self.now, &mut self.luck, input, &mut effects);
            for effect in effects {
                let may_crash = self.setting.fails == Fails::All && (1..self.calm_at).contains(&self.now);
                if may_crash && self.luck.one_in(1_500) {
                    self.crash(node);
                    let after = self.luck.between(100, 4_000);
                    return self.at(after, Event::Fault(super::faults::Fault::Start { node }));
                }
                self.perform(node, life, effect);
            }
            inputs.extend(self.next_batch(node));
        }
    }

    fn perform(&mut self, node: usize, life: u32, effect: Effect) {
        if !matches!(
            effect,
            Effect::Alarm(_) | Effect::Ask(_, Ask::Read { .. } | Ask::Look | Ask::Report { .. })
        ) {
            self.trace(|| format!("{} {effect:?}", self.nodes[node].name));
        }
        match effect {
            Effect::Ask(lane, ask) => self.ask(node, lane, ask),
            Effect::Deliver(entries) => {
                if let Some(live) = &mut self.nodes[node].live {
                    live.unwritten.extend(entries);
                }
                self.write(node);
            }
            Effect::Placed(..) => self.outcome(node),
            Effect::NotTaken(batch) => {
                self.outcome(node);
                self.not_taken(node, batch);
            }
            Effect::Recall { after, max_bytes } => {
                let entries = self.nodes[node].recall(after, max_bytes);
                let delay = self.luck.between(1, 10);
                self.at(delay, Event::Recalled { node, life, entries });
            }
            Effect::Phase(_) => {}
            Effect::StepAside(_) => self.step_aside(node),
            Effect::Alarm(at) => {
                if let Some(live) = &mut self.nodes[node].live {
                    live.alarm = at;
                }
                let after = at.saturating_sub(self.now);
                self.at(after, Event::Alarm { node, life, at });
            }
        }
    }

    /// The next batch may be asked for.
    fn outcome(&mut self, node: usize) {
        if let Some(live) = &mut self.nodes[node].live {
            live.asking = false;
        }
    }

    fn not_taken(&mut self, node: usize, batch: BatchId) {
        let Some(live) = &mut self.nodes[node].live else { return };
        for (command, waiter) in live.batches.remove(&batch).unwrap_or_default() {
            match waiter {
                Waiter::Orphan => self.nodes[node].queue_orphan(command),
                Waiter::Client { client, number, attempt } => {
                    self.tell(node, client, number, attempt, Replied::NotNow);
                }
            }
        }
    }

    fn tell(&mut self, node: usize, client: usize, number: u64, attempt: u32, replied: Replied) {
        let delay = self.luck.between(1, 5);
        self.at(delay, Event::Reply { client, node, number, attempt, replied });
    }

    fn next_batch(&mut self, node: usize) -> Option<Input> {
        let live = self.nodes[node].live.as_mut()?;
        if *live.member.phase() != Phase::Live || live.asking || live.queue.is_empty() {
            return None;
        }
        let many = live.queue.len().min(BATCH);
        let taken: Vec<_> = live.queue.drain(..many).collect();
        let batch = BatchId(self.luck.sixteen());
        let commands = taken.iter().map(|(command, _)| command.clone()).collect();
        let payload = Bytes::from(Entry::undecided(batch, commands).to_bytes());
        live.batches.insert(batch, taken);
        live.asking = true;
        Some(Input::Batch(batch, payload))
    }

    /// A client's message, at a node.
    pub fn request(&mut self, client: usize, node: usize, number: u64, attempt: u32) {
        let message = self.clients[client].message(number, Timestamp(self.now));
        let here = &mut self.nodes[node];
        if !here.is_live() {
            if here.is_up() {
                self.tell(node, client, number, attempt, Replied::NotNow);
            }
            return;
        }
        let Some(live) = &mut here.live else { return };
        live.queue.push_back((message, Waiter::Client { client, number, attempt }));
        let life = here.life;
        self.input(node, life, Input::Tick);
    }

    /// Begins to write what was delivered.
    fn write(&mut self, node: usize) {
        let (is_bad, life) = (self.nodes[node].has_bad_disk, self.nodes[node].life);
        let Some(live) = &mut self.nodes[node].live else { return };
        if live.writing > 0 || live.unwritten.is_empty() {
            return;
        }
        live.writing = live.unwritten.len();
        let delay = if is_bad { self.luck.between(20, 900) } else { self.luck.between(1, 8) };
        let whole = !(is_bad && self.luck.one_in(6));
        self.at(delay, Event::Written { node, life, whole });
    }

    pub fn written(&mut self, node: usize, life: u32, whole: bool) {
        if self.nodes[node].life != life || !self.nodes[node].is_up() {
            return;
        }
        if whole {
            self.durable(node);
        } else if let Some(live) = &mut self.nodes[node].live {
            live.unwritten.clear();
            live.writing = 0;
        }
        let last = self.nodes[node].last();
        let input = if whole { Input::Durable(last) } else { Input::Rewind(last) };
        self.input(node, life, input);
        self.write(node);
    }

    fn durable(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(live) = &mut here.live else { return };
        let written: Vec<_> = live.unwritten.drain(..live.writing).collect();
        live.writing = 0;
        let mut replies = Vec::new();
        for entry in &written {
            replies.extend(live.apply(entry));
        }
        here.journal.extend(written);
        self.note_known(node);
        for (waiter, outcome) in replies {
            match waiter {
                Waiter::Client { client, number, attempt } => {
                    let replied = Replied::of(outcome);
                    self.tell(node, client, number, attempt, replied);
                }
                Waiter::Orphan => self.orphan_is_back(node),
            }
        }
    }

    fn orphan_is_back(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        let Some(live) = &mut here.live else { return };
        live.orphans_left -= 1;
        if live.orphans_left == 0 {
            here.orphans.clear();
        }
    }

    /// A position is one entry, on every node and for ever.
    fn note_known(&mut self, node: usize) {
        for Stored { position, payload, .. } in &self.nodes[node].journal {
            let known = self.known.entry(*position).or_insert_with(|| payload.clone());
            assert_eq!(known, payload, "two entries have the position {position}");
        }
    }

    /// The process ends; what it needs comes from another node.
    fn step_aside(&mut self, node: usize) {
        let here = &mut self.nodes[node];
        here.live = None;
        here.life += 1;
        here.is_aside = true;
        let delay = self.luck.between(50, 1_000);
        self.at(delay, Event::Rejoin { node, tries: 0 });
    }

    /// The journal is made of what this node has in common with a node that serves, and the rest of that one's.
    pub fn rejoin(&mut self, node: usize, tries: u32) {
        if !self.nodes[node].is_aside {
            return;
        }
        let peers: Vec<usize> =
            (0..self.nodes.len()).filter(|peer| *peer != node && self.nodes[*peer].is_live()).collect();
        let journal = match peers.len() {
            0 => self.shared_with_log(node).filter(|_| tries > 5),
            many => Some(self.nodes[peers[self.luck.index(many)]].journal.clone()),
        };
        let Some(journal) = journal else {
            // The log may have been wiped since, and everybody waits for everybody: then what is here counts again.
            return match tries > 5 {
                true => self.start(node),
                false => self.at(500, Event::Rejoin { node, tries: tries + 1 }),
            };
        };
        let here = &mut self.nodes[node];
        let common =
            here.journal.iter().rposition(|own| journal.iter().any(|other| other.position == own.position));
        let orphans = here.journal.split_off(common.map_or(0, |last| last + 1));
        let orphans =
            orphans.iter().flat_map(|entry| Entry::from_bytes(&entry.payload).expect("an entry").commands);
        if self.setting.broken != Broken::Orphans {
            here.orphans.extend(orphans);
        }
        here.journal = journal;
        self.reappended.extend(here.orphans.iter().filter_map(Command::id));
        self.trace(|| format!("{} has {} orphans", self.nodes[node].name, self.nodes[node].orphans.len()));
        self.start(node);
    }

    /// Where nobody serves: what this node has in common with the log itself.
    fn shared_with_log(&self, node: usize) -> Option<Vec<Stored>> {
        let here = &self.nodes[node];
        let model = self.keepers[here.keeper].model.as_ref().filter(|_| !here.is_cut)?;
        let common = here.journal.iter().rposition(|own| model.kept().has(own.position))?;
        Some(here.journal[..=common].to_vec())
    }
}

impl Node {
    fn queue_orphan(&mut self, command: Command) {
        if let Some(live) = &mut self.live {
            live.queue.push_back((command, Waiter::Orphan));
        }
    }

    fn recall(&self, after: Position, max_bytes: usize) -> Vec<Stored> {
        let mut bytes = 0;
        let fits = |entry: &&Stored| {
            let is_first = bytes == 0;
            bytes += entry.payload.len();
            is_first || bytes <= max_bytes.min(500)
        };
        let behind = self.journal.iter().skip_while(|entry| entry.position <= after);
        behind.take_while(fits).cloned().collect()
    }
}

impl Live {
    /// Applies an entry, and says what came of the commands that somebody here waits for.
    fn apply(&mut self, stored: &Stored) -> Vec<(Waiter, Result<Outcome, NotApplied>)> {
        let entry = Entry::from_bytes(&stored.payload).expect("an entry");
        let terms = Terms { epoch: stored.position.epoch, rules: entry.rules };
        let mut waiters =
            entry.batch.and_then(|batch| self.batches.remove(&batch)).unwrap_or_default().into_iter();
        let mut told = Vec::new();
        for command in &entry.commands {
            let mut changes: Vec<Change> = Vec::new();
            let outcome = self.engine.apply(&self.past, terms, command, &mut changes);
            self.past.note(&changes);
            told.extend(waiters.next().map(|(_, waiter)| (waiter, outcome)));
        }
        told
    }
}
