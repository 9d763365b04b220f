//! Where Redis is, and where it may be: directly, or as the master that Sentinels name; with TLS or without. Knows no connection.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::log::shared::contract::Lost;

/// The port of Redis.
const PORT: u16 = 6379;
/// The port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;
const DIRECT: &str = "redis://";
const DIRECT_TLS: &str = "rediss://";
const BY_SENTINEL: &str = "redis+sentinel://";
const BY_SENTINEL_TLS: &str = "rediss+sentinel://";

/// Where Redis is, and as whom to speak to it.
#[derive(Clone)]
pub struct Address {
    pub(super) info: ConnectionInfo,
    /// Who knows where it is now; nobody, where it is always at the same address.
    pub(super) sentinels: Vec<(String, u16)>,
    /// What they call it.
    pub(super) master: String,
    /// As whom to speak to them.
    login: RedisConnectionInfo,
    /// Whether it may be in the open ([`Address::is_in_the_open`]).
    may_be_open: bool,
}

/// Why a text is no address of Redis, or cannot be used. Never says what stands in it, for there is a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Another scheme.
    #[error(
        "an address of Redis begins with redis:// or redis+sentinel://, or with TLS with rediss:// or rediss+sentinel://"
    )]
    Scheme,
    /// Certificates were named, and there is no TLS.
    #[error("certificates are for TLS: say rediss:// or rediss+sentinel://, or take them away")]
    Plain,
    /// No certificate is in the file.
    #[error("there is no certificate in PEM in it")]
    NoCertificate,
    /// Not as it should be.
    #[error("not an address of Redis: {0}")]
    Malformed(&'static str),
}

const SAY_DIRECT: BadAddress = BadAddress::Malformed("say redis://[user:password@]host[:port][/number]");
const SAY_SENTINEL: BadAddress = BadAddress::Malformed(
    "say redis+sentinel://[user:password@]host[:port],…/master[/number][?sentinel_user=…&sentinel_password=…]",
);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        for (scheme, with) in [(BY_SENTINEL, DIRECT), (BY_SENTINEL_TLS, DIRECT_TLS)] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return by_sentinel(rest, with);
            }
        }
        let rest = text.strip_prefix(DIRECT).or_else(|| text.strip_prefix(DIRECT_TLS));
        let (_, hosts) = user(rest.ok_or(BadAddress::Scheme)?);
        // A fragment is how the crate is told to check no certificate.
        if hosts.is_empty() || hosts.starts_with(['/', ':']) || hosts.contains('#') {
            return Err(SAY_DIRECT);
        }
        let info = info(text).ok_or(SAY_DIRECT)?;
        Ok(Address {
            info,
            sentinels: Vec::new(),
            master: String::new(),
            login: RedisConnectionInfo::default(),
            may_be_open: false,
        })
    }
}

/// What is before the last `@` of the hosts, with it, and the rest. A password may hold any character as `%40`.
fn user(rest: &str) -> (&str, &str) {
    let end = rest.find('/').unwrap_or(rest.len());
    let at = rest[..end].rfind('@').map_or(0, |at| at + 1);
    rest.split_at(at)
}

fn info(url: &str) -> Option<ConnectionInfo> {
    let info = url.into_connection_info().ok()?;
    // Every question waits for its answer.
    Some(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn by_sentinel(rest: &str, scheme: &str) -> Result<Address, BadAddress> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, rest) = user(rest);
    let (hosts, path) = rest.split_once('/').ok_or(SAY_SENTINEL)?;
    let (master, number) = path.split_once('/').unwrap_or((path, "0"));
    let sentinels = hosts.split(',').map(|host| host_and_port(host, SENTINEL_PORT));
    let sentinels: Vec<_> = sentinels.collect::<Option<_>>().ok_or(SAY_SENTINEL)?;
    if master.is_empty() || number.parse::<u32>().is_err() {
        return Err(SAY_SENTINEL);
    }
    let info = info(&format!("{scheme}{user}sentinel:{PORT}/{number}")).ok_or(SAY_SENTINEL)?;
    let (master, login) = (master.to_owned(), login(query).ok_or(SAY_SENTINEL)?);
    Ok(Address { info, sentinels, master, login, may_be_open: false })
}

/// As whom to speak to Sentinels: `sentinel_user` and `sentinel_password`, `%` before what is no plain character.
fn login(query: &str) -> Option<RedisConnectionInfo> {
    let (mut user, mut password) = ("", "");
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("sentinel_user", value) => user = value,
            ("sentinel_password", value) => password = value,
            _ => return None,
        }
    }
    let is_plain = |text: &str| !text.contains(['/', '?', '#', '@', ':']);
    match (user, password) {
        ("", "") => Some(RedisConnectionInfo::default()),
        (_, "") => None,
        // Read by the same rules as the user of Redis.
        _ if is_plain(user) && is_plain(password) => {
            info(&format!("{DIRECT}{user}:{password}@sentinel")).map(|info| info.redis_settings().clone())
        }
        _ => None,
    }
}

