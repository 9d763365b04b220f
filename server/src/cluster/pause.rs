//! How long to wait before something that failed is tried again, and how often it is said that one waits.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 100 ms to 5 s with each failure; up to half of it is taken away at random, so that nodes that lost the
/// same thing do not come back for it at once.
pub(super) fn pause(failures: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    // Without randomness they come at once: no harm is done.
    let random = getrandom::u32().unwrap_or_default();
    full.mul_f64(1.0 - f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// How often it is said what one waits for.
const REMIND: Duration = Duration::from_secs(60);

/// Says at once and then once a minute that it is to be said what one waits for.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    said: Option<Instant>,
}

impl Reminder {
    /// Whether to say it; then it was said.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= REMIND);
        if is_due {
            self.said = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_said_at_once_and_then_every_minute() {
        let mut reminder = Reminder::default();
        assert_eq!([reminder.is_due(), reminder.is_due()], [true, false]);
        tokio::time::advance(REMIND / 2).await;
        assert!(!reminder.is_due());
        tokio::time::advance(REMIND / 2).await;
        assert_eq!([reminder.is_due(), reminder.is_due()], [true, false]);
    }

    #[test]
    fn it_doubles_up_to_the_longest() {
        for (failures, ms) in [(0, 100), (1, 200), (3, 800), (6, 5_000), (u32::MAX, 5_000)] {
            let full = Duration::from_millis(ms);
            for _ in 0..20 {
                let pause = pause(failures);
                assert!(full / 2 <= pause && pause <= full, "{failures}: {pause:?}");
            }
        }
    }
}
