//! What a session watches, and from where: the cursors of its live stream.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quip_protocol::codec::{LENGTH_BYTES, decode_stored_event, decode_stored_notice};
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

/// Compares a reader's cursor with the room's log, and says from where it is served.
pub fn cursor_state(node: &Node, room: RoomId, cursor: Option<Cursor>, head: Cursor) -> (WatchState, Cursor) {
    let Some(cursor) = cursor else { return (WatchState::Live { room, from: head, head }, head) };
    match last_shared(node, FeedKey::Room(room), cursor, head.seq) {
        keep if keep == cursor => (WatchState::Live { room, from: cursor, head }, cursor),
        keep => (WatchState::Reset { room, keep, head }, keep),
    }
}

/// The last event that a reader with `cursor` surely has as the log has it. As Raft compares logs: that is the cursor
/// itself if the event there has that epoch. If not, it is the last event of that epoch before it: no epoch gives a
/// place twice, so who has a later event of the epoch has this one, and all before it. If the log has none, nothing is
/// sure.
pub fn last_shared(node: &Node, key: FeedKey, cursor: Cursor, head: Seq) -> Cursor {
    if cursor.seq == Seq::ZERO {
        return cursor;
    }
    // Epochs never fall along a log.
    let (mut low, mut high) = (0, cursor.seq.0.min(head.0));
    if epoch_at(node, key, Seq(high)) == Some(cursor.epoch) {
        return Cursor { seq: Seq(high), ..cursor };
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match epoch_at(node, key, Seq(middle)) {
            Some(epoch) if epoch <= cursor.epoch => low = middle,
            _ => high = middle - 1,
        }
    }
    match epoch_at(node, key, Seq(low)) {
        Some(epoch) if epoch == cursor.epoch => Cursor { epoch, seq: Seq(low) },
        _ => Cursor::default(),
    }
}

fn epoch_at(node: &Node, key: FeedKey, seq: Seq) -> Option<Epoch> {
    let chunk = node.feeds.read(&node.store, key, Seq(seq.0.checked_sub(1)?), seq, 1).ok()?;
    let stored = chunk.frames.first()?.get(LENGTH_BYTES..)?;
    match key {
        FeedKey::Room(_) => decode_stored_event(stored).ok().map(|event| event.epoch),
        FeedKey::Inbox(_) => decode_stored_notice(stored).ok().map(|notice| notice.epoch),
    }
}
