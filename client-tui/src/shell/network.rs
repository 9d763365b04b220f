//! Performs what the app asks of the server, all at once but for deliveries, and brings the answers back as inputs.
//! Imports the client library and the app's inputs and effects.

use std::future::pending;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quip_protocol::client::{Client, Error, Event, Handle, Watch};
use quip_protocol::frame::{PageFrom, Reply, Request};
use quip_protocol::{ErrorCode, Receipt, Refusal, RoomId, SafeLine, Seq, Target};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::local::id_of;
use crate::app::{Effect, Failure, Input};

/// Older events that are fetched for the local copy at once: few enough that a page of the user is not held up.
const OLDER: u32 = 2_000;

/// What asks the server, and what it answers.
pub struct Network {
    handle: Handle,
    /// Deliveries, in their order. Unbounded: what a person typed is never refused, and it is small.
    deliveries: UnboundedSender<Request>,
    delivered: UnboundedReceiver<Input>,
    asked: FuturesUnordered<LocalBoxFuture<'static, Option<Input>>>,
    /// Older events for the local copy, a page at a time.
    brought: Option<LocalBoxFuture<'static, Input>>,
}

impl Network {
    /// Asks with `client`.
    pub fn new(client: &Client) -> Network {
        let (inputs, delivered) = unbounded_channel();
        let (deliveries, queue) = unbounded_channel();
        tokio::spawn(deliver(client.handle(), queue, inputs));
        Network {
            handle: client.handle(),
            deliveries,
            delivered,
            asked: FuturesUnordered::new(),
            brought: None,
        }
    }

    /// Performs an effect that is for the server; returns any other.
    pub fn perform(&mut self, effect: Effect) -> Option<Effect> {
        let handle = self.handle.clone();
        match effect {
            Effect::Deliver(request) => {
                // The other end lives as long as the runtime.
                let _ = self.deliveries.send(request);
            }
            Effect::Ask(request) => self.asked.push(ask(handle, request).boxed_local()),
            Effect::FetchPage { room, target, from, limit } => {
                self.asked.push(fetch(handle, room, target, from, limit).boxed_local());
            }
            Effect::Typing(room) => handle.typing(room),
            Effect::Bring { room, target, below, floor } => {
                self.brought = Some(bring(handle, room, target, below, floor).boxed_local());
            }
            Effect::Mark { room, seq } => self.asked.push(mark(handle, room, seq).boxed_local()),
            other => return Some(other),
        }
        None
    }

    /// Whether every question was answered. Deliveries are none.
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// The next answer. Dropping the future loses none.
    pub async fn next(&mut self) -> Input {
        loop {
            tokio::select! {
                Some(input) = self.delivered.recv() => return input,
                Some(answer) = self.asked.next() => {
                    if let Some(input) = answer {
                        return input;
                    }
                }
                input = older(&mut self.brought) => {
                    self.brought = None;
                    return input;
                }
                else => pending().await,
            }
        }
    }
}

