//! A client that need not keep to the protocol: plain QUIC with a device's key, bytes in, bytes out.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, SendStream, TransportConfig};
use quip_protocol::codec::{Frame, FrameKind, encode_frame};
use quip_protocol::frame::{ALPN, Hello, Labelled, Reply, Request, VERSION, Welcome};
use quip_protocol::limits::{MAX_EVENT_FRAME, MAX_REPLY_FRAME};
use quip_protocol::transport::{FrameReader, IDLE_TIMEOUT};
use quip_protocol::{Cursor, Identity, Refusal, RoomId, SafeLine, ServerLink, tls};
use quip_tests::{Server, within};

/// What may be unread on one stream. Small, so that a client that does not read soon holds the server back.
const WINDOW: u32 = 32 * 1024;

/// A connection, and the request stream with what was said on it.
pub struct Raw {
    pub quic: Connection,
    pub send: SendStream,
    pub replies: FrameReader,
    pub welcome: Welcome,
    /// The live stream of what is urgent, which goes before the one of rooms; once that was taken.
    pub urgent: Option<FrameReader>,
    /// Keeps the socket.
    _endpoint: Endpoint,
}

/// A socket to dial from.
pub fn endpoint() -> Endpoint {
    Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a UDP socket")
}

/// A connection that has not said anything.
pub async fn dial(endpoint: &Endpoint, link: &ServerLink, identity: &Identity) -> Connection {
    let address = SocketAddr::new(link.host.parse().expect("an address"), link.port);
    let connecting = endpoint.connect_with(config(link, identity), address, "quip").expect("a valid address");
    within("a handshake", connecting).await.expect("any device is let in")
}

impl Raw {
    /// Connects and is welcomed.
    pub async fn connect(link: &ServerLink, identity: &Identity) -> Raw {
        Raw::connect_from(endpoint(), link, identity).await.expect("a welcome")
    }

    /// Connects; the refusal of the server's answer to `Hello`, and how it closed.
    pub async fn refused(link: &ServerLink, identity: &Identity) -> (Refusal, u32) {
        match Raw::connect_from(endpoint(), link, identity).await {
            Ok(_) => panic!("it was welcomed"),
            Err((refusal, quic)) => (refusal, closed(&quic).await),
        }
    }

    pub async fn connect_from(
        endpoint: Endpoint,
        link: &ServerLink,
        identity: &Identity,
    ) -> Result<Raw, (Refusal, Connection)> {
        let quic = dial(&endpoint, link, identity).await;
        let (mut send, recv) = quic.open_bi().await.expect("a request stream");
        send.write_chunk(hello()).await.expect("the server reads");
        let mut replies = FrameReader::new(recv, MAX_REPLY_FRAME);
        let frame = within("a welcome", replies.next()).await.expect("a frame").expect("an answer");
        if frame.kind == FrameKind::Reply {
            let reply: Labelled<Reply> = frame.decode(FrameKind::Reply, "reply").expect("a reply");
            let Reply::Refused(refusal) = reply.body else { panic!("a reply to nothing") };
            return Err((refusal, quic));
        }
        let welcome = frame.decode(FrameKind::Welcome, "welcome").expect("a welcome");
        Ok(Raw { quic, send, replies, welcome, urgent: None, _endpoint: endpoint })
    }

    /// Writes bytes onto the request stream. A server that has closed by then has its reasons.
    pub async fn write(&mut self, bytes: impl Into<Bytes>) {
        let _ = self.send.write_chunk(bytes.into()).await;
    }

    pub async fn ask(&mut self, request: Request) -> Reply {
        self.write(encode_frame(FrameKind::Request, &Labelled { label: 1, body: request })).await;
        self.reply().await
    }

    pub async fn refuses(&mut self, request: Request) -> Refusal {
        match self.ask(request.clone()).await {
            Reply::Refused(refusal) => refusal,
            other => panic!("{request:?} was not refused: {other:?}"),
        }
    }

    pub async fn reply(&mut self) -> Reply {
        let frame = within("a reply", self.replies.next()).await.expect("a frame").expect("an answer");
        frame.decode::<Labelled<Reply>>(FrameKind::Reply, "reply").expect("a reply").body
    }

    /// Watches a room and takes the live stream of rooms, on which its events come behind the cursor.
    pub async fn live_after_watch(&mut self, room: RoomId, after: Cursor) -> FrameReader {
        let watching = self.ask(Request::Watch { rooms: vec![(room, Some(after))] }).await;
        assert!(matches!(watching, Reply::Watching { .. }), "{watching:?}");
        self.live().await
    }

    /// The live stream of rooms, from its beginning.
    pub async fn live(&mut self) -> FrameReader {
        if self.urgent.is_none() {
            self.urgent = Some(self.stream().await);
        }
        self.stream().await
    }

    async fn stream(&self) -> FrameReader {
        let stream = within("a live stream", self.quic.accept_uni()).await.expect("a live stream");
        FrameReader::new(stream, MAX_EVENT_FRAME)
    }
}

pub fn hello() -> Bytes {
    let hello = Hello { oldest: VERSION, newest: VERSION, agent: SafeLine::new("raw") };
    encode_frame(FrameKind::Hello, &hello)
}

/// A whole frame of any bytes.
pub fn frame(kind: FrameKind, body: &[u8]) -> Bytes {
    let length = u32::try_from(body.len() + 1).expect("short enough").to_le_bytes();
    [&length, &[kind as u8][..], body].concat().into()
}

/// The next frame of a live stream.
pub async fn next(live: &mut FrameReader) -> Frame {
    within("a live frame", live.next()).await.expect("a frame").expect("the stream goes on")
}

/// Waits until the server has closed; its code.
pub async fn closed(quic: &Connection) -> u32 {
    match within("the server closes", quic.closed()).await {
        ConnectionError::ApplicationClosed(closed) => {
            u32::try_from(closed.error_code.into_inner()).expect("codes are small")
        }
        other => panic!("not closed by the server: {other}"),
    }
}

/// Resident memory of the server in MiB, where the system tells.
pub fn resident_mib(server: &Server) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Asserts that the server's memory has not grown by more than so many MiB since it was `before`.
pub fn assert_flat(server: &Server, before: Option<u64>, most_mib: u64) {
    if let (Some(before), Some(now)) = (before, resident_mib(server)) {
        assert!(now <= before + most_mib, "memory grew from {before} to {now} MiB");
    }
}

fn config(link: &ServerLink, identity: &Identity) -> quinn::ClientConfig {
    let (tls, _) = tls::client_config(identity, link.fingerprint, ALPN);
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .keep_alive_interval(Some(IDLE_TIMEOUT / 6))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("30 s are a valid timeout")));
    config.transport_config(Arc::new(transport));
    config
}
