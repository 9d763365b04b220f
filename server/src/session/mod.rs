//! Sessions: one connection each. A session authenticates the device by the key of its handshake, reads requests,
//! and has three companions: replies, the live stream, and bulk transfers.

pub mod accept;
pub mod budget;
mod bulk;
pub mod charges;
mod live;
pub mod registry;
mod replies;
mod requests;
pub mod tls;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quip_protocol::codec::{FrameKind, encode_frame};
use quip_protocol::error::close;
use quip_protocol::frame::{Hello, Labelled, Reply, Request, VERSION, Welcome};
use quip_protocol::limits::{MAX_HELLO_FRAME, MAX_REQUEST_FRAME};
use quip_protocol::transport::{FrameError, FrameReader, write_frame};
use quip_protocol::{AccountId, DeviceKey, ErrorCode, Refusal, Timestamp};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tracing::debug;

use crate::engine::{Actor, Command, CommandBody, Engine};
use crate::log::{Finished, Submission, Waiter};
use crate::node::{Asked, Shared};
use crate::ops::metrics::Metrics;

use replies::{Answer, Replies};
use requests::Todo;
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
    watching: Watching,
    /// Requests that may still be taken before one is answered.
    in_flight: Semaphore,
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
    Codec(#[from] quip_protocol::codec::CodecError),
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
            Ended::Refused(_) | Ended::Frame(FrameError::Codec(_)) | Ended::Codec(_) => close::PROTOCOL,
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
    let in_flight = Semaphore::new(shared.node.limits.read().requests_in_flight as usize);
    let session = Arc::new(Session {
        shared,
        connection: connection.clone(),
        key,
        account: Mutex::new(None),
        payer: Mutex::new(None),
        entered: Notify::new(),
        watching: Watching::default(),
        in_flight,
    });
    let ended = match session.run(stop).await {
        Ok(()) => (close::DONE, String::new()),
        Err(ended) => {
            debug!(peer = %connection.remote_address(), why = %ended, "session ended");
            ended.close()
        }
    };
    connection.close(ended.0.into(), ended.1.as_bytes());
    session.watching.clear(&session.shared.node.feeds);
    if let Some(account) = *session.account.lock() {
        session.shared.node.sessions.leave(account, &connection);
    }
}

impl Session {
    async fn run(self: &Arc<Self>, stop: watch::Receiver<bool>) -> Result<(), Ended> {
        let hello = tokio::time::timeout(HELLO_DEADLINE, self.hello()).await.map_err(|_| Ended::Silent)?;
        let (send, mut reader) = hello?;
        let (answers, answered) = mpsc::unbounded_channel();
        let (results, finished) = mpsc::unbounded_channel();
        let replies = Replies { session: Arc::clone(self), send, answered, finished };
        let channels = Channels { answers, results };
        let mut stop_live = stop.clone();
        tokio::select! {
            ended = self.requests(&mut reader, channels, stop) => ended?,
            ended = live::run(self, &mut stop_live) => ended?,
            ended = bulk::run(self) => ended?,
            // The client has said all it wanted, or the server is stopping.
            ended = replies.run() => return if *stop_live.borrow() { Err(Ended::Stopping) } else { ended },
        }
        Ok(())
    }

