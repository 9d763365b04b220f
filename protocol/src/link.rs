//! Server addresses and the links that carry a fingerprint and a code.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identity::Fingerprint;

/// Q-U-I-P on a keypad.
pub const DEFAULT_PORT: u16 = 7847;

const CODE_BYTES: usize = 16;

/// A one-time secret: an invite or a device code, 128 random bits. The server keeps only its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InviteCode([u8; CODE_BYTES]);

impl InviteCode {
    /// A new code.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<InviteCode, getrandom::Error> {
        let mut bytes = [0; CODE_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(InviteCode(bytes))
    }

    /// SHA-256 of the code: what is kept, and looked up.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// The code as it stands in a link. A secret: print it only where the user asked for it.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(…)")
    }
}

impl FromStr for InviteCode {
    type Err = LinkError;
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| LinkError::Code)?;
        bytes.try_into().map(InviteCode).map_err(|_| LinkError::Code)
    }
}

/// Why a link or address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not `quip://host[:port]`.
    #[error("an address is quip://host[:port], a link quip://host:port/?fp=SHA256:…#code")]
    Form,
    /// The fingerprint is cut or mistyped.
    #[error("the link's fingerprint is cut or mistyped; copy the whole link again, in quotes")]
    Fingerprint,
    /// The code is cut or mistyped.
    #[error("the link's code is cut or mistyped; copy the whole link again, in quotes")]
    Code,
}

/// `quip://host[:port]`, with the server's fingerprint and a one-time code if it is an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLink {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// UDP.
    pub port: u16,
    /// The server's key, if the link carries it.
    pub fingerprint: Option<Fingerprint>,
    /// The secret, if the link is an invite.
    pub code: Option<InviteCode>,
}

impl ServerLink {
    /// `quip://host:port` alone: what identifies the server.
    pub fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("quip://{host}:{}", self.port)
    }

    /// The whole link, its code in clear. Print it only where the user asked for it.
    pub fn reveal(&self) -> String {
        let mut link = self.address();
        if let Some(fingerprint) = &self.fingerprint {
            link += &format!("/?fp={fingerprint}");
        }
        if let Some(code) = &self.code {
            link += &format!("#{}", code.reveal());
        }
        link
    }
}

impl FromStr for ServerLink {
    type Err = LinkError;
    /// Takes a link, an address, or `host[:port]`.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        let rest = text.strip_prefix("quip://").unwrap_or(text);
        let (rest, code) = match rest.split_once('#') {
            Some((rest, code)) => (rest, Some(code.parse()?)),
            None => (rest, None),
        };
        let (authority, query) = match rest.split_once('/') {
            Some((authority, path)) => (authority, path.strip_prefix('?').unwrap_or(path)),
            None => (rest, ""),
        };
        let fingerprint = match query {
            "" => None,
            query => Some(
                query
                    .strip_prefix("fp=")
                    .ok_or(LinkError::Form)?
                    .parse()
                    .map_err(|_| LinkError::Fingerprint)?,
            ),
        };
        let (host, port) = split_authority(authority)?;
        Ok(ServerLink { host, port, fingerprint, code })
    }
}

pub(crate) fn split_authority(authority: &str) -> Result<(String, u16), LinkError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(LinkError::Form)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| LinkError::Form)?;
        (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(LinkError::Form)?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let bracketed = authority.starts_with('[');
    let valid =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || (bracketed && c == ':');
    if host.is_empty() || !host.chars().all(valid) {
        return Err(LinkError::Form);
    }
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).map_err(|_| LinkError::Form)?;
    if port == 0 { Err(LinkError::Form) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_they_are_printed() {
        let fingerprint = Fingerprint([7; 32]);
        let code: InviteCode = "AAECAwQFBgcICQoLDA0ODw".parse().unwrap();
        let link = ServerLink {
            host: "127.0.0.1".into(),
            port: 4000,
            fingerprint: Some(fingerprint),
            code: Some(code),
        };
        assert_eq!(link.reveal().parse(), Ok(link.clone()));
        assert!(!format!("{link:?}").contains("AAECAw"), "a code must not reach a log");
        let table = [
            ("quip://chat.example", Some(("chat.example", 7847))),
            ("chat.example:99", Some(("chat.example", 99))),
            ("quip://[::1]:5", Some(("::1", 5))),
            ("quip://[::1]", Some(("::1", 7847))),
            ("quip://", None),
            ("quip://h:0", None),
            ("quip://h:99999", None),
            ("quip://a b", None),
            ("quip://::1", None),
            ("quip://h/?fp=SHA256:short", None),
            ("quip://h/#short", None),
        ];
        for (text, expected) in table {
            let link = text.parse::<ServerLink>().ok();
            assert_eq!(link.as_ref().map(|l| (l.host.as_str(), l.port)), expected, "{text}");
        }
    }
}
