//! Bulk streams: pages, any number of events each, behind everything live.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::{PageEnd, PageFrom, PageRequest};
use quip_protocol::limits::{MAX_HELLO_FRAME, MAX_PAGE};
use quip_protocol::transport::{FrameReader, write_frame};
use quip_protocol::{AccountId, Cursor, ErrorCode, Refusal, RoomId, Seq, Timestamp};
use tracing::{debug, error};

use crate::feed::FeedKey;
use crate::node::{Asked, Unread};
use crate::ops::metrics::Metrics;
use crate::pipeline::durable::NeverDurable;

use super::{Ended, Session};

/// How much is read at once, in bytes.
const CHUNK: usize = 128 * 1024;
/// A client that takes nothing for this long does not want it.
const STALLED: Duration = Duration::from_secs(60);

/// Serves bulk streams until the connection ends. Their number is bounded by the transport. In the session's own task:
/// one that is spawned wakes another thread for each page, which costs more than the page.
pub async fn run(session: &Session) -> Result<(), Ended> {
    let mut pages = FuturesUnordered::new();
    loop {
        tokio::select! {
            opened = session.connection.accept_bi() => {
                let (send, recv) = opened?;
                // Boxed: what keeps them has room for one even while there is none.
                pages.push(Box::pin(page(session, send, recv)));
            }
            Some(sent) = pages.next() => {
                if let Err(ended) = sent {
                    debug!(why = %ended, "a page was not sent");
                }
            }
        }
    }
}

async fn page(session: &Session, mut send: quinn::SendStream, recv: quinn::RecvStream) -> Result<(), Ended> {
    let deadline = Duration::from_millis(session.shared.node.limits.read().frame_deadline_ms.into());
    let mut reader = FrameReader::new(recv, MAX_HELLO_FRAME);
    let next = tokio::time::timeout(deadline, reader.next()).await.map_err(|_| Ended::Silent)?;
    let Some(frame) = next? else { return Ok(()) };
    let request: PageRequest = frame.decode(FrameKind::Page, "page request")?;
    let end = match send_events(session, &mut send, request).await? {
        Ok((room, head)) => PageEnd::Complete { room, head },
        Err(refusal) => PageEnd::Refused(refusal),
    };
    write_frame(&mut send, encode_frame(FrameKind::PageEnd, &end)).await?;
    let _ = send.finish();
    Ok(())
}

type Sent = Result<(RoomId, Cursor), Refusal>;

async fn send_events(
    session: &Session,
    send: &mut quinn::SendStream,
    request: PageRequest,
) -> Result<Sent, Ended> {
    let node = &session.shared.node;
    Metrics::count(&node.metrics.pages);
    let Some(account) = *session.account.lock() else {
        return Ok(Err(Refusal::new(
            ErrorCode::UnknownDevice,
            "this device is not known here; join with a link first",
        )));
    };
    if let Err(refusal) = session.charge_one(Timestamp::now()) {
        return Ok(Err(refusal));
    }
    let asked = node.ask(|engine| {
        let room = engine.resolve(account, &request.target)?;
        Ok::<_, Refusal>((room, engine.readable(account, room)?.cursor))
    });
    let (room, head) = match settled(session, asked).await {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (first, end) = range(request.from, request.limit.min(MAX_PAGE), head.seq);
    let mut after = first;
    while after < end {
        let mut chunk = match node.read(FeedKey::Room(room), after, end, CHUNK) {
            Ok(chunk) if chunk.last > after => chunk,
            Ok(_) => return Ok(Err(unreadable(room, after, "an event is missing"))),
            Err(Unread::Mending) => return Ok(Err(mending())),
            Err(Unread::Store(e)) => return Ok(Err(unreadable(room, after, &e.to_string()))),
        };
        // A right that ended since ends the page: what was read before it ended may still be sent.
        if let Err(refusal) = readable(session, account, room).await {
            return Ok(Err(refusal));
        }
        // Somebody looks at a page; one that goes on is for a program, and takes its turn among who catches up.
        if after > first {
            node.feeds.pace.wait(&chunk).await;
        }
        after = chunk.last;
        let written = tokio::time::timeout(STALLED, send.write_all_chunks(&mut chunk.frames));
        written.await.map_err(|_| Ended::Silent)??;
    }
    Ok(Ok((room, head)))
}

/// Whether the account may still read the room.
async fn readable(session: &Session, account: AccountId, room: RoomId) -> Result<(), Refusal> {
    let asked = session.ask(|engine| engine.readable(account, room).map(drop));
    if asked.answer.is_ok() { Ok(()) } else { settled(session, asked).await }
}

async fn settled<T>(session: &Session, asked: Asked<Result<T, Refusal>>) -> Result<T, Refusal> {
    let degraded = |e: NeverDurable| Refusal::retry(ErrorCode::Degraded, e.to_string(), 5_000);
    session.shared.node.settled(asked).await.map_err(degraded)?
}

/// What is asked of the store while it is being mended.
pub(super) fn mending() -> Refusal {
    Refusal::retry(ErrorCode::Degraded, "the server is mending its store; try again", 2_000)
}

fn unreadable(room: RoomId, after: Seq, why: &str) -> Refusal {
    error!(room = room.0, after = after.0, why, "a page cannot be read: run quipd check");
    Refusal::new(ErrorCode::Internal, "the server cannot read this part of the room; tell its operator")
}

/// The events asked for: behind the first seq, up to the second.
fn range(from: PageFrom, limit: u32, head: Seq) -> (Seq, Seq) {
    let limit = u64::from(limit);
    match from {
        PageFrom::Latest => (Seq(head.0.saturating_sub(limit)), head),
        PageFrom::Before(seq) => {
            let end = seq.0.saturating_sub(1).min(head.0);
            (Seq(end.saturating_sub(limit)), Seq(end))
        }
        PageFrom::After(seq) => (seq, Seq(seq.0.saturating_add(limit).min(head.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table = [
            (PageFrom::Latest, 50, 10, (0, 10)),
            (PageFrom::Latest, 50, 100, (50, 100)),
            (PageFrom::Latest, 50, 0, (0, 0)),
            (PageFrom::Before(Seq(51)), 50, 100, (0, 50)),
            (PageFrom::Before(Seq(1)), 50, 100, (0, 0)),
            (PageFrom::Before(Seq(0)), 50, 100, (0, 0)),
            (PageFrom::Before(Seq(u64::MAX)), 5, 100, (95, 100)),
            (PageFrom::After(Seq(0)), 50, 100, (0, 50)),
            (PageFrom::After(Seq(90)), 50, 100, (90, 100)),
            (PageFrom::After(Seq(u64::MAX)), 50, 100, (u64::MAX, 100)),
        ];
        for (from, limit, head, (after, end)) in table {
            assert_eq!(range(from, limit, Seq(head)), (Seq(after), Seq(end)), "{from:?} {limit} of {head}");
        }
    }
}
