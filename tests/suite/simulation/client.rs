//! A client: an outbox that is sent one message after the other, each until there is a receipt, at whichever node; and a reader
//! of all rooms, with a cursor each, at another node each time.

use std::collections::BTreeMap;

use quip_protocol::{
    AccountName, Cursor, DeviceKey, Epoch, MessageId, MessageKind, Receipt, RoomId, RoomName, SafeText, Seq,
    Target, Timestamp,
};
use quip_server::engine::{Actor, Command, CommandBody, NotApplied, Outcome};
use quip_server::session::cursors::{Fit, at_once, compare};
use quip_tests::cluster::{Acked, Outcome as Sending, Reading, Seen, Sent};

use super::node::Node;
use super::world::{Event, World};

/// A node that does not answer is left after so long.
const PATIENCE_MS: u64 = 1_500;
/// Events of one room that are told at a time.
const PAGE: usize = 10;
/// So often a node that lacks what was seen is asked again, before it is believed.
const DOUBTS: u32 = 10;

pub struct Client {
    pub name: AccountName,
    key: DeviceKey,
    pub sends: Vec<Sent>,
    /// How many it is to send.
    messages: u64,
    attempt: u32,
    pub cursors: BTreeMap<RoomId, Cursor>,
    pub reading: Reading,
    rooms: Vec<(RoomName, RoomId)>,
    doubts: u32,
}

/// What a client is told of its message.
#[derive(Debug, Clone, Copy)]
pub enum Replied {
    Receipt(Receipt),
    Refused,
    NotNow,
}

/// What a client is told of a room.
#[derive(Debug)]
pub enum Polled {
    Seen(Seen),
    /// The node may not have yet what the client has seen.
    Doubt,
}

impl Replied {
    pub fn of(outcome: Result<Outcome, NotApplied>) -> Replied {
        match outcome {
            Ok(Outcome::Receipt(receipt)) => Replied::Receipt(receipt),
            _ => Replied::Refused,
        }
    }
}

impl Client {
    pub fn new(name: AccountName, key: DeviceKey, messages: u64, rooms: &[(RoomName, RoomId)]) -> Client {
        let start = Cursor { epoch: Epoch::FIRST, seq: Seq::ZERO };
        let cursors: BTreeMap<_, _> = rooms.iter().map(|(_, id)| (*id, start)).collect();
        let from = cursors.keys().map(|room| (*room, Seq::ZERO)).collect();
        let reading = Reading { client: name.clone(), rooms: from, seen: Vec::new() };
        let (sends, rooms) = (Vec::new(), rooms.to_vec());
        Client { name, key, sends, messages, attempt: 0, cursors, reading, rooms, doubts: 0 }
    }

    /// It has sent all, and seen all that a node has.
    pub fn is_done(&self, node: &Node) -> bool {
        let has_sent =
            self.sends.len() as u64 == self.messages && self.sends.iter().all(|sent| !is_open(sent));
        let Some(live) = &node.live else { return false };
        has_sent && self.cursors.iter().all(|(room, cursor)| *cursor == live.past.head(*room))
    }

    pub fn message(&self, number: u64, at: Timestamp) -> Command {
        let sent = &self.sends[number as usize];
        let (room, _) = self.rooms.iter().find(|(_, id)| *id == sent.room).expect("it was sent to one");
        let body = CommandBody::Post {
            target: Target::Room(room.clone()),
            id: sent.id,
            kind: MessageKind::Plain,
            text: SafeText::new(&format!("{} {number}", self.name)),
            reply_to: None,
        };
        Command { at, by: Actor::Device(self.key), body }
    }
}

fn is_open(sent: &Sent) -> bool {
    matches!(sent.outcome, Sending::Open)
}

impl World {
    /// The next message of an outbox.
    pub fn send(&mut self, client: usize) {
        let now = self.now;
        let here = &mut self.clients[client];
        let number = here.sends.len() as u64;
        if number == here.messages {
            return;
        }
        let (room, id) = (self.luck.index(here.rooms.len()), MessageId::from_bytes(self.luck.sixteen()));
        let (room, name) = (here.rooms[room].1, here.name.clone());
        here.sends.push(Sent { client: name, number, id, room, begun: now, outcome: Sending::Open });
        here.attempt = 0;
        self.deliver(client, number);
    }

