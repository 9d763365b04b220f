//! Latencies of very many deliveries, recorded by many tasks at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart: two minutes.
const LONGEST: u64 = 120_000_000_000;
/// Tasks that record at once rarely meet in the same of so many.
const SHARDS: usize = 8;
/// The last receiver is noted for so many messages from the first on.
const NOTED: usize = 1 << 20;

/// An empty histogram of nanoseconds, exact to three digits from a microsecond on.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, LONGEST, 3)
        .expect("the bounds are in order and three digits are allowed")
}

/// A duration in nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as milliseconds.
#[allow(clippy::cast_precision_loss, reason = "a latency is far below 2^52 ns")]
pub fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// All deliveries of a run.
#[derive(Debug)]
pub struct Deliveries {
    shards: Vec<Mutex<Histogram<u64>>>,
    /// For each message the latency of the receiver that had it last.
    slowest: Vec<AtomicU64>,
    delivered: AtomicU64,
}

impl Default for Deliveries {
    fn default() -> Self {
        Deliveries {
            shards: (0..SHARDS).map(|_| Mutex::new(new_histogram())).collect(),
            slowest: (0..NOTED).map(|_| AtomicU64::new(0)).collect(),
            delivered: AtomicU64::new(0),
        }
    }
}

impl Deliveries {
    /// `receiver` has the run's message `index`, `nanos` after it was to be sent.
    pub fn record(&self, receiver: usize, index: u64, nanos: u64) {
        let shard = &self.shards[receiver % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
        if let Some(slowest) = usize::try_from(index).ok().and_then(|index| self.slowest.get(index)) {
            slowest.fetch_max(nanos, Ordering::Relaxed);
        }
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn count(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// All latencies.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&*shard).expect("all histograms have the same bounds");
        }
        all
    }

    /// Forgets the latencies so far, so that another stretch of the run has its own; what was counted stays.
    pub fn begin_again(&self) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).reset();
        }
        self.slowest.iter().for_each(|slowest| slowest.store(0, Ordering::Relaxed));
    }

    /// Of each message the latency of the receiver that had it last.
    pub fn last_receivers(&self) -> Histogram<u64> {
        let mut last = new_histogram();
        let noted = self.slowest.iter().map(|slowest| slowest.load(Ordering::Relaxed));
        noted.filter(|nanos| *nanos > 0).for_each(|nanos| last.saturating_record(nanos));
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_receiver_of_each_message_counts() {
        let deliveries = Deliveries::default();
        for receiver in 0..20 {
            for index in 0..3 {
                deliveries.record(receiver, index, 1_000_000 * (receiver as u64 + 1));
            }
        }
        deliveries.record(0, u64::MAX, 5_000_000);
        assert_eq!((deliveries.count(), deliveries.all().len()), (61, 61));
        let last = deliveries.last_receivers();
        assert_eq!(last.len(), 3);
        assert_eq!(millis(last.value_at_quantile(0.5)).round(), 20.0);
        assert_eq!(millis(deliveries.all().min()).round(), 1.0);
        deliveries.begin_again();
        assert_eq!(
            (deliveries.count(), deliveries.all().len(), deliveries.last_receivers().len()),
            (61, 0, 0)
        );
    }
}
