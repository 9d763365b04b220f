//! What a client needs to connect. Only [`Config::from_env`] looks at the environment.

use std::time::Duration;

use super::Error;
use crate::identity::{Fingerprint, Identity};
use crate::link::ServerLink;
use crate::node::NodeAddress;
use crate::safe_text::SafeLine;

/// How long a connection may take, from the name's lookup to the server's `Welcome`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Which server is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The one with this key.
    Pinned(Fingerprint),
    /// None yet: connecting fails with [`Error::UnknownServer`], for the caller to show and pin.
    Ask,
}

impl Trust {
    /// The key that it must have, if one is known.
    pub fn pinned(self) -> Option<Fingerprint> {
        match self {
            Trust::Pinned(fingerprint) => Some(fingerprint),
            Trust::Ask => None,
        }
    }
}

/// Where to connect, as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// UDP.
    pub port: u16,
    /// Which server is the right one.
    pub trust: Trust,
    /// Who this device is.
    pub identity: Identity,
    /// Program and version, for the server's operator.
    pub agent: SafeLine,
    /// Whether a lost connection is made again.
    pub reconnect: bool,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// The other nodes of a cluster, as [`super::Handle::nodes`] told them the last time: any of them will do. Their keys
    /// are trusted.
    pub nodes: Vec<NodeAddress>,
}

impl Config {
    /// With reconnecting, and [`CONNECT_TIMEOUT`].
    pub fn new(host: impl Into<String>, port: u16, trust: Trust, identity: Identity) -> Config {
        Config {
            host: host.into(),
            port,
            trust,
            identity,
            agent: SafeLine::new(concat!("quip-protocol/", env!("CARGO_PKG_VERSION"))),
            reconnect: true,
            connect_timeout: CONNECT_TIMEOUT,
            nodes: Vec::new(),
        }
    }

    /// From `QUIP_SERVER` (`quip://host:port/?fp=SHA256:…`) and `QUIP_TOKEN` (`quip_…`).
    ///
    /// # Errors
    /// [`Error::Config`] that names the variable.
    pub fn from_env() -> Result<Config, Error> {
        Config::from_values(&variable("QUIP_SERVER")?, &variable("QUIP_TOKEN")?)
    }

    fn from_values(server: &str, token: &str) -> Result<Config, Error> {
        let link: ServerLink =
            server.parse().map_err(|error| Error::config(format!("QUIP_SERVER: {error}")))?;
        let identity =
            Identity::from_token(token).map_err(|error| Error::config(format!("QUIP_TOKEN: {error}")))?;
        let trust = link.fingerprint.map_or(Trust::Ask, Trust::Pinned);
        Ok(Config::new(link.host, link.port, trust, identity))
    }

    /// `quip://host:port`.
    pub fn address(&self) -> String {
        let (host, port) = (self.host.clone(), self.port);
        ServerLink { host, port, fingerprint: None, code: None }.address()
    }
}

fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|error| match error {
        std::env::VarError::NotPresent => Error::config(format!(
            "{name} is not set; QUIP_SERVER is the server's link, QUIP_TOKEN what `quip token new` printed"
        )),
        std::env::VarError::NotUnicode(_) => Error::config(format!("{name} is not UTF-8")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_read_or_the_variable_named() {
        let identity = Identity::from_seed([7; 32]);
        let pin = Fingerprint([9; 32]);
        let server = format!("quip://chat.example:99/?fp={pin}");
        let config = Config::from_values(&server, &identity.to_token()).unwrap();
        assert_eq!(
            (config.host.as_str(), config.port, config.trust),
            ("chat.example", 99, Trust::Pinned(pin))
        );
        assert_eq!(config.identity, identity);
        assert_eq!(config.address(), "quip://chat.example:99");
        assert!(!format!("{config:?}").contains(&identity.to_token()), "a token must not reach a log");
        let table = [("quip://", "quip_x", "QUIP_SERVER"), ("quip://h", "quip_x", "QUIP_TOKEN")];
        for (server, token, named) in table {
            let error = Config::from_values(server, token).unwrap_err().to_string();
            assert!(error.starts_with(named), "{error}");
        }
    }
}
