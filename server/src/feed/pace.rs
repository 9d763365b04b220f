//! At which pace those are served who are far behind, all together: what is live must not wait for the processor because
//! many catch up. May import what of a log is read.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::Chunk;

/// What is read from the store for those who catch up, in bytes a second and core: on two cores some 280,000 short
/// messages, a third of what they could. With more, live messages of others sometimes come many times later
/// (PERFORMANCE.md).
const PER_CORE: u64 = 24 * 1024 * 1024;
/// What was not used for so long is not made up for. More than a timer comes late by.
const SPARE: Duration = Duration::from_millis(10);

/// Turns of what is read from the store, in the order in which they are asked for.
#[derive(Debug)]
pub struct Pace {
    /// In bytes.
    per_second: u64,
    /// When the next turn is; in the past if nobody waits.
    next: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second.
    pub fn new(per_second: u64) -> Pace {
        Pace { per_second, next: Mutex::new(Instant::now()) }
    }

    pub(super) fn of_this_machine() -> Pace {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Pace::new(PER_CORE * cores as u64)
    }

    /// Waits for the turn of what was read from the store; what is from a tail has none to wait for.
    pub async fn wait(&self, chunk: &Chunk) {
        if chunk.stored {
            let now = Instant::now();
            let turn = self.turn(chunk.bytes() as u64, now);
            if turn > now {
                // Boxed: hardly any session waits for this.
                Box::pin(sleep_until(turn)).await;
            }
        }
    }

    /// When so many bytes have their turn.
    fn turn(&self, bytes: u64, now: Instant) -> Instant {
        let mut next = self.next.lock();
        let turn = (*next).max(now.checked_sub(SPARE).unwrap_or(now));
        *next = turn + Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.per_second);
        turn
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunk(bytes: usize, stored: bool) -> Chunk {
        Chunk { frames: vec![Bytes::from(vec![0; bytes])], stored, ..Chunk::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_catch_up_share_one_pace_and_nobody_else_waits() {
        let (pace, begun) = (Pace::new(1_000_000), Instant::now());
        let one = async {
            for _ in 0..10 {
                pace.wait(&chunk(10_000, true)).await;
            }
        };
        tokio::join!(one, async {
            for _ in 0..10 {
                pace.wait(&chunk(10_000, true)).await;
            }
        });
        let took = begun.elapsed();
        let due = Duration::from_millis(190);
        assert!(took >= due - SPARE && took <= due + SPARE, "200,000 bytes took {took:?}");
        let live = Instant::now();
        for _ in 0..1_000 {
            pace.wait(&chunk(10_000, false)).await;
        }
        assert_eq!(live.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_no_stock_to_draw_on() {
        let pace = Pace::new(1_000_000);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let begun = Instant::now();
        for _ in 0..101 {
            pace.wait(&chunk(1_000, true)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(100) - SPARE, "{:?}", begun.elapsed());
    }
}
