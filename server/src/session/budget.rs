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
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In millionths of a token.
    level: u64,
    at: Timestamp,
}

const TOKEN: u64 = 1_000_000;
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
    /// Takes one token of `key`.
    ///
    /// # Errors
    /// After how many milliseconds there will be one.
    pub fn take(&mut self, key: K, rate: Rate, now: Timestamp) -> Result<(), u32> {
        if self.buckets.len() >= self.sweep_at {
            self.buckets.retain(|_, bucket| bucket.filled(rate, now).level < u64::from(rate.burst) * TOKEN);
            self.sweep_at = SWEEP.max(self.buckets.len() * 2);
        }
        let full = Bucket { level: u64::from(rate.burst) * TOKEN, at: now };
        let bucket = self.buckets.entry(key).or_insert(full);
        *bucket = bucket.filled(rate, now);
        if bucket.level >= TOKEN {
            bucket.level -= TOKEN;
            return Ok(());
        }
        let missing = (TOKEN - bucket.level) * u64::from(rate.every_us) / TOKEN;
        Err(u32::try_from(missing.div_ceil(1_000)).unwrap_or(u32::MAX).max(1))
    }
}

impl Bucket {
    fn filled(self, rate: Rate, now: Timestamp) -> Bucket {
        // A clock that was set back fills nothing.
        let elapsed_us = now.0.saturating_sub(self.at.0).saturating_mul(1_000);
        let more = elapsed_us.saturating_mul(TOKEN) / u64::from(rate.every_us.max(1));
        Bucket { level: self.level.saturating_add(more).min(u64::from(rate.burst) * TOKEN), at: now }
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
        let mut take = |ms| budgets.take("ann", rate, Timestamp(ms));
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
            assert_eq!(budgets.take(n, rate, Timestamp(0)), Ok(()));
        }
        assert_eq!(budgets.take(1, rate, Timestamp(10)), Err(990));
        assert_eq!(budgets.take(0, rate, Timestamp(10)), Ok(()));
        assert_eq!(budgets.take(SWEEP, rate, Timestamp(5_000)), Ok(()));
        assert_eq!(budgets.buckets.len(), 1);
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
