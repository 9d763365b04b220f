//! What a session watches, and from where: the cursors of its live stream.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event};
use quip_protocol::frame::WatchState;
use quip_protocol::{AccountId, Cursor, Epoch, RoomId, Seq};

use crate::feed::{Doorbell, FeedKey, Feeds, Watch};
use crate::node::Node;

/// The watches of one session.
#[derive(Debug, Default)]
pub struct Watching {
    /// Rings when any of the logs grows.
    pub doorbell: Arc<Doorbell>,
    cursors: Mutex<HashMap<FeedKey, (Arc<Watch>, Seq)>>,
}

impl Watching {
    /// Watches a log from `from` on, instead of any watch of it before.
    pub fn add(&self, feeds: &Feeds, key: FeedKey, account: AccountId, from: Seq) {
        let watch = feeds.watch(key, account, &self.doorbell);
        let before = self.cursors.lock().insert(key, (Arc::clone(&watch), from));
        if let Some((before, _)) = before {
            feeds.unwatch(&before);
        }
        // There may be something behind `from` already.
        watch.ring();
    }

    /// No more.
    pub fn remove(&self, feeds: &Feeds, key: FeedKey) {
        let before = self.cursors.lock().remove(&key);
        if let Some((watch, _)) = before {
            feeds.unwatch(&watch);
        }
    }

    /// No more of any.
    pub fn clear(&self, feeds: &Feeds) {
        let cursors = std::mem::take(&mut *self.cursors.lock());
        for (watch, _) in cursors.into_values() {
            feeds.unwatch(&watch);
        }
    }

    /// The cursor of a watch that rang; none if it was replaced or removed meanwhile.
    pub fn cursor(&self, watch: &Arc<Watch>) -> Option<Seq> {
        let cursors = self.cursors.lock();
        let (current, seq) = cursors.get(&watch.key())?;
        Arc::ptr_eq(current, watch).then_some(*seq)
    }

    /// The watch has been served up to `seq`.
    pub fn advance(&self, watch: &Arc<Watch>, seq: Seq) {
        if let Some((current, cursor)) = self.cursors.lock().get_mut(&watch.key())
            && Arc::ptr_eq(current, watch)
        {
            *cursor = seq;
        }
    }
}

/// Compares a reader's cursor with the log, as Raft compares logs: it is good if the event there has that epoch.
pub fn cursor_state(node: &Node, room: RoomId, cursor: Option<Cursor>, head: Cursor) -> (WatchState, Cursor) {
    let Some(cursor) = cursor else { return (WatchState::Live { room, from: head, head }, head) };
    if cursor.seq <= head.seq
        && (cursor.seq == Seq::ZERO || epoch_at(node, room, cursor.seq) == Some(cursor.epoch))
    {
        return (WatchState::Live { room, from: cursor, head }, cursor);
    }
    let keep = last_shared(node, room, cursor, head);
    (WatchState::Reset { room, keep, head }, keep)
}

/// The last event that a reader with `cursor` surely has as the log has it: epochs never fall along a log, so
/// everything of epochs before the reader's newest is the same for both.
fn last_shared(node: &Node, room: RoomId, cursor: Cursor, head: Cursor) -> Cursor {
    let (mut low, mut high) = (0, cursor.seq.0.min(head.seq.0));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match epoch_at(node, room, Seq(middle)) {
            Some(epoch) if epoch < cursor.epoch => low = middle,
            _ => high = middle - 1,
        }
    }
    Cursor { epoch: epoch_at(node, room, Seq(low)).unwrap_or(Epoch::FIRST), seq: Seq(low) }
}

fn epoch_at(node: &Node, room: RoomId, seq: Seq) -> Option<Epoch> {
    let stored = match node.feeds.frame(FeedKey::Room(room), seq) {
        Some(frame) => frame.slice(LENGTH_BYTES..),
        None => node.store.event(room, seq).ok()??,
    };
    decode_stored_event(&stored).ok().map(|event| event.epoch)
}
