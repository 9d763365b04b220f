//! One QUIC connection: dial, TLS, `Hello` and `Welcome`, the request stream, the live stream.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, FrameStats, SendStream, TransportErrorCode, VarInt};
use tokio::task::JoinSet;

use super::nodes::Place;
use super::requests::Requests;
use super::roaming::{Look, Roamed, Roaming};
use super::silence::{Silence, TICK};
use super::{Config, Error, Trust};
use crate::codec::{Frame, FrameKind, decode_datagram, encode_datagram, encode_frame};
use crate::datagram::Datagram;
use crate::error::{ErrorCode, Refusal, close};
use crate::frame::{ALPN, Hello, Labelled, Reply, VERSION, Welcome};
use crate::limits::{MAX_EVENT_FRAME, MAX_REPLY_FRAME, MAX_WELCOME_FRAME};
use crate::safe_text::SafeLine;
use crate::tls::{self, Seen, SeenCell};
use crate::transport::{DATAGRAM_BUFFER, FrameReader, IDLE_TIMEOUT, KEEP_ALIVE, ack_frequency, write_frame};

/// The next address is tried after this long, without giving up the ones before it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// What the server may send unread on one stream; beyond it the server waits.
const STREAM_WINDOW: u32 = 512 * 1024;
/// The same for all streams together: a live stream and pages that nobody reads must leave room for replies.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const SEND_WINDOW: u64 = 1024 * 1024;
/// The live streams: what is urgent, and rooms.
const STREAMS_FROM_SERVER: u32 = 2;
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;
/// How long the closing of a broken connection waits for the server's own reason.
const REASON_WITHIN: Duration = Duration::from_millis(500);
/// How long a graceful close may take; the packet leaves at once, waiting for the answer is a courtesy.
const CLOSE_WITHIN: Duration = Duration::from_millis(20);
/// What is known of a server that is gone without a word.
const SILENT: &str = "the server is silent";

/// A connection on which the server has said `Welcome`.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) quic: quinn::Connection,
    pub(super) requests: Requests,
    pub(super) welcome: Arc<Welcome>,
    /// Where it goes.
    pub(super) place: Place,
    fault: Fault,
    endpoint: Endpoint,
}

/// Why this side ended the connection, for whoever waits for its end.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    quic: quinn::Connection,
    why: Arc<OnceLock<Error>>,
}

impl Fault {
    /// Ends the connection because of `error`, if it does not end by itself. A stream that ends is the shadow of a
    /// close that carries the reason, and closing once more would cover it.
    pub(super) async fn raise(&self, error: Error) {
        if error != Error::Disconnected {
            let _ = self.why.set(error);
        } else if tokio::time::timeout(REASON_WITHIN, self.quic.closed()).await.is_ok() {
            return;
        }
        self.quic.close(VarInt::from_u32(close::PROTOCOL), b"");
    }

    /// Nobody is interested any more.
    pub(super) fn done(&self) {
        self.quic.close(VarInt::from_u32(close::DONE), b"");
    }
}

/// Why a connection is no more: what callers get, and the words for it.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    pub(super) why: SafeLine,
}

impl From<Error> for Lost {
    fn from(error: Error) -> Lost {
        Lost { why: SafeLine::new(&error.to_string()), error }
    }
}

impl Connection {
    /// Connects and says `Hello`, all within the configured time.
    pub(super) async fn dial(config: &Config) -> Result<Connection, Error> {
        match tokio::time::timeout(config.connect_timeout, dial_any(config)).await {
            Ok(result) => result,
            Err(_) => Err(unreachable(config, format!("no answer within {:?}", config.connect_timeout))),
        }
    }

    /// Resolves when the connection has ended, or the server is gone without a word.
    pub(super) async fn lost(&self) -> Lost {
        let lost = tokio::select! {
            error = self.quic.closed() => lost(&error),
            why = self.silent() => Lost { error: Error::Disconnected, why: SafeLine::new(why) },
        };
        self.fault.why.get().cloned().map_or(lost, Lost::from)
    }

