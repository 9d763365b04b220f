//! Saying what a command waits for that takes longer than it should. Imports the client's handle alone.

use std::pin::pin;
use std::time::Duration;

use quip_protocol::SafeLine;
use quip_protocol::client::Handle;
use tokio::time::{Instant, interval_at};

use super::out::say;

/// After so long somebody wonders.
const SAID_AFTER: Duration = Duration::from_secs(2);
/// How often it is looked at, from then on, whether the server writes nothing.
const LOOK: Duration = Duration::from_millis(500);

/// Waits for what was asked of the server. Where it writes nothing, it is said once that this is waited for, and for how long
/// at most.
pub async fn patiently<T>(handle: &Handle, at_most: Duration, asked: impl Future<Output = T>) -> T {
    telling(asked, || handle.read_only(), |why| say(&words(&why, at_most))).await
}

async fn telling<T, W>(
    asked: impl Future<Output = T>,
    reason: impl Fn() -> Option<W>,
    tell: impl FnOnce(W),
) -> T {
    let mut asked = pin!(asked);
    let mut looks = interval_at(Instant::now() + SAID_AFTER, LOOK);
    let why = loop {
        tokio::select! {
            biased;
            done = &mut asked => return done,
            _ = looks.tick() => if let Some(why) = reason() { break why },
        }
    };
    tell(why);
    asked.await
}

fn words(why: &SafeLine, at_most: Duration) -> String {
    format!("the server writes nothing now ({why}): waiting for at most {} s", at_most.as_secs())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_explained_once_where_there_is_a_reason() {
        // When it is done, from when on there is a reason, and when it is told; in milliseconds.
        let table = [
            (1_900, Some(0), None),
            (30_000, Some(0), Some(2_000)),
            (30_000, Some(2_100), Some(2_500)),
            (30_000, None, None),
        ];
        for (done, from, told) in table {
            let (begun, said) = (Instant::now(), Cell::new(None));
            let passed = || begun.elapsed().as_millis();
            let reason = || from.filter(|from| passed() >= *from);
            telling(sleep(Duration::from_millis(done)), reason, |_| said.set(Some(passed()))).await;
            assert_eq!(said.get(), told, "{done} {from:?}");
            assert_eq!(passed(), u128::from(done), "no longer than without it");
        }
    }

    #[test]
    fn it_says_what_is_waited_for_and_how_long() {
        let said = words(&SafeLine::new("the servers' log is away"), Duration::from_secs(30));
        assert_eq!(
            said,
            "the server writes nothing now (the servers' log is away): waiting for at most 30 s"
        );
    }
}
