//! In which order messages stand that were sent one after the other. PURE.

use super::*;

/// A message of the log, and its seq there.
#[derive(Debug, Clone, Copy)]
struct Placed<'a> {
    sent: &'a Sent,
    seq: Seq,
}

/// What was acknowledged before another message was sent stands before it, whoever sent them.
pub(super) fn check(history: &History, node: &NodeLog, faults: &mut Vec<Fault>) {
    let mut seqs: HashMap<MessageId, Seq> = HashMap::new();
    let entries = node.rooms.values().flatten().filter_map(|entry| Some((entry.id?, entry.place.seq)));
    // Of one that is there twice, which is said elsewhere, the first counts.
    entries.for_each(|(id, seq)| _ = seqs.entry(id).or_insert(seq));
    let mut rooms: BTreeMap<RoomId, Vec<Placed<'_>>> = BTreeMap::new();
    for sent in history.sends.iter().filter(|sent| !history.reappended.contains(&sent.id)) {
        if let Some(&seq) = seqs.get(&sent.id) {
            rooms.entry(sent.room).or_default().push(Placed { sent, seq });
        }
    }
    for (room, all) in rooms {
        check_room(room, &all, faults);
    }
}

fn check_room(room: RoomId, all: &[Placed<'_>], faults: &mut Vec<Fault>) {
    // At the same moment nobody knows what another one has; those of one sender are told apart by their numbers.
    let any =
        overtaken(all, |acked, placed, then| acked.at < then.sent.begun && placed.sent.id != then.sent.id);
    faults.extend(
        any.into_iter().filter(|(a, b)| a.sent.client != b.sent.client).map(|pair| named(room, pair)),
    );
    let mut clients: BTreeMap<_, Vec<Placed<'_>>> = BTreeMap::new();
    for placed in all {
        clients.entry(&placed.sent.client).or_default().push(*placed);
    }
    for own in clients.values() {
        let own = overtaken(own, |acked, placed, then| {
            acked.at <= then.sent.begun && placed.sent.number < then.sent.number
        });
        faults.extend(own.into_iter().map(|pair| named(room, pair)));
    }
}

/// Each that stands before one that `precedes` it, with the last of those.
fn overtaken<'a>(
    all: &[Placed<'a>],
    precedes: impl Fn(&Acked, &Placed<'a>, &Placed<'a>) -> bool,
) -> Vec<(Placed<'a>, Placed<'a>)> {
    let mut by_begin = all.to_vec();
    by_begin.sort_by_key(|placed| (placed.sent.begun, placed.sent.number));
    let mut acked: Vec<_> = all.iter().filter_map(|placed| Some((placed.sent.acked()?, *placed))).collect();
    acked.sort_by_key(|(acked, placed)| (acked.at, placed.sent.number));
    let mut acked = acked.into_iter().peekable();
    let mut last: Option<Placed<'a>> = None;
    let mut pairs = Vec::new();
    for then in by_begin {
        while let Some((_, placed)) = acked.next_if(|(acked, placed)| precedes(acked, placed, &then)) {
            last = last.into_iter().chain([placed]).max_by_key(|placed| placed.seq);
        }
        pairs.extend(last.filter(|last| last.seq > then.seq).map(|last| (last, then)));
    }
    pairs
}

fn named(room: RoomId, (first, then): (Placed<'_>, Placed<'_>)) -> Fault {
    Fault::Overtaken {
        room,
        acked: first.sent.acked().map_or(0, |acked| acked.at),
        begun: then.sent.begun,
        seqs: (first.seq, then.seq),
        first: Named::from(first.sent),
        then: Named::from(then.sent),
    }
}
