//! What makes a name in a directory survive a power cut, and what a full disk says. Imports only the standard library.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes the names in `dir` durable: a new or renamed file is only there after a power cut if this was done.
/// Elsewhere than on Unix a directory can't be synced and names are durable with their file.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Syncs the directory that `path` is in.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Whether it failed because there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull)
}
