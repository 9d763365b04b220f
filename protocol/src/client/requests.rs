//! The request stream of one connection: labels, and who waits for which reply. A writer task and a reader task,
//! so that neither a slow server nor an abandoned request holds up the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::SendStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::Error;
use super::connection::Fault;
use crate::codec::{FrameKind, LENGTH_BYTES, encode_frame};
use crate::error::{ErrorCode, Refusal};
use crate::frame::{Labelled, Reply, Request};
use crate::limits::MAX_REQUEST_FRAME;
use crate::transport::{FrameReader, write_frame};

/// A server that is connected and does not answer for this long is taken for stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Asks on one connection. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    queue: mpsc::UnboundedSender<Ask>,
    /// As many as the server takes unanswered, but one, which is the driver's.
    permits: Arc<Semaphore>,
    /// The label given last.
    labels: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Ask {
    label: u32,
    request: Request,
    answer: Answer,
}

/// Who waits. The permit goes back with the reply, not when the caller loses interest: the server still works.
#[derive(Debug)]
struct Answer {
    to: oneshot::Sender<Reply>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Requests {
    /// Starts the two tasks; they end with the connection.
    pub(super) fn start(send: SendStream, replies: FrameReader, in_flight: u32, fault: Fault) -> Requests {
        let (queue, asks) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting(Mutex::new(Some(HashMap::new()))));
        let permits = Arc::new(Semaphore::new(in_flight.saturating_sub(1).clamp(1, 10_000) as usize));
        tokio::spawn(write(send, asks, Arc::clone(&waiting), fault.clone()));
        tokio::spawn(read(replies, waiting, Arc::clone(&permits), fault));
        Requests { queue, permits, labels: Arc::default() }
    }

    /// Asks and waits for the reply; a refusal is an error.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Error> {
        self.ask_labelled(request).await.map(|(_, reply)| reply)
    }

    /// The same, and the label under which it was asked.
    pub(super) async fn ask_labelled(&self, request: Request) -> Result<(u32, Reply), Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Disconnected)?;
        let (label, reply) = self.send(request, Some(permit));
        match tokio::time::timeout(ANSWER_WITHIN, reply).await {
            Ok(Ok(Reply::Refused(refusal))) => Err(Error::Refused(refusal)),
            Ok(Ok(reply)) => Ok((label, reply)),
            Ok(Err(_)) => Err(Error::Disconnected),
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// Asks at once, for the driver, which has one request at a time and never waits for a permit. The label, and
    /// where the reply comes.
    pub(super) fn ask_now(&self, request: Request) -> (u32, oneshot::Receiver<Reply>) {
        self.send(request, None)
    }

    fn send(
        &self,
        request: Request,
        permit: Option<OwnedSemaphorePermit>,
    ) -> (u32, oneshot::Receiver<Reply>) {
        let (to, reply) = oneshot::channel();
        let label = self.next_label();
        // If the tasks are gone the answer is dropped here, which the receiver sees.
        let _ = self.queue.send(Ask { label, request, answer: Answer { to, _permit: permit } });
        (label, reply)
    }

    /// 0 is the server's.
    fn next_label(&self) -> u32 {
        let next = |label: u32| label.wrapping_add(1).max(1);
        let before =
            self.labels.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |label| Some(next(label)));
        next(before.unwrap_or_else(|label| label))
    }
}

/// Unanswered requests by label; `None` once nobody will answer.
#[derive(Debug)]
struct Waiting(Mutex<Option<HashMap<u32, Answer>>>);

impl Waiting {
    fn with<T>(&self, act: impl FnOnce(&mut Option<HashMap<u32, Answer>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn insert(&self, label: u32, answer: Answer) -> bool {
        self.with(|waiting| waiting.as_mut().map(|map| map.insert(label, answer)).is_some())
    }

    fn take(&self, label: u32) -> Option<Answer> {
        self.with(|waiting| waiting.as_mut()?.remove(&label))
    }

    fn close(&self) {
        drop(self.with(Option::take));
    }
}

async fn write(
    mut stream: SendStream,
    mut asks: mpsc::UnboundedReceiver<Ask>,
    waiting: Arc<Waiting>,
    fault: Fault,
) {
    while let Some(Ask { label, request, answer }) = asks.recv().await {
        let frame = encode_frame(FrameKind::Request, &Labelled { label, body: request });
        if frame.len() - LENGTH_BYTES > MAX_REQUEST_FRAME {
            let _ = answer.to.send(Reply::Refused(too_long()));
        } else if !waiting.insert(label, answer) || write_frame(&mut stream, frame).await.is_err() {
            return fault.raise(Error::Disconnected).await;
        }
    }
    // Every handle on this connection is gone. The reader's would keep it alive.
    fault.done();
}

/// Sent, it would cost the connection, and be repeated for ever.
fn too_long() -> Refusal {
    let text = format!("a request has at most {MAX_REQUEST_FRAME} bytes; send less at once");
    Refusal::new(ErrorCode::TooLong, text)
}

async fn read(mut replies: FrameReader, waiting: Arc<Waiting>, permits: Arc<Semaphore>, fault: Fault) {
    let error = loop {
        match next_reply(&mut replies).await {
            Ok(Labelled { label, body }) => {
                if let Err(error) = deliver(&waiting, label, body) {
                    break error;
                }
            }
            Err(error) => break error,
        }
    };
    waiting.close();
    permits.close();
    fault.raise(error).await;
}

async fn next_reply(replies: &mut FrameReader) -> Result<Labelled<Reply>, Error> {
    match replies.next().await? {
        Some(frame) => Ok(frame.decode(FrameKind::Reply, "reply")?),
        None => Err(Error::Disconnected),
    }
}

fn deliver(waiting: &Waiting, label: u32, reply: Reply) -> Result<(), Error> {
    match (waiting.take(label), reply) {
        (Some(answer), reply) => {
            // Nobody there: the caller has given up.
            let _ = answer.to.send(reply);
            Ok(())
        }
        (None, Reply::Refused(refusal)) if label == 0 => Err(Error::protocol(refusal.text.as_str())),
        (None, _) => Err(Error::protocol("a reply to no request")),
    }
}