/// Delivers one after the other, so that they arrive in the order in which they were written.
async fn deliver(handle: Handle, mut queue: UnboundedReceiver<Request>, inputs: UnboundedSender<Input>) {
    while let Some(request) = queue.recv().await {
        let id = id_of(&request);
        let input = match submit(&handle, request, &inputs).await {
            Ok(receipt) => Input::Receipt(receipt),
            // The user has the text back, and the reason.
            Err(Error::Refused(refusal)) => Input::Refused { id, refusal },
            // The client is over: what is not delivered stays in the outbox, in its order.
            Err(error) if !matches!(error, Error::Protocol(_)) => return,
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::Unavailable, error.to_string());
                Input::Refused { id, refusal }
            }
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

/// Asks once, so that the user learns it where the server takes nothing now; then until it does.
async fn submit(
    handle: &Handle,
    request: Request,
    inputs: &UnboundedSender<Input>,
) -> Result<Receipt, Error> {
    match handle.request(request.clone()).await {
        Ok(Reply::Receipt(receipt)) => return Ok(receipt),
        Err(Error::Refused(refusal)) if refusal.retry_after_ms.is_some() => {
            // A client that has ended needs not know.
            let _ = inputs.send(Input::HeldUp(refusal));
        }
        Err(error @ Error::Refused(_)) => return Err(error),
        _ => {}
    }
    handle.submit(request).await
}

async fn fetch(handle: Handle, room: RoomId, target: Target, from: PageFrom, limit: u32) -> Option<Input> {
    Some(match handle.page(&target, from, limit).await {
        Ok(page) => Input::Page { room, from, events: page.events, head: page.head },
        Err(error) => Input::PageFailed { room, why: failure(error) },
    })
}

/// What came of the page for the local copy, if one was asked for.
async fn older(brought: &mut Option<LocalBoxFuture<'static, Input>>) -> Input {
    match brought {
        Some(brought) => brought.await,
        None => pending().await,
    }
}

/// Fetches what is missing in the local copy, the newest of it first.
async fn bring(handle: Handle, room: RoomId, target: Target, below: Seq, floor: Seq) -> Input {
    let missing = u32::try_from(below.0.saturating_sub(floor.0)).unwrap_or(u32::MAX);
    match handle.page(&target, PageFrom::Before(below), missing.min(OLDER)).await {
        Ok(page) => Input::Older { room, floor, events: page.events, head: page.head },
        Err(error) => Input::NotBrought { room, why: failure(error) },
    }
}

async fn ask(handle: Handle, request: Request) -> Option<Input> {
    let answer = match &request {
        Request::Watch { rooms } => handle.watch(rooms.clone()).await.map(|rooms| Reply::Watching { rooms }),
        Request::Digest { rooms } => {
            let watched = handle.watch_as(rooms.clone(), Watch::Digest).await;
            watched.map(|rooms| Reply::Watching { rooms })
        }
        Request::WatchInbox { from } => handle.watch_inbox(*from).await.map(|head| Reply::Inbox { head }),
        other => handle.request(other.clone()).await,
    };
    Some(Input::Answer { request, answer: answer.map_err(failure) })
}

async fn mark(handle: Handle, room: RoomId, seq: Seq) -> Option<Input> {
    Some(match handle.request(Request::Mark { room, seq }).await {
        // Asking again would not change its mind.
        Ok(_) | Err(Error::Refused(Refusal { retry_after_ms: None, .. })) => Input::Marked { room, seq },
        Err(_) => Input::MarkFailed { room, seq },
    })
}

fn failure(error: Error) -> Failure {
    match error {
        // What passes is no refusal: it is asked again.
        Error::Refused(refusal) if refusal.retry_after_ms.is_none() => Failure::Refused(refusal),
        other => Failure::Unanswered(SafeLine::new(&other.to_string())),
    }
}

/// What the client library reports, as the app takes it.
pub fn input(event: Result<Event, Error>) -> Option<Input> {
    Some(match event {
        Ok(Event::Message(message)) => Input::Event(message.into_event()),
        Ok(Event::Other(event)) => Input::Event(event),
        Ok(Event::Notice(notice)) => Input::Notice(notice),
        Ok(Event::Digest(digest)) => Input::Digest(digest),
        Ok(Event::Typing { room, who }) => Input::Typing { room, who },
        Ok(Event::Presence { who, now }) => Input::Presence { who, now },
        Ok(Event::Reset { room, keep, head }) => Input::Reset { room, keep, head },
        Ok(Event::Unwatched { room, refusal }) => Input::Unwatched { room, refusal },
        Ok(Event::Up(welcome)) => Input::Up(welcome),
        Ok(Event::Nodes(nodes)) => Input::Nodes(nodes),
        Ok(Event::ReadOnly { why }) => Input::ReadOnly(why),
        Ok(Event::Writable) => Input::Writable,
        Ok(Event::Down { why, retry_in }) => {
            let retry_in_ms = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            Input::Down { why, retry_in_ms }
        }
        Ok(_) => return None,
        Err(error) => Input::Down { why: SafeLine::new(&error.to_string()), retry_in_ms: None },
    })
}
