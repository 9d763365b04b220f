//! Which ids the store surely does not have, so that it need not be asked: nearly every id is new, and asking costs
//! more than everything else about a message. Pure, but for being filled from the store.
//!
//! What must stay true: every id of the store between the two bounds is in the set. So an id between them that is not
//! in the set is new, whatever the clocks of the senders say; an id outside them is looked up. Where the bounds are
//! is only a matter of speed.

use std::collections::BTreeSet;

use quip_protocol::{MessageId, Timestamp};
use quip_storage::store::{Ids, Store, StoreError};

/// Most ids held: 2 to 4 MB.
const MOST: usize = 65_536;
/// How far ahead of ours a sender's clock may be before its ids are the first to be forgotten, in milliseconds.
const AHEAD_MS: u64 = 60_000;

/// The ids of the store around now.
#[derive(Debug)]
pub struct Recent {
    after: MessageId,
    before: Option<MessageId>,
    ids: BTreeSet<MessageId>,
    most: usize,
}

impl Recent {
    /// Knows nothing: every id is looked up.
    pub fn unknown() -> Recent {
        Recent { after: bound(u64::MAX), before: None, ids: BTreeSet::new(), most: MOST }
    }

    /// The ids that `store` has around `now`, while nothing is added to it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(store: &Store, now: Timestamp) -> Result<Recent, StoreError> {
        Ok(Recent::from_ids(store.ids_behind(bound(now.0), MOST)?, MOST))
    }

    fn from_ids(Ids { after, ids, before }: Ids, most: usize) -> Recent {
        Recent { after, before, ids: ids.into_iter().collect(), most }
    }

    /// Whether the store surely does not have this id.
    pub fn is_new(&self, id: MessageId) -> bool {
        self.is_within(id) && !self.ids.contains(&id)
    }

    /// The store has this id now.
    pub fn stored(&mut self, id: MessageId, now: Timestamp) {
        if !self.is_within(id) {
            return;
        }
        self.ids.insert(id);
        if self.ids.len() <= self.most {
            return;
        }
        // One who lives in the future must not push out what everyone else sends.
        if self.ids.last().is_some_and(|last| *last > bound(now.0.saturating_add(AHEAD_MS))) {
            self.before = self.ids.pop_last();
        } else if let Some(first) = self.ids.pop_first() {
            self.after = first;
        }
    }

    fn is_within(&self, id: MessageId) -> bool {
        self.after < id && self.before.is_none_or(|before| id < before)
    }
}

/// The last id of a millisecond: a UUIDv7 begins with 48 bits of its sender's time.
fn bound(ms: u64) -> MessageId {
    let mut bytes = [0xFF; 16];
    bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
    MessageId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn id(ms: u64, rest: u8) -> MessageId {
        let mut bytes = [rest; 16];
        bytes[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        MessageId::from_bytes(bytes)
    }

    /// Ids of clocks that are right, wrong, and anything.
    fn ids() -> impl Strategy<Value = MessageId> {
        let ms = prop_oneof![NOW - 20..NOW + 20, 0..3 * NOW, Just(0), Just((1 << 48) - 1)];
        (ms, any::<u8>()).prop_map(|(ms, rest)| id(ms, rest))
    }

    proptest! {
        /// No id of the store is ever taken for a new one, whatever was there before and came in which order.
        #[test]
        fn what_is_stored_is_never_new(
            before in proptest::collection::btree_set(ids(), 0..30),
            came in proptest::collection::vec(ids(), 0..60),
            most in 1..12usize,
        ) {
            let after = before.iter().copied().filter(|id| *id <= bound(NOW)).max();
            let mut behind = before.iter().copied().filter(|id| *id > bound(NOW));
            let held = behind.by_ref().take(most).collect();
            let found = Ids { after: after.unwrap_or(id(0, 0)), ids: held, before: behind.next() };
            let mut recent = Recent::from_ids(found, most);
            let mut stored = before;
            for (at, id) in came.into_iter().enumerate() {
                prop_assert!(!(recent.is_new(id) && stored.contains(&id)), "{id} is stored");
                recent.stored(id, Timestamp(NOW + at as u64));
                stored.insert(id);
                prop_assert!(stored.iter().all(|id| !recent.is_new(*id)));
                prop_assert!(recent.ids.len() <= most);
            }
        }
    }

    #[test]
    fn ids_of_now_are_new_whatever_came_from_the_future() {
        let nothing = Ids { after: id(0, 0), ids: Vec::new(), before: None };
        let mut recent = Recent::from_ids(nothing, 8);
        for n in 0..100 {
            recent.stored(id(NOW * 2 - n, 7), Timestamp(NOW));
            recent.stored(id(NOW + n, 7), Timestamp(NOW + n));
        }
        assert!(recent.is_new(id(NOW + 100, 7)));
        assert!(!recent.is_new(id(NOW + 99, 7)), "that one is there");
        assert!(!recent.is_new(id(NOW - 1, 7)), "too old to be known");
        assert!(!Recent::unknown().is_new(id(NOW, 1)));
    }
}
