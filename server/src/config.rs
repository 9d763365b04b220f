//! Configuration: flag, then environment, then file, then default. Unknown keys are errors.

use std::net::SocketAddr;
use std::path::PathBuf;

use quip_protocol::limits::{Limits, MAX_LINE, MAX_TEXT};
use quip_protocol::transport::IDLE_TIMEOUT;
use quip_protocol::{NodeName, SafeLine, ServerLink};
use serde::{Deserialize, Serialize};

use crate::engine::accounts::{MAX_BOTS, MAX_DEVICES};
use crate::log::redis::Address;

/// Most memory for the store's cache, in MiB.
const MAX_CACHE_MIB: u32 = 1024 * 1024;
/// Least and most of Redis' memory for the shared log, in MiB: some of the largest entries, and what Redis may have.
const LOG_MIB: (u32, u32) = (64, 1024 * 1024);

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

/// Of which cluster a server is a node.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Where its Redis is.
    pub redis: Address,
    /// What the node is called.
    pub node: NodeName,
    /// Where clients and other nodes find it, as `host:port`.
    pub advertise: String,
    /// The file with the cluster's key.
    pub key: PathBuf,
    /// Whether it founds a cluster although it was given a key.
    pub founds: bool,
    /// How much of Redis' memory the shared log may take, in bytes; nodes that were away for longer get the rest from others.
    pub log_bytes: u64,
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
    /// Of which cluster it is a node; of none, where it serves alone.
    pub cluster: Option<ClusterConfig>,
    /// Whether a node of a cluster is to serve alone from now on.
    pub leave_cluster: bool,
}

/// A value that no server can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} cannot be: {why}")]
pub struct OutOfRange {
    /// Its name in the configuration file; flags have the same one.
    pub key: String,
    /// What it was set to.
    pub value: String,
    /// What it has to be.
    pub why: String,
}

fn within(key: &str, value: u64, least: u32, most: u32) -> Result<(), OutOfRange> {
    if (u64::from(least)..=u64::from(most)).contains(&value) {
        return Ok(());
    }
    Err(OutOfRange { key: key.into(), value: value.to_string(), why: format!("say {least} to {most}") })
}

