//! Pages of a room's log, counted in messages: a page of the protocol counts events.

use quip_protocol::client::{Error, Page};
use quip_protocol::frame::PageFrom;
use quip_protocol::{Event, Seq};

/// Most events in one page: what is held in memory at once when a page is printed as it comes.
pub const PAGE: u32 = 500;
/// Fewer are not worth the round trip.
const LEAST: u32 = 50;

fn page_size(wanted: usize) -> u32 {
    u32::try_from(wanted).unwrap_or(PAGE).clamp(LEAST, PAGE)
}

/// The newest `count` messages before `before` (`None`: of all) and behind `after`, and what happened between
/// them; oldest first.
///
/// # Errors
/// What `fetch` says.
pub async fn newest(
    mut fetch: impl AsyncFnMut(PageFrom, u32) -> Result<Page, Error>,
    before: Option<Seq>,
    after: Seq,
    count: usize,
) -> Result<Vec<Event>, Error> {
    let mut newest_first: Vec<Event> = Vec::new();
    let mut missing = count;
    let mut from = before.map_or(PageFrom::Latest, PageFrom::Before);
    while missing > 0 {
        let page = fetch(from, page_size(missing)).await?;
        let Some(oldest) = page.events.first().map(|event| event.seq) else { break };
        for event in page.events.into_iter().rev().filter(|event| event.seq > after) {
            // What happened before the first message that is wanted belongs to no page of messages.
            if missing == 0 {
                break;
            }
            missing -= usize::from(event.message().is_some());
            newest_first.push(event);
        }
        if oldest <= after.next() {
            break;
        }
        from = PageFrom::Before(oldest);
    }
    newest_first.reverse();
    Ok(newest_first)
}

/// The oldest `count` messages behind `after` and before `before`, and what happened between them; oldest first.
///
/// # Errors
/// What `fetch` says.
pub async fn oldest(
    mut fetch: impl AsyncFnMut(PageFrom, u32) -> Result<Page, Error>,
    after: Seq,
    before: Option<Seq>,
    count: usize,
) -> Result<Vec<Event>, Error> {
    let mut events: Vec<Event> = Vec::new();
    let mut missing = count;
    let mut last = after;
    while missing > 0 {
        let page = fetch(PageFrom::After(last), page_size(missing)).await?;
        let Some(newest) = page.events.last().map(|event| event.seq) else { break };
        for event in page.events {
            if missing == 0 || before.is_some_and(|before| event.seq >= before) {
                return Ok(events);
            }
            missing -= usize::from(event.message().is_some());
            events.push(event);
        }
        if newest >= page.head.seq {
            break;
        }
        last = newest;
    }
    Ok(events)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use quip_protocol::{Cursor, Epoch, EventBody, Message, MessageId, MessageKind, RoomId, Timestamp};

    pub(crate) fn event(seq: u64, body: EventBody) -> Event {
        Event {
            room: RoomId(1),
            epoch: Epoch::FIRST,
            seq: Seq(seq),
            at: Timestamp(1_795_216_560_123),
            ordinal: 0,
            author: "ann".parse().unwrap(),
            body,
        }
    }

    pub(crate) fn message(seq: u64, text: &str) -> Event {
        let id = MessageId::from_bytes([u8::try_from(seq % 250).unwrap(); 16]);
        event(seq, EventBody::Message(Message::new(id, MessageKind::Plain, text.into(), None)))
    }

    /// A room of 1,000 events, of which every third is a message.
    fn log() -> Vec<Event> {
        let of = |seq| if seq % 3 == 0 { message(seq, "m") } else { event(seq, EventBody::Joined) };
        (1..=1_000).map(of).collect()
    }

    fn page(log: &[Event], from: PageFrom, limit: u32) -> Page {
        let limit = limit as usize;
        let all = log.iter();
        let events: Vec<Event> = match from {
            PageFrom::Latest => all.rev().take(limit).cloned().collect(),
            PageFrom::Before(seq) => all.rev().filter(|e| e.seq < seq).take(limit).cloned().collect(),
            PageFrom::After(seq) => all.filter(|e| e.seq > seq).take(limit).cloned().collect(),
        };
        let mut events = events;
        events.sort_by_key(|e| e.seq);
        let head = Cursor { epoch: Epoch::FIRST, seq: log.last().map_or(Seq::ZERO, |e| e.seq) };
        Page { room: RoomId(1), head, events }
    }

    fn described(events: &[Event]) -> (usize, u64, u64) {
        for pair in events.windows(2) {
            assert_eq!(pair[1].seq, pair[0].seq.next(), "pages are dense and in order");
        }
        let messages = events.iter().filter(|e| e.message().is_some()).count();
        (messages, events.first().map_or(0, |e| e.seq.0), events.last().map_or(0, |e| e.seq.0))
    }

    #[tokio::test]
    async fn the_newest_messages() {
        let log = log();
        let table = [
            (None, 0, 0, (0, 0, 0)),
            (None, 0, 1, (1, 999, 1_000)),
            (None, 0, 10, (10, 972, 1_000)),
            (None, 0, 200, (200, 402, 1_000)),
            (None, 0, 5_000, (333, 1, 1_000)),
            (Some(Seq(10)), 0, 2, (2, 6, 9)),
            (Some(Seq(1)), 0, 2, (0, 0, 0)),
            (Some(Seq(10)), 6, 5, (1, 7, 9)),
            (None, 1_000, 5, (0, 0, 0)),
        ];
        for (before, after, count, expected) in table {
            let found =
                newest(async |from, limit| Ok(page(&log, from, limit)), before, Seq(after), count).await;
            assert_eq!(described(&found.unwrap()), expected, "{before:?} {after} {count}");
        }
    }

    #[tokio::test]
    async fn the_oldest_messages() {
        let log = log();
        let table = [
            (0, None, 1, (1, 1, 3)),
            (3, None, 2, (2, 4, 9)),
            (0, None, 300, (300, 1, 900)),
            (0, None, 5_000, (333, 1, 1_000)),
            (3, Some(Seq(8)), 50, (1, 4, 7)),
            (1_000, None, 5, (0, 0, 0)),
        ];
        for (after, before, count, expected) in table {
            let found =
                oldest(async |from, limit| Ok(page(&log, from, limit)), Seq(after), before, count).await;
            assert_eq!(described(&found.unwrap()), expected, "{after} {before:?} {count}");
        }
    }
}
