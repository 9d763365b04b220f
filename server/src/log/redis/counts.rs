//! What a node counts of the shared log. All but the stream's size only ever rise.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::log::shared::contract::{Answer, Ask, Lost};
use crate::log::shared::member::Phase;

/// Counts of the shared log.
#[derive(Debug, Default)]
pub struct Counts {
    appends: AtomicU64,
    append_us: AtomicU64,
    read: AtomicU64,
    read_bytes: AtomicU64,
    fenced: AtomicU64,
    lost: AtomicU64,
    connections: AtomicU64,
    repairs: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

fn add(counter: &AtomicU64, many: u64) {
    counter.fetch_add(many, Ordering::Relaxed);
}

impl Counts {
    /// So many connections were made.
    pub(super) fn connected(&self, many: u64) {
        add(&self.connections, many);
    }

    /// A question was answered, or not, after so long.
    pub(super) fn answered(&self, ask: &Ask, answer: &Result<Answer, Lost>, took: Duration) {
        match (ask, answer) {
            (_, Err(_)) => add(&self.lost, 1),
            (_, Ok(Answer::Fenced)) => add(&self.fenced, 1),
            (_, Ok(Answer::Placed(_))) => {
                add(&self.appends, 1);
                add(&self.append_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            (_, Ok(Answer::Entries(entries))) => {
                add(&self.read, entries.len() as u64);
                add(&self.read_bytes, entries.iter().map(|entry| entry.payload.len() as u64).sum());
            }
            (Ask::Raise { .. }, Ok(Answer::Done)) => add(&self.repairs, 1),
            _ => {}
        }
    }

    /// The stream has so many entries, and takes so many bytes of Redis' memory.
    pub(super) fn measured(&self, entries: u64, bytes: u64) {
        self.entries.store(entries, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// What has only ever risen, by name.
    pub fn all(&self) -> [(&'static str, u64); 8] {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("shared_log_appends", value(&self.appends)),
            ("shared_log_append_microseconds", value(&self.append_us)),
            ("shared_log_entries_read", value(&self.read)),
            ("shared_log_bytes_read", value(&self.read_bytes)),
            ("shared_log_fenced", value(&self.fenced)),
            ("shared_log_unanswered", value(&self.lost)),
            ("shared_log_connections", value(&self.connections)),
            ("shared_log_repairs", value(&self.repairs)),
        ]
    }

    /// What is so now, by name; the phase as a number: 0 live, 1 catching up, 2 repairing, 3 unreachable. Only where it is 0
    /// anything is appended.
    pub fn gauges(&self, phase: &Phase) -> [(&'static str, u64); 3] {
        let number = match phase {
            Phase::Live => 0,
            Phase::CatchingUp { .. } => 1,
            Phase::Repairing => 2,
            Phase::Unreachable => 3,
        };
        [
            ("shared_log_phase", number),
            ("shared_log_entries", self.entries.load(Ordering::Relaxed)),
            ("shared_log_memory_bytes", self.bytes.load(Ordering::Relaxed)),
        ]
    }
}
