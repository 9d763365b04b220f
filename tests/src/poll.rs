//! Waiting for what will happen: polled to a deadline, never slept for.

use std::future::Future;
use std::io::Write as _;
use std::time::{Duration, Instant};

use quip_protocol::client::Error;

/// The longest that anything in a test may take: longer than a client or a command waits for anything, so that it is they who say
/// what was wrong.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// What takes longer than this is told, in tests that pass too: it may be longer than its user would wait.
const LONG: Duration = Duration::from_secs(15);

/// Behind the back of the test harness, which shows nothing of a test that passes.
fn tell_if_long(what: &str, begun: Instant) {
    if begun.elapsed() > LONG {
        // A terminal that is gone shows nothing.
        let _ = writeln!(std::io::stderr(), "after {:.1?}: {what}", begun.elapsed());
    }
}

/// Polls until `check` returns something.
///
/// # Panics
/// At the deadline, saying what was waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            tell_if_long(what, begun);
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits for a future to the deadline.
///
/// # Panics
/// At the deadline, saying what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => {
            tell_if_long(what, begun);
            value
        }
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Asks again until the answer is not that the client is between two connections.
///
/// # Panics
/// At the deadline, and when something else is wrong.
pub async fn connected<T, F: Future<Output = Result<T, Error>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            pause.tick().await;
            match ask().await {
                Ok(answer) => return answer,
                Err(Error::Disconnected) => {}
                Err(e) => panic!("{what}: {e}"),
            }
        }
    };
    within(what, asking).await
}
