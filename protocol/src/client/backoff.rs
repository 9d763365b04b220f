//! How long to wait before connecting again. PURE: randomness is an argument.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to 10 s; jitter takes up to half of each wait away, so that the clients of a server that
/// came back do not come all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait; `random` is any number.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        jittered(full, random)
    }

    /// The wait before somewhere else is gone to.
    pub(super) fn soon(random: u32) -> Duration {
        jittered(FIRST, random)
    }

    /// A connection lasted.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

fn jittered(full: Duration, random: u32) -> Duration {
    full.mul_f64(1.0 - f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX).as_millis(), 50);
        for _ in 0..100 {
            assert!(backoff.next(u32::MAX / 2) <= LONGEST);
        }
    }
}
