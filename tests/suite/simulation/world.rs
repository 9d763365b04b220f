//! Nodes, keepers of their log, clients and time: everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quip_protocol::{
    AccountName, DeviceKey, MessageId, NodeName, Position, RoomId, RoomName, SafeLine, Timestamp,
};
use quip_server::engine::{Actor, Command, CommandBody, Entry};
use quip_server::log::shared::contract::{Answer, Ask, BatchId, Claim, ClusterId, Lost, Stored};
use quip_server::log::shared::member::{Chance, Input, Lane};
use quip_tests::Random;
use quip_tests::cluster::Model;
use quip_tests::cluster::model::Flaw;

use super::client::{Client, Polled, Replied};
use super::faults::Fault;
use super::keeper::Keeper;
use super::node::Node;

/// Whose log it is.
pub const CLUSTER: ClusterId = ClusterId([7; 16]);
/// How often it is looked whether all is well again.
const CHECK_MS: u64 = 500;
/// How long after the last fault that may take.
const PATIENCE_MS: u64 = 120_000;

/// Random numbers of one seed.
#[derive(Debug)]
pub struct Luck {
    pub random: Random,
    /// Whether epochs are not.
    pub is_dull: bool,
}

impl Luck {
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.random.any() % (to - from)
    }

    pub fn index(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.random.any().is_multiple_of(n)
    }

    pub fn sixteen(&mut self) -> [u8; 16] {
        let (high, low) = (self.random.any(), self.random.any());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

impl Chance for Luck {
    fn claim(&mut self) -> Claim {
        Claim(self.sixteen())
    }

    fn below(&mut self, bound: u32) -> u32 {
        if self.is_dull { 0 } else { (self.random.any() % u64::from(bound)) as u32 }
    }
}

/// A question on its way, and who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub node: usize,
    pub life: u32,
    pub lane: Lane,
    pub serial: u64,
}

/// What happens at a time.
#[derive(Debug)]
pub enum Event {
    Arrives { keeper: usize, asker: Asker, ask: Ask, lost: bool },
    WaitOver { keeper: usize, asker: Asker },
    Answered { asker: Asker, answer: Result<Answer, Lost> },
    Alarm { node: usize, life: u32, at: u64 },
    Written { node: usize, life: u32, whole: bool },
    Recalled { node: usize, life: u32, entries: Vec<Stored> },
    Heartbeat { node: usize },
    Rejoin { node: usize, tries: u32 },
    Send { client: usize },
    Request { client: usize, node: usize, number: u64, attempt: u32 },
    Reply { client: usize, node: usize, number: u64, attempt: u32, replied: Replied },
    Impatient { client: usize, number: u64, attempt: u32 },
    Poll { client: usize },
    Polled { client: usize, polled: Vec<Polled> },
    Fault(Fault),
    Save,
    Check,
}

/// What does not do what it should, to show that this is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    Keeper(Flaw),
    /// Nodes forget what only they had.
    Orphans,
    /// Epochs are raised by one each time.
    Epochs,
    /// A crash takes the last entry that was said to be durable.
    Disks,
}

impl Broken {
    pub fn keeper(self) -> Option<Flaw> {
        match self {
            Broken::Keeper(flaw) => Some(flaw),
            _ => None,
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    All,
    /// The process that keeps the log ends, with or without its last entries, or is wiped.
    Log,
}

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub seed: u64,
    pub broken: Broken,
    pub fails: Fails,
    pub trace: bool,
}

/// All of it.
pub struct World {
    pub now: u64,
    serial: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub luck: Luck,
    pub setting: Setting,
    pub keepers: Vec<Keeper>,
    /// The one that is to be asked.
    pub master: usize,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub rooms: Vec<(RoomName, RoomId)>,
    pub reappended: BTreeSet<MessageId>,
    /// What stands at each position, on whichever node.
    pub known: BTreeMap<Position, Bytes>,
    /// Faults end here.
    pub calm_at: u64,
    /// Questions and answers are lost.
    pub is_noisy: bool,
}

impl World {
    pub fn new(setting: Setting) -> World {
        let random = Random::new(setting.seed);
        let mut luck = Luck { random, is_dull: setting.broken == Broken::Epochs };
        let calm_at = luck.between(6_000, 20_000);
        let mut world = World {
            now: 0,
            serial: 0,
            queue: BTreeMap::new(),
            luck,
            setting,
            keepers: Vec::new(),
            master: 0,
            nodes: Vec::new(),
            clients: Vec::new(),
            rooms: Vec::new(),
            reappended: BTreeSet::new(),
            known: BTreeMap::new(),
            calm_at,
            is_noisy: false,
        };
        world.found();
        world.schedule_faults();
        world.at(CHECK_MS, Event::Check);
        world.at(100, Event::Save);
        world
    }

