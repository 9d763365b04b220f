//! What a client was told of rooms, and what it has of them in the end. PURE.

use super::super::history::Reading;
use super::*;

/// What a client has of a room.
#[derive(Debug)]
struct Copy {
    /// It began behind here.
    from: Seq,
    has: Vec<Stands>,
    /// A fault of it was told: what follows from it is not.
    broken: bool,
}

/// Follows a client through what it was told, and compares what it has in the end with a node's logs.
pub(super) fn check(reading: &Reading, node: &NodeLog, faults: &mut Vec<Fault>) {
    let begin = |(room, from): (&RoomId, &Seq)| (*room, Copy { from: *from, has: Vec::new(), broken: false });
    let mut copies: BTreeMap<RoomId, Copy> = reading.rooms.iter().map(begin).collect();
    for seen in &reading.seen {
        match *seen {
            Seen::Reset { room, keep } => {
                copies.entry(room).and_modify(|copy| copy.reset(keep));
            }
            Seen::Event { room, place, id } => {
                let Some(copy) = copies.get_mut(&room) else { continue };
                faults.extend(copy.take(reading, room, (place, id)));
            }
        }
    }
    let whole = copies.into_iter().filter(|(_, copy)| !copy.broken);
    faults.extend(whole.filter_map(|(room, copy)| copy.compare(reading, room, node)));
}

impl Copy {
    fn reset(&mut self, keep: Seq) {
        self.has.retain(|(place, _)| place.seq <= keep);
        self.from = self.from.min(keep);
    }

    fn take(&mut self, reading: &Reading, room: RoomId, stands: Stands) -> Option<Fault> {
        let (to, _) = stands;
        let from = self.has.last().map_or(Cursor { epoch: Epoch(0), seq: self.from }, |(place, _)| *place);
        let (client, expected) = (reading.client.clone(), from.seq.next());
        self.has.push(stands);
        let fault = match to.seq {
            seq if seq < expected => Fault::WentBack { client, room, from, to },
            seq if seq > expected => Fault::Skipped { client, room, expected, found: to },
            _ => return None,
        };
        // One fault of a room leads to the rest of them.
        (!std::mem::replace(&mut self.broken, true)).then_some(fault)
    }

    fn compare(&self, reading: &Reading, room: RoomId, node: &NodeLog) -> Option<Fault> {
        let log: Vec<Stands> = log_of(node, room).iter().map(stands).collect();
        let log: Vec<Stands> = log.into_iter().filter(|(place, _)| place.seq > self.from).collect();
        let same = self.has.iter().zip(&log).take_while(|(a, b)| a == b).count();
        (same < self.has.len().max(log.len())).then(|| Fault::Misled {
            client: reading.client.clone(),
            room,
            seq: Seq(self.from.0 + same as u64 + 1),
            node: node.node.clone(),
            has: Box::new((self.has.get(same).copied(), log.get(same).copied())),
        })
    }
}
