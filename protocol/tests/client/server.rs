//! A server that speaks the frames over real QUIC and does what a test tells it: to be slow, wrong, or gone.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Endpoint, SendStream, VarInt};
use quip_protocol::client::{Client, Config, Event, Trust};
use quip_protocol::codec::{FrameKind, encode_event, encode_frame};
use quip_protocol::frame::{
    ALPN, Hello, Labelled, PageRequest, Push, Reply, Request, VERSION, WatchState, Welcome,
};
use quip_protocol::limits::{Limits, MAX_HELLO_FRAME, MAX_REQUEST_FRAME};
use quip_protocol::transport::{FrameReader, write_frame};
use quip_protocol::{
    AccountName, Cursor, DeviceKey, Epoch, EventBody, Fingerprint, Identity, Message, MessageId, MessageKind,
    Receipt, RoomId, SafeLine, SafeText, Seq, Timestamp,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;

pub const ROOM: RoomId = RoomId(7);
pub const SEED: [u8; 32] = [42; 32];

/// A test that hangs fails: the only use of time here.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("done before the deadline")
}

/// A certificate and its key.
pub fn certificate() -> (CertificateDer<'static>, rcgen::KeyPair) {
    let made = rcgen::generate_simple_self_signed(["quip".to_owned()]).unwrap();
    (made.cert.der().clone(), made.signing_key)
}

pub fn fingerprint(key: &rcgen::KeyPair) -> Fingerprint {
    Fingerprint::of_spki(&rcgen::PublicKeyData::subject_public_key_info(key))
}

pub struct Server {
    pub endpoint: Endpoint,
    pub fingerprint: Fingerprint,
}

impl Server {
    pub fn new() -> Server {
        let (certificate, key) = certificate();
        Server::with(certificate, &key, fingerprint(&key))
    }

    /// From now on it shows another key.
    pub fn change_key(&self) {
        let (certificate, key) = certificate();
        self.endpoint.set_server_config(Some(server_config(certificate, &key)));
    }

    /// Shows `certificate` and signs with `key`, whatever belongs to what.
    pub fn with(
        certificate: CertificateDer<'static>,
        key: &rcgen::KeyPair,
        fingerprint: Fingerprint,
    ) -> Server {
        let config = server_config(certificate, key);
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        Server { endpoint, fingerprint }
    }

    pub fn config(&self) -> Config {
        let port = self.endpoint.local_addr().unwrap().port();
        let trust = Trust::Pinned(self.fingerprint);
        let config = Config::new("127.0.0.1", port, trust, Identity::from_seed(SEED));
        Config { connect_timeout: Duration::from_secs(600), ..config }
    }

    pub async fn connection(&self) -> quinn::Connection {
        self.endpoint.accept().await.unwrap().await.unwrap()
    }

    /// A client up to its `Hello`.
    pub async fn hello(&self) -> Peer {
        let quic = self.connection().await;
        let (send, receive) = quic.accept_bi().await.unwrap();
        let mut requests = FrameReader::new(receive, MAX_HELLO_FRAME);
        let frame = requests.next().await.unwrap().unwrap();
        let hello: Hello = frame.decode(FrameKind::Hello, "hello").unwrap();
        assert_eq!((hello.oldest, hello.newest), (VERSION, VERSION));
        requests.set_limit(MAX_REQUEST_FRAME);
        Peer { quic, send, requests, live: None }
    }

    /// A client that was welcomed.
    pub async fn accept(&self) -> Peer {
        self.accept_as(&welcome()).await
    }

    /// The same, in these words.
    pub async fn accept_as(&self, welcome: &Welcome) -> Peer {
        let mut peer = self.hello().await;
        peer.write(encode_frame(FrameKind::Welcome, welcome)).await;
        peer
    }

    /// A client and this server's end of its connection.
    pub async fn connected(&self, config: Config) -> (Client, Peer) {
        let (client, peer) = within(async { tokio::join!(Client::connect(config), self.accept()) }).await;
        let mut client = client.unwrap();
        assert_eq!(next(&mut client).await, Event::Up(welcome()));
        (client, peer)
    }
}

fn server_config(certificate: CertificateDer<'static>, key: &rcgen::KeyPair) -> quinn::ServerConfig {
    let signer =
        rustls::crypto::ring::sign::any_ecdsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
    let shown = Arc::new(CertifiedKey::new(vec![certificate], signer));
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls(shown)).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(crypto))
}

/// The next event, which is no error.
pub async fn next(client: &mut Client) -> Event {
    within(client.next()).await.expect("a live client").expect("no final error")
}

