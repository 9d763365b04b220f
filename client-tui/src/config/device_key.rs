//! This device's key on disk: 32 bytes in base64 and a line end, readable by its user alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use quip_protocol::Identity;

use super::{ConfigError, Paths, make_private_dir};

/// How a key is marked as one outside of its file; the file's name says what is in it.
const TOKEN_PREFIX: &str = "quip_";
/// More than a key takes; what is longer is none.
const MAX_FILE: u64 = 256;

/// The device's key, if it has one.
///
/// # Errors
/// When the key cannot be read, is damaged, or others may read it.
pub fn load(paths: &Paths) -> Result<Option<Identity>, ConfigError> {
    let path = paths.device_key();
    match File::open(&path) {
        Ok(file) => read(&path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// The device's key, made if it has none.
///
/// # Errors
/// As [`load`], and when a new key cannot be written.
pub fn load_or_make(paths: &Paths) -> Result<Identity, ConfigError> {
    if let Some(identity) = load(paths)? {
        return Ok(identity);
    }
    let identity = Identity::generate().map_err(|_| ConfigError::Randomness)?;
    make_private_dir(&paths.data)?;
    let path = paths.device_key();
    match create(&path, &identity) {
        Ok(()) => Ok(identity),
        // Another command of this user was faster: one key, the first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            load(paths)?.ok_or(ConfigError::Key { path })
        }
        Err(source) => Err(ConfigError::Write { path, source }),
    }
}

fn create(path: &Path, identity: &Identity) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let token = identity.to_token();
    let text = token.strip_prefix(TOKEN_PREFIX).unwrap_or(&token);
    let written = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn read(path: &Path, file: File) -> Result<Identity, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ConfigError::KeyOpen { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    match file.take(MAX_FILE).read_to_string(&mut text) {
        Ok(_) => parse(&text).ok_or_else(|| ConfigError::Key { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(ConfigError::Key { path: path.to_owned() })
        }
        Err(source) => Err(failed(source)),
    }
}

fn parse(text: &str) -> Option<Identity> {
    Identity::from_token(&format!("{TOKEN_PREFIX}{}", text.trim_end())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn home() -> (tempfile::TempDir, Paths) {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::find(Some(home.path())).unwrap();
        (home, paths)
    }

    #[test]
    fn a_key_is_made_once_and_only_its_user_reads_it() {
        let (_home, paths) = home();
        assert_eq!(load(&paths).unwrap(), None);
        let made = load_or_make(&paths).unwrap();
        assert_eq!(load_or_make(&paths).unwrap(), made);
        let mode = fs::metadata(paths.device_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(paths.device_key()).unwrap();
        assert!(text.len() == 44 && text.ends_with('\n'), "{text:?}");
    }

    #[test]
    fn damaged_keys_are_refused_and_never_replaced() {
        for damage in ["", "short\n", "\u{0}\u{1}", &"A".repeat(5_000)] {
            let (_home, paths) = home();
            make_private_dir(&paths.data).unwrap();
            fs::write(paths.device_key(), damage).unwrap();
            fs::set_permissions(paths.device_key(), fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(load_or_make(&paths), Err(ConfigError::Key { .. })), "{damage:?}");
            assert_eq!(fs::read_to_string(paths.device_key()).unwrap(), damage);
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_remedy() {
        let (_home, paths) = home();
        load_or_make(&paths).unwrap();
        for mode in [0o644, 0o640, 0o660, 0o602] {
            fs::set_permissions(paths.device_key(), fs::Permissions::from_mode(mode)).unwrap();
            let error = load(&paths).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("{mode:03o}")), "{error}");
        }
    }
}
