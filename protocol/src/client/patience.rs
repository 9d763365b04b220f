//! How long a busy server is asked again, and whether that can help.

use std::time::Duration;

use tokio::time::Instant;

use super::Error;
use super::restore::{hint, leave_alone};
use crate::error::Refusal;

/// How long a busy server is waited for in all; a post of a client that reconnects has no end but a receipt.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Until when a busy server is asked again.
pub(super) struct Patience {
    until: Instant,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { until: Instant::now() + PATIENCE }
    }

    /// Waits as long as a busy server says; gives back every other error, and that one when it is too long.
    pub(super) async fn outlast(&self, error: Error) -> Result<(), Error> {
        match error {
            Error::Refused(Refusal { retry_after_ms: Some(ms), .. })
                if Instant::now() + hint(ms) <= self.until =>
            {
                leave_alone(hint(ms)).await;
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// When to send the same again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// On the next connection.
    Connected,
    Now,
    After(Duration),
}

/// Whether sending the same again can help: PURE. `left` is the patience of a client that does not reconnect.
pub(super) fn again(error: Error, reconnect: bool, left: Duration) -> Result<Again, Error> {
    match error {
        Error::Disconnected if reconnect => Ok(Again::Connected),
        Error::TimedOut if reconnect => Ok(Again::Now),
        Error::Refused(Refusal { retry_after_ms: Some(ms), .. }) => {
            if reconnect || hint(ms) <= left {
                Ok(Again::After(hint(ms)))
            } else {
                Err(error)
            }
        }
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn what_is_sent_again() {
        let busy = |ms| Error::Refused(Refusal::retry(ErrorCode::RateLimited, "slow down", ms));
        let no = Error::Refused(Refusal::new(ErrorCode::Forbidden, "no"));
        let ms = Duration::from_millis;
        let table = [
            (Error::Disconnected, true, 0, Ok(Again::Connected)),
            (Error::Disconnected, false, 9000, Err(Error::Disconnected)),
            (Error::TimedOut, true, 0, Ok(Again::Now)),
            (Error::TimedOut, false, 9000, Err(Error::TimedOut)),
            (busy(500), true, 0, Ok(Again::After(ms(500)))),
            (busy(500), false, 9000, Ok(Again::After(ms(500)))),
            (busy(500), false, 400, Err(busy(500))),
            (busy(0), true, 0, Ok(Again::After(ms(20)))),
            (busy(u32::MAX), true, 0, Ok(Again::After(ms(60_000)))),
            (no.clone(), true, 9000, Err(no)),
        ];
        for (error, reconnect, left, expected) in table {
            assert_eq!(again(error.clone(), reconnect, ms(left)), expected, "{error:?} {reconnect}");
        }
    }
}
