//! Counts, and how they are written for whoever collects them (Prometheus text format 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a node counts. All only ever rise.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Commands made durable.
    pub commands: AtomicU64,
    /// Groups made durable, one fdatasync each.
    pub groups: AtomicU64,
    /// Microseconds spent in write and fdatasync.
    pub journal_us: AtomicU64,
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Connections that were refused at a limit.
    pub refused_connections: AtomicU64,
    /// Requests that were answered.
    pub requests: AtomicU64,
    /// Requests that were refused.
    pub refusals: AtomicU64,
    /// Commands that were refused because more waited to be written than may.
    pub held_back: AtomicU64,
    /// Writes to live streams.
    pub live_writes: AtomicU64,
    /// Bytes written to live streams.
    pub live_bytes: AtomicU64,
    /// Digests of very large rooms among those writes.
    pub digests: AtomicU64,
    /// Pages that were served.
    pub pages: AtomicU64,
    /// Datagrams that came.
    pub datagrams: AtomicU64,
    /// Those of them that were passed on to nobody.
    pub datagrams_dropped: AtomicU64,
    /// Connections as a node by who does not have the cluster's key.
    pub peers_refused: AtomicU64,
    /// Blocks of the journal, of about 1 MiB, that other nodes were told.
    pub peer_blocks: AtomicU64,
}

impl Metrics {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A group was made durable.
    pub fn journaled(&self, commands: usize, took: Duration) {
        self.commands.fetch_add(commands as u64, Ordering::Relaxed);
        Metrics::count(&self.groups);
        self.journal_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Every counter by name, in a fixed order.
    pub fn all(&self) -> [(&'static str, u64); 16] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("commands", value(&self.commands)),
            ("groups", value(&self.groups)),
            ("journal_microseconds", value(&self.journal_us)),
            ("connections", value(&self.connections)),
            ("refused_connections", value(&self.refused_connections)),
            ("requests", value(&self.requests)),
            ("refusals", value(&self.refusals)),
            ("held_back", value(&self.held_back)),
            ("live_writes", value(&self.live_writes)),
            ("live_bytes", value(&self.live_bytes)),
            ("digests", value(&self.digests)),
            ("pages", value(&self.pages)),
            ("datagrams", value(&self.datagrams)),
            ("datagrams_dropped", value(&self.datagrams_dropped)),
            ("peers_refused", value(&self.peers_refused)),
            ("peer_blocks", value(&self.peer_blocks)),
        ]
    }

    /// The text for `/metrics`; `counters` and `gauges` are what is counted elsewhere.
    pub fn render(&self, counters: &[(&str, u64)], gauges: &[(&str, u64)]) -> String {
        let mut text = String::new();
        for (name, value) in self.all().iter().chain(counters) {
            let _ = writeln!(text, "# TYPE quip_{name}_total counter\nquip_{name}_total {value}");
        }
        for (name, value) in gauges {
            let _ = writeln!(text, "# TYPE quip_{name} gauge\nquip_{name} {value}");
        }
        text
    }
}
