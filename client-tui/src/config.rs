//! What a user has on disk: where it lies, the servers that are known, this device's key.
//! Imports the protocol's names and keys; nothing of the terminal.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};
use quip_protocol::{DeviceKey, Fingerprint};

pub mod device_key;
pub mod known;
pub mod nodes;
pub mod settings;

/// Why something of the user's files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The operating system knows no home directory.
    #[error("there is no home directory; set QUIP_HOME to a directory for Quip's files")]
    NoHome,
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}; check who owns it", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}; check who owns it and that the disk has room", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list of known servers is damaged.
    #[error("{} is damaged ({reason}); mend it, or remove it and join again", path.display())]
    Known {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings say something that is not understood.
    #[error("{}: {reason}", path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// Where in it, and what is not understood.
        reason: String,
    },
    /// The device's key is no key.
    #[error("{} is not a device key; restore it from a copy, or remove it and join again", path.display())]
    Key {
        /// Which.
        path: PathBuf,
    },
    /// Others may read the device's key.
    #[error("{} can be used by others (mode {mode:03o}); run: chmod 600 '{}'", path.display(), path.display())]
    KeyOpen {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system gives no randomness.
    #[error("cannot make a key: the operating system gives no randomness")]
    Randomness,
}

/// Where the user's files lie. None of the directories has to exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What the user may edit: the known servers.
    pub config: PathBuf,
    /// What must not be lost: the device's key.
    pub data: PathBuf,
    /// What may be lost: logs, and where the nodes of clusters are.
    pub state: PathBuf,
    /// The data directory of a server that `quip host` starts: the one that `quipd` takes too.
    pub hosted: PathBuf,
}

impl Paths {
    /// Under `home` (from `QUIP_HOME`) if it is given, else under the XDG directories or the system's own.
    ///
    /// # Errors
    /// When there is no home directory.
    pub fn find(home: Option<&Path>) -> Result<Paths, ConfigError> {
        match home {
            Some(home) => Ok(Paths::under(home)),
            None => Paths::of_system().ok_or(ConfigError::NoHome),
        }
    }

    fn under(home: &Path) -> Paths {
        let data = home.join("data");
        let hosted = data.join("quipd");
        Paths { config: home.join("config"), data, state: home.join("state"), hosted }
    }

    fn of_system() -> Option<Paths> {
        let project = ProjectDirs::from("", "", "quip")?;
        let data = project.data_dir().to_owned();
        // Only XDG has a directory for state.
        let state = project.state_dir().map_or_else(|| data.join("state"), Path::to_owned);
        let hosted = BaseDirs::new()?.data_dir().join("quipd");
        Some(Paths { config: project.config_dir().to_owned(), data, state, hosted })
    }

    /// The list of known servers.
    pub fn known_servers(&self) -> PathBuf {
        self.config.join("known_servers.toml")
    }

    /// What this device keeps of a server: the replica and the outbox.
    pub fn local(&self, server: &Fingerprint, device: &DeviceKey) -> PathBuf {
        self.data.join("servers").join(format!("{}-{}", hex(&server.0), hex(&device.0)))
    }

    /// The nodes of the cluster that the server with this key is one of, as they were told last.
    pub fn nodes(&self, server: &Fingerprint) -> PathBuf {
        self.state.join("nodes").join(format!("{}.toml", hex(&server.0)))
    }

    /// How the terminal client looks and behaves.
    pub fn settings(&self) -> PathBuf {
        self.config.join("quip.toml")
    }

    /// This device's key.
    pub fn device_key(&self) -> PathBuf {
        self.data.join("device.key")
    }
}

/// Enough of a key to tell one from another.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a directory, and the ones above it, that only the user may enter.
pub(crate) fn make_private_dir(path: &Path) -> Result<(), ConfigError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

/// Replaces a file as a whole: after a crash there is the old one or the new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    make_private_dir(dir)?;
    // The process id keeps two commands that write at once out of each other's file.
    let tmp = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_and_sync(&tmp, bytes).and_then(|()| fs::rename(&tmp, path)).and_then(|()| sync(dir));
    written.map_err(|source| {
        let _ = fs::remove_file(&tmp);
        ConfigError::Write { path: path.to_owned(), source }
    })
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lies_under_quip_home() {
        let paths = Paths::find(Some(Path::new("/h"))).unwrap();
        assert_eq!(paths.known_servers(), Path::new("/h/config/known_servers.toml"));
        assert_eq!(paths.device_key(), Path::new("/h/data/device.key"));
        assert_eq!(paths.state, Path::new("/h/state"));
        assert_eq!(paths.hosted, Path::new("/h/data/quipd"));
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("deep/er/file.toml");
        for text in ["a long first text", "short"] {
            write_atomically(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_fails_keeps_the_old_file_and_says_which() {
        let home = tempfile::tempdir().unwrap();
        let taken = home.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "kept").unwrap();
        let error = write_atomically(&taken, b"new").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
