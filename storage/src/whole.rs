//! How far back a replica has all of a room, and of its owner's inbox what it has seen. Imports the replica's database
//! and blocks.

use quip_protocol::{Cursor, RoomId, Seq};

use crate::keys;
use crate::read::block_at;
use crate::replica::{Replica, ReplicaError};
use crate::store::{StoreError, versioned};
use crate::timeline::BlockBytes;

/// Blocks that are looked at in one go: who writes has other things to do too.
const BLOCKS: usize = 256;

/// What lies behind an event, looking back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// From this event on all are there; further back was not looked yet.
    Whole(Seq),
    /// All from the first to the last of these are missing, and none between them and where one looked from.
    Hole(Seq, Seq),
}

impl Replica {
    /// What lies behind the event `whole`, down to `floor`. A hole that reaches further back ends there.
    ///
    /// # Errors
    /// When a block is damaged.
    pub fn behind(&self, room: RoomId, whole: Seq, floor: Seq) -> Result<Behind, ReplicaError> {
        self.marked(self.look_back(room, whole, floor))
    }

    fn look_back(&self, room: RoomId, mut whole: Seq, floor: Seq) -> Result<Behind, StoreError> {
        for _ in 0..BLOCKS {
            if whole <= floor {
                break;
            }
            let last = Seq(whole.0 - 1);
            let (first, end) = match block_at(&self.database, room, last)? {
                None => (Seq::ZERO, Seq::ZERO),
                Some((key, value)) => {
                    let block = BlockBytes::parse(&key, &value);
                    let block = block.map_err(|why| StoreError::corrupt(&key, why))?;
                    (block.first, block.last())
                }
            };
            if end < last {
                return Ok(Behind::Hole(end.next().max(floor), last));
            }
            whole = first;
        }
        Ok(Behind::Whole(whole))
    }

    /// Takes note that from `whole` up to its cursor the room has no hole; nothing new if that is known from further back.
    ///
    /// # Errors
    /// When sled fails.
    pub fn set_whole(&self, room: RoomId, whole: Seq) -> Result<(), ReplicaError> {
        let known: Option<Seq> = self.marked(self.record(&keys::whole(room)))?;
        if known.is_some_and(|known| known <= whole) {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        batch.insert(keys::whole(room), versioned(&whole));
        self.marked(self.database.apply(batch))
    }

    /// The newest notice of the owner's inbox that was taken.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn inbox(&self) -> Result<Option<Cursor>, ReplicaError> {
        self.marked(self.record(&keys::INBOX))
    }

    /// Takes note of the newest notice.
    ///
    /// # Errors
    /// When sled fails.
    pub fn set_inbox(&self, inbox: Cursor) -> Result<(), ReplicaError> {
        let mut batch = sled::Batch::default();
        batch.insert(keys::INBOX.as_slice(), versioned(&inbox));
        self.marked(self.database.apply(batch))
    }
}