/// Whether it is this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
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
    /// Certificates of Redis and its Sentinels are to be signed by one of these (PEM), and not by one that the system trusts.
    ///
    /// # Errors
    /// When there is none, or no TLS that needs it.
    pub fn trusting(self, pem: &[u8]) -> Result<Address, BadAddress> {
        if !self.is_encrypted() {
            return Err(BadAddress::Plain);
        }
        if CertificateDer::pem_slice_iter(pem).flatten().next().is_none() {
            return Err(BadAddress::NoCertificate);
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
        let client =
            Client::build_with_tls(self.info, certificates).map_err(|_| BadAddress::NoCertificate)?;
        Ok(Address { info: client.get_connection_info().clone(), ..self })
    }

    /// Whether others on the way to it could read what goes there, or come in as this server does: it is another machine, and there is
    /// no TLS, or no password. Where the master is that Sentinels name is not known here.
    pub fn is_in_the_open(&self) -> bool {
        match self.sentinels.is_empty() {
            true => self.host().is_some_and(|host| self.is_open_at(host)),
            false => self.sentinels.iter().any(|(host, _)| self.is_open_at(host)),
        }
    }

    fn is_open_at(&self, host: &str) -> bool {
        let is_guarded = self.is_encrypted() && self.has_password();
        !is_here(host) && !is_guarded
    }

    fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// What it lacks of what another machine's should have.
    pub fn unguarded(&self) -> String {
        let tls = if self.sentinels.is_empty() { DIRECT_TLS } else { BY_SENTINEL_TLS };
        match (self.is_encrypted(), self.has_password()) {
            (false, true) => tls.to_owned(),
            (true, _) => "a password".to_owned(),
            (false, false) => format!("{tls} and a password"),
        }
    }

    /// Nobody else is in its network: it may be in the open.
    pub fn allowed_in_the_open(self) -> Address {
        Address { may_be_open: true, ..self }
    }

    /// The master, where a Sentinel says that it is; refused where that is in the open.
    pub(super) fn named(&self, host: String, port: u16) -> Result<ConnectionInfo, Lost> {
        match self.may_be_open || !self.is_open_at(&host) {
            true => Ok(self.at(host, port)),
            false => Err(Lost(format!(
                "the Sentinels say that the master {} is {host}:{port}, and that is another machine: use {}, or, in a network that nobody else is in, say --redis-insecure",
                self.master,
                self.unguarded()
            ))),
        }
    }

    /// Its machine; none where it is a socket of this one.
    fn host(&self) -> Option<&str> {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
            _ => None,
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// The same login at another place.
    pub(super) fn at(&self, host: String, port: u16) -> ConnectionInfo {
        self.info.clone().set_addr(self.place(host, port))
    }

    /// A Sentinel.
    pub(super) fn sentinel(&self, host: String, port: u16) -> ConnectionInfo {
        self.at(host, port).set_redis_settings(self.login.clone())
    }

    fn place(&self, host: String, port: u16) -> ConnectionAddr {
        match self.info.addr() {
            ConnectionAddr::TcpTls { tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

/// Without the passwords.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (direct, by_sentinel) = match self.is_encrypted() {
            true => (DIRECT_TLS, BY_SENTINEL_TLS),
            false => (DIRECT, BY_SENTINEL),
        };
        let number = self.info.redis_settings().db();
        if self.sentinels.is_empty() {
            return write!(f, "{direct}{}/{number}", self.info.addr());
        }
        let hosts: Vec<_> = self.sentinels.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{by_sentinel}{}/{}/{number}", hosts.join(","), self.master)
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
            ("rediss://:secret@r.example", "rediss://r.example:6379/0"),
            (
                "rediss+sentinel://:secret@a/mine?sentinel_user=su&sentinel_password=secret",
                "rediss+sentinel://a:26379/mine/0",
            ),
        ];
        for (text, shown) in table {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("secret"));
        }
        let address: Address = "redis+sentinel://u:p%40s@a/mine".parse().unwrap();
        assert_eq!(login(&address.info), (Some("u"), Some("p@s")));
        assert_eq!(address.at("h".into(), 5).addr(), &ConnectionAddr::Tcp("h".into(), 5));
    }

    #[test]
    fn another_machine_needs_tls_and_a_password() {
        let table = [
            ("redis://127.0.0.1", false),
            ("redis://localhost:7", false),
            ("redis://[::1]", false),
            ("redis+sentinel://127.0.0.1:1,localhost/mine", false),
            ("redis://10.0.0.1", true),
            ("redis://:secret@10.0.0.1", true),
            ("rediss://r.example", true),
            ("rediss://:secret@r.example", false),
            ("redis+sentinel://:secret@127.0.0.1,10.0.0.1/mine", true),
            ("rediss+sentinel://:secret@10.0.0.1/mine", false),
        ];
        for (text, is_in_the_open) in table {
            assert_eq!(text.parse::<Address>().unwrap().is_in_the_open(), is_in_the_open, "{text}");
        }
        let lacking = [
            ("redis://10.0.0.1", "rediss:// and a password"),
            ("redis://:secret@10.0.0.1", "rediss://"),
            ("rediss://10.0.0.1", "a password"),
            ("redis+sentinel://:secret@10.0.0.1/mine", "rediss+sentinel://"),
        ];
        for (text, lacks) in lacking {
            assert_eq!(text.parse::<Address>().unwrap().unguarded(), lacks, "{text}");
        }
    }

    #[test]
    fn the_master_that_a_sentinel_here_names_needs_them_too() {
        let table = [
            ("redis+sentinel://:secret@127.0.0.1/mine", "127.0.0.1", true),
            ("redis+sentinel://:secret@127.0.0.1/mine", "10.0.0.5", false),
            ("redis+sentinel://:secret@127.0.0.1/mine", "r.example", false),
            ("rediss+sentinel://127.0.0.1/mine", "10.0.0.5", false),
            ("rediss+sentinel://:secret@127.0.0.1/mine", "10.0.0.5", true),
        ];
        for (text, host, is_taken) in table {
            let address: Address = text.parse().unwrap();
            let named = address.named(host.into(), 7);
            assert_eq!(named.is_ok(), is_taken, "{text} {host}");
            if let Err(Lost(why)) = named {
                assert!(why.contains("10.0.0.5:7") || why.contains("r.example:7"), "{why}");
                assert!(why.contains("--redis-insecure") && !why.contains("secret"), "{why}");
            }
            assert!(address.allowed_in_the_open().named(host.into(), 7).is_ok(), "{text} {host}");
        }
    }

    fn login(info: &ConnectionInfo) -> (Option<&str>, Option<&str>) {
        (info.redis_settings().username(), info.redis_settings().password())
    }

    #[test]
    fn sentinels_and_redis_have_logins_of_their_own_and_tls_together() {
        let table = [
            ("redis+sentinel://u:p@a/m/3", (None, None)),
            ("redis+sentinel://u:p@a/m/3?sentinel_password=s%26%2F%40", (None, Some("s&/@"))),
            ("rediss+sentinel://u:p@a/m/3?sentinel_user=v&sentinel_password=s", (Some("v"), Some("s"))),
        ];
        for (text, expected) in table {
            let address: Address = text.parse().unwrap();
            let (sentinel, master) = (address.sentinel("a".into(), 1), address.at("b".into(), 2));
            assert_eq!(login(&sentinel), expected, "{text}");
            assert_eq!(login(&master), (Some("u"), Some("p")), "{text}");
            assert_eq!((sentinel.redis_settings().db(), master.redis_settings().db()), (0, 3));
            for info in [sentinel, master] {
                let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. });
                assert_eq!(is_encrypted, text.starts_with("rediss"), "{text}");
            }
        }
    }

    #[test]
    fn certificates_that_cannot_be_used_are_refused() {
        let pem = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap().cert.pem();
        let trusting = |url: &str, pem: &str| url.parse::<Address>().unwrap().trusting(pem.as_bytes());
        assert!(trusting("rediss://r.example", &pem).is_ok());
        assert_eq!(trusting("redis://r.example", &pem).unwrap_err(), BadAddress::Plain);
        for none in ["", "secret", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert_eq!(
                trusting("rediss://r.example", none).unwrap_err(),
                BadAddress::NoCertificate,
                "{none}"
            );
        }
    }

    #[test]
    fn what_is_none_says_why() {
        for scheme in ["", "http://a", "127.0.0.1:6379", "redisss://a"] {
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
            "redis+sentinel://a/m?sentinel_user=u",
            "redis+sentinel://a/m?sentinel_password=secret@x",
            "redis+sentinel://a/m?password=secret",
            "rediss://:secret@a:x",
            "rediss://:secret@a/#insecure",
        ];
        for text in malformed {
            let error = text.parse::<Address>().unwrap_err();
            assert!(matches!(error, BadAddress::Malformed(_)), "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
