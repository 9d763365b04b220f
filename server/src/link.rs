//! The server's own link: its address and key, as others are given them.

use std::net::{IpAddr, SocketAddr};

use quip_protocol::link::DEFAULT_PORT;
use quip_protocol::{Fingerprint, ServerLink};
use tracing::warn;

use crate::config::Config;
use crate::node::Node;
use crate::ops::disk::write_private;
use crate::session::tls;
use crate::start::StartError;

/// The file in the data directory that keeps the server's link.
const LINK: &str = "link";
/// What to do about a link with this machine's own name for itself.
pub const FOR_OTHERS: &str = "links work on this machine only; for others, start quipd with --public-host NAME, and with a --listen that is not 127.0.0.1";

/// Whether only who is on the server's machine can use the link.
pub fn is_local(link: &ServerLink) -> bool {
    link.host == "localhost" || link.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The link from now on; kept for links that are made while no server runs.
pub(crate) fn keep(node: &Node, link: ServerLink) {
    if let Err(e) = write_private(&node.data_dir.join(LINK), link.reveal().as_bytes()) {
        warn!(error = %e, "the server's link was not kept: quipd invite works only while the server runs");
    }
    *node.link.write() = Some(link);
}

/// The link of a server that does not run: as it was when it ran last, but for what the configuration says.
///
/// # Errors
/// When no server has run on the directory, or the certificate of the configuration cannot be read.
pub fn kept(config: &Config) -> Result<ServerLink, StartError> {
    let kept = std::fs::read_to_string(config.data_dir.join(LINK)).ok().and_then(|kept| kept.parse().ok());
    let never = || StartError::NeverServed { dir: config.data_dir.clone() };
    let mut link: ServerLink = kept.ok_or_else(never)?;
    if let Some((cert, _)) = &config.certificate {
        link.fingerprint = Some(tls::fingerprint(cert)?);
    }
    if let Some(host) = &config.public_host {
        link.host.clone_from(host);
    }
    Ok(link)
}

/// The link of a server that listens there.
pub(crate) fn of(config: &Config, address: Option<SocketAddr>, fingerprint: Fingerprint) -> ServerLink {
    let host = match (&config.public_host, address) {
        (Some(host), _) => host.clone(),
        (None, Some(address)) if !address.ip().is_unspecified() => address.ip().to_string(),
        _ => "127.0.0.1".into(),
    };
    let port = address.map_or(DEFAULT_PORT, |address| address.port());
    ServerLink { host, port, fingerprint: Some(fingerprint), code: None }
}
