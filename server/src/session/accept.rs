//! The door: limits on connections, handshakes.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, IdleTimeout, TransportConfig, VarInt};
use quip_protocol::Timestamp;
use quip_protocol::transport::{DATAGRAM_BUFFER, IDLE_TIMEOUT, ack_frequency};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::cluster::peer;
use crate::node::Shared;
use crate::ops::metrics::Metrics;

use super::serve;
use super::tls;

/// A handshake must be done within this.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Bulk streams at once, and the request stream.
const CLIENT_STREAMS: u32 = 9;
/// What may be on its way to the server on one stream, in bytes.
const STREAM_WINDOW: u32 = 512 * 1024;
/// What may be on its way to the server on one connection, in bytes.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What may be on its way to a client that does not acknowledge, in bytes.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Half-open connections that quinn holds for us.
const MAX_INCOMING: usize = 4_096;
/// What clients may send before their handshake was looked at, each and all together, in bytes: a first flight is some
/// packets.
const INCOMING_BYTES: u64 = 64 * 1024;
const ALL_INCOMING_BYTES: u64 = 16 * 1024 * 1024;
/// How connections are made, with this certificate.
pub fn server_config(crypto: &Arc<QuicServerConfig>) -> quinn::ServerConfig {
    let mut config = quinn::ServerConfig::with_crypto(Arc::clone(crypto) as _);
    config
        .transport_config(Arc::new(transport()))
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    config
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).expect("30 s is within what QUIC can say");
    transport
        .max_idle_timeout(Some(idle))
        .max_concurrent_bidi_streams(CLIENT_STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .ack_frequency_config(Some(ack_frequency()));
    transport
}

/// Accepts connections until it is told to stop; then waits until the sessions have finished what they accepted. Other
/// nodes of a cluster come in through `peers`.
pub async fn run(
    endpoint: Endpoint,
    shared: Shared,
    peers: Option<Arc<peer::Door>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            Some(_) = sessions.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some(incoming) = incoming else { break };
        if !incoming.remote_address_validated() && incoming.may_retry() && must_prove(&shared, &incoming) {
            if let Err(e) = incoming.retry() {
                debug!(error = %e, "no retry was sent");
            }
            continue;
        }
        sessions.spawn(connection(shared.clone(), peers.clone(), incoming, stop.clone()));
    }
    while sessions.join_next().await.is_some() {}
}

/// Whether a client has to prove its address first: when there are many, and when its address has had its share,
/// which somebody else may have spent in its name.
fn must_prove(shared: &Shared, incoming: &quinn::Incoming) -> bool {
    let (limits, sessions) = (shared.node.limits.read(), &shared.node.sessions);
    let address = incoming.remote_address().ip();
    sessions.total() >= limits.retry_above
        || !sessions.spent.may_shake_hands(address, &limits, Timestamp::now())
}

/// A limit is reached.
fn refuse(shared: &Shared, incoming: quinn::Incoming) {
    Metrics::count(&shared.node.metrics.refused_connections);
    let refused = shared.node.sessions.refused.lock().note(Timestamp::now());
    if let Some(count) = refused {
        let peer = incoming.remote_address();
        warn!(count, last = %peer, "connections were refused: a limit on connections is reached");
    }
    incoming.refuse();
}

async fn connection(
    shared: Shared,
    peers: Option<Arc<peer::Door>>,
    incoming: quinn::Incoming,
    stop: watch::Receiver<bool>,
) {
    let node = Arc::clone(&shared.node);
    let address = incoming.remote_address().ip();
    let place = {
        let limits = node.limits.read();
        node.sessions.place(address, limits.connections, limits.connections_per_address)
    };
    let Some(_place) = place else { return refuse(&shared, incoming) };
    // Boxed: it is over before the session, which lasts and is small without it.
    let Some(connection) = Box::pin(shake_hands(&shared, incoming)).await else { return };
    if let Some(peers) = peers.filter(|_| tls::is_node(&connection)) {
        Box::pin(peers.serve(&node.metrics, connection, stop)).await;
    } else if let Some(key) = tls::device_key(&connection) {
        serve(shared, connection, key, stop).await;
    }
}

async fn shake_hands(shared: &Shared, incoming: quinn::Incoming) -> Option<quinn::Connection> {
    let node = &shared.node;
    let address = incoming.remote_address();
    let limits = node.limits.read().clone();
    if !node.sessions.spent.may_shake_hands(address.ip(), &limits, Timestamp::now()) {
        refuse(shared, incoming);
        return None;
    }
    let accepted = incoming.accept().inspect_err(|e| debug!(peer = %address, error = %e, "not accepted"));
    match tokio::time::timeout(HANDSHAKE_DEADLINE, accepted.ok()?).await {
        Ok(Ok(connection)) => {
            Metrics::count(&node.metrics.connections);
            node.sessions.spent.shook_hands(address.ip(), &limits, Timestamp::now());
            return Some(connection);
        }
        Ok(Err(e)) => debug!(peer = %address, error = %e, "handshake failed"),
        Err(_) => debug!(peer = %address, "handshake not done in time"),
    }
    None
}