    /// Resolves when the server is gone without a word, with what is known of it. Goes with this machine to other networks
    /// meanwhile.
    async fn silent(&self) -> &'static str {
        let mut silence = Silence::default();
        let server = self.server();
        let mut roaming = Roaming::new(Look::now(server));
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                why = refused(server), if silence.is_odd() => return why,
            }
            let stats = self.quic.stats();
            if silence.tick(asked(&stats.frame_tx), stats.udp_rx.datagrams) {
                return SILENT;
            }
            // Behind the tick: what came before the machine moved answers no doubt.
            let roamed = roaming.look(Look::now(server));
            if matches!(roamed, Roamed::Moved | Roamed::Woke) {
                self.rebind(server, roamed);
                silence.doubt();
            }
        }
    }

    /// Goes on from a new socket. The ping that this sends tells the server where the client is now.
    fn rebind(&self, server: SocketAddr, roamed: Roamed) {
        match socket(server).and_then(|socket| self.endpoint.rebind(socket)) {
            Ok(()) => tracing::info!(?roamed, "rebound the connection"),
            Err(error) => {
                tracing::info!(?roamed, %error, "cannot rebind the connection; it will be made again")
            }
        }
    }

    /// Says what may be lost.
    pub(super) fn whisper(&self, datagram: &Datagram) {
        // A server that takes none, or a connection that ends: then it is lost.
        let _ = self.quic.send_datagram(encode_datagram(datagram));
    }

    /// The next datagram that is one. The end of the connection is told by [`Connection::lost`].
    pub(super) async fn whispered(&self) -> Datagram {
        loop {
            match self.quic.read_datagram().await.map(|bytes| decode_datagram(&bytes)) {
                Ok(Ok(datagram)) => return datagram,
                Ok(Err(error)) => tracing::debug!(%error, "a datagram is dropped"),
                Err(_) => return std::future::pending().await,
            }
        }
    }

    /// Where the server is.
    pub(super) fn server(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Connection) -> bool {
        Arc::ptr_eq(&self.fault.why, &other.fault.why)
    }

    /// Why it ends, when one of its streams has ended.
    pub(super) async fn ending(&self) -> Lost {
        self.fault.raise(Error::Disconnected).await;
        self.lost().await
    }

    /// Ends it because the server broke the protocol.
    pub(super) fn abort(&self) {
        self.quic.close(VarInt::from_u32(close::PROTOCOL), b"");
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        self.quic.close(VarInt::from_u32(close::DONE), b"");
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.endpoint.wait_idle()).await;
    }
}

/// Frames that were sent and want an acknowledgement; what acknowledges wants none. Where acknowledgements are delayed, what
/// may be lost is sent again once; from then on the peer is only asked to acknowledge at once.
fn asked(sent: &FrameStats) -> u64 {
    let FrameStats { immediate_ack, ping, stream, datagram, crypto, max_data, max_stream_data, .. } = sent;
    immediate_ack + ping + stream + datagram + crypto + max_data + max_stream_data
}

/// The streams of events, notices and pushes; the server opens them when it has something to say, first the one of
/// what is urgent: that is read before the other.
#[derive(Debug)]
pub(super) struct Live {
    quic: quinn::Connection,
    urgent: Option<FrameReader>,
    rooms: Option<FrameReader>,
}

impl Live {
    pub(super) fn of(connection: &Connection) -> Live {
        Live { quic: connection.quic.clone(), urgent: None, rooms: None }
    }

    /// The next frame. Dropping a future of it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            let opened = tokio::select! {
                biased;
                frame = next_of(&mut self.urgent) => return frame,
                frame = next_of(&mut self.rooms) => return frame,
                opened = self.quic.accept_uni(), if self.rooms.is_none() => opened?,
            };
            let free = if self.urgent.is_none() { &mut self.urgent } else { &mut self.rooms };
            *free = Some(FrameReader::new(opened, MAX_EVENT_FRAME));
        }
    }
}

/// The next frame of a stream; for ever if it is not open.
async fn next_of(stream: &mut Option<FrameReader>) -> Result<Frame, Error> {
    match stream {
        Some(stream) => stream.next().await?.ok_or(Error::Disconnected),
        None => std::future::pending().await,
    }
}

fn unreachable(config: &Config, why: impl AsRef<str>) -> Error {
    Error::Unreachable { address: config.address(), why: SafeLine::new(why.as_ref()) }
}