    /// Greets: who is this, and what does it speak?
    async fn hello(&self) -> Result<(quinn::SendStream, FrameReader<quinn::RecvStream>), Ended> {
        let (mut send, recv) = self.connection.accept_bi().await?;
        let mut reader = FrameReader::new(recv, MAX_HELLO_FRAME);
        let frame = reader.next().await?.ok_or(FrameError::Cut)?;
        let hello: Hello = frame.decode(FrameKind::Hello, "hello")?;
        match self.welcome(&hello).await {
            Ok(welcome) => {
                write_frame(&mut send, encode_frame(FrameKind::Welcome, &welcome)).await?;
                Ok((send, reader))
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

    async fn welcome(&self, hello: &Hello) -> Result<Welcome, Refusal> {
        if hello.oldest > VERSION || hello.newest < VERSION {
            let text = format!("this server speaks version {VERSION} of the protocol; use a matching quip");
            return Err(Refusal::new(ErrorCode::Version, text));
        }
        let node = &self.shared.node;
        let asked = node.ask(|engine| match engine.account_of(&self.key) {
            Ok(account) => Ok(Some((account.id, account.name.clone()))),
            Err(refusal) if refusal.code == ErrorCode::UnknownDevice => Ok(None),
            Err(refusal) => Err(refusal),
        });
        let account = node
            .settled(asked)
            .await
            .map_err(|e| Refusal::retry(ErrorCode::Degraded, e.to_string(), 5_000))??;
        if let Some((id, _)) = &account {
            self.enter(*id);
        }
        Ok(Welcome {
            version: VERSION,
            server: node.name.clone(),
            account: account.map(|(_, name)| name),
            open_registration: node.open_registration,
            limits: node.announced(),
            now: Timestamp::now(),
        })
    }

    /// From now on this connection is this account's.
    fn enter(&self, account: AccountId) {
        let owner = self.ask(|engine| engine.account(account).and_then(|account| account.bot_of));
        *self.payer.lock() = Some(owner.answer.unwrap_or(account));
        *self.account.lock() = Some(account);
        self.entered.notify_one();
        self.shared.node.sessions.enter(account, self.key, self.connection.clone());
        // A revocation ends the connections that it finds; one between the question who this is and here found none.
        if self.ask(|engine| engine.account_of(&self.key).is_err()).answer {
            self.shared.node.sessions.revoke_device(&self.key);
        }
    }

    fn ask<T>(&self, question: impl FnOnce(&Engine) -> T) -> Asked<T> {
        self.shared.node.ask(question)
    }

    /// Takes requests in order until the client ends the stream. Of who has no account only short ones, and not for long.
    async fn requests(
        &self,
        reader: &mut FrameReader<quinn::RecvStream>,
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
            let request: Labelled<Request> = frame.decode(FrameKind::Request, "request")?;
            // Waits when too many are unanswered: then nothing more is read, and the client waits in turn.
            if let Ok(permit) = self.in_flight.acquire().await {
                permit.forget();
            }
            self.take(request, &channels).await;
        }
        // What was accepted is finished: the replies end when every result was told.
        drop(channels);
        std::future::pending().await
    }

    async fn take(&self, request: Labelled<Request>, channels: &Channels) {
        let Labelled { label, body } = request;
        let now = Timestamp::now();
        Metrics::count(&self.shared.node.metrics.requests);
        let account = *self.account.lock();
        let todo = self.charge(account, &body, now).and_then(|()| match account {
            Some(account) => self.decide(account, body, now),
            None => self.decide_unknown(body, now),
        });
        let refused = match todo {
            Ok(Todo::Append(body)) => self.append(label, body, now, channels).await,
            Ok(Todo::AppendCode(body, code, expires)) => {
                self.append_code(label, body, now, channels, (code, expires)).await
            }
            Ok(Todo::Answer(reply, group)) => {
                channels.answer(label, reply, group);
                Ok(())
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = refused {
            channels.answer(label, Reply::Refused(refusal), 0);
        }
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
            _ => Err(match self.ask(|engine| engine.account_of(&self.key).err()).answer {
                Some(refusal) => refusal,
                None => Refusal::retry(
                    ErrorCode::Unavailable,
                    "this device just got its account; connect again",
                    0,
                ),
            }),
        }
    }

    async fn append(
        &self,
        label: u32,
        body: CommandBody,
        at: Timestamp,
        channels: &Channels,
    ) -> Result<(), Refusal> {
        let command = Command { at, by: Actor::Device(self.key), body };
        let waiter = Waiter { label, results: channels.results.clone() };
        let appended = self.shared.log.append(Submission { command, waiter }).await;
        appended
            .map_err(|_| Refusal::retry(ErrorCode::Unavailable, "the server is stopping; try again", 1_000))
    }

    /// Codes are rare: the request loop waits for the log, and then tells the secret.
    async fn append_code(
        &self,
        label: u32,
        body: CommandBody,
        at: Timestamp,
        channels: &Channels,
        (code, expires): (quip_protocol::InviteCode, Timestamp),
    ) -> Result<(), Refusal> {
        let command = Command { at, by: Actor::Device(self.key), body };
        crate::node::submit(&self.shared.log, command).await?;
        channels.answer(label, Reply::Code { code, expires }, 0);
        Ok(())
    }
}

/// Where the results of requests go.
struct Channels {
    answers: mpsc::UnboundedSender<Answer>,
    results: mpsc::UnboundedSender<Finished>,
}

impl Channels {
    fn answer(&self, label: u32, reply: Reply, group: u64) {
        // The session is ending if nobody listens.
        let _ = self.answers.send(Answer { label, reply, group });
    }
}
