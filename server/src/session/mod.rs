//! Sessions: one connection each. A session authenticates the device by the key of its handshake, reads requests,
//! and has four companions: replies, the live stream, bulk transfers, and datagrams.

pub mod accept;
pub mod budget;
mod bulk;
pub mod bulletin;
pub mod charges;
pub mod cursors;
mod datagrams;
mod fresh;
mod live;
mod news;
pub mod presence;
pub mod registry;
mod replies;
mod requests;
pub mod socket;
mod subscribe;
pub mod tls;
pub(crate) mod typing;
mod unanswered;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use parking_lot::Mutex;
use quip_protocol::codec::{CodecError, Frame, FrameKind, LENGTH_BYTES, encode_frame};
use quip_protocol::error::close;
use quip_protocol::frame::{Hello, Labelled, Reply, Request, VERSION, Welcome};
use quip_protocol::limits::{MAX_HELLO_FRAME, MAX_NAMES, MAX_REPLY_FRAME, MAX_REQUEST_FRAME, MAX_WATCHES};
use quip_protocol::transport::{FrameError, FrameReader, write_frame};
use quip_protocol::{AccountId, DeviceKey, ErrorCode, Refusal, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::debug;

use crate::engine::{Actor, Command, CommandBody, Engine};
use crate::log::{Finished, Submission, Waiter};
use crate::node::{Asked, Shared};
use crate::ops::metrics::Metrics;

use bulletin::{Reader, Told};
use fresh::{Fresh, not_fresh};
use replies::{Answer, Replies};
use requests::Todo;
use unanswered::{Repeated, Unanswered, weight};
use watching::Watching;

/// A connection must say what it wants within this.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// One connection.
struct Session {
    shared: Shared,
    connection: quinn::Connection,
    key: DeviceKey,
    /// Whose, as soon as that is known.
    account: Mutex<Option<AccountId>>,
    /// Whose budget it spends: the account's, of a bot its owner's.
    payer: Mutex<Option<AccountId>>,
    /// Told when the connection becomes an account's.
    entered: Notify,
    watching: Arc<Watching>,
    unanswered: Unanswered,
    fresh: Fresh,
}

/// However a session ends, in a panic too, nothing of it stays behind.
impl Drop for Session {
    fn drop(&mut self) {
        self.watching.clear(&self.shared.node.feeds);
        if let Some(account) = *self.account.get_mut() {
            self.shared.node.sessions.leave(account, &self.connection);
        }
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no hello within {HELLO_DEADLINE:?}")]
    Silent,
    #[error("it belonged to no account in time: join with a link first")]
    Stranger,
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Repeated(#[from] Repeated),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
    #[error("the server is stopping")]
    Stopping,
}

impl Ended {
    /// The code and words of the QUIC close.
    fn close(&self) -> (u32, String) {
        let code = match self {
            Ended::Silent | Ended::Stranger | Ended::Frame(FrameError::Deadline(_)) => close::DEADLINE,
            Ended::Refused(refusal) if matches!(refusal.code, ErrorCode::Revoked | ErrorCode::Suspended) => {
                close::REVOKED
            }
            Ended::Refused(_) | Ended::Frame(FrameError::Codec(_)) | Ended::Codec(_) | Ended::Repeated(_) => {
                close::PROTOCOL
            }
            Ended::Stopping => close::STOPPING,
            Ended::Frame(_) | Ended::Connection(_) | Ended::Write(_) => close::DONE,
        };
        (code, self.to_string())
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    shared: Shared,
    connection: quinn::Connection,
    key: DeviceKey,
    stop: watch::Receiver<bool>,
) {
    let unanswered = Unanswered::new(shared.node.limits.read().requests_in_flight as usize);
    let session = Arc::new(Session {
        shared,
        connection: connection.clone(),
        key,
        account: Mutex::new(None),
        payer: Mutex::new(None),
        entered: Notify::new(),
        watching: Arc::default(),
        unanswered,
        fresh: Fresh::default(),
    });
    let ended = match session.run(stop).await {
        Ok(()) => (close::DONE, String::new()),
        Err(ended) => {
            debug!(peer = %connection.remote_address(), why = %ended, "session ended");
            ended.close()
        }
    };
    connection.close(ended.0.into(), ended.1.as_bytes());
}

impl Session {
    async fn run(self: &Arc<Self>, stop: watch::Receiver<bool>) -> Result<(), Ended> {
        let hello =
            tokio::time::timeout(HELLO_DEADLINE, Box::pin(self.hello())).await.map_err(|_| Ended::Silent)?;
        let (send, mut reader, told) = hello?;
        let (answers, answered) = unbounded();
        let (results, finished) = unbounded();
        let replies = Replies { session: Arc::clone(self), send, answered, finished };
        let channels = Channels { answers, results };
        let stopping = stop.clone();
        // A task of its own: what is most often woken does not have all the others looked at each time.
        let mut live = JoinSet::new();
        live.spawn(live::run(Arc::clone(self), told, stop.clone()));
        tokio::select! {
            ended = self.requests(&mut reader, channels, stop) => ended?,
            Some(ended) = live.join_next() => match ended {
                Ok(ended) => ended?,
                Err(e) => match e.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is being dropped.
                    Err(_) => return Err(Ended::Stopping),
                },
            },
            ended = bulk::run(self) => ended?,
            ended = typing::run(self) => ended?,
            // The client has said all it wanted, or the server is stopping.
            ended = replies.run() => return if *stopping.borrow() { Err(Ended::Stopping) } else { ended },
        }
        Ok(())
    }

    /// Greets: who is this, and what does it speak?
    async fn hello(&self) -> Result<(quinn::SendStream, FrameReader, Told), Ended> {
        let (mut send, recv) = self.connection.accept_bi().await?;
        let mut reader = FrameReader::new(recv, MAX_HELLO_FRAME);
        let frame = reader.next().await?.ok_or(FrameError::Cut)?;
        let hello: Hello = frame.decode(FrameKind::Hello, "hello")?;
        match self.welcome(&hello).await {
            Ok((welcome, told)) => {
                write_frame(&mut send, encode_frame(FrameKind::Welcome, &welcome)).await?;
                Ok((send, reader, told))
            }
            Err(refusal) => {
                let reply = Labelled { label: 0, body: Reply::Refused(refusal.clone()) };
                write_frame(&mut send, encode_frame(FrameKind::Reply, &reply)).await?;
                let _ = send.finish();
                // The client reads it and closes, or is closed soon.
                let _ = tokio::time::timeout(Duration::from_secs(1), send.stopped()).await;
                Err(Ended::Refused(refusal))
            }
        }
    }

    /// What is said to who comes, and what it tells of what is posted to all.
    async fn welcome(&self, hello: &Hello) -> Result<(Welcome, Told), Refusal> {
        if hello.oldest > VERSION || hello.newest < VERSION {
            let text = format!("this server speaks version {VERSION} of the protocol; use a matching quip");
            return Err(Refusal::new(ErrorCode::Version, text));
        }
        let node = &self.shared.node;
        let is_fresh = self.fresh.is_so(node).await;
        let asked = node.ask(|engine| match engine.account_of(&self.key) {
            Ok(account) => Ok(Some((account.id, account.name.clone()))),
            Err(refusal) if refusal.code == ErrorCode::UnknownDevice => Ok(None),
            Err(refusal) => Err(refusal),
        });
        let account = node
            .settled(asked)
            .await
            .map_err(|e| Refusal::retry(ErrorCode::Degraded, e.to_string(), 5_000))??;
        match &account {
            Some((id, _)) => self.enter(*id),
            // It may be known to all others.
            None if !is_fresh => return Err(not_fresh()),
            None => {}
        }
        let (nodes, told) = node.bulletin.welcome(self.reader());
        let welcome = Welcome {
            version: VERSION,
            server: node.name.clone(),
            account: account.map(|(_, name)| name),
            open_registration: node.open_registration,
            limits: node.announced(),
            now: Timestamp::now(),
            nodes,
        };
        Ok((welcome, told))
    }

    /// From now on this connection is this account's.
    fn enter(&self, account: AccountId) {
        let owner = self.ask(|engine| engine.account(account).and_then(|account| account.bot_of));
        *self.payer.lock() = Some(owner.answer.unwrap_or(account));
        *self.account.lock() = Some(account);
        self.entered.notify_one();
        let watching = Arc::clone(&self.watching);
        self.shared.node.sessions.enter(account, self.key, self.connection.clone(), watching);
        // A revocation ends the connections that it finds; one between the question who this is and here found none.
        if self.ask(|engine| engine.account_of(&self.key).is_err()).answer {
            self.shared.node.sessions.revoke_device(&self.key);
        }
    }

    /// As whom it reads what is told to everybody.
    fn reader(&self) -> Reader {
        if self.account.lock().is_some() { Reader::Account } else { Reader::Stranger }
    }

    fn ask<T>(&self, question: impl FnOnce(&Engine) -> T) -> Asked<T> {
        self.shared.node.ask(question)
    }

    /// Takes requests in order until the client ends the stream. Of who has no account only short ones, and not for long.
    async fn requests(
        &self,
        reader: &mut FrameReader,
        channels: Channels,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let (deadline, patience) = {
            let limits = self.shared.node.limits.read();
            [limits.frame_deadline_ms, limits.stranger_deadline_ms]
                .map(|ms| Duration::from_millis(ms.into()))
                .into()
        };
        let until = Instant::now() + patience;
        let mut is_stranger = true;
        loop {
            let frame = tokio::select! {
                // First: with the limit of before, what comes next could be too long.
                biased;
                () = self.entered.notified(), if is_stranger => {
                    is_stranger = false;
                    reader.set_limit(MAX_REQUEST_FRAME);
                    continue;
                }
                () = tokio::time::sleep_until(until), if is_stranger => return Err(Ended::Stranger),
                _ = stop.wait_for(|stop| *stop) => None,
                frame = reader.next_within(deadline) => frame?,
            };
            let Some(frame) = frame else { break };
            // Waits when too much is unanswered: then nothing more is read, and the client waits in turn.
            match frame.decode::<Labelled<Request>>(FrameKind::Request, "request") {
                // Boxed, so that a session that waits, as nearly all do, takes no room for what it would do then.
                Ok(request) => Box::pin(self.take(request, frame.body.len(), &channels)).await?,
                Err(error @ CodecError::TooMany(_)) => {
                    Box::pin(self.too_many(&frame, error, &channels)).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // What was accepted is finished: the replies end when every result was told.
        drop(channels);
        std::future::pending().await
    }

    /// A request that is well formed but for a list that is too long is refused with words.
    async fn too_many(&self, frame: &Frame, error: CodecError, channels: &Channels) -> Result<(), Ended> {
        let label = frame.label().ok_or(error)?;
        self.unanswered.take(label, 0).await?;
        let text =
            format!("too many at once: a request has at most {MAX_NAMES} names and {MAX_WATCHES} rooms");
        let refusal = self.charge_one(Timestamp::now()).err();
        let refusal = refusal.unwrap_or_else(|| Refusal::new(ErrorCode::TooMany, text));
        self.answer(label, Reply::Refused(refusal), 0, channels);
        Ok(())
    }

    async fn take(&self, request: Labelled<Request>, bytes: usize, channels: &Channels) -> Result<(), Ended> {
        let Labelled { label, body } = request;
        self.unanswered.take(label, weight(&body, bytes)).await?;
        let now = Timestamp::now();
        Metrics::count(&self.shared.node.metrics.requests);
        let account = *self.account.lock();
        let todo = self.charge(account, &body, now).and_then(|()| match account {
            Some(account) => self.decide(account, body, now),
            None => self.decide_unknown(body, now),
        });
        let done = match todo {
            Ok(todo) => self.carry_out(label, todo, now, channels).await,
            Err(refusal) => Err(refusal),
        };
        match done {
            Ok(None) => {}
            Ok(Some((reply, group))) => self.answer(label, reply, group, channels),
            Err(refusal) => self.answer(label, Reply::Refused(refusal), 0, channels),
        }
        Ok(())
    }

    /// The reply and the group that must be durable before it is told; nothing if it comes as a result of the log.
    async fn carry_out(
        &self,
        label: u32,
        todo: Todo,
        now: Timestamp,
        channels: &Channels,
    ) -> Result<Option<(Reply, u64)>, Refusal> {
        match todo {
            Todo::Append(body) => self.append(label, body, now, channels).map(|()| None),
            Todo::AppendCode(body, code, expires) => {
                let command = Command { at: now, by: Actor::Device(self.key), body };
                // Codes are rare: the request loop waits for the log, and then tells the secret.
                Box::pin(crate::node::submit(&self.shared.log, command)).await?;
                Ok(Some((Reply::Code { code, expires }, 0)))
            }
            Todo::Answer(reply, group) => Ok(Some((reply, group))),
            Todo::Watch(account, rooms, tier) => {
                Box::pin(self.watch(account, label, rooms, tier)).await.map(Some)
            }
            Todo::WatchInbox(account, from) => {
                Box::pin(self.watch_inbox(account, label, from)).await.map(Some)
            }
        }
    }

    /// Answers once `group` is durable.
    fn answer(&self, label: u32, reply: Reply, group: u64, channels: &Channels) {
        let frame = self.reply_frame(label, reply);
        self.unanswered.shrink(label, frame.len());
        // The session is ending if nobody listens.
        let _ = channels.answers.unbounded_send(Answer { label, frame, group });
    }

    /// A reply as it is written, which its reader takes.
    fn reply_frame(&self, label: u32, body: Reply) -> Bytes {
        let is_refused = matches!(body, Reply::Refused(_));
        let frame = encode_frame(FrameKind::Reply, &Labelled { label, body });
        if frame.len() > LENGTH_BYTES + MAX_REPLY_FRAME {
            let text = format!("the answer has more than {MAX_REPLY_FRAME} bytes; ask for less at once");
            return self.reply_frame(label, Reply::Refused(Refusal::new(ErrorCode::TooMany, text)));
        }
        if is_refused {
            Metrics::count(&self.shared.node.metrics.refusals);
        }
        frame
    }

    /// A device without an account can only get one.
    fn decide_unknown(&self, request: Request, now: Timestamp) -> Result<Todo, Refusal> {
        let node = &self.shared.node;
        match request {
            Request::Redeem { code, name, device } => {
                self.charge_attempt(now)?;
                Ok(Todo::Append(CommandBody::Redeem { hash: code.hash(), name, label: device }))
            }
            Request::Register { name, device } if node.open_registration => {
                self.charge_attempt(now)?;
                Ok(Todo::Append(CommandBody::Register { name, label: device }))
            }
            Request::Register { .. } => Err(Refusal::new(
                ErrorCode::Forbidden,
                "accounts here are made by invitation; ask a member for a link",
            )),
            _ => {
                let asked = self.ask(|engine| engine.account_of(&self.key).err());
                let refusal = asked.answer.unwrap_or_else(|| {
                    let text = "this device just got its account; connect again";
                    Refusal::retry(ErrorCode::Unavailable, text, 0)
                });
                Ok(Todo::Answer(Reply::Refused(refusal), asked.group))
            }
        }
    }

    /// Never waits: whoever sends more than is written is told when to come again.
    fn append(
        &self,
        label: u32,
        body: CommandBody,
        at: Timestamp,
        channels: &Channels,
    ) -> Result<(), Refusal> {
        let command = Command { at, by: Actor::Device(self.key), body };
        let waiter = Waiter { label, results: channels.results.clone() };
        self.shared.log.offer(Submission { command, waiter }).map_err(|why| {
            Metrics::count(&self.shared.node.metrics.held_back);
            why.into()
        })
    }
}

/// Where the results of requests go.
struct Channels {
    answers: UnboundedSender<Answer>,
    results: UnboundedSender<Finished>,
}
