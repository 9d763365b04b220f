//! Who writes a message now, as the user is told: each of few once in a while, however often the server says it. PURE.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::name::AccountName;
use crate::room::RoomId;

/// The same is told again after this long: sooner than those who write say it again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// So many are told of within that time.
const MOST_TOLD: usize = 64;
/// Nobody is told while this many events wait to be taken.
pub(super) const MOST_WAITING: usize = 16;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Typing {
    told: BTreeMap<(RoomId, AccountName), Instant>,
}

impl Typing {
    /// Whether the user is to be told that `who` writes in `room`.
    pub(super) fn is_news(&mut self, room: RoomId, who: &AccountName, now: Instant) -> bool {
        self.told.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        let key = (room, who.clone());
        if self.told.len() >= MOST_TOLD || self.told.contains_key(&key) {
            return false;
        }
        self.told.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_in_a_while_and_only_so_many() {
        let (mut typing, start) = (Typing::default(), Instant::now());
        let ann: AccountName = "ann".parse().unwrap();
        let bob: AccountName = "bob".parse().unwrap();
        let table = [
            (1, &ann, 0, true),
            (1, &ann, 999, false),
            (1, &bob, 999, true),
            (2, &ann, 999, true),
            (1, &ann, 1_000, true),
            (1, &bob, 1_500, false),
        ];
        for (room, who, ms, told) in table {
            let now = start + Duration::from_millis(ms);
            assert_eq!(typing.is_news(RoomId(room), who, now), told, "{who} in {room} at {ms} ms");
        }
        let flood = (0..10_000).filter(|n| typing.is_news(RoomId(*n), &ann, start + AGAIN_AFTER * 9)).count();
        assert_eq!((flood, typing.told.len()), (MOST_TOLD, MOST_TOLD));
        assert!(typing.is_news(RoomId(0), &ann, start + AGAIN_AFTER * 10), "and then again");
    }
}
