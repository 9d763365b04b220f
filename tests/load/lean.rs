//! A connection that costs little, for thousands of them in a process: it shares its socket with others, has no task and no
//! channel of its own, and asks one thing at a time. What comes is told as it came: nothing that is doubled is hidden.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use quinn::SendStream;
use quip_protocol::codec::{Frame, FrameKind, encode_frame};
use quip_protocol::error::close;
use quip_protocol::frame::{
    Hello, Labelled, PageEnd, PageFrom, PageRequest, Push, Reply, Request, VERSION, WatchState, Welcome,
};
use quip_protocol::limits::{MAX_EVENT_FRAME, MAX_REPLY_FRAME, MAX_WELCOME_FRAME};
use quip_protocol::room::RoomSummary;
use quip_protocol::transport::{FrameError, FrameReader, write_frame};
use quip_protocol::{Cursor, Event, Notice, Refusal, RoomId, SafeLine, Target};

/// A server that is connected and does not answer for this long is taken for stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// One connection on which the server has said `Welcome`.
#[derive(Debug)]
pub struct Lean {
    quic: quinn::Connection,
    requests: SendStream,
    replies: FrameReader,
    /// The live stream of what is urgent, once the server has opened it.
    urgent: Option<FrameReader>,
    /// The live stream of rooms, which comes behind that one.
    rooms: Option<FrameReader>,
    label: u32,
    held_back: u64,
}

/// What comes on the live stream.
#[derive(Debug)]
pub enum Told {
    /// Of a watched room.
    Event(Event),
    /// Of the watched inbox.
    Notice(Notice),
    /// Anything else.
    Push(Push),
}

impl Lean {
    /// Says `Hello` on a connection that was just made.
    ///
    /// # Errors
    /// When the server does not say `Welcome`.
    pub async fn greet(quic: quinn::Connection) -> Result<Lean> {
        let (mut requests, receive) = quic.open_bi().await?;
        let hello = Hello { oldest: VERSION, newest: VERSION, agent: SafeLine::new("quip-load") };
        write_frame(&mut requests, encode_frame(FrameKind::Hello, &hello)).await?;
        let mut replies = FrameReader::new(receive, MAX_WELCOME_FRAME);
        let frame = replies.next().await?.context("the server ended the request stream")?;
        if frame.kind != FrameKind::Welcome {
            bail!("refused: {:?}", frame.decode::<Labelled<Reply>>(FrameKind::Reply, "reply")?.body);
        }
        let _: Welcome = frame.decode(FrameKind::Welcome, "welcome")?;
        replies.set_limit(MAX_REPLY_FRAME);
        Ok(Lean { quic, requests, replies, urgent: None, rooms: None, label: 0, held_back: 0 })
    }

    /// Asks, and waits for the reply; asks again when a server that is busy says so. Not to be dropped before it came.
    ///
    /// # Errors
    /// When it is refused, or the connection breaks.
    pub async fn ask(&mut self, request: Request) -> Result<Reply> {
        loop {
            match self.ask_once(request.clone()).await? {
                Reply::Refused(Refusal { retry_after_ms: Some(ms), .. }) => {
                    self.held_back += 1;
                    tokio::time::sleep(Duration::from_millis(ms.into())).await;
                }
                Reply::Refused(refusal) => bail!("refused: {refusal}"),
                reply => return Ok(reply),
            }
        }
    }

    /// How often the server said that it takes no more now.
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    async fn ask_once(&mut self, request: Request) -> Result<Reply> {
        self.label += 1;
        let asked = Labelled { label: self.label, body: request };
        write_frame(&mut self.requests, encode_frame(FrameKind::Request, &asked)).await?;
        let frame = tokio::time::timeout(ANSWER_WITHIN, self.replies.next()).await;
        let frame = frame.context("the server does not answer")??.context("the server ended the stream")?;
        let Labelled { label, body } = frame.decode(FrameKind::Reply, "reply")?;
        ensure!(label == self.label, "a reply to request {label} where {} belongs", self.label);
        Ok(body)
    }

