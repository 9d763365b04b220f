//! Watching again on a new connection what was watched on the one before, before anything else is asked.

use std::time::Duration;

use super::Error;
use super::connection::Connection;
use super::resume::ToWatch;
use crate::cursor::Cursor;
use crate::error::{ErrorCode, Refusal};
use crate::frame::{Reply, Request, WatchState};

/// The longest wait that a server may ask for.
pub(super) const LONGEST_HINT: Duration = Duration::from_secs(60);
/// The shortest: a server that says "now" must not be asked in a circle.
const SHORTEST_HINT: Duration = Duration::from_millis(20);

/// How long a busy server wants to be left alone.
pub(super) fn hint(retry_after_ms: u32) -> Duration {
    Duration::from_millis(retry_after_ms.into()).clamp(SHORTEST_HINT, LONGEST_HINT)
}

/// The same with up to a half more: clients that were all told at once must not come back at once. PURE: `random` is
/// any number.
pub(super) fn spread(wait: Duration, random: u32) -> Duration {
    wait.mul_f64(1.0 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// Waits as long as a busy server said, and a little more or less than others who were told the same.
pub(super) async fn leave_alone(wait: Duration) {
    tokio::time::sleep(spread(wait, getrandom::u32().unwrap_or(u32::MAX / 2))).await;
}

/// Why a new connection could not take over.
pub(super) enum RestoreError {
    /// The server does not know the inbox's cursor.
    Inbox,
    Other(Error),
}

impl From<Error> for RestoreError {
    fn from(error: Error) -> RestoreError {
        RestoreError::Other(error)
    }
}

/// What was watched again.
pub(super) struct Restored {
    /// For each request the label under which it was asked, and the answer.
    pub(super) rooms: Vec<(u32, Vec<WatchState>)>,
    /// The newest notice, if the inbox was watched.
    pub(super) inbox: Option<Cursor>,
}

/// Watches on a new connection what was watched before, from where the user is.
pub(super) async fn restore(
    connection: &Connection,
    rooms: &[ToWatch],
    inbox: Option<Cursor>,
) -> Result<Restored, RestoreError> {
    let mut restored = Restored { rooms: Vec::new(), inbox: None };
    for (watch, rooms) in rooms {
        match patiently(connection, watch.request(rooms.clone())).await? {
            (label, Reply::Watching { rooms }) => restored.rooms.push((label, rooms)),
            _ => return Err(otherwise().into()),
        }
    }
    if inbox.is_some() {
        match patiently(connection, Request::WatchInbox { from: inbox }).await {
            Ok((_, Reply::Inbox { head })) => restored.inbox = Some(head),
            Ok(_) => return Err(otherwise().into()),
            Err(Error::Refused(refusal)) if refusal.code == ErrorCode::BadCursor => {
                return Err(RestoreError::Inbox);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(restored)
}

/// The server answered a watch with something else.
pub(super) fn otherwise() -> Error {
    Error::protocol("a watch answered otherwise than asked")
}

/// Asks again for as long as the server says that it is too busy.
async fn patiently(connection: &Connection, request: Request) -> Result<(u32, Reply), Error> {
    loop {
        match connection.requests.ask_labelled(request.clone()).await {
            Err(Error::Refused(Refusal { retry_after_ms: Some(ms), .. })) => {
                leave_alone(hint(ms)).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_sooner_than_told_and_not_all_at_once() {
        let wait = hint(1_000);
        let waits = [0, u32::MAX].map(|random| spread(wait, random).as_millis());
        assert_eq!(waits, [1_000, 1_500]);
    }
}
