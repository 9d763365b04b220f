//! The live streams: what the session watches, from its cursors on, in the bytes that were encoded once. What is urgent
//! (the inbox, direct rooms) has a stream of its own, which QUIC sends first; a log is always on the same stream, so that
//! its order is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::Push;
use quip_protocol::transport::write_frame;
use quip_protocol::{ErrorCode, Refusal, Seq};
use tokio::sync::watch;
use tracing::error;

use crate::feed::{Chunk, FeedKey, Tier, Turn, Watch};
use crate::node::Unread;
use crate::ops::metrics::Metrics;

use super::bulletin::{Reader, Told};
use super::{Ended, Session};

/// How much of one log is written before the next one has its turn, in bytes.
const CHUNK: usize = 64 * 1024;
/// As many logs as ring at once in a session that keeps no room for more.
const FEW: usize = 16;
/// When a client should come back after a graceful stop, in milliseconds; where there are other nodes it goes to them at
/// once.
const RETRY_AFTER_MS: u32 = 1_000;

/// Replies have the same: both are what somebody waits for. Pages have 0.
const URGENT: i32 = 2;
const ROOMS: i32 = 1;

/// The two streams.
struct Streams {
    urgent: quinn::SendStream,
    rooms: quinn::SendStream,
}

impl Streams {
    async fn open(connection: &quinn::Connection) -> Result<Streams, Ended> {
        // In this order: a client reads the first before the second.
        let (urgent, rooms) = (connection.open_uni().await?, connection.open_uni().await?);
        let _ = urgent.set_priority(URGENT);
        let _ = rooms.set_priority(ROOMS);
        Ok(Streams { urgent, rooms })
    }
}

