//! Where Redis is: directly, or as the master that Sentinels name. Knows no connection.

use std::fmt;
use std::str::FromStr;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// The port of Redis.
const PORT: u16 = 6379;
/// The port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;
const DIRECT: &str = "redis://";
const BY_SENTINEL: &str = "redis+sentinel://";

/// Where Redis is, and as whom to speak to it.
#[derive(Clone)]
pub struct Address {
    pub(super) info: ConnectionInfo,
    /// Who knows where it is now; nobody, where it is always at the same address.
    pub(super) sentinels: Vec<(String, u16)>,
    /// What they call it.
    pub(super) master: String,
}

/// Why a text is no address of Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Another scheme.
    #[error("an address of Redis begins with redis:// or redis+sentinel://")]
    Scheme,
    /// Encrypted.
    #[error(
        "quipd speaks to Redis without TLS: use redis:// in a private network, or through a tunnel such as stunnel or WireGuard"
    )]
    Tls,
    /// Not as it should be.
    #[error("not an address of Redis: {0}")]
    Malformed(&'static str),
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        if text.starts_with("rediss") {
            return Err(BadAddress::Tls);
        }
        if let Some(rest) = text.strip_prefix(BY_SENTINEL) {
            return by_sentinel(rest);
        }
        let rest = text.strip_prefix(DIRECT).ok_or(BadAddress::Scheme)?;
        let (_, hosts) = user(rest);
        if hosts.is_empty() || hosts.starts_with(['/', ':']) {
            return Err(BadAddress::Malformed("say redis://[user:password@]host[:port][/number]"));
        }
        Ok(Address { info: info(text)?, sentinels: Vec::new(), master: String::new() })
    }
}

/// What is before the last `@` of the hosts, with it, and the rest. A password may hold any character as `%40`.
fn user(rest: &str) -> (&str, &str) {
    let end = rest.find('/').unwrap_or(rest.len());
    let at = rest[..end].rfind('@').map_or(0, |at| at + 1);
    rest.split_at(at)
}

fn info(url: &str) -> Result<ConnectionInfo, BadAddress> {
    let wrong = BadAddress::Malformed("say redis://[user:password@]host[:port][/number]");
    let info = url.into_connection_info().map_err(|_| wrong)?;
    // Every question waits for its answer.
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn by_sentinel(rest: &str) -> Result<Address, BadAddress> {
    let wrong =
        || BadAddress::Malformed("say redis+sentinel://[user:password@]host[:port],…/master[/number]");
    let (user, rest) = user(rest);
    let (hosts, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (master, number) = path.split_once('/').unwrap_or((path, "0"));
    let sentinels = hosts.split(',').map(|host| host_and_port(host, SENTINEL_PORT));
    let sentinels: Vec<_> = sentinels.collect::<Option<_>>().ok_or_else(wrong)?;
    if master.is_empty() || number.parse::<u32>().is_err() {
        return Err(wrong());
    }
    let info = info(&format!("{DIRECT}{user}sentinel:{PORT}/{number}")).map_err(|_| wrong())?;
    Ok(Address { info, sentinels, master: master.to_owned() })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, rest)| (host, rest.strip_prefix(':')))?,
        None => text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default), str::parse).ok()?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

impl Address {
    /// The same login at another place.
    pub(super) fn at(&self, host: String, port: u16) -> ConnectionInfo {
        self.info.clone().set_addr(ConnectionAddr::Tcp(host, port))
    }
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.info.redis_settings().db();
        if self.sentinels.is_empty() {
            return write!(f, "{DIRECT}{}/{number}", self.info.addr());
        }
        let hosts: Vec<_> = self.sentinels.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{BY_SENTINEL}{}/{}/{number}", hosts.join(","), self.master)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        let table = [
            ("redis://127.0.0.1:7000", "redis://127.0.0.1:7000/0"),
            ("redis://localhost", "redis://localhost:6379/0"),
            ("redis://u:p%40s%2Fs@r.example:1/3", "redis://r.example:1/3"),
            ("redis+sentinel://a:1,b,[::1]:7/mine", "redis+sentinel://a:1,b:26379,::1:7/mine/0"),
            ("redis+sentinel://:secret@a/mine/2", "redis+sentinel://a:26379/mine/2"),
        ];
        for (text, shown) in table {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("secret"));
        }
        let address: Address = "redis+sentinel://u:p%40s@a/mine".parse().unwrap();
        let settings = address.info.redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("u"), Some("p@s")));
        assert_eq!(address.at("h".into(), 5).addr(), &ConnectionAddr::Tcp("h".into(), 5));
    }

    #[test]
    fn what_is_none_says_why() {
        for tls in ["rediss://a", "rediss+sentinel://a/m"] {
            assert_eq!(tls.parse::<Address>().unwrap_err(), BadAddress::Tls);
        }
        for scheme in ["", "http://a", "127.0.0.1:6379"] {
            assert_eq!(scheme.parse::<Address>().unwrap_err(), BadAddress::Scheme, "{scheme}");
        }
        let malformed = [
            "redis://",
            "redis:///0",
            "redis://a:x",
            "redis://a/b",
            "redis+sentinel://",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a,,b/m",
            "redis+sentinel://a:b/m",
            "redis+sentinel://a/m/x",
        ];
        for text in malformed {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, BadAddress::Malformed(_)), "{text}: {error}");
        }
    }
}
