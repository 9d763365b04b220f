//! Why Redis does not answer: in one line, with what to do where that can be known. Knows where Redis is, and no connection.

use redis::RedisError;

use super::address::Address;
use crate::log::shared::contract::Lost;

/// What an error says, and what to do. The crates that say it have no types for these.
const TO_DO: [(&str, &str); 9] = [
    (
        "UnknownIssuer",
        "name the certificate of who signed it with --redis-ca, or have it signed by one that this system trusts",
    ),
    (
        "BadSignature",
        "another authority of the same name signed it: name that one's certificate with --redis-ca",
    ),
    ("CaUsedAsEndEntity", "give Redis a certificate that this one signed, instead of itself"),
    ("certificate not valid for name", "name Redis as its certificate does"),
    ("NotValidForName", "name Redis as its certificate does"),
    (
        "CertificateRequired",
        "set tls-auth-clients no in redis.conf: quipd shows a password, and no certificate",
    ),
    ("InvalidContentType", "it speaks no TLS: say redis:// instead of rediss://"),
    (
        "NOAUTH",
        "its password is missing in the address: redis://:password@host, for a Sentinel ?sentinel_password=…",
    ),
    ("AuthenticationFailed", "the user or the password in its address is wrong"),
];

/// The whole of it in one line.
pub(super) fn lost(error: RedisError) -> Lost {
    let said = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let to_do = TO_DO.iter().find(|(says, _)| said.contains(says));
    Lost(to_do.map_or_else(|| said.clone(), |(_, to_do)| format!("{said}: {to_do}")))
}

/// A connection could not be made. Who speaks TLS to one who does not, or the reverse, is not told so.
pub(super) fn unconnected(address: &Address, Lost(why): Lost) -> Lost {
    let is_silent = why.starts_with("no connection within");
    let is_closed =
        ["end of file", "reset by peer", "roken pipe", "closed"].iter().any(|said| why.contains(said));
    Lost(match address.is_encrypted() {
        true if is_silent => {
            format!("{why}: is it there, and does it speak TLS? If not, say redis:// instead of rediss://")
        }
        true if is_closed => {
            format!("{why}: if it wants a certificate of quipd, set tls-auth-clients no in redis.conf")
        }
        false if is_closed => format!("{why}: if it speaks TLS, say rediss:// instead of redis://"),
        _ => why,
    })
}
