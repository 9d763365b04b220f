//! What happened to a cluster's rooms, as told by those who took part: what was sent, what was seen, and what each node has
//! in the end. Types alone; times are of one clock, in whatever unit.

use std::collections::{BTreeMap, BTreeSet};

use quip_protocol::{AccountName, Cursor, Event, EventBody, MessageId, NodeName, Receipt, RoomId, Seq};

/// Everything that [`crate::cluster::check`] looks at. Told once every fault is over and every outbox empty.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// All that was sent.
    pub sends: Vec<Sent>,
    /// All that was followed.
    pub readings: Vec<Reading>,
    /// What each node has.
    pub nodes: Vec<NodeLog>,
    /// Messages that a node had to append again after a repair: they may stand elsewhere than acknowledged, and their order is
    /// no one's. That they are there once still holds.
    pub reappended: BTreeSet<MessageId>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Whose.
    pub client: AccountName,
    /// The sender's messages, in the order in which it sent them, over all rooms.
    pub number: u64,
    /// Its id.
    pub id: MessageId,
    /// Where to.
    pub room: RoomId,
    /// When it was first sent.
    pub begun: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a message.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// There was a receipt.
    Acked(Acked),
    /// It was refused for good. It may be there, of an earlier attempt, and then once.
    Refused,
    /// The sender still waits.
    Open,
}

/// The first receipt of a message.
#[derive(Debug, Clone)]
pub struct Acked {
    /// When it came.
    pub at: u64,
    /// From which node.
    pub node: NodeName,
    /// What it says.
    pub receipt: Receipt,
}

/// What one client saw, in the order in which it saw it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Whose.
    pub client: AccountName,
    /// The rooms that it followed to the end, each from behind this place on.
    pub rooms: BTreeMap<RoomId, Seq>,
    /// What it was told.
    pub seen: Vec<Seen>,
}

/// What a client is told of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An event.
    Event {
        /// The room.
        room: RoomId,
        /// Where it stands.
        place: Cursor,
        /// The id that its sender made, if it has one.
        id: Option<MessageId>,
    },
    /// What is behind `keep` is not true any more, and comes again.
    Reset {
        /// The room.
        room: RoomId,
        /// The last place that stays.
        keep: Seq,
    },
}

/// The whole log of every room, as one node has it.
#[derive(Debug, Clone)]
pub struct NodeLog {
    /// Which.
    pub node: NodeName,
    /// In order.
    pub rooms: BTreeMap<RoomId, Vec<Entry>>,
}

/// An event of a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub place: Cursor,
    /// The id that its sender made, if it has one.
    pub id: Option<MessageId>,
    /// Whose it is.
    pub author: AccountName,
}

impl Sent {
    /// Its receipt, if there is one.
    pub fn acked(&self) -> Option<&Acked> {
        match &self.outcome {
            Outcome::Acked(acked) => Some(acked),
            Outcome::Refused | Outcome::Open => None,
        }
    }
}

impl From<&Event> for Entry {
    fn from(event: &Event) -> Entry {
        Entry { place: place_of(event), id: id_of(event), author: event.author.clone() }
    }
}

impl From<&Event> for Seen {
    fn from(event: &Event) -> Seen {
        Seen::Event { room: event.room, place: place_of(event), id: id_of(event) }
    }
}

fn place_of(event: &Event) -> Cursor {
    Cursor { epoch: event.epoch, seq: event.seq }
}

fn id_of(event: &Event) -> Option<MessageId> {
    match &event.body {
        EventBody::Message(message) => Some(message.id),
        EventBody::Edited { id, .. } | EventBody::Deleted { id, .. } | EventBody::Reacted { id, .. } => {
            Some(*id)
        }
        _ => None,
    }
}