async fn dial_any(config: &Config) -> Result<Connection, Error> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((config.host.as_str(), config.port))
        .await
        .map_err(|_| unreachable(config, "no such host; check the name"))?
        .collect();
    let mut rest = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failed = None;
    loop {
        match rest.next() {
            Some(address) => drop(attempts.spawn(dial_one(config.clone(), address))),
            None if attempts.is_empty() => {
                return Err(failed.unwrap_or_else(|| unreachable(config, "the name has no address")));
            }
            None => {}
        }
        match first_ended(&mut attempts, rest.len() > 0).await {
            Some(Ok(connection)) => return Ok(connection),
            // A server that is there and wrong says more than one that is not there.
            Some(Err(error)) if failed.as_ref().is_none_or(|f: &Error| !f.is_final()) => failed = Some(error),
            _ => {}
        }
    }
}

/// The first attempt that ended; `None` if it is time to try the next address as well.
async fn first_ended(
    attempts: &mut JoinSet<Result<Connection, Error>>,
    more: bool,
) -> Option<Result<Connection, Error>> {
    let wait = if more { NEXT_ADDRESS_AFTER } else { Duration::MAX };
    tokio::time::timeout(wait, attempts.join_next()).await.ok()??.ok()
}

async fn dial_one(config: Config, address: SocketAddr) -> Result<Connection, Error> {
    let (tls, seen) = tls::client_config(&config.identity, config.trust.pinned(), ALPN);
    let endpoint = endpoint(address).map_err(|error| unreachable(&config, error.to_string()))?;
    // Servers are told apart by their keys, so the name in the handshake is always the same one.
    let connecting = endpoint
        .connect_with(quic_config(tls), address, "quip")
        .map_err(|error| unreachable(&config, error.to_string()))?;
    let quic = tokio::select! {
        result = connecting => result.map_err(|error| not_connected(&config, &seen, &error))?,
        why = refused(address) => return Err(unreachable(&config, why)),
    };
    match greet(&config, quic.clone(), endpoint).await {
        Err(Error::Disconnected) => Err(not_connected(&config, &seen, &quic.closed().await)),
        result => result,
    }
}

fn endpoint(address: SocketAddr) -> std::io::Result<Endpoint> {
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(quinn::EndpointConfig::default(), None, socket(address)?, runtime)
}

/// Any local address, for packets to this one.
fn socket(server: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    enlarge(&socket);
    Ok(socket)
}

/// The kernel may grant less, or nothing: then bursts are retransmitted.
fn enlarge(socket: &std::net::UdpSocket) {
    if let Ok(state) = quinn::udp::UdpSocketState::new(socket.into()) {
        let _ = state.set_recv_buffer_size(socket.into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size(socket.into(), SOCKET_BUFFER);
    }
}

fn quic_config(tls: rustls::ClientConfig) -> quinn::ClientConfig {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
        .expect("ring has the cipher suite of QUIC's first packets");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    config
}

/// The windows, streams and keep-alives of a client's connection.
pub fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_uni_streams(STREAMS_FROM_SERVER.into())
        .max_concurrent_bidi_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .ack_frequency_config(Some(ack_frequency()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("30 s are a valid idle timeout")));
    transport
}

/// Resolves if the system says that nobody listens there. QUIC's own socket is not connected, so it is not told;
/// a connected one is, by ICMP, for one byte that every QUIC server drops.
async fn refused(address: SocketAddr) -> &'static str {
    if let Ok(socket) = probe(address).await
        && let Err(error) = socket.recv(&mut [0; 1]).await
        && error.kind() == std::io::ErrorKind::ConnectionRefused
    {
        return "nobody listens there (is the server running?)";
    }
    std::future::pending().await
}

async fn probe(address: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = tokio::net::UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    socket.send(&[0]).await?;
    Ok(socket)
}

