//! Dials the places where a server may be. One that does not answer at once is not waited for alone: the next one is tried
//! beside it, and who answers first is taken.

use std::time::Duration;

use tokio::task::JoinSet;

use super::connection::Connection;
use super::nodes::{Place, none_of};
use super::{Config, Error};
use crate::safe_text::SafeLine;

/// The next place is tried after this long, without giving up the ones before it: a handshake takes two round trips, and on
/// the networks that people chat on fewer than this.
const NEXT_PLACE_AFTER: Duration = Duration::from_millis(300);

/// What came of it.
#[derive(Debug)]
pub(super) struct Dialled {
    /// The connection that was made first; or the reason that says most, where there is none.
    pub(super) connection: Result<Connection, Error>,
    /// Those that did not answer, or not until another one did that was asked later.
    pub(super) failed: Vec<Place>,
}

type Attempt = (Place, Result<Connection, Error>);

/// Tries them in this order, each for as long as the configuration says.
pub(super) async fn dial(config: &Config, order: Vec<Place>) -> Dialled {
    let others = order.len().saturating_sub(1);
    let mut rest = order.into_iter();
    let (mut attempts, mut asked, mut failed) = (JoinSet::new(), Vec::new(), Vec::new());
    let mut why: Option<Error> = None;
    loop {
        if let Some(place) = rest.next() {
            asked.push(place.clone());
            attempts.spawn(attempt(place.config(config), place));
        } else if attempts.is_empty() {
            let error = why.unwrap_or(Error::Disconnected);
            return Dialled { connection: Err(of_all(error, others)), failed };
        }
        match first_ended(&mut attempts, rest.len() > 0).await {
            Some((place, Ok(connection))) => {
                let before = asked.into_iter().take_while(|before| *before != place);
                let silent: Vec<Place> = before.filter(|before| !failed.contains(before)).collect();
                failed.extend(silent);
                return Dialled { connection: Ok(connection), failed };
            }
            Some((place, Err(error))) => {
                failed.push(place);
                // One that is there and wrong, or says no, says more than one that is not there.
                if why.as_ref().is_none_or(|why| error.is_final() && !why.is_final()) {
                    why = Some(error);
                }
            }
            None => {}
        }
    }
}

async fn attempt(config: Config, place: Place) -> Attempt {
    let dialled = Connection::dial(&config).await;
    (place, dialled)
}

/// The first attempt that ended; `None` if it is time to try the next place as well.
async fn first_ended(attempts: &mut JoinSet<Attempt>, more: bool) -> Option<Attempt> {
    let wait = if more { NEXT_PLACE_AFTER } else { Duration::MAX };
    tokio::time::timeout(wait, attempts.join_next()).await.ok()??.ok()
}

/// That the others do not answer either is said, where it is so.
fn of_all(error: Error, others: usize) -> Error {
    match error {
        Error::Unreachable { address, why } if others > 0 => {
            // What one that is away is asked about is no question where none answers.
            let asked = why.as_str().strip_suffix("?)").and_then(|why| why.rsplit_once(" ("));
            let why = asked.map_or(why.as_str(), |(why, _)| why);
            Error::Unreachable { address, why: SafeLine::new(&format!("{why}{}", none_of(others))) }
        }
        error => error,
    }
}