    /// A request that is answered with a room.
    ///
    /// # Errors
    /// As [`Lean::ask`].
    pub async fn room(&mut self, request: Request) -> Result<RoomSummary> {
        match self.ask(request).await? {
            Reply::Room(room) => Ok(room),
            other => bail!("a room was asked for and {other:?} came"),
        }
    }

    /// Watches rooms, each from its cursor on.
    ///
    /// # Errors
    /// When the server does not go on from exactly there.
    pub async fn watch(&mut self, rooms: &[(RoomId, Cursor)]) -> Result<()> {
        let asked = rooms.iter().map(|(room, from)| (*room, Some(*from))).collect();
        let Reply::Watching { rooms: states } = self.ask(Request::Watch { rooms: asked }).await? else {
            bail!("a watch was answered with something else");
        };
        ensure!(states.len() == rooms.len(), "{} watches were answered for {}", states.len(), rooms.len());
        for ((id, cursor), state) in rooms.iter().zip(&states) {
            let exact = matches!(state, WatchState::Live { room, from, .. } if room == id && from == cursor);
            ensure!(exact, "watching {id:?} from {cursor:?} was answered with {state:?}");
        }
        Ok(())
    }

    /// The next frame of the live streams. Dropping a future of it loses nothing.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn frame(&mut self) -> Result<Frame> {
        loop {
            let Lean { quic, urgent, rooms, .. } = self;
            let frame = tokio::select! {
                frame = next(rooms), if rooms.is_some() => frame,
                frame = next(urgent), if urgent.is_some() => frame,
                stream = quic.accept_uni(), if rooms.is_none() => {
                    let reader = FrameReader::new(stream?, MAX_EVENT_FRAME);
                    *if urgent.is_none() { urgent } else { rooms } = Some(reader);
                    continue;
                }
            };
            return frame?.context("the server ended a live stream");
        }
    }

    /// The same, decoded.
    ///
    /// # Errors
    /// The same, and what is no frame.
    pub async fn told(&mut self) -> Result<Told> {
        let frame = self.frame().await?;
        Ok(match frame.kind {
            FrameKind::Event => Told::Event(frame.decode(FrameKind::Event, "event")?),
            FrameKind::Notice => Told::Notice(frame.decode(FrameKind::Notice, "notice")?),
            _ => Told::Push(frame.decode(FrameKind::Push, "push")?),
        })
    }

    /// A page of history, and the room's newest event.
    ///
    /// # Errors
    /// When it is refused, or the connection breaks.
    pub async fn page(&self, target: Target, from: PageFrom, limit: u32) -> Result<(Vec<Event>, Cursor)> {
        let (mut send, receive) = self.quic.open_bi().await?;
        // As every client does: what is live goes first.
        let _ = send.set_priority(-1);
        write_frame(&mut send, encode_frame(FrameKind::Page, &PageRequest { target, from, limit })).await?;
        let _ = send.finish();
        let mut frames = FrameReader::new(receive, MAX_EVENT_FRAME);
        let mut events = Vec::new();
        loop {
            let frame = tokio::time::timeout(ANSWER_WITHIN, frames.next()).await;
            let frame = frame.context("a page does not come")??.context("a page ended too early")?;
            if frame.kind == FrameKind::Event {
                events.push(frame.decode(FrameKind::Event, "event")?);
                continue;
            }
            return match frame.decode(FrameKind::PageEnd, "end of page")? {
                PageEnd::Complete { head, .. } => Ok((events, head)),
                PageEnd::Refused(refusal) => bail!("a page was refused: {refusal}"),
            };
        }
    }

    /// Ends it; what came and was not read is gone.
    pub fn close(&self) {
        self.quic.close(close::DONE.into(), b"");
    }

    /// Bytes that came on this connection so far, whoever reads them or not.
    pub fn bytes_received(&self) -> u64 {
        self.quic.stats().udp_rx.bytes
    }
}

async fn next(live: &mut Option<FrameReader>) -> Result<Option<Frame>, FrameError> {
    match live {
        Some(live) => live.next().await,
        None => std::future::pending().await,
    }
}
