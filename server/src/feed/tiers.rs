//! Which rooms are very large, and how their readers are woken. Follows the load: pure, but for the numbers being shared
//! with who publishes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::LimitsConfig;

/// Below so many watches no room is very large, however high the load.
const LEAST: usize = 2;
/// Shards that wait to be rung from which on less is woken.
const BUSY: usize = 64;

/// What an operator set, and what holds now.
#[derive(Debug)]
pub struct Tiers {
    /// Watches of a room from which on it is very large, as it was set.
    digest_from: AtomicUsize,
    /// The same under the load of now.
    now: AtomicUsize,
    /// Watches that are woken in one go.
    wake_shard: AtomicUsize,
    /// Digests of a room are so far apart, in milliseconds.
    interval_ms: AtomicU64,
}

impl Default for Tiers {
    fn default() -> Tiers {
        let limits = LimitsConfig::default();
        Tiers {
            digest_from: AtomicUsize::new(limits.digest_from as usize),
            now: AtomicUsize::new(limits.digest_from as usize),
            wake_shard: AtomicUsize::new(limits.wake_shard as usize),
            interval_ms: AtomicU64::new(limits.digest_interval_ms.into()),
        }
    }
}

impl Tiers {
    /// From now on these hold; shards that are there stay as large as they are.
    pub fn set(&self, limits: &LimitsConfig) {
        self.digest_from.store(limits.digest_from as usize, Ordering::Relaxed);
        self.now.store(limits.digest_from as usize, Ordering::Relaxed);
        self.wake_shard.store(limits.wake_shard as usize, Ordering::Relaxed);
        self.interval_ms.store(limits.digest_interval_ms.into(), Ordering::Relaxed);
    }

    /// So many shards at most waited to be rung since this was told last.
    pub(super) fn follow(&self, waited: usize) {
        let (set, now) = (self.digest_from.load(Ordering::Relaxed), self.now.load(Ordering::Relaxed));
        self.now.store(next(set, now, waited), Ordering::Relaxed);
    }

    /// Whether a room with so many watches is very large. One that was so before stays so until it is clearly smaller.
    pub(super) fn is_very_large(&self, watches: usize, was: bool) -> bool {
        let from = self.now.load(Ordering::Relaxed);
        watches >= if was { from - from / 4 } else { from }
    }

    /// Watches of a room from which on it is very large now.
    pub fn digest_from(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    pub(super) fn wake_shard(&self) -> usize {
        self.wake_shard.load(Ordering::Relaxed)
    }

    pub(super) fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.load(Ordering::Relaxed))
    }
}

/// From how many watches on a room is very large, when it was `now` and so many shards waited: half as many while more
/// wait than are rung in time, down to an eighth of what was set, and up to that again when hardly any do.
fn next(set: usize, now: usize, waited: usize) -> usize {
    let least = (set / 8).max(LEAST).min(set);
    if waited >= BUSY {
        (now / 2).max(least)
    } else if waited <= BUSY / 8 {
        (now + now.div_ceil(4)).min(set)
    } else {
        now.clamp(least, set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_falls_under_load_and_rises_again() {
        let table = [
            // set, now, waited, next
            (1_000, 1_000, 0, 1_000),
            (1_000, 1_000, BUSY - 1, 1_000),
            (1_000, 1_000, BUSY, 500),
            (1_000, 500, 10 * BUSY, 250),
            (1_000, 130, BUSY, 125),
            (1_000, 125, BUSY, 125),
            (1_000, 125, BUSY / 2, 125),
            (1_000, 125, BUSY / 8, 157),
            (1_000, 900, 0, 1_000),
            (3, 3, BUSY, 2),
            (3, 2, 0, 3),
            (2, 2, BUSY, 2),
            (1, 1, BUSY, 1),
            (500, 1_000, BUSY / 2, 500),
        ];
        for (set, now, waited, expected) in table {
            assert_eq!(next(set, now, waited), expected, "set {set}, now {now}, {waited} waited");
        }
    }

    #[test]
    fn a_room_at_the_threshold_does_not_change_with_everyone_who_comes_and_goes() {
        let tiers = Tiers::default();
        tiers.set(&LimitsConfig { digest_from: 100, ..LimitsConfig::default() });
        let mut is = false;
        let mut changes = 0;
        for watches in [99, 100, 99, 100, 90, 76, 75, 74, 80, 99, 100] {
            let was = is;
            is = tiers.is_very_large(watches, was);
            changes += usize::from(was != is);
        }
        assert_eq!((is, changes), (true, 3));
    }
}
