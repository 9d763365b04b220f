//! The servers this user knows: address, fingerprint, account, and which of them is meant when none is named.

use std::fs;
use std::io;
use std::path::Path;

use quip_protocol::{AccountName, Fingerprint, ServerLink};
use serde::{Deserialize, Serialize};

use super::{ConfigError, Paths, write_atomically};

const HEAD: &str = "# Servers that quip knows. Remove an entry to forget a server and its key.\n\n";

/// All known servers, as they stand in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownServers {
    default: Option<String>,
    servers: Vec<KnownServer>,
}

/// A known server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownServer {
    /// `quip://host:port`.
    pub address: String,
    /// Its key.
    pub fingerprint: Fingerprint,
    /// Who this device is there; `None` while it has not joined.
    pub account: Option<AccountName>,
}

impl KnownServers {
    /// The file's servers; none if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn load(paths: &Paths) -> Result<KnownServers, ConfigError> {
        let path = paths.known_servers();
        match fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KnownServers::default()),
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }

    /// Writes the file, as a whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, paths: &Paths) -> Result<(), ConfigError> {
        write_atomically(&paths.known_servers(), self.to_toml().as_bytes())
    }

    /// The server at this `quip://host:port`.
    pub fn at(&self, address: &str) -> Option<&KnownServer> {
        self.servers.iter().find(|server| server.address == address)
    }

    /// The server that is meant when none is named.
    pub fn default_server(&self) -> Option<&KnownServer> {
        self.default.as_deref().and_then(|address| self.at(address))
    }

    /// The servers on which this device has an account, each once, whatever addresses it has: the default one under the
    /// address by which it is meant.
    pub fn joined(&self) -> Vec<&KnownServer> {
        let mut joined: Vec<&KnownServer> = Vec::new();
        let default = self.default_server();
        for server in self.servers.iter().filter(|server| server.account.is_some()) {
            match joined.iter_mut().find(|known| known.fingerprint == server.fingerprint) {
                Some(known) if Some(server) == default => *known = server,
                Some(_) => {}
                None => joined.push(server),
            }
        }
        joined
    }

    /// Adds the server, or replaces what was known of its address.
    pub fn remember(&mut self, server: KnownServer) {
        match self.servers.iter_mut().find(|known| known.address == server.address) {
            Some(known) => *known = server,
            None => self.servers.push(server),
        }
    }

    /// From now on this server is meant when none is named.
    pub fn make_default(&mut self, address: &str) {
        self.default = Some(address.to_owned());
    }

    fn to_toml(&self) -> String {
        let file =
            File { default: self.default.clone(), server: self.servers.iter().map(Entry::from).collect() };
        let text = toml::to_string(&file).expect("strings are always TOML");
        format!("{HEAD}{text}")
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default)]
    server: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    address: String,
    fingerprint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountName>,
}

impl From<&KnownServer> for Entry {
    fn from(server: &KnownServer) -> Entry {
        Entry {
            address: server.address.clone(),
            fingerprint: server.fingerprint.to_string(),
            account: server.account.clone(),
        }
    }
}

impl Entry {
    fn parsed(self) -> Result<KnownServer, String> {
        let link: ServerLink =
            self.address.parse().map_err(|_| format!("{:?} is no address", self.address))?;
        let fingerprint = self.fingerprint.parse();
        let fingerprint = fingerprint.map_err(|_| format!("{:?} is no fingerprint", self.fingerprint))?;
        Ok(KnownServer { address: link.address(), fingerprint, account: self.account })
    }
}

fn parse(path: &Path, text: &str) -> Result<KnownServers, ConfigError> {
    let damaged = |reason: String| ConfigError::Known { path: path.to_owned(), reason };
    let file: File = toml::from_str(text).map_err(|error| damaged(error.message().to_owned()))?;
    let mut known = KnownServers { default: file.default, servers: Vec::new() };
    for entry in file.server {
        known.remember(entry.parsed().map_err(damaged)?);
    }
    match &known.default {
        Some(default) if known.at(default).is_none() => Err(damaged(format!("{default:?} is not in it"))),
        _ => Ok(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str, account: Option<&str>) -> KnownServer {
        KnownServer {
            address: address.into(),
            fingerprint: Fingerprint([7; 32]),
            account: account.map(|name| name.parse().unwrap()),
        }
    }

    #[test]
    fn servers_are_read_as_they_were_written() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::find(Some(home.path())).unwrap();
        assert_eq!(KnownServers::load(&paths).unwrap(), KnownServers::default());
        let mut known = KnownServers::default();
        known.save(&paths).unwrap();
        assert_eq!(KnownServers::load(&paths).unwrap(), known);
        known.remember(server("quip://a.example:7847", None));
        known.remember(server("quip://[::1]:9", Some("ann")));
        known.remember(server("quip://a.example:7847", Some("ann")));
        known.make_default("quip://a.example:7847");
        known.save(&paths).unwrap();
        let read = KnownServers::load(&paths).unwrap();
        assert_eq!(read, known);
        assert_eq!(read.default_server(), Some(&server("quip://a.example:7847", Some("ann"))));
        assert_eq!(read.at("quip://b.example:7847"), None);
    }

    #[test]
    fn a_server_with_two_addresses_is_one() {
        let mut known = KnownServers::default();
        for (address, key, account) in
            [("a", 1, Some("ann")), ("b", 2, Some("ann")), ("c", 3, None), ("d", 1, Some("ann"))]
        {
            let fingerprint = Fingerprint([key; 32]);
            known.remember(KnownServer { fingerprint, ..server(&format!("quip://{address}:1"), account) });
        }
        let addresses = |known: &KnownServers| -> Vec<String> {
            known.joined().iter().map(|server| server.address.clone()).collect()
        };
        known.make_default("quip://b:1");
        assert_eq!(addresses(&known), ["quip://a:1", "quip://b:1"]);
        known.make_default("quip://d:1");
        assert_eq!(addresses(&known), ["quip://d:1", "quip://b:1"]);
    }

    #[test]
    fn damage_is_named_on_one_line() {
        let fp = Fingerprint([7; 32]);
        let table = [
            ("default = ".to_owned(), "damaged"),
            ("[[server]]\naddress = 'a b'\nfingerprint = 'x'".to_owned(), "is no address"),
            ("[[server]]\naddress = 'a'\nfingerprint = 'x'".to_owned(), "is no fingerprint"),
            (format!("[[server]]\naddress = 'a'\nfingerprint = '{fp}'\naccount = 'A b'"), "a name has"),
            ("default = 'quip://a:1'".to_owned(), "is not in it"),
        ];
        for (text, part) in table {
            let error = parse(Path::new("/h/known_servers.toml"), &text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("/h/known_servers.toml"), "{text:?}: {error}");
        }
    }
}