    /// Once more, at a node.
    fn deliver(&mut self, client: usize, number: u64) {
        let node = self.luck.index(self.nodes.len());
        self.clients[client].attempt += 1;
        let attempt = self.clients[client].attempt;
        let (delay, patience) = (self.luck.between(1, 10), PATIENCE_MS);
        self.at(delay, Event::Request { client, node, number, attempt });
        self.at(patience, Event::Impatient { client, number, attempt });
    }

    fn waits(&self, client: usize, number: u64) -> bool {
        self.clients[client].sends.get(number as usize).is_some_and(is_open)
    }

    pub fn impatient(&mut self, client: usize, number: u64, attempt: u32) {
        if self.waits(client, number) && self.clients[client].attempt == attempt {
            self.deliver(client, number);
        }
    }

    pub fn reply(&mut self, client: usize, node: usize, number: u64, attempt: u32, replied: Replied) {
        if !self.waits(client, number) {
            return;
        }
        let (now, by) = (self.now, self.nodes[node].name.clone());
        let here = &mut self.clients[client];
        let outcome = match replied {
            Replied::Receipt(receipt) => Sending::Acked(Acked { at: now, node: by, receipt }),
            Replied::Refused => Sending::Refused,
            Replied::NotNow if here.attempt != attempt => return,
            Replied::NotNow => {
                let wait = self.luck.between(50, 500);
                here.attempt += 1;
                return self.at(wait, Event::Impatient { client, number, attempt: attempt + 1 });
            }
        };
        here.sends[number as usize].outcome = outcome;
        self.trace(|| format!("{} has a reply to {number}: {replied:?}", self.clients[client].name));
        let pause = self.luck.between(1, 2 * self.calm_at / 10);
        self.at(pause, Event::Send { client });
    }

    /// Asks some node what is new.
    pub fn poll(&mut self, client: usize) {
        self.at(300, Event::Poll { client });
        let node = &self.nodes[self.luck.index(self.nodes.len())];
        let is_paused = node.paused_until.is_some_and(|until| until > self.now);
        if node.live.is_none() || is_paused {
            return;
        }
        let here = &self.clients[client];
        let rooms = here.cursors.iter();
        let polled =
            rooms.flat_map(|(room, cursor)| node.page(*room, *cursor, here.doubts >= DOUBTS)).collect();
        // What comes later than the next question would be of another connection.
        self.at(5, Event::Polled { client, polled });
    }

    pub fn polled(&mut self, client: usize, polled: Vec<Polled>) {
        let here = &mut self.clients[client];
        let is_doubtful = polled.iter().any(|polled| matches!(polled, Polled::Doubt));
        here.doubts = if is_doubtful { here.doubts + 1 } else { 0 };
        for polled in polled {
            let Polled::Seen(seen) = polled else { continue };
            let (room, cursor) = match seen {
                Seen::Event { room, place, .. } => (room, place),
                Seen::Reset { room, keep } => (room, Cursor { epoch: Epoch::FIRST, seq: keep }),
            };
            here.cursors.insert(room, cursor);
            here.reading.seen.push(seen);
        }
    }
}

impl Node {
    /// What a reader with this cursor is told, by the rules of a session.
    fn page(&self, room: RoomId, cursor: Cursor, is_believed: bool) -> Vec<Polled> {
        let Some(live) = &self.live else { return Vec::new() };
        let head = live.past.head(room);
        let epoch_at = |seq| live.past.at(room, seq).map(|event| event.epoch).ok_or("not there");
        let fit = at_once(Some(cursor), head).or_else(|| compare(cursor, head, epoch_at).ok());
        let (after, reset) = match fit.expect("it has all up to its head") {
            Fit::Good(after) => (after, None),
            // This node may be behind, as long as its log is not beyond the epoch that was seen.
            Fit::Reset(_) if !is_believed && self.last().epoch <= cursor.epoch => return vec![Polled::Doubt],
            Fit::Reset(after) => (after, Some(Polled::Seen(Seen::Reset { room, keep: after.seq }))),
        };
        let events = live.past.rooms.get(&room).into_iter().flatten();
        let events = events
            .filter(|event| event.seq > after.seq)
            .take(PAGE)
            .map(|event| Polled::Seen(Seen::from(event)));
        reset.into_iter().chain(events).collect()
    }
}
