//! The live stream: what the session watches, from its cursors on, in the bytes that were encoded once.

use std::sync::Arc;

use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::frame::Push;
use quip_protocol::transport::write_frame;
use quip_protocol::{ErrorCode, Refusal, Seq};
use tokio::sync::watch;
use tracing::error;

use crate::feed::{Chunk, FeedKey, Watch};
use crate::node::Unread;
use crate::ops::metrics::Metrics;

use super::{Ended, Session};

/// How much of one log is written before the next one has its turn, in bytes.
const CHUNK: usize = 64 * 1024;
/// As many logs as ring at once in a session that keeps no room for more.
const FEW: usize = 16;
/// When a client should come back after a graceful stop, in milliseconds.
const RETRY_AFTER_MS: u32 = 1_000;

/// Serves the live stream until the connection ends.
pub async fn run(session: Arc<Session>, mut stop: watch::Receiver<bool>) -> Result<(), Ended> {
    let mut send = session.connection.open_uni().await?;
    let _ = send.set_priority(1);
    let mut rung = Vec::new();
    loop {
        tokio::select! {
            () = session.watching.rung(&mut rung) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        for watch in rung.drain(..) {
            serve(&session, &mut send, &watch).await?;
        }
        rung.shrink_to(FEW);
    }
    let stopping = Push::Stopping { retry_after_ms: RETRY_AFTER_MS };
    write_frame(&mut send, encode_frame(FrameKind::Push, &stopping)).await?;
    let _ = send.finish();
    std::future::pending().await
}

/// Writes one chunk of one log. If there is more, the watch rings again and has its turn behind the others; at the
/// head it is what is published that rings.
async fn serve(session: &Session, send: &mut quinn::SendStream, watch: &Arc<Watch>) -> Result<(), Ended> {
    let node = &session.shared.node;
    let Some(cursor) = watch.at() else { return Ok(()) };
    let read = within(|| watch.end(), |end| node.read(watch.key(), cursor, end, CHUNK));
    let (mut chunk, end) = match read {
        Ok(read) => read,
        // The store is mended, and then everyone is woken.
        Err(Unread::Mending) => return Ok(()),
        Err(Unread::Store(e)) => {
            error!(error = %e, log = ?watch.key(), "a log cannot be read; its watch ends");
            let text = "the server cannot read this room; tell its operator";
            return Box::pin(unwatch(session, send, watch, Refusal::new(ErrorCode::Internal, text))).await;
        }
    };
    if chunk.last > cursor {
        let bytes: usize = chunk.frames.iter().map(bytes::Bytes::len).sum();
        Metrics::count(&node.metrics.live_writes);
        node.metrics.live_bytes.fetch_add(bytes as u64, std::sync::atomic::Ordering::Relaxed);
        send.write_all_chunks(&mut chunk.frames).await?;
        watch.advance(chunk.last);
        if chunk.more {
            watch.ring();
        }
    }
    if end != Seq(u64::MAX) && chunk.last >= end {
        let refusal = Refusal::new(ErrorCode::Removed, "you are no longer in this room");
        return Box::pin(unwatch(session, send, watch, refusal)).await;
    }
    Ok(())
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