impl Config {
    /// Refuses what no server can run with.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn check(&self) -> Result<(), OutOfRange> {
        self.limits.check()?;
        within("cache_mib", self.cache_bytes / (1024 * 1024), 1, MAX_CACHE_MIB)?;
        if let Some(of) = &self.cluster {
            within("redis_log_mib", of.log_bytes / (1024 * 1024), LOG_MIB.0, LOG_MIB.1)?;
        }
        let wrong = |key: &str, value: &str, why: String| {
            Err(OutOfRange { key: key.into(), value: format!("{value:?}"), why })
        };
        if self.name.trim().is_empty() || SafeLine::new(&self.name).len() > MAX_LINE {
            return wrong("name", &self.name, format!("say 1 to {MAX_LINE} bytes"));
        }
        let link = |host: &String| ServerLink { host: host.clone(), port: 1, fingerprint: None, code: None };
        match &self.public_host {
            // Read again it must be the same, or nobody can use the links.
            Some(host) if link(host).reveal().parse() != Ok(link(host)) => {
                wrong("public_host", host, "say a host name or an address, without a port".into())
            }
            _ => Ok(()),
        }
    }

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
            cluster: None,
            leave_cluster: false,
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
    /// Handshakes from one address in a burst; loopback is not counted.
    pub burst_handshakes: u32,
    /// Handshakes from one address per second after that.
    pub handshakes_per_second: u32,
    /// Requests a device may have unanswered.
    pub requests_in_flight: u32,
    /// Messages a device may send in a burst.
    pub burst_messages: u32,
    /// Messages a device may send per second after that.
    pub messages_per_second: u32,
    /// All devices and bots of one account together may send this many times what one device may.
    pub account_factor: u32,
    /// Everyone in one room together may send this many times what one device may.
    pub room_factor: u32,
    /// Codes that may be tried, and accounts that may be registered, from one address in a burst; one more every ten
    /// seconds.
    pub code_attempts: u32,
    /// Rooms, links and tokens that an account may make in a burst; one more every ten seconds. They stay in memory.
    pub makings: u32,
    /// Devices of one account that are not revoked.
    pub devices_per_account: u32,
    /// Bots of one account.
    pub bots_per_account: u32,
    /// Links of one account that can still be used.
    pub invites_per_account: u32,
    /// Rooms that one account owns and that are not archived.
    pub rooms_per_account: u32,
    /// A frame that has begun must be complete within this, in milliseconds.
    pub frame_deadline_ms: u32,
    /// A connection must belong to an account within this, in milliseconds.
    pub stranger_deadline_ms: u32,
    /// Watches of a room from which on those who do not look at it are told where it stands instead of its events; fewer
    /// while the server is behind with waking readers.
    pub digest_from: u32,
    /// Such digests of a room are so far apart, in milliseconds.
    pub digest_interval_ms: u32,
    /// Readers of a room that are woken in one go; where there are more, it is done in parallel.
    pub wake_shard: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            connections: 20_000,
            connections_per_address: 1_000,
            retry_above: 1_000,
            burst_handshakes: 1_000,
            handshakes_per_second: 50,
            requests_in_flight: 1_024,
            burst_messages: 500,
            messages_per_second: 100,
            account_factor: 4,
            room_factor: 20,
            code_attempts: 10,
            makings: 1_000,
            devices_per_account: 64,
            bots_per_account: 50,
            invites_per_account: 100,
            rooms_per_account: 1_000,
            frame_deadline_ms: 10_000,
            stranger_deadline_ms: 60_000,
            digest_from: 1_000,
            digest_interval_ms: 1_000,
            wake_shard: 256,
        }
    }
}