    /// A keeper, nodes and clients that have begun, with accounts and rooms as the first entry.
    fn found(&mut self) {
        let many = 3 + self.luck.index(3);
        let names: Vec<AccountName> = (0..3 + self.luck.index(3)).map(client_name).collect();
        let payload = Bytes::from(first_entry(&names).to_bytes());
        let position = Position::ZERO.next();
        let first = Stored { before: Position::ZERO, position, payload: payload.clone() };
        let mut model = Model::new("0");
        model.flaw = self.setting.broken.keeper();
        model.answer(0, &Ask::Found { cluster: CLUSTER, epoch: position.epoch, base: Position::ZERO });
        let (node, batch) = (node_name(0), BatchId([0xff; 16]));
        let seen = Position::ZERO;
        model.answer(0, &Ask::Append { epoch: position.epoch, seen, node, batch, payload });
        self.keepers.push(Keeper::new(model));
        for index in 0..many {
            self.nodes.push(Node::new(node_name(index), vec![first.clone()]));
            self.start(index);
            let offset = self.luck.between(0, 1_000);
            self.at(offset, Event::Heartbeat { node: index });
        }
        self.rooms = self.nodes[0].rooms();
        for (index, name) in names.into_iter().enumerate() {
            let messages = self.luck.between(6, 16);
            self.clients.push(Client::new(name, key(index), messages, &self.rooms));
            let (send, poll) = (self.luck.between(0, 1_000), self.luck.between(0, 1_000));
            self.at(send, Event::Send { client: index });
            self.at(poll, Event::Poll { client: index });
        }
    }

    /// Something happens in so many milliseconds.
    pub fn at(&mut self, after: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), event);
    }

    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    #[expect(clippy::print_stdout, reason = "what a seed does is printed for whoever looks into it")]
    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.setting.trace {
            println!("{:>7} {}", self.now, text());
        }
    }

    /// Until all is well again.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            if let Event::Check = event {
                if self.is_well() {
                    return Ok(());
                } else if self.now > self.calm_at + PATIENCE_MS {
                    return Err(self.state());
                }
                self.at(CHECK_MS, Event::Check);
                continue;
            }
            self.happen(event);
        }
        Err("nothing happens any more".to_owned())
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.paused_until(&event) {
            let wait = until - self.now;
            return self.at(wait, event);
        }
        match event {
            Event::Arrives { keeper, asker, ask, lost } => self.arrives(keeper, asker, ask, lost),
            Event::WaitOver { keeper, asker } => self.wait_over(keeper, asker),
            Event::Answered { asker, answer } => self.answered(asker, answer),
            Event::Alarm { node, life, at } => self.alarm(node, life, at),
            Event::Written { node, life, whole } => self.written(node, life, whole),
            Event::Recalled { node, life, entries } => self.input(node, life, Input::Recalled(entries)),
            Event::Heartbeat { node } => self.heartbeat(node),
            Event::Rejoin { node, tries } => self.rejoin(node, tries),
            Event::Send { client } => self.send(client),
            Event::Request { client, node, number, attempt } => self.request(client, node, number, attempt),
            Event::Reply { client, node, number, attempt, replied } => {
                self.reply(client, node, number, attempt, replied);
            }
            Event::Impatient { client, number, attempt } => self.impatient(client, number, attempt),
            Event::Poll { client } => self.poll(client),
            Event::Polled { client, polled } => self.polled(client, polled),
            Event::Fault(fault) => self.strike(fault),
            Event::Save => self.save(),
            Event::Check => {}
        }
    }

    /// A node that is stopped does not do what it would; it does it later.
    fn paused_until(&self, event: &Event) -> Option<u64> {
        let node = match event {
            Event::Answered { asker, .. } => asker.node,
            Event::Alarm { node, .. }
            | Event::Written { node, .. }
            | Event::Recalled { node, .. }
            | Event::Heartbeat { node }
            | Event::Rejoin { node, .. }
            | Event::Request { node, .. } => *node,
            _ => return None,
        };
        self.nodes[node].paused_until.filter(|until| *until > self.now)
    }

    fn is_well(&self) -> bool {
        let first = self.nodes[0].last();
        self.now > self.calm_at
            && self.nodes.iter().all(|node| node.is_live() && node.last() == first && node.is_settled())
            && self.clients.iter().all(|client| client.is_done(&self.nodes[0]))
    }

    /// How it stands, for a person.
    pub fn state(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(Node::describe).collect();
        let keeper = self.keepers[self.master].describe();
        let done = self.clients.iter().filter(|client| client.is_done(&self.nodes[0])).count();
        format!(
            "not well at {}: {nodes:#?}\n{keeper}\n{done} of {} clients are done",
            self.now,
            self.clients.len()
        )
    }
}

pub fn node_name(index: usize) -> NodeName {
    ["a", "b", "c", "d", "e"][index].parse().expect("a name")
}

fn client_name(index: usize) -> AccountName {
    ["ada", "bob", "cleo", "dan", "eva"][index].parse().expect("a name")
}

fn key(index: usize) -> DeviceKey {
    DeviceKey([index as u8 + 1; 32])
}

fn first_entry(names: &[AccountName]) -> Entry {
    let command = |by, body| Command { at: Timestamp(1), by, body };
    let expires = Timestamp(u64::MAX);
    let mut commands = vec![command(Actor::Operator, CommandBody::Bootstrap { owner: [9; 32], expires })];
    for (index, name) in names.iter().enumerate() {
        let (name, label) = (name.clone(), SafeLine::new("sim"));
        commands.push(command(Actor::Device(key(index)), CommandBody::Register { name, label }));
    }
    for room in ["one", "two"] {
        let name = room.parse().expect("a name");
        let (topic, members) = (SafeLine::default(), names[1..].to_vec());
        let body = CommandBody::CreateRoom { name, private: false, topic, members };
        commands.push(command(Actor::Device(key(0)), body));
    }
    Entry::undecided(BatchId([0xff; 16]), commands)
}
