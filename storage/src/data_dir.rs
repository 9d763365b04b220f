//! The data directory: where everything of a server lies, and who may use it. Knows nothing of what lies in it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::durable::{is_full, sync_parent};

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("the data directory {} is in use by process {pid}; stop that process or name another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that has it, as it wrote into `LOCK`.
        pid: String,
    },
    /// It can't be made, read or written.
    #[error("the data directory {} cannot be used: {source}; check its path and permissions", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A data directory that this process, and no other, uses until this value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, makes it private (0700) and locks it. One that cannot be made private is
    /// a warning: on some systems its owner is another.
    ///
    /// # Errors
    /// When another process has it, or it can't be made or written.
    pub fn open(path: impl Into<PathBuf>) -> Result<DataDir, DataDirError> {
        let path = path.into();
        match lock(&path) {
            Ok(Some(lock)) => Ok(DataDir { path, _lock: lock }),
            Ok(None) => Err(DataDirError::InUse { pid: holder(&path), dir: path }),
            Err(source) => Err(DataDirError::Io { dir: path, source }),
        }
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal lies.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Where the store lies.
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }
}

/// The process that has the directory, as it wrote into `LOCK`; nothing where none has it.
pub fn holder_of(dir: &Path) -> Option<String> {
    match File::open(lock_path(dir)).ok()?.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(holder(dir)),
        _ => None,
    }
}

/// The locked file, or nothing if another process has locked it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    private_dirs().create(dir)?;
    make_private(dir)?;
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock_path(dir))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Not everyone may read the directory above; then its name is as durable as the file system makes it.
    let _ = sync_parent(dir);
    let pid = std::process::id().to_string();
    // Over what is there, which needs no room. Only who is kept out reads it, so a full disk keeps nobody from starting.
    match file.write_all(pid.as_bytes()).and_then(|()| file.set_len(pid.len() as u64)) {
        Err(error) if !is_full(&error) => Err(error),
        _ => Ok(Some(file)),
    }
}

fn private_dirs() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// A directory that was there before may be open to others, and so would be what lies in it.
#[cfg(unix)]
fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(dir)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    match std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)) {
        Ok(()) => tracing::warn!(
            dir = %dir.display(), "the data directory was open to others (mode {mode:o}): it is private now (700)"
        ),
        Err(error) => tracing::warn!(
            dir = %dir.display(), %error,
            "the data directory is open to others (mode {mode:o}): make it private with chmod 700"
        ),
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_: &Path) -> io::Result<()> {
    Ok(())
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("LOCK")
}

fn holder(dir: &Path) -> String {
    let mut text = String::new();
    let read = File::open(lock_path(dir)).and_then(|file| file.take(20).read_to_string(&mut text));
    match read {
        Ok(length) if length > 0 && text.bytes().all(|b| b.is_ascii_digit()) => text,
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let first = DataDir::open(&dir).unwrap();
        assert_eq!((first.journal(), first.store()), (dir.join("journal"), dir.join("store")));
        let error = DataDir::open(&dir).unwrap_err().to_string();
        assert_eq!(holder_of(&dir), Some(std::process::id().to_string()));
        assert!(error.contains(&dir.display().to_string()), "{error}");
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert_eq!(error.lines().count(), 1);
        drop(first);
        assert_eq!((holder_of(&dir), holder_of(root.path())), (None, None));
        DataDir::open(&dir).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look_into_it() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let mode = || std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777;
        drop(DataDir::open(&dir).unwrap());
        assert_eq!(mode(), 0o700);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        drop(DataDir::open(&dir).unwrap());
        assert_eq!(mode(), 0o700, "one that was there is made private too");
    }

    #[test]
    fn a_file_in_its_place_is_an_error_of_one_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        std::fs::write(&path, "x").unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("the data directory") && error.lines().count() == 1, "{error}");
    }
}
