//! How the load program connects: a few sockets with large buffers for all connections, as keys that follow from names.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use quip_protocol::client::raw;
use quip_protocol::frame::ALPN;
use quip_protocol::{AccountName, Fingerprint, ServerLink, tls};
use quip_tests::identity;

use crate::lean::Lean;

/// Each is read by a task of its own, with one call for many packets: more sockets would have fewer packets a call, fewer
/// would lose packets when everyone is answered at once.
const SOCKETS: usize = 8;
/// For each socket; the kernel may grant less (net.core.rmem_max).
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;
/// A handshake that waits behind others is no error of the server's.
const CONNECT_WITHIN: Duration = Duration::from_secs(60);

/// Connects to one server.
#[derive(Debug)]
pub struct Dialer {
    sockets: Vec<Endpoint>,
    server: SocketAddr,
    pinned: Fingerprint,
    next: AtomicUsize,
}

/// With what an account connects.
#[derive(Debug, Clone)]
pub struct Key {
    config: quinn::ClientConfig,
    seen: tls::SeenCell,
}

impl Dialer {
    /// Opens the sockets. In a tokio runtime.
    ///
    /// # Errors
    /// When the server's name has no address, or there are no sockets.
    pub fn new(link: &ServerLink) -> Result<Dialer> {
        let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(link.host.as_str(), link.port))?;
        let server = addresses.next().context("the server's name has no address")?;
        let pinned = link.fingerprint.context("a link with a fingerprint")?;
        let sockets = (0..SOCKETS).map(|_| socket(server)).collect::<Result<_>>()?;
        Ok(Dialer { sockets, server, pinned, next: AtomicUsize::new(0) })
    }

    /// What this account connects with.
    pub fn key(&self, name: &AccountName) -> Key {
        self.key_with(name, raw::transport(), rustls::client::Resumption::disabled())
    }

    /// The same with other windows, or with a memory for sessions that are resumed.
    pub fn key_with(
        &self,
        name: &AccountName,
        transport: TransportConfig,
        resumption: rustls::client::Resumption,
    ) -> Key {
        let (mut tls, seen) = tls::client_config(&identity(name.as_str()), Some(self.pinned), ALPN);
        tls.resumption = resumption;
        let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 has the suite that QUIC begins with");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Key { config, seen }
    }

    /// A connection that was welcomed.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub async fn connect(&self, key: &Key) -> Result<Lean> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let socket = &self.sockets[turn % SOCKETS];
        let connecting = async {
            // Servers are told apart by their keys, so the name in the handshake is always the same one.
            let quic = socket.connect_with(key.config.clone(), self.server, "quip")?.await?;
            Lean::greet(quic).await
        };
        tokio::time::timeout(CONNECT_WITHIN, connecting).await.context("no welcome in time")?
    }
}

impl Key {
    /// Whether the handshakes since the last call of this resumed a session: then no certificate was shown.
    pub fn has_resumed(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *seen).fingerprint.is_none()
    }
}

fn socket(server: SocketAddr) -> Result<Endpoint> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any).context("a UDP socket")?;
    if let Ok(state) = quinn::udp::UdpSocketState::new((&socket).into()) {
        // As much as the system gives: beyond it bursts are retransmitted.
        let _ = state.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = state.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
    }
    Ok(Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?)
}
