//! How long to wait before something that failed is tried again.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

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
