//! Holds a history to what a cluster promises. PURE.
//!
//! Of the nodes: every message that was acknowledged is on every node exactly once and where its receipt says; each room has
//! one sequence on all nodes, dense, of epochs that do not go down; a message that was acknowledged before another was sent
//! stands before it. Of the clients: nobody's seqs go back, or leave one out, without being told to fetch again, and in the end
//! each has the room's log. Messages that were appended again after a repair need only be there once.

mod orders;
mod readings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quip_protocol::{Cursor, Epoch, MessageId, RoomId, Seq};

use super::fault::{Fault, Named, Stands};
use super::history::{Acked, Entry, History, NodeLog, Outcome, Seen, Sent};

/// What a history came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong; nothing, if all is well.
    pub faults: Vec<Fault>,
    /// How much was looked at.
    pub figures: Figures,
}

/// How much was looked at: a history of nothing has no faults either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Messages that were sent.
    pub sent: usize,
    /// Those with a receipt.
    pub acked: usize,
    /// Those that were refused for good.
    pub refused: usize,
    /// Those that a repair appended again.
    pub reappended: usize,
    /// Events that clients were told of.
    pub seen: usize,
    /// How often clients were told to fetch again.
    pub resets: usize,
}

/// Where a node has a message.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    room: RoomId,
    entry: &'a Entry,
}

/// Where a node has each message: the first place of those that are there twice.
type Places<'a> = HashMap<MessageId, Found<'a>>;

/// Says what is wrong with a history.
pub fn check(history: &History) -> Verdict {
    let mut faults = Vec::new();
    unacknowledged(history, &mut faults);
    for node in &history.nodes {
        node.rooms.iter().for_each(|(room, log)| dense(node, *room, log, &mut faults));
        let places = places(node, &mut faults);
        history.sends.iter().for_each(|sent| receipt(history, node, &places, sent, &mut faults));
    }
    match history.nodes.split_first() {
        Some((first, others)) => {
            others.iter().for_each(|other| different(first, other, &mut faults));
            orders::check(history, first, &mut faults);
            history.readings.iter().for_each(|reading| readings::check(reading, first, &mut faults));
        }
        None => faults.push(Fault::NoNodes),
    }
    Verdict { faults, figures: figures(history) }
}

fn figures(history: &History) -> Figures {
    let outcomes = |is: fn(&Outcome) -> bool| history.sends.iter().filter(|sent| is(&sent.outcome)).count();
    let seen = || history.readings.iter().flat_map(|reading| &reading.seen);
    Figures {
        sent: history.sends.len(),
        acked: outcomes(|outcome| matches!(outcome, Outcome::Acked(_))),
        refused: outcomes(|outcome| matches!(outcome, Outcome::Refused)),
        reappended: history.reappended.len(),
        seen: seen().filter(|seen| matches!(seen, Seen::Event { .. })).count(),
        resets: seen().filter(|seen| matches!(seen, Seen::Reset { .. })).count(),
    }
}

fn unacknowledged(history: &History, faults: &mut Vec<Fault>) {
    let open = history.sends.iter().filter(|sent| matches!(sent.outcome, Outcome::Open));
    faults.extend(open.map(|sent| Fault::Unacknowledged { message: Named::from(sent), room: sent.room }));
}

/// Seqs from 1 on, none left out; epochs go up alone. Says the first place that is wrong.
fn dense(node: &NodeLog, room: RoomId, log: &[Entry], faults: &mut Vec<Fault>) {
    let (mut before, mut epoch) = (Seq::ZERO, Epoch(0));
    for Entry { place, .. } in log {
        if place.seq != before.next() || place.epoch < epoch {
            let node = node.node.clone();
            return faults.push(Fault::Sparse { room, expected: before.next(), found: *place, node });
        }
        (before, epoch) = (place.seq, place.epoch);
    }
}

/// Where the node has each message.
fn places<'a>(node: &'a NodeLog, faults: &mut Vec<Fault>) -> Places<'a> {
    let mut places = Places::new();
    let entries = node.rooms.iter().flat_map(|(room, log)| log.iter().map(|entry| (*room, entry)));
    for (room, entry) in entries {
        let Some(id) = entry.id else { continue };
        let first = *places.entry(id).or_insert(Found { room, entry });
        if !std::ptr::eq(first.entry, entry) {
            let (first, again) = ((first.room, first.entry.place), (room, entry.place));
            faults.push(Fault::Doubled { id, first, again, node: node.node.clone() });
        }
    }
    places
}

/// Whether a node has what was acknowledged, where and as it was.
fn receipt(history: &History, node: &NodeLog, places: &Places<'_>, sent: &Sent, faults: &mut Vec<Fault>) {
    let found = places.get(&sent.id);
    if let Some(Found { entry, .. }) = found
        && entry.author != sent.client
    {
        let (author, node) = (entry.author.clone(), node.node.clone());
        faults.push(Fault::Mistaken { message: Named::from(sent), author, node });
    }
    let Some(acked) = sent.acked() else { return };
    match found {
        None => faults.push(lost(node, sent, acked)),
        Some(_) if history.reappended.contains(&sent.id) => {}
        Some(found) => faults.extend(moved(node, sent, acked, found)),
    }
}

fn lost(node: &NodeLog, sent: &Sent, acked: &Acked) -> Fault {
    Fault::Lost {
        message: Named::from(sent),
        acked: acked.node.clone(),
        at: Cursor { epoch: acked.receipt.epoch, seq: acked.receipt.seq },
        room: acked.receipt.room,
        node: node.node.clone(),
    }
}

/// The receipt is of this message, and the message is where it says; the room is the one it was sent to.
fn moved(node: &NodeLog, sent: &Sent, acked: &Acked, found: &Found<'_>) -> Option<Fault> {
    let Acked { receipt, node: by, .. } = acked;
    let said = (receipt.room, Cursor { epoch: receipt.epoch, seq: receipt.seq });
    let found = (found.room, found.entry.place);
    let right = receipt.id == sent.id && said == found && sent.room == found.0;
    let (message, acked, node) = (Named::from(sent), by.clone(), node.node.clone());
    (!right).then_some(Fault::Moved { message, acked, said, found, node })
}

/// Of each room the first place where two nodes differ.
fn different(one: &NodeLog, other: &NodeLog, faults: &mut Vec<Fault>) {
    let rooms: BTreeSet<RoomId> = one.rooms.keys().chain(other.rooms.keys()).copied().collect();
    for room in rooms {
        let (a, b) = (log_of(one, room), log_of(other, room));
        let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        if at < a.len().max(b.len()) {
            let seq = Seq(at as u64 + 1);
            let has = Box::new((a.get(at).map(stands), b.get(at).map(stands)));
            let (one, other) = (one.node.clone(), other.node.clone());
            faults.push(Fault::Different { room, seq, one, other, has });
        }
    }
}

fn log_of(node: &NodeLog, room: RoomId) -> &[Entry] {
    node.rooms.get(&room).map_or(&[], Vec::as_slice)
}

fn stands(entry: &Entry) -> Stands {
    (entry.place, entry.id)
}
