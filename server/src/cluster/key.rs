//! The cluster's key: 32 random bytes that every node of a cluster has in a file, and nobody else. Who has it is a node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::log::shared::contract::ClusterId;
use crate::ops::disk::write_private;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error(
        "there is no cluster key at {}: copy cluster.key from the data directory of a node that runs, and make it mode 600", path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others may read it, or have read it.
    #[error(
        "the cluster key {} is open to others (mode {mode:o}): whoever reads it can be a node; run chmod 600 on it, or make a new one if others have been there", path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a key.
    #[error("{} is no cluster key, which is 32 bytes in base64 on one line; copy it again", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot use the cluster key {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What all nodes of a cluster have in common. Never shown.
#[derive(Clone)]
pub struct ClusterKey(hmac::Key);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

impl ClusterKey {
    /// The key in a file that the operator put there.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<ClusterKey, KeyError> {
        let io = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
            _ => KeyError::Io { path: path.to_owned(), source },
        };
        let mode = others_mode(path).map_err(io)?;
        if let Some(mode) = mode {
            return Err(KeyError::Open { path: path.to_owned(), mode });
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(ClusterKey::of).ok_or_else(|| KeyError::Malformed { path: path.to_owned() })
    }

    /// The key in a file, if there is one.
    ///
    /// # Errors
    /// See [`KeyError`]; not [`KeyError::Missing`].
    pub fn find(path: &Path) -> Result<Option<ClusterKey>, KeyError> {
        match ClusterKey::load(path) {
            Err(KeyError::Missing { .. }) => Ok(None),
            loaded => loaded.map(Some),
        }
    }

    /// The key in a file; the first node of a cluster makes it if there is none.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load_or_make(path: &Path) -> Result<ClusterKey, KeyError> {
        if let Some(key) = ClusterKey::find(path)? {
            return Ok(key);
        }
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| io(io::Error::other(e)))?;
        let line = format!("{}\n", STANDARD.encode(bytes));
        write_private(path, line.as_bytes()).map_err(io)?;
        Ok(ClusterKey::of(bytes))
    }

    /// The key of these bytes.
    pub fn of(bytes: [u8; 32]) -> ClusterKey {
        ClusterKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// By which nodes of one cluster notice that they have different keys, before one needs the other. Tells nothing of the key.
    pub fn mark(&self, cluster: ClusterId) -> String {
        let said = [b"quip: which cluster key".as_slice(), &cluster.0].concat();
        self.sign(&said)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What shows that one has the key, and tells nothing of it.
    pub(super) fn sign(&self, said: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, said);
        tag.as_ref().try_into().expect("a tag of HMAC-SHA256 has 32 bytes")
    }

    /// Whether somebody has the key. Takes as long whatever is wrong.
    pub(super) fn is_signed(&self, said: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.0, said, proof).is_ok()
    }
}

/// The permissions of a file that others may read or write.
#[cfg(unix)]
fn others_mode(path: &Path) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    Ok(Some(mode).filter(|mode| mode & 0o077 != 0))
}

#[cfg(not(unix))]
fn others_mode(path: &Path) -> io::Result<Option<u32>> {
    fs::metadata(path).map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_makes_it_and_the_others_have_to_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let error = ClusterKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        let made = ClusterKey::load_or_make(&path).unwrap();
        for again in [ClusterKey::load(&path).unwrap(), ClusterKey::load_or_make(&path).unwrap()] {
            assert!(again.is_signed(b"said", &made.sign(b"said")));
            assert!(!again.is_signed(b"said", &made.sign(b"saie")));
        }
        let other = ClusterKey::of([7; 32]);
        assert!(!other.is_signed(b"said", &made.sign(b"said")));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        let short = STANDARD.encode([1; 31]);
        let two = format!("{0}\n{0}\n", STANDARD.encode([1; 32]));
        for text in ["", "no key", &short, &two, &"A".repeat(100_000)] {
            write_private(&path, text.as_bytes()).unwrap();
            let error = ClusterKey::load_or_make(&path).unwrap_err();
            assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[cfg(unix)]
    #[test]
    fn one_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        ClusterKey::load_or_make(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = ClusterKey::load_or_make(&path).unwrap_err();
            assert!(matches!(error, KeyError::Open { .. }), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        ClusterKey::load(&path).unwrap();
    }
}
