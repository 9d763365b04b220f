//! What a session has taken and not yet answered: bounded in number, and in the bytes that requests and replies
//! take. A client that does not read its replies is not read from either.

use std::collections::HashMap;

use parking_lot::Mutex;
use quip_protocol::frame::Request;
use quip_protocol::limits::MAX_REPLY_FRAME;
use tokio::sync::Semaphore;

/// What unanswered requests of one connection and their replies take together, in bytes. With what is on its way to
/// the client (`accept::SEND_WINDOW`), the batch that is being written, and one request that waits, that is all that
/// a connection holds for a client that does not read.
pub const MAX_BYTES: usize = 2 * 1024 * 1024;
/// What a reply takes that has no list, and what goes with any, as an estimate from above.
const SMALL_REPLY: usize = 1024;
/// What an element of a request's list takes in memory: a short name in an allocation of its own, or a cursor.
const ELEMENT: usize = 64;

/// Requests taken and not answered, by label.
#[derive(Debug)]
pub struct Unanswered {
    count: Semaphore,
    bytes: Semaphore,
    taken: Mutex<HashMap<u32, u32>>,
}

/// A label that is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("label {0} was used again before its request was answered")]
pub struct Repeated(u32);

impl Unanswered {
    /// At most `count` requests.
    pub fn new(count: usize) -> Unanswered {
        Unanswered {
            count: Semaphore::new(count),
            bytes: Semaphore::new(MAX_BYTES),
            taken: Mutex::new(HashMap::new()),
        }
    }

    /// Waits until a request that takes so many bytes, its reply included, fits.
    ///
    /// # Errors
    /// When the label is taken.
    pub async fn take(&self, label: u32, bytes: usize) -> Result<(), Repeated> {
        let bytes = u32::try_from(bytes.min(MAX_BYTES)).unwrap_or(u32::MAX);
        if let (Ok(one), Ok(many)) = (self.count.acquire().await, self.bytes.acquire_many(bytes).await) {
            one.forget();
            many.forget();
        }
        match self.taken.lock().insert(label, bytes) {
            None => Ok(()),
            Some(_) => Err(Repeated(label)),
        }
    }

    /// The reply is there and the request gone: together they take no more than this.
    pub fn shrink(&self, label: u32, reply: usize) {
        let mut taken = self.taken.lock();
        let Some(bytes) = taken.get_mut(&label) else { return };
        let now = u32::try_from(reply + SMALL_REPLY).unwrap_or(u32::MAX).min(*bytes);
        self.bytes.add_permits((*bytes - now) as usize);
        *bytes = now;
    }

    /// The reply is about to be written: the label is free. What it takes is given back by [`Unanswered::written`].
    pub fn answered(&self, label: u32) -> usize {
        self.taken.lock().remove(&label).unwrap_or_default() as usize
    }

    /// So many replies that took so many bytes were written.
    pub fn written(&self, count: usize, bytes: usize) {
        self.count.add_permits(count);
        self.bytes.add_permits(bytes);
    }
}

/// What a request of so many bytes takes at most, its reply included.
pub fn weight(request: &Request, frame: usize) -> usize {
    let (list, reply) = match request {
        Request::CreateRoom { members: names, .. } | Request::Invite { who: names, .. } => {
            (names.len(), SMALL_REPLY)
        }
        Request::Watch { rooms } | Request::Digest { rooms } => (rooms.len(), MAX_REPLY_FRAME),
        request if has_list(request) => (0, MAX_REPLY_FRAME),
        _ => (0, SMALL_REPLY),
    };
    frame + list * ELEMENT + SMALL_REPLY + reply
}

/// Whether the reply to it is a list.
fn has_list(request: &Request) -> bool {
    matches!(
        request,
        Request::Rooms { .. }
            | Request::PublicRooms { .. }
            | Request::Members { .. }
            | Request::Devices
            | Request::Tokens
            | Request::Consumers
    )
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const ROOMS: Request = Request::Rooms { after: None };

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn lists_are_few_at_a_time_until_it_is_known_how_long_they_are() {
        let unanswered = Unanswered::new(1_000);
        let bytes = weight(&ROOMS, 4);
        let fit = u32::try_from(MAX_BYTES / bytes).unwrap();
        for label in 0..fit {
            assert_eq!(poll(pin!(unanswered.take(label, bytes))), Poll::Ready(Ok(())));
        }
        let mut next = pin!(unanswered.take(fit, bytes));
        assert_eq!(poll(next.as_mut()), Poll::Pending);
        unanswered.shrink(0, 30);
        assert_eq!(poll(next), Poll::Ready(Ok(())));
        let mut next = pin!(unanswered.take(100, bytes));
        let answered = unanswered.answered(1);
        assert_eq!((answered, poll(next.as_mut())), (bytes, Poll::Pending), "answered is not written");
        unanswered.written(1, answered);
        assert_eq!(poll(next), Poll::Ready(Ok(())));
        unanswered.shrink(100, 0);
        assert_eq!(poll(pin!(unanswered.take(2, 1))), Poll::Ready(Err(Repeated(2))));
    }

    #[test]
    fn there_are_only_so_many_and_none_is_too_large_to_be_alone() {
        let unanswered = Unanswered::new(2);
        assert_eq!(poll(pin!(unanswered.take(1, 10))), Poll::Ready(Ok(())));
        assert_eq!(poll(pin!(unanswered.take(2, 10))), Poll::Ready(Ok(())));
        let mut next = pin!(unanswered.take(3, usize::MAX));
        assert_eq!(poll(next.as_mut()), Poll::Pending);
        for label in [1, 2] {
            unanswered.written(1, unanswered.answered(label));
        }
        assert_eq!(poll(next), Poll::Ready(Ok(())));
    }
}