/// `Hello`, and the server's answer.
async fn greet(config: &Config, quic: quinn::Connection, endpoint: Endpoint) -> Result<Connection, Error> {
    let (mut send, receive) = quic.open_bi().await?;
    let hello = Hello { oldest: VERSION, newest: VERSION, agent: config.agent.clone() };
    write_frame(&mut send, encode_frame(FrameKind::Hello, &hello)).await?;
    let mut frames = FrameReader::new(receive, MAX_WELCOME_FRAME);
    let welcome = read_welcome(&mut frames).await.inspect_err(|error| match error {
        Error::Disconnected => {}
        Error::Refused(_) => quic.close(VarInt::from_u32(close::DONE), b""),
        _ => quic.close(VarInt::from_u32(close::PROTOCOL), b""),
    })?;
    frames.set_limit(MAX_REPLY_FRAME);
    Ok(assemble(Place::of(config), quic, endpoint, welcome, send, frames))
}

fn assemble(
    place: Place,
    quic: quinn::Connection,
    endpoint: Endpoint,
    welcome: Welcome,
    send: SendStream,
    frames: FrameReader,
) -> Connection {
    let fault = Fault { quic: quic.clone(), why: Arc::default() };
    let requests = Requests::start(send, frames, welcome.limits.requests_in_flight, fault.clone());
    Connection { quic, requests, welcome: Arc::new(welcome), place, fault, endpoint }
}

async fn read_welcome(frames: &mut FrameReader) -> Result<Welcome, Error> {
    let frame = frames.next().await?.ok_or(Error::Disconnected)?;
    if frame.kind == FrameKind::Reply {
        return match frame.decode(FrameKind::Reply, "reply")? {
            Labelled { label: 0, body: Reply::Refused(refusal) } => Err(refusal.into()),
            _ => Err(Error::protocol("a reply where the welcome belongs")),
        };
    }
    let welcome: Welcome = frame.decode(FrameKind::Welcome, "welcome")?;
    if welcome.version == VERSION {
        Ok(welcome)
    } else {
        Err(Error::protocol(format!("version {}, which was not offered", welcome.version)))
    }
}

/// Why there is no connection, from what the verifier saw and how it ended.
fn not_connected(config: &Config, seen: &SeenCell, error: &ConnectionError) -> Error {
    let Seen { fingerprint, forged } = *seen.lock().unwrap_or_else(PoisonError::into_inner);
    let address = config.address();
    match (config.trust, fingerprint) {
        (Trust::Ask, Some(fingerprint)) => Error::UnknownServer { address, fingerprint },
        (Trust::Pinned(expected), Some(found)) if found != expected => {
            Error::WrongServer { address, expected, found }
        }
        _ if forged => Error::ForgedServer { address },
        _ => match lost(error) {
            Lost { error: Error::Disconnected, why } => Error::Unreachable { address, why },
            Lost { error, .. } => error,
        },
    }
}

/// What the end of a connection means.
fn lost(error: &ConnectionError) -> Lost {
    let why = match error {
        ConnectionError::ApplicationClosed(closed) => {
            let reason = SafeLine::new(&String::from_utf8_lossy(&closed.reason));
            let code = u32::try_from(closed.error_code.into_inner()).unwrap_or(u32::MAX);
            if code == close::REVOKED {
                return Error::Refused(revoked(reason)).into();
            }
            return Lost { error: Error::Disconnected, why: close_reason(code, reason) };
        }
        ConnectionError::ConnectionClosed(closed)
            if closed.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            "the server has as many connections as it takes; try again later".to_owned()
        }
        ConnectionError::TimedOut => SILENT.to_owned(),
        ConnectionError::Reset => "the server was started again".to_owned(),
        ConnectionError::VersionMismatch => "it speaks another version of QUIC".to_owned(),
        error => error.to_string(),
    };
    Lost { error: Error::Disconnected, why: SafeLine::new(&why) }
}

fn revoked(reason: SafeLine) -> Refusal {
    let text = "this device was revoked or its account suspended; ask the server's operator";
    let text = if reason.is_empty() { SafeLine::new(text) } else { reason };
    Refusal { code: ErrorCode::Revoked, text, retry_after_ms: None }
}

fn close_reason(code: u32, reason: SafeLine) -> SafeLine {
    let text = match code {
        close::STOPPING => "the server is stopping",
        close::PROTOCOL => "the server says that this client broke the protocol; are both up to date?",
        close::DEADLINE => "the server waited too long for this client",
        _ if !reason.is_empty() => return reason,
        _ => "the server closed the connection",
    };
    SafeLine::new(text)
}

#[cfg(test)]
mod tests;
