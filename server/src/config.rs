//! Configuration: flag, then environment, then file, then default. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::PathBuf;

use quip_protocol::limits::{Limits, MAX_TEXT};
use quip_protocol::transport::IDLE_TIMEOUT;
use serde::{Deserialize, Serialize};

/// Who can make an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Whoever has a link.
    #[default]
    Invite,
    /// Everyone.
    Open,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// UDP addresses; port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Certificate chain and key in PEM; else a self-signed pair is made once and kept.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Who can make an account.
    pub registration: Registration,
    /// What the server is called; shown to users.
    pub name: String,
    /// The host in links; else the address listened on.
    pub public_host: Option<String>,
    /// TCP address of metrics and health.
    pub http: Option<SocketAddr>,
    /// What is enforced.
    pub limits: LimitsConfig,
    /// Memory for the store's cache, in bytes.
    pub cache_bytes: u64,
    /// Writing is refused while the disk has less free than this, in bytes.
    pub disk_reserve: u64,
}

impl Config {
    /// A server with the defaults, on these addresses and in this directory.
    pub fn new(listen: Vec<SocketAddr>, data_dir: PathBuf) -> Config {
        Config {
            listen,
            data_dir,
            certificate: None,
            registration: Registration::default(),
            name: "quip".into(),
            public_host: None,
            http: None,
            limits: LimitsConfig::default(),
            cache_bytes: FileConfig::default().cache_mib * 1024 * 1024,
            disk_reserve: FileConfig::default().disk_reserve_mib * 1024 * 1024,
        }
    }
}

/// Limits that an operator can change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections in total.
    pub connections: u32,
    /// Connections from one IPv4 address or IPv6 /64; loopback is not counted.
    pub connections_per_address: u32,
    /// Connections above which a client has to prove its address before its handshake costs anything.
    pub retry_above: u32,
    /// Requests a device may have unanswered.
    pub requests_in_flight: u32,
    /// Messages a device may send in a burst.
    pub burst_messages: u32,
    /// Messages a device may send per second after that.
    pub messages_per_second: u32,
    /// Codes that may be tried from one address in a burst; one more every ten seconds.
    pub code_attempts: u32,
    /// A frame that has begun must be complete within this, in milliseconds.
    pub frame_deadline_ms: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            connections: 20_000,
            connections_per_address: 1_000,
            retry_above: 1_000,
            requests_in_flight: 1_024,
            burst_messages: 500,
            messages_per_second: 100,
            code_attempts: 10,
            frame_deadline_ms: 10_000,
        }
    }
}

impl LimitsConfig {
    /// What is announced to clients.
    pub fn announced(&self) -> Limits {
        Limits {
            text_bytes: u32::try_from(MAX_TEXT).unwrap_or(u32::MAX),
            burst_messages: self.burst_messages,
            messages_per_second: self.messages_per_second,
            requests_in_flight: self.requests_in_flight,
            idle_timeout_ms: u32::try_from(IDLE_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

/// The configuration file. `quipd default-config` prints it with its defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FileConfig {
    /// UDP addresses.
    pub listen: Vec<SocketAddr>,
    /// Where everything is kept; else below the user's data directory.
    pub data_dir: Option<PathBuf>,
    /// Certificate chain in PEM.
    pub cert: Option<PathBuf>,
    /// Key in PEM.
    pub key: Option<PathBuf>,
    /// Who can make an account.
    pub registration: Registration,
    /// What the server is called.
    pub name: String,
    /// The host in links.
    pub public_host: Option<String>,
    /// TCP address of metrics and health.
    pub http: Option<SocketAddr>,
    /// Memory for the store's cache, in MiB.
    pub cache_mib: u64,
    /// Writing is refused while the disk has less free than this, in MiB.
    pub disk_reserve_mib: u64,
    /// What is enforced.
    pub limits: LimitsConfig,
}

impl Default for FileConfig {
    fn default() -> Self {
        FileConfig {
            listen: vec![SocketAddr::from(([0u16; 8], quip_protocol::link::DEFAULT_PORT))],
            data_dir: None,
            cert: None,
            key: None,
            registration: Registration::default(),
            name: "quip".into(),
            public_host: None,
            http: None,
            cache_mib: 64,
            disk_reserve_mib: 256,
            limits: LimitsConfig::default(),
        }
    }
}

/// The configuration file with its defaults and what each means.
pub const DEFAULT_CONFIG: &str = include_str!("default_config.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_the_default() {
        let uncommented: String = DEFAULT_CONFIG
            .lines()
            .map(|line| line.strip_prefix("#! ").unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        let parsed: FileConfig = toml::from_str(DEFAULT_CONFIG).unwrap();
        assert_eq!(parsed, FileConfig::default());
        // The commented-out keys are keys too.
        let all: FileConfig = toml::from_str(&uncommented).unwrap();
        assert!(
            all.http.is_some() && all.data_dir.is_some() && all.cert.is_some() && all.public_host.is_some()
        );
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<FileConfig>("listn = []").is_err());
        assert!(toml::from_str::<FileConfig>("[limits]\nmessages = 5").is_err());
    }
}
