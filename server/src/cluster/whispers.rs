//! Who types on this node, until other nodes are told: a moment, and in few bytes.

use parking_lot::Mutex;
use quip_protocol::{AccountId, RoomId};
use tokio::sync::Notify;

/// So many wait at most; what is more is lost, as a datagram may be.
pub(super) const MOST: usize = 500;

/// What waits.
#[derive(Debug, Default)]
pub struct Whispers {
    waiting: Mutex<Vec<(RoomId, AccountId)>>,
    said: Notify,
}

impl Whispers {
    /// Somebody types in a room.
    pub fn say(&self, room: RoomId, account: AccountId) {
        let mut waiting = self.waiting.lock();
        if waiting.len() < MOST && !waiting.contains(&(room, account)) {
            waiting.push((room, account));
            self.said.notify_one();
        }
    }

    /// All that waits; waits for something.
    pub async fn next(&self) -> Vec<(RoomId, AccountId)> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.said.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn some_are_told_at_once_and_no_more_than_may_wait() {
        let whispers = Whispers::default();
        for n in 0..MOST as u64 + 10 {
            whispers.say(RoomId(1), AccountId(n));
            whispers.say(RoomId(1), AccountId(0));
        }
        let told = whispers.next().await;
        assert_eq!((told.len(), told[0]), (MOST, (RoomId(1), AccountId(0))));
        whispers.say(RoomId(2), AccountId(1));
        assert_eq!(whispers.next().await, [(RoomId(2), AccountId(1))]);
    }
}
