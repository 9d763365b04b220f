//! Budgets: token buckets. Pure: time is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use quip_protocol::Timestamp;

/// How fast something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// One more each this many microseconds.
    pub every_us: u32,
}

impl Rate {
    /// So many per second.
    pub fn per_second(burst: u32, rate: u32) -> Rate {
        Rate { burst, every_us: 1_000_000 / rate.clamp(1, 1_000_000) }
    }

    /// The level of a full bucket.
    fn full(self) -> i64 {
        i64::from(self.burst) * TOKEN
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In millionths of a token; below zero is a debt.
    level: i64,
    at: Timestamp,
}

const TOKEN: i64 = 1_000_000;
/// Buckets above which full ones are dropped: a full bucket is as good as none.
const SWEEP: usize = 10_000;

/// A bucket each for many.
#[derive(Debug)]
pub struct Budgets<K> {
    buckets: HashMap<K, Bucket>,
    sweep_at: usize,
}

impl<K> Default for Budgets<K> {
    fn default() -> Self {
        Budgets { buckets: HashMap::new(), sweep_at: SWEEP }
    }
}

impl<K: Eq + Hash> Budgets<K> {
    /// Takes `cost` tokens of `key` if there is one: what costs more than there is leaves a debt, of a burst at most.
    ///
    /// # Errors
    /// After how many milliseconds there will be one.
    pub fn take(&mut self, key: K, cost: u32, rate: Rate, now: Timestamp) -> Result<(), u32> {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|_, bucket| bucket.filled(rate, now).level < rate.full());
            self.sweep_at = SWEEP.max(self.buckets.len() * 2);
        }
        let full = Bucket { level: rate.full(), at: now };
        let bucket = self.buckets.entry(key).or_insert(full);
        *bucket = bucket.filled(rate, now);
        if bucket.level >= TOKEN {
            bucket.level = (bucket.level - i64::from(cost) * TOKEN).max(-rate.full());
            return Ok(());
        }
        let missing = (TOKEN - bucket.level).unsigned_abs().saturating_mul(rate.every_us.into());
        let missing_ms = missing.div_ceil(TOKEN.unsigned_abs() * 1_000);
        Err(u32::try_from(missing_ms).unwrap_or(u32::MAX).max(1))
    }

    /// Whether there is a token of `key`.
    pub fn has(&self, key: &K, rate: Rate, now: Timestamp) -> bool {
        self.buckets.get(key).is_none_or(|bucket| bucket.filled(rate, now).level >= TOKEN)
    }
}

impl Bucket {
    fn filled(self, rate: Rate, now: Timestamp) -> Bucket {
        // A clock that was set back fills nothing.
        let elapsed_us = now.0.saturating_sub(self.at.0).saturating_mul(1_000);
        let more = elapsed_us.saturating_mul(TOKEN.unsigned_abs()) / u64::from(rate.every_us.max(1));
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        Bucket { level: self.level.saturating_add(more).min(rate.full()), at: now }
    }
}

/// How often something happened: said at once, then once a minute, so that whoever makes it happen cannot fill the log.
#[derive(Debug, Default)]
pub struct Tally {
    said: Option<Timestamp>,
    unsaid: u64,
}

impl Tally {
    /// It happened once more; how often since it was last said, if it is to be said now.
    pub fn note(&mut self, now: Timestamp) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| now.0.saturating_sub(said.0) < 60_000) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Addresses that count as one source: an IPv4 address, an IPv6 /64.
pub fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let segments = v6.segments();
                IpAddr::from([segments[0], segments[1], segments[2], segments[3], 0, 0, 0, 0])
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::per_second(3, 10);
        let mut budgets = Budgets::default();
        let mut take = |ms| budgets.take("ann", 1, rate, Timestamp(ms));
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(100));
        assert_eq!(take(60), Err(40));
        assert_eq!(take(100), Ok(()));
        assert_eq!(take(100), Err(100));
        // An hour earns a burst, not more; a clock set back earns nothing.
        assert_eq!([take(3_600_000), take(3_600_000), take(3_600_000)], [Ok(()); 3]);
        assert_eq!(take(5), Err(100));
    }

    #[test]
    fn one_is_not_slowed_by_another_and_full_buckets_are_dropped() {
        let rate = Rate::per_second(1, 1);
        let mut budgets = Budgets::default();
        for n in 1..SWEEP {
            assert_eq!(budgets.take(n, 1, rate, Timestamp(0)), Ok(()));
        }
        assert_eq!(budgets.take(1, 1, rate, Timestamp(10)), Err(990));
        assert_eq!(budgets.take(0, 1, rate, Timestamp(10)), Ok(()));
        assert_eq!(budgets.take(SWEEP, 1, rate, Timestamp(5_000)), Ok(()));
        assert_eq!(budgets.buckets.len(), 1);
    }

    #[test]
    fn what_costs_more_than_there_is_leaves_a_debt_of_a_burst_at_most() {
        let rate = Rate::per_second(5, 10);
        let mut budgets = Budgets::default();
        assert_eq!(budgets.take("ann", 8, rate, Timestamp(0)), Ok(()));
        assert!(!budgets.has(&"ann", rate, Timestamp(399)) && budgets.has(&"bob", rate, Timestamp(0)));
        assert_eq!(budgets.take("ann", 1, rate, Timestamp(0)), Err(400));
        assert_eq!(budgets.take("ann", u32::MAX, rate, Timestamp(400)), Ok(()));
        assert_eq!(budgets.take("ann", 1, rate, Timestamp(400)), Err(600));
    }

    #[test]
    fn a_flood_is_said_once_a_minute_with_its_count() {
        let mut tally = Tally::default();
        assert_eq!([0, 10, 59_999].map(|ms| tally.note(Timestamp(ms))), [Some(1), None, None]);
        assert_eq!([60_000, 60_001].map(|ms| tally.note(Timestamp(ms))), [Some(3), None]);
    }

    #[test]
    fn sources() {
        let table = [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (address, expected) in table {
            assert_eq!(source(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
