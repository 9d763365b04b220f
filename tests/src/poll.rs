//! Waiting for what will happen: polled to a deadline, never slept for.

use std::future::Future;
use std::time::{Duration, Instant};

use quip_protocol::client::Error;

/// The longest that anything in a test may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until `check` returns something.
///
/// # Panics
/// At the deadline, saying what was waited for.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits for a future to the deadline.
///
/// # Panics
/// At the deadline, saying what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
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