/// Serves the live streams until the connection ends.
pub async fn run(
    session: Arc<Session>,
    mut told: Told,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Ended> {
    let mut streams = Streams::open(&session.connection).await?;
    let mut rung = Vec::new();
    loop {
        let news = session.shared.node.bulletin.news(session.reader(), &mut told);
        for frame in news.into_iter().flatten() {
            write_frame(&mut streams.urgent, frame).await?;
        }
        tokio::select! {
            () = session.watching.rung(&mut rung) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        for watch in rung.drain(..) {
            serve(&session, &mut streams, &watch).await?;
        }
        rung.shrink_to(FEW);
    }
    let others = session.shared.node.cluster.as_ref().is_some_and(|cluster| cluster.has_others());
    let others = others && session.reader() == Reader::Account;
    let stopping = Push::Stopping { retry_after_ms: if others { 0 } else { RETRY_AFTER_MS } };
    write_frame(&mut streams.urgent, encode_frame(FrameKind::Push, &stopping)).await?;
    // Not the other one: its end may come before this, and then would say that the connection is lost.
    let _ = streams.urgent.finish();
    std::future::pending().await
}

/// Writes to the log's stream. What becomes urgent while that of the rooms takes nothing is served meanwhile.
async fn write(
    session: &Session,
    streams: &mut Streams,
    watch: &Arc<Watch>,
    chunk: Chunk,
) -> Result<(), Ended> {
    let Streams { urgent, rooms } = streams;
    if watch.is_urgent() {
        return in_turn(session, urgent, watch, chunk).await;
    }
    let mut writing = std::pin::pin!(in_turn(session, rooms, watch, chunk));
    let mut rung = Vec::new();
    loop {
        tokio::select! {
            biased;
            written = &mut writing => return written,
            () = session.watching.rung_urgently(&mut rung) => {}
        }
        for watch in rung.drain(..) {
            serve_urgent(session, urgent, &watch).await?;
        }
    }
}

/// Writes one chunk of one log. If there is more, the watch rings again and has its turn behind the others; at the
/// head it is what is published that rings.
async fn serve(session: &Session, streams: &mut Streams, watch: &Arc<Watch>) -> Result<(), Ended> {
    let Some(part) = part(session, watch) else { return Ok(()) };
    if !part.chunk.frames.is_empty() {
        write(session, streams, watch, part.chunk).await?;
    }
    let stream = if watch.is_urgent() { &mut streams.urgent } else { &mut streams.rooms };
    end(session, stream, watch, part.ends).await
}

/// The same for what is urgent, while the other stream is being written to.
async fn serve_urgent(
    session: &Session,
    stream: &mut quinn::SendStream,
    watch: &Arc<Watch>,
) -> Result<(), Ended> {
    let Some(part) = part(session, watch) else { return Ok(()) };
    if !part.chunk.frames.is_empty() {
        in_turn(session, stream, watch, part.chunk).await?;
    }
    end(session, stream, watch, part.ends).await
}

/// What is to be written of a log.
#[derive(Default)]
struct Part {
    chunk: Chunk,
    /// It is the last that is to be written of this watch.
    ends: Option<Refusal>,
}

/// What is next for a watch; none if it is not served now.
fn part(session: &Session, watch: &Arc<Watch>) -> Option<Part> {
    let node = &session.shared.node;
    let cursor = watch.at()?;
    if watch.tier() == Tier::Digest {
        let turn = node.feeds.turn(watch.key(), cursor);
        // An end is told before anything behind it is: whoever has a digest of that knows the end by now, and has the
        // events up to there.
        if watch.end() == Seq(u64::MAX) {
            match turn {
                Turn::Events => {}
                Turn::Later => return None,
                Turn::Digest(last, frame) => {
                    Metrics::count(&node.metrics.digests);
                    let chunk = Chunk { frames: vec![frame], last, ..Chunk::default() };
                    return Some(Part { chunk, ends: None });
                }
            }
        }
    }
    let (chunk, end) = match within(|| watch.end(), |end| node.read(watch.key(), cursor, end, CHUNK)) {
        Ok(read) => read,
        // The store is mended, and then everyone is woken.
        Err(Unread::Mending) => return None,
        Err(Unread::Store(e)) => {
            error!(error = %e, log = ?watch.key(), "a log cannot be read; its watch ends");
            let text = "the server cannot read this room; tell its operator";
            return Some(Part { ends: Some(Refusal::new(ErrorCode::Internal, text)), ..Part::default() });
        }
    };
    let is_over = end != Seq(u64::MAX) && chunk.last >= end;
    let ends = is_over.then(|| Refusal::new(ErrorCode::Removed, "you are no longer in this room"));
    Some(Part { chunk, ends })
}

/// Writes a chunk when it is its turn, and has the watch ring again if there is more.
async fn in_turn(
    session: &Session,
    stream: &mut quinn::SendStream,
    watch: &Arc<Watch>,
    mut chunk: Chunk,
) -> Result<(), Ended> {
    let node = &session.shared.node;
    node.feeds.pace.wait(&chunk).await;
    let bytes = chunk.bytes() as u64;
    stream.write_all_chunks(&mut chunk.frames).await?;
    Metrics::count(&node.metrics.live_writes);
    node.metrics.live_bytes.fetch_add(bytes, Ordering::Relaxed);
    watch.advance(chunk.last);
    if chunk.more {
        watch.ring();
    }
    Ok(())
}

async fn end(
    session: &Session,
    stream: &mut quinn::SendStream,
    watch: &Arc<Watch>,
    ends: Option<Refusal>,
) -> Result<(), Ended> {
    match ends {
        Some(refusal) => Box::pin(unwatch(session, stream, watch, refusal)).await,
        None => Ok(()),
    }
}

/// Reads up to where the right ends, and says where that is. An end is told before anything behind it is published: so
/// whoever has read that knows the end by now, and reads again.
fn within<E>(end: impl Fn() -> Seq, read: impl Fn(Seq) -> Result<Chunk, E>) -> Result<(Chunk, Seq), E> {
    let chunk = read(end())?;
    let now = end();
    Ok((if chunk.last > now { read(now)? } else { chunk }, now))
}

/// Ends a watch and says so. One that was replaced meanwhile has a successor, which goes on.
async fn unwatch(
    session: &Session,
    send: &mut quinn::SendStream,
    watch: &Arc<Watch>,
    refusal: Refusal,
) -> Result<(), Ended> {
    let ended = session.watching.end(&session.shared.node.feeds, watch);
    if let (Some(label), FeedKey::Room(room)) = (ended, watch.key()) {
        let push = Push::Unwatched { room, watch: label, refusal };
        write_frame(send, encode_frame(FrameKind::Push, &push)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_follows_a_removal_is_not_told_whenever_the_removal_comes() {
        // The member is removed at 5 while the log is read, and 6 is published.
        let end = Cell::new(Seq(u64::MAX));
        let read = |upto: Seq| {
            end.set(Seq(5));
            Ok::<_, Infallible>(Chunk { last: upto.min(Seq(6)), ..Chunk::default() })
        };
        let (chunk, ends) = within(|| end.get(), read).expect("infallible");
        assert_eq!((chunk.last, ends), (Seq(5), Seq(5)));
    }
}
