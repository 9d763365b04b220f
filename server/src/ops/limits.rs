//! Limits that an operator changes while the server runs: what `quipd limits` sets is kept in a file of the data directory
//! and goes before the configuration, also after a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::disk::write_private;
use crate::config::{LimitsConfig, OutOfRange};
use crate::node::Node;

/// The file in the data directory.
const FILE: &str = "limits.toml";
/// What stands in it for whoever finds it.
const HEAD: &str = "# Written by `quipd limits`; goes before [limits] of the configuration.\n";

/// Why limits were not changed.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// There is no such limit.
    #[error("there is no limit called {0}; `quipd limits` lists them")]
    Unknown(String),
    /// It cannot be that.
    #[error(transparent)]
    Range(#[from] OutOfRange),
    /// The file is not as it was written.
    #[error("{} cannot be used: {why}; mend it or remove it", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Limits by name.
type Set = BTreeMap<String, u32>;

/// The limits that hold where these are configured: those that were set go before.
///
/// # Errors
/// When what was set cannot be read, or cannot be.
pub fn effective(data_dir: &Path, configured: &LimitsConfig) -> Result<LimitsConfig, LimitsError> {
    overlay(configured, &read(data_dir)?)
}

/// From now on these limits hold: those configured, and before them those that were set.
///
/// # Errors
/// As [`effective`]; then nothing has changed.
pub fn configure(node: &Node, configured: &LimitsConfig) -> Result<(), LimitsError> {
    let limits = effective(&node.data_dir, configured)?;
    *node.configured.write() = configured.clone();
    hold(node, limits);
    Ok(())
}

/// Sets limits, or with `None` lets go of what was set: for now and later starts.
///
/// # Errors
/// When one cannot be that, or it cannot be kept; then nothing has changed.
pub fn change(node: &Node, changes: BTreeMap<String, Option<u32>>) -> Result<(), LimitsError> {
    let mut set = read(&node.data_dir)?;
    let configured = node.configured.read().clone();
    let known = table(&configured);
    for (name, value) in changes {
        if !known.contains_key(&name) {
            return Err(LimitsError::Unknown(name));
        }
        match value {
            Some(value) => drop(set.insert(name, value)),
            None => drop(set.remove(&name)),
        }
    }
    let limits = overlay(&configured, &set)?;
    let lines: String = set.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let path = node.data_dir.join(FILE);
    write_private(&path, (HEAD.to_owned() + &lines).as_bytes())
        .map_err(|source| LimitsError::File { path, source })?;
    hold(node, limits);
    Ok(())
}

/// All limits, what they are now, and which were set.
///
/// # Errors
/// When what was set cannot be read.
pub fn list(node: &Node) -> Result<Vec<Value>, LimitsError> {
    let set = read(&node.data_dir)?;
    let row = |(name, value): (String, toml::Value)| {
        let value = value.as_integer();
        json!({ "type": "limit", "set": set.contains_key(&name), "name": name, "value": value })
    };
    let limits = table(&node.limits.read());
    Ok(limits.into_iter().map(row).collect())
}

fn hold(node: &Node, limits: LimitsConfig) {
    node.feeds.tiers().set(&limits);
    *node.limits.write() = limits;
}

fn read(data_dir: &Path) -> Result<Set, LimitsError> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|e| {
            let why = e.message().lines().next().unwrap_or_default().to_owned();
            LimitsError::Malformed { path, why }
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Set::new()),
        Err(source) => Err(LimitsError::File { path, source }),
    }
}

fn table(limits: &LimitsConfig) -> toml::Table {
    toml::Table::try_from(limits).expect("limits are numbers with names")
}

fn overlay(configured: &LimitsConfig, set: &Set) -> Result<LimitsConfig, LimitsError> {
    let mut limits = table(configured);
    for (name, value) in set {
        if limits.insert(name.clone(), toml::Value::Integer((*value).into())).is_none() {
            return Err(LimitsError::Unknown(name.clone()));
        }
    }
    let limits: LimitsConfig = limits.try_into().expect("the same names, and numbers of the same kind");
    limits.check()?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_goes_before_what_is_configured() {
        let configured = LimitsConfig { digest_from: 700, wake_shard: 64, ..LimitsConfig::default() };
        let set = Set::from([("digest_from".to_owned(), 3)]);
        let limits = overlay(&configured, &set).expect("it can be");
        assert_eq!((limits.digest_from, limits.wake_shard), (3, 64));
        for (name, value) in [("digest_from", 1), ("digests", 5), ("connections", u32::MAX)] {
            let set = Set::from([(name.to_owned(), value)]);
            let error = overlay(&configured, &set).expect_err("it cannot be").to_string();
            assert!(error.contains(name) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn a_file_that_was_not_written_by_us_is_an_error_and_none_is_no_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let configured = LimitsConfig::default();
        assert_eq!(effective(dir.path(), &configured).expect("nothing is set"), configured);
        for text in ["digest_from = 'many'", "digest_from", "digest_from = -1", "other = 7"] {
            std::fs::write(dir.path().join(FILE), text).expect("a file");
            let error = effective(dir.path(), &configured).expect_err(text).to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
