//! TLS of a node that asks: the other one is pinned by the fingerprint in the roster, as clients pin it. The own key
//! is made for one connection: who asks is shown by the cluster's key.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quip_protocol::transport::{IDLE_TIMEOUT, KEEP_ALIVE};
use quip_protocol::{Fingerprint, Identity, tls};

use super::wire::{ALPN, BLOCK_BYTES};

/// What may be on its way to who asks, in bytes: some blocks.
const WINDOW: u32 = 4 * BLOCK_BYTES as u32;

/// A configuration for one connection to the node with this key; `None` if no key of one's own can be made.
pub(super) fn client_config(pinned: Fingerprint) -> Option<quinn::ClientConfig> {
    let (tls, _) = tls::client_config(&Identity::generate().ok()?, Some(pinned), ALPN);
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).ok()?));
    config.transport_config(Arc::new(transport()));
    Some(config)
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    let idle: Duration = IDLE_TIMEOUT;
    transport
        .max_idle_timeout(quinn::IdleTimeout::try_from(idle).ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(0_u32.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(WINDOW.into())
        .receive_window(WINDOW.into());
    transport
}