impl LimitsConfig {
    /// Refuses what would stop the server from serving anyone, or bound nothing.
    ///
    /// # Errors
    /// The first key that is out of its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let ranges = [
            ("connections", self.connections, 1..=1_000_000),
            ("connections_per_address", self.connections_per_address, 1..=1_000_000),
            ("retry_above", self.retry_above, 0..=1_000_000),
            ("burst_handshakes", self.burst_handshakes, 1..=1_000_000),
            ("handshakes_per_second", self.handshakes_per_second, 1..=1_000_000),
            ("requests_in_flight", self.requests_in_flight, 1..=65_536),
            ("burst_messages", self.burst_messages, 1..=10_000_000),
            ("messages_per_second", self.messages_per_second, 1..=1_000_000),
            ("account_factor", self.account_factor, 1..=10_000),
            ("room_factor", self.room_factor, 1..=10_000),
            ("code_attempts", self.code_attempts, 1..=1_000_000),
            ("makings", self.makings, 1..=10_000_000),
            ("devices_per_account", self.devices_per_account, 1..=MAX_DEVICES),
            ("bots_per_account", self.bots_per_account, 0..=MAX_BOTS),
            ("invites_per_account", self.invites_per_account, 0..=1_000_000),
            ("rooms_per_account", self.rooms_per_account, 0..=1_000_000),
            ("frame_deadline_ms", self.frame_deadline_ms, 100..=3_600_000),
            ("stranger_deadline_ms", self.stranger_deadline_ms, 100..=3_600_000),
            ("digest_from", self.digest_from, 2..=1_000_000),
            ("digest_interval_ms", self.digest_interval_ms, 100..=60_000),
            ("wake_shard", self.wake_shard, 16..=65_536),
        ];
        for (key, value, range) in ranges {
            within(&format!("limits.{key}"), value.into(), *range.start(), *range.end())?;
        }
        Ok(())
    }

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
    /// The Redis of a cluster.
    pub redis: Option<String>,
    /// Who signs its certificate, in PEM.
    pub redis_ca: Option<PathBuf>,
    /// It may be on another machine without TLS, or without a password.
    pub redis_insecure: bool,
    /// What this node of it is called.
    pub node: Option<NodeName>,
    /// Where clients and other nodes find it.
    pub advertise: Option<String>,
    /// The file with the cluster's key.
    pub cluster_key: Option<PathBuf>,
    /// Redis' memory for the shared log, in MiB.
    pub redis_log_mib: u64,
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
            cache_mib: 32,
            disk_reserve_mib: 256,
            redis: None,
            redis_ca: None,
            redis_insecure: false,
            node: None,
            advertise: None,
            cluster_key: None,
            redis_log_mib: 256,
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
            all.redis.is_some()
                && all.redis_ca.is_some()
                && all.node.is_some()
                && all.advertise.is_some()
                && all.cluster_key.is_some()
                && all.http.is_some()
                && all.data_dir.is_some()
                && all.cert.is_some()
                && all.public_host.is_some()
        );
    }

    #[test]
    fn every_limit_has_a_range_and_the_default_is_within() {
        let config = |toml: &str| {
            let file: FileConfig = toml::from_str(toml).unwrap();
            let config = Config::new(Vec::new(), PathBuf::new());
            let name = file.name;
            let cache_bytes = file.cache_mib * 1024 * 1024;
            Config { limits: file.limits, name, public_host: file.public_host, cache_bytes, ..config }
        };
        assert_eq!(config("").check(), Ok(()));
        let defaults = toml::Value::try_from(LimitsConfig::default()).unwrap();
        for key in defaults.as_table().unwrap().keys() {
            let absurd = config(&format!("[limits]\n{key} = 4294967295")).check().unwrap_err();
            assert_eq!(absurd.key, format!("limits.{key}"));
            assert!(absurd.to_string().contains(&format!("limits.{key} = 4294967295")), "{absurd}");
            let zero = config(&format!("[limits]\n{key} = 0")).check();
            let may_be_zero = ["retry_above", "bots_per_account", "invites_per_account", "rooms_per_account"];
            assert_eq!(zero.is_ok(), may_be_zero.contains(&key.as_str()), "{key}");
        }
        for wrong in ["cache_mib = 0", "name = ' '", "public_host = 'http://x'", "public_host = 'a:1'"] {
            let error = config(wrong).check().unwrap_err();
            assert!(wrong.starts_with(&error.key) && error.to_string().lines().count() == 1, "{error}");
        }
        for good in ["public_host = '::1'", "public_host = 'chat.example.org'", "public_host = '10.0.0.1'"] {
            assert_eq!(config(good).check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn the_shared_logs_memory_has_a_range() {
        for (mib, is_good) in [(0, false), (63, false), (64, true), (256, true), (1024 * 1024 + 1, false)] {
            let of = ClusterConfig {
                redis: "redis://127.0.0.1:1".parse().unwrap(),
                node: "a".parse().unwrap(),
                advertise: "127.0.0.1:1".into(),
                key: PathBuf::new(),
                founds: false,
                log_bytes: mib * 1024 * 1024,
            };
            let config = Config { cluster: Some(of), ..Config::new(Vec::new(), PathBuf::new()) };
            let checked = config.check().map_err(|e| e.to_string());
            let wrong = Err(format!("redis_log_mib = {mib} cannot be: say 64 to 1048576"));
            assert_eq!(checked, if is_good { Ok(()) } else { wrong });
        }
        let file: FileConfig = toml::from_str("redis_log_mib = 512").unwrap();
        assert_eq!((file.redis_log_mib, FileConfig::default().redis_log_mib), (512, 256));
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(toml::from_str::<FileConfig>("listn = []").is_err());
        assert!(toml::from_str::<FileConfig>("[limits]\nmessages = 5").is_err());
    }
}
