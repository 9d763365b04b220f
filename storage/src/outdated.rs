//! What an index over a replica has yet to look at: stretches of rooms, noted in the same batch as the change that
//! made them so. Imports the replica's database and blocks.
//!
//! A stretch is looked at as a whole: whatever the index has of it is replaced by what the replica has now. So nothing
//! has to be known of what changed, and looking twice does no harm.

use std::sync::atomic::Ordering;

use quip_protocol::{Event, RoomId, Seq};
use serde::{Deserialize, Serialize};
use sled::{Batch, IVec};

use crate::keys;
use crate::read::block_at;
use crate::replica::{Replica, ReplicaError, events};
use crate::store::{StoreError, parse, versioned};

/// Events of a room that an index has yet to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The room.
    pub room: RoomId,
    /// The first of them.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
    /// The note as it was read: it is not removed once it says something else.
    note: IVec,
}

/// What a note says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Note {
    last: Seq,
    /// Another one in each note of this process.
    stamp: u64,
}

/// The upper end of a stretch, as it is now.
#[derive(Debug)]
pub struct Piece {
    /// From here to the stretch's end.
    pub from: Seq,
    /// What the replica has there.
    pub events: Vec<Event>,
}

impl Replica {
    /// Which index looks at it, if one does.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn index(&self) -> Result<Option<u64>, ReplicaError> {
        self.marked(self.record(&keys::INDEX_ID))
    }

    /// A new index looks at it from now on: all rooms are yet to be looked at.
    ///
    /// # Errors
    /// When sled fails.
    pub fn begin_index(&self, id: u64) -> Result<(), ReplicaError> {
        let _turn = self.turn();
        let begun = self.all_outdated(id).and_then(|batch| self.database.apply(batch));
        self.marked(begun.and_then(|()| self.database.sync()))
    }

    fn all_outdated(&self, id: u64) -> Result<Batch, StoreError> {
        let mut batch = Batch::default();
        for pair in self.database.scan_prefix(keys::OUTDATED) {
            batch.remove(pair?.0);
        }
        let mut upto = u64::MAX;
        while let Some((key, _)) =
            self.database.at_or_before(&keys::block(RoomId(upto), Seq(u64::MAX)), &[keys::BLOCK])?
        {
            let (room, _) = keys::numbers(&key)
                .ok_or_else(|| StoreError::corrupt(&key, "its key has the wrong length"))?;
            self.outdate(&mut batch, RoomId(room), Seq::ZERO, Seq(u64::MAX))?;
            let Some(before) = room.checked_sub(1) else { break };
            upto = before;
        }
        batch.insert(keys::INDEX_ID.as_slice(), versioned(&id));
        Ok(batch)
    }

    /// Notes in `batch` that these events are to be looked at.
    pub(crate) fn outdate(
        &self,
        batch: &mut Batch,
        room: RoomId,
        first: Seq,
        last: Seq,
    ) -> Result<(), StoreError> {
        let key = keys::outdated(room, first);
        let before: Option<Note> = self.record(&key)?;
        let last = before.map_or(last, |note| note.last.max(last));
        let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
        batch.insert(key, versioned(&Note { last, stamp }));
        Ok(())
    }

    /// Notes in `batch` that a run of events, and what they amend, is to be looked at.
    pub(crate) fn outdate_run(
        &self,
        batch: &mut Batch,
        room: RoomId,
        run: &[Event],
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        for target in run.iter().filter_map(|event| event.body.amends()).filter(|target| *target < first.seq)
        {
            self.outdate(batch, room, target, target)?;
        }
        self.outdate(batch, room, first.seq, last.seq)
    }

    /// All that an index has yet to look at.
    ///
    /// # Errors
    /// When a note is damaged.
    pub fn outdated(&self) -> Result<Vec<Stretch>, ReplicaError> {
        let _turn = self.turn();
        let stretches = self.database.scan_prefix(keys::OUTDATED).map(|pair| {
            let (key, note) = pair?;
            let (room, first) = keys::numbers(&key)
                .ok_or_else(|| StoreError::corrupt(&key, "its key has the wrong length"))?;
            let Note { last, .. } = parse(&key, &note)?;
            Ok(Stretch { room: RoomId(room), first: Seq(first), last, note })
        });
        self.marked(stretches.collect())
    }

    /// The upper end of a stretch: about `most` events, or all of it.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn piece(&self, stretch: &Stretch, most: usize) -> Result<Piece, ReplicaError> {
        let _turn = self.turn();
        self.marked(self.read_piece(stretch, most))
    }

    fn read_piece(&self, stretch: &Stretch, most: usize) -> Result<Piece, StoreError> {
        let mut piece = Piece { from: stretch.first, events: Vec::new() };
        let mut upto = stretch.last;
        while let Some((key, value)) = block_at(&self.database, stretch.room, upto)? {
            let (_, start) = keys::numbers(&key)
                .ok_or_else(|| StoreError::corrupt(&key, "its key has the wrong length"))?;
            let wanted = |event: &Event| (stretch.first..=stretch.last).contains(&event.seq);
            piece.events.extend(events(&key, &value)?.into_iter().filter(wanted));
            if start <= stretch.first.0 {
                break;
            }
            if piece.events.len() >= most {
                piece.from = Seq(start);
                break;
            }
            upto = Seq(start - 1);
        }
        Ok(piece)
    }

    /// An index has looked at the stretch from `from` on. What became outdated since stays noted.
    ///
    /// # Errors
    /// When sled fails.
    pub fn looked_at(&self, stretch: &Stretch, from: Seq) -> Result<(), ReplicaError> {
        let _turn = self.turn();
        self.marked(self.try_looked_at(stretch, from))
    }

    fn try_looked_at(&self, stretch: &Stretch, from: Seq) -> Result<(), StoreError> {
        let key = keys::outdated(stretch.room, stretch.first);
        if self.database.get(&key)?.as_ref() != Some(&stretch.note) {
            return Ok(());
        }
        let mut batch = Batch::default();
        if from <= stretch.first {
            batch.remove(key);
        } else {
            let stamp = self.stamps.fetch_add(1, Ordering::Relaxed);
            batch.insert(key, versioned(&Note { last: Seq(from.0 - 1), stamp }));
        }
        self.database.apply(batch)
    }
}
