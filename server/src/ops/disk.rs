//! How much room the disk has.

use std::path::Path;

/// Bytes that can still be written below `path`; `None` where that cannot be told.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stats = rustix::fs::statvfs(path).ok()?;
    stats.f_bavail.checked_mul(stats.f_frsize)
}

/// Whether so many bytes can be written; also where that cannot be told.
pub fn has_room(path: &Path, bytes: u64) -> bool {
    free_bytes(path).is_none_or(|free| free >= bytes)
}
