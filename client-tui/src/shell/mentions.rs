//! Looks for messages that name the account in the replica. Imports the storage and what the app calls a mention.

use quip_protocol::AccountName;
use quip_protocol::frame::PageFrom;
use quip_storage::{Copied, Replica, ReplicaError};

use crate::app::mentions::{MOST, Mention};

/// Events that are looked through in each room, the newest.
const DEPTH: usize = 5_000;
/// And in all rooms together: the thread that does this also fetches pages for the user.
const MOST_EVENTS: usize = 100_000;
/// Events read at once.
const PAGE: usize = 500;

/// The newest messages that name `me`, of the rooms that were active last.
pub fn find(replica: &Replica, me: &AccountName) -> Result<Vec<Mention>, ReplicaError> {
    let mut rooms = replica.rooms()?;
    rooms.sort_by_key(|room| std::cmp::Reverse(room.summary.active_at));
    let mut found = Vec::new();
    let mut left = MOST_EVENTS;
    for room in &rooms {
        left -= of_room(replica, room, me, left.min(DEPTH), &mut found)?;
    }
    Ok(found)
}

/// Looks through at most `most` events of a room; how many there were.
fn of_room(
    replica: &Replica,
    room: &Copied,
    me: &AccountName,
    most: usize,
    found: &mut Vec<Mention>,
) -> Result<usize, ReplicaError> {
    let summary = &room.summary;
    let (mut from, mut looked, until) = (PageFrom::Latest, 0, found.len() + MOST);
    while looked < most && found.len() < until {
        let events = replica.page(summary.id, from, PAGE.min(most - looked))?;
        let Some(first) = events.first() else { break };
        from = PageFrom::Before(first.seq);
        looked += events.len();
        found.extend(events.iter().rev().filter_map(|event| Mention::of(event, &summary.target, me)));
    }
    Ok(looked)
}
