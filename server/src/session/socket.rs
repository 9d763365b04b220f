//! The UDP socket of a server: opened, waited for, given back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig};
use quinn_proto::RandomConnectionIdGenerator;
use quip_protocol::error::close;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::accept::server_config;
use super::datagrams::Datagrams;
use super::tls::ServerTls;

/// Resets are sent at most this often: ten thousand clients of before are told within a second or two.
const RESET_INTERVAL: Duration = Duration::from_micros(100);
/// UDP buffers: when a thousand clients acknowledge at once, the default loses packets (facts.md).
const SOCKET_BUFFER: usize = 8 * 1024 * 1024;

/// How long an address that is in use is waited for, and how often it is looked at.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// How long clients may take to acknowledge that their connection is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Listens on an address.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen(address: SocketAddr, tls: &ServerTls) -> io::Result<Endpoint> {
    let runtime = quinn::default_runtime().ok_or_else(|| io::Error::other("no async runtime"))?;
    let socket = Arc::new(Datagrams::new(socket(address)?)?);
    let config = Some(server_config(&tls.config));
    Endpoint::new_with_abstract_socket(endpoint_config(tls), config, socket, runtime)
}

/// Whether an address can be listened on, which is given back at once.
///
/// # Errors
/// When it cannot be.
pub fn try_out(address: SocketAddr) -> io::Result<()> {
    socket(address).map(drop)
}

/// The same on an address that this process had a moment ago: the tasks that had it end when they are next polled.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn listen_again(address: SocketAddr, tls: &ServerTls) -> io::Result<Endpoint> {
    let until = Instant::now() + RELEASED_WITHIN;
    loop {
        match listen(address, tls) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => sleep(LOOK).await,
            listening => return listening,
        }
    }
}

/// Tells the clients, and gives the address back.
///
/// A connection that is being closed lasts for three times its probe timeout (RFC 9000, 10.2) and has the socket. After a
/// process was stopped for a while (SIGSTOP, a laptop's sleep) its round trips seem to have taken as long, and that is a
/// minute and more: what is left is moved to another socket. Twice, since quinn keeps the one of before.
pub async fn release(endpoint: Endpoint) {
    endpoint.close(close::STOPPING.into(), b"the server is stopping");
    // What is not acknowledged by then was not wanted.
    let _ = timeout(CLOSED_WITHIN, endpoint.wait_idle()).await;
    for _ in 0..2 {
        let moved = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|to| endpoint.rebind(to));
        if let Err(e) = moved {
            warn!(error = %e, "the address is given back when the last connection is closed");
        }
    }
}

/// A server that was killed and is back tells the clients of before so (RFC 9000, 10.3), and they connect again at
/// once. For that its key for resets has to be the one of before.
///
/// Connection ids are random in all of their 8 bytes. quinn's default has 3 random bytes, and looks up a first packet
/// that comes after a Retry among the ids of established connections too: with 5,000 connections one handshake in
/// some hundreds found itself there, and was never answered.
fn endpoint_config(tls: &ServerTls) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(tls.reset_key.clone()));
    config
        .cid_generator(|| Box::new(RandomConnectionIdGenerator::default()))
        .min_reset_interval(RESET_INTERVAL);
    config
}

fn socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // [::] takes IPv4 too, where the system allows it.
        socket.set_only_v6(false)?;
    }
    // As much as the system gives; the rest is its limit (net.core.rmem_max).
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