fn tls(shown: Arc<CertifiedKey>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyKey(algorithms)))
        .with_cert_resolver(Arc::new(Shown(shown)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

pub fn welcome() -> Welcome {
    Welcome {
        version: VERSION,
        server: SafeLine::new("test"),
        account: Some(name("ann")),
        open_registration: false,
        limits: Limits {
            text_bytes: 1000,
            burst_messages: 10,
            messages_per_second: 10,
            requests_in_flight: 8,
            idle_timeout_ms: 30_000,
        },
        now: Timestamp(1),
        nodes: Vec::new(),
    }
}

/// The server's end of one connection.
pub struct Peer {
    pub quic: quinn::Connection,
    pub send: SendStream,
    pub requests: FrameReader,
    pub live: Option<SendStream>,
}

impl Peer {
    /// The key the client showed in the handshake.
    pub fn device_key(&self) -> DeviceKey {
        let identity = self.quic.peer_identity().unwrap();
        let shown = identity.downcast::<Vec<CertificateDer<'static>>>().unwrap();
        DeviceKey::from_spki(&shown[0]).unwrap()
    }

    pub async fn write(&mut self, bytes: impl Into<Bytes>) {
        write_frame(&mut self.send, bytes.into()).await.unwrap();
    }

    pub async fn request(&mut self) -> (u32, Request) {
        let frame = within(self.requests.next()).await.unwrap().unwrap();
        let request: Labelled<Request> = frame.decode(FrameKind::Request, "request").unwrap();
        (request.label, request.body)
    }

    pub async fn reply(&mut self, label: u32, body: Reply) {
        self.write(encode_frame(FrameKind::Reply, &Labelled { label, body })).await;
    }

    /// Takes a post and returns its id and label.
    pub async fn post(&mut self) -> (u32, MessageId) {
        match self.request().await {
            (label, Request::Post { id, .. }) => (label, id),
            (_, other) => panic!("expected a post, got {other:?}"),
        }
    }

    /// Answers one watch of one room; returns the cursor that was asked for.
    pub async fn watch(&mut self, answer: impl FnOnce(Cursor) -> WatchState) -> Cursor {
        match self.request().await {
            (label, Request::Watch { rooms }) => {
                let [(ROOM, Some(from))] = rooms[..] else { panic!("another watch: {rooms:?}") };
                self.reply(label, Reply::Watching { rooms: vec![answer(from)] }).await;
                from
            }
            (_, other) => panic!("expected a watch, got {other:?}"),
        }
    }

    /// Writes on the live stream.
    pub async fn push(&mut self, bytes: impl Into<Bytes>) {
        if self.live.is_none() {
            self.live = Some(self.quic.open_uni().await.unwrap());
        }
        write_frame(self.live.as_mut().unwrap(), bytes.into()).await.unwrap();
    }

    pub async fn push_messages(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.push(encode_event(&message(1, seq))).await;
        }
    }

    pub async fn say(&mut self, push: &Push) {
        self.push(encode_frame(FrameKind::Push, push)).await;
    }

    /// A page's stream and what was asked on it.
    pub async fn page(&mut self) -> (SendStream, PageRequest) {
        let (send, receive) = self.quic.accept_bi().await.unwrap();
        let frame = FrameReader::new(receive, MAX_HELLO_FRAME).next().await.unwrap().unwrap();
        (send, frame.decode(FrameKind::Page, "page").unwrap())
    }

    pub fn cut(&self, code: u32) {
        self.quic.close(VarInt::from_u32(code), b"");
    }
}

pub fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

pub fn cursor(seq: u64) -> Cursor {
    Cursor { epoch: Epoch::FIRST, seq: Seq(seq) }
}

/// The answer of a server whose log fits the cursor.
pub fn live(from: Cursor) -> WatchState {
    WatchState::Live { room: ROOM, from, head: from }
}

pub fn receipt(id: MessageId, seq: u64) -> Reply {
    Reply::Receipt(Receipt { room: ROOM, epoch: Epoch::FIRST, seq: Seq(seq), id })
}

pub fn message(epoch: u32, seq: u64) -> quip_protocol::Event {
    let text = SafeText::new(&format!("message {seq}"));
    let id = MessageId::from_bytes([seq.to_le_bytes()[0]; 16]);
    quip_protocol::Event {
        room: ROOM,
        epoch: Epoch(epoch),
        seq: Seq(seq),
        at: Timestamp(1),
        ordinal: seq,
        author: name("bob"),
        body: EventBody::Message(Message::new(id, MessageKind::Plain, text, None)),
    }
}

/// Shows what it was given, even a certificate of another key.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Shown {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes any raw public key whose owner signs with it.
#[derive(Debug)]
struct AnyKey(rustls::crypto::WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        unreachable!("QUIC has TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let key = rustls::pki_types::SubjectPublicKeyInfoDer::from(key.as_ref());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
