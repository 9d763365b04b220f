//! The nodes of a cluster, as clients are told of them: where each is found, and by which key. Imports names and keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::Fingerprint;
use crate::link::{LinkError, ServerLink, split_authority};
use crate::name::NodeName;

/// Longest host, in bytes: that of a name in DNS.
pub const MAX_HOST: usize = 253;

/// Where something is found: a host and a UDP port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, u16)", into = "(String, u16)")]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// A name or an address, IPv6 without brackets, and a port.
    ///
    /// # Errors
    /// When the host cannot stand in a link, is longer than [`MAX_HOST`], or the port is 0.
    pub fn new(host: impl Into<String>, port: u16) -> Result<Address, LinkError> {
        let host = host.into();
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        if host.len() > MAX_HOST || split_authority(&text)? != (host.clone(), port) {
            return Err(LinkError::Form);
        }
        Ok(Address { host, port })
    }

    /// A name or an address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `quip://host:port`, with the key that is expected there.
    pub fn link(&self, fingerprint: Option<Fingerprint>) -> ServerLink {
        ServerLink { host: self.host.clone(), port: self.port, fingerprint, code: None }
    }
}

impl TryFrom<(String, u16)> for Address {
    type Error = LinkError;
    fn try_from((host, port): (String, u16)) -> Result<Self, LinkError> {
        Address::new(host, port)
    }
}

impl From<Address> for (String, u16) {
    fn from(address: Address) -> (String, u16) {
        (address.host, address.port)
    }
}

impl FromStr for Address {
    type Err = LinkError;
    /// Takes `host:port`, `[::1]:port`, or the same after `quip://`; without a port it is that of Quip.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (host, port) = split_authority(text.strip_prefix("quip://").unwrap_or(text))?;
        Address::new(host, port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        f.pad(&text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node, where it is found, and by which key it is known. Each node has a key of its own: who is told one by a node
/// that is trusted may trust it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// What its operator calls it.
    pub name: NodeName,
    /// Where clients find it.
    pub address: Address,
    /// Of its key.
    pub fingerprint: Fingerprint,
}

/// A node, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSummary {
    /// Which.
    pub node: NodeAddress,
    /// How many connections it has: what clients choose by.
    pub connections: u32,
    /// It is stopping: nobody new should come.
    pub draining: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_links() {
        let long = format!("{}:1", "a".repeat(MAX_HOST));
        let table = [
            ("chat.example:99", Some("chat.example:99")),
            ("quip://chat.example:99", Some("chat.example:99")),
            ("chat.example", Some("chat.example:7847")),
            ("10.0.0.1:5", Some("10.0.0.1:5")),
            ("[::1]:5", Some("[::1]:5")),
            (&long, Some(long.as_str())),
            (&format!("a{long}"), None),
            ("::1:5", None),
            ("a:0", None),
            ("a b:5", None),
            ("a\u{1b}:5", None),
            (":5", None),
            ("", None),
            ("a/b:5", None),
        ];
        for (text, expected) in table {
            let found = text.parse::<Address>().ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_comes_over_the_wire_is_no_other() {
        let table = [
            ("a", 5, true),
            ("::1", 5, true),
            ("", 5, false),
            ("a", 0, false),
            ("a:b", 5, false),
            ("[::1]", 5, false),
        ];
        for (host, port, good) in table {
            let bytes = crate::codec::encode(&(host.to_owned(), port));
            let decoded = crate::codec::decode::<Address>(&bytes, "address");
            assert_eq!(decoded.is_ok(), good, "{host:?} {port}");
            if let Ok(address) = decoded {
                assert_eq!((address.host(), address.port()), (host, port));
                assert_eq!(crate::codec::encode(&address), bytes);
            }
        }
    }
}
