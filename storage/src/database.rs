//! The one file that calls sled: opening it, keeping its panics in, making it durable.
//!
//! sled 0.34 panics on some damage, at open and later. A panic in a call to it is caught here and becomes an error;
//! from then on every call fails, since locks of sled may still be held, and a mark in the directory has the next
//! start set it aside. The view can be rebuilt, so nothing is lost by giving it up early.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use sled::{Batch, Db, IVec};

use crate::durable::{sync_dir, sync_parent};
use crate::store::StoreError;

/// With 512 KiB a store of blocks takes 1.75 times its data, with sled's larger ones up to 3.4 times (facts.md).
const SEGMENT_BYTES: usize = 512 * 1024;
/// A sled that was just closed in this process may hold its lock a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Says that sled panicked or found damage while it was used.
const MARK: &str = "broken";

/// A key and its value.
pub(crate) type Pair = (IVec, IVec);

/// sled's default tree.
#[derive(Debug)]
pub(crate) struct Database {
    db: Db,
    /// Whether there was a file of sled before it was opened.
    existed: bool,
    dir: PathBuf,
    broken: AtomicBool,
    /// Why it is to be set aside.
    given_up: OnceLock<String>,
    /// Files of large values that are known to be durable.
    synced_blobs: Mutex<BTreeSet<OsString>>,
}

impl Database {
    /// Opens or makes the one in `dir`.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Database, StoreError> {
        prepare(dir).map_err(|source| StoreError::io("prepare", dir, source))?;
        if dir.join(MARK).exists() {
            // A mark of a full disk may be empty.
            let why = fs::read_to_string(dir.join(MARK)).unwrap_or_default();
            return Err(StoreError::broken(format!("it was given up when it was last used: {why}")));
        }
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .use_compression(false)
            .flush_every_ms(None);
        let existed = fs::metadata(dir.join("db")).is_ok_and(|file| file.len() > 0);
        let db = open_patiently(&config)?;
        // The names of sled's files; it does not see to that itself.
        sync_dir(dir).and_then(|()| sync_parent(dir)).map_err(|e| StoreError::io("sync", dir, e))?;
        Ok(Database {
            db,
            existed,
            dir: dir.to_owned(),
            broken: AtomicBool::new(false),
            given_up: OnceLock::new(),
            synced_blobs: Mutex::default(),
        })
    }

    /// Closes it. sled's threads may end a moment later.
    pub(crate) fn close(self) {
        // It may be damaged, and then dropping it may panic as well.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(self)));
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        self.guarded(|db| db.get(key))
    }

    /// The pair with the greatest key that is at most `key` and starts with `prefix`.
    pub(crate) fn at_or_before(&self, key: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        let pair = self.guarded(|db| db.range(..=key).next_back().transpose())?;
        Ok(pair.filter(|(found, _)| found.starts_with(prefix)))
    }

    /// All pairs with keys from `from` to `upto`, both included.
    pub(crate) fn scan(&self, from: &[u8], upto: &[u8]) -> Scan<'_> {
        Scan { database: self, range: (from.into(), upto.into()), iter: None, ended: from > upto }
    }

    /// All pairs whose keys start with `prefix`.
    pub(crate) fn scan_prefix(&self, prefix: u8) -> Scan<'_> {
        // Keys of this store are shorter than that.
        self.scan(&[prefix], &[&[prefix; 1], [0xFF; 64].as_slice()].concat())
    }

    /// Whether it was made just now. sled opens a file of garbage as an empty tree without a word; that is not new.
    pub(crate) fn is_new(&self) -> bool {
        !self.existed
    }

    /// All of it or nothing, also after a crash.
    pub(crate) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.guarded(|db| db.apply_batch(batch))
    }

    /// Makes everything applied so far durable. sled's own flush ends in the page cache (facts.md).
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.guarded(|db| db.flush())?;
        self.sync_files().map_err(|source| StoreError::io("sync", &self.dir, source))
    }

    fn sync_files(&self) -> io::Result<()> {
        self.sync_blobs()?;
        File::open(self.dir.join("db"))?.sync_data()
    }

    /// A leaf of long messages can outgrow what sled keeps in its log, and becomes a file that sled never syncs.
    fn sync_blobs(&self) -> io::Result<()> {
        let dir = self.dir.join("blobs");
        let mut synced = self.synced_blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = BTreeSet::new();
        let mut changed = false;
        for entry in fs::read_dir(&dir)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                changed = true;
                match File::open(dir.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled has removed it since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        *synced = present;
        if changed { sync_dir(&dir) } else { Ok(()) }
    }

    fn guarded<T>(&self, call: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T, StoreError> {
        #[cfg(test)]
        READS.set(READS.get() + 1);
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::broken("it failed before and is not used until the next start"));
        }
        match catch_unwind(AssertUnwindSafe(|| call(&self.db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if matches!(error, sled::Error::Corruption { .. }) {
                    self.mark_broken(&error.to_string());
                }
                Err(sled_error(error))
            }
            Err(_) => {
                self.mark_broken("sled panicked");
                Err(StoreError::broken("sled panicked"))
            }
        }
    }

    /// Nothing more is done with it, and the next opening sets it aside.
    pub(crate) fn mark_broken(&self, why: &str) {
        self.broken.store(true, Ordering::Relaxed);
        self.give_up(why);
    }

    /// Has the next opening set it aside, also after a crash. What can be read may be read until then.
    pub(crate) fn give_up(&self, why: &str) {
        if self.given_up.set(why.to_owned()).is_ok()
            && let Err(error) = self.mark_if_given_up()
        {
            tracing::warn!(dir = %self.dir.display(), %error, "the broken store could not be marked");
        }
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.get().is_some()
    }

    /// Writes the mark; tried again where it could not be written at once.
    pub(crate) fn mark_if_given_up(&self) -> Result<(), StoreError> {
        let Some(why) = self.given_up.get() else { return Ok(()) };
        let path = self.dir.join(MARK);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(why.as_bytes())?;
            file.sync_all()
        });
        match written.and_then(|()| sync_dir(&self.dir)) {
            // Someone removed the directory: there is nothing to be taken for sound.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            marked => marked.map_err(|source| StoreError::io("mark", &path, source)),
        }
    }
}

/// Pairs in the order of their keys.
pub(crate) struct Scan<'a> {
    database: &'a Database,
    range: (IVec, IVec),
    iter: Option<sled::Iter>,
    ended: bool,
}

impl Scan<'_> {
    fn step(&mut self) -> Result<Option<Pair>, StoreError> {
        let Scan { database, range, iter, .. } = self;
        database.guarded(|db| {
            let iter = iter.get_or_insert_with(|| db.range(range.0.clone()..=range.1.clone()));
            iter.next().transpose()
        })
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let pair = self.step().transpose();
        self.ended = !matches!(pair, Some(Ok(_)));
        pair
    }
}

/// Makes the directory, and removes what keeps sled from opening after it was killed while opening (facts.md).
fn prepare(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_patiently(config: &sled::Config) -> Result<Db, StoreError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(error)) if is_locked(&error) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Err(error)) => return Err(sled_error(error)),
            Err(_) => return Err(StoreError::broken("sled panicked while opening")),
        }
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

/// A full disk or missing rights are no damage, and a new store would not open either.
fn sled_error(error: sled::Error) -> StoreError {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        sled::Error::Io(source)
            if matches!(
                source.kind(),
                PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
            ) =>
        {
            StoreError::Io { action: "use", path: "the store".into(), source }
        }
        error if is_locked(&error) => StoreError::Locked,
        error => StoreError::broken(error.to_string()),
    }
}

#[cfg(test)]
thread_local! {
    static READS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The calls to sled that this thread has made.
#[cfg(test)]
pub(crate) fn reads() -> usize {
    READS.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_sled_is_an_error_and_the_next_start_sets_it_aside() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        let database = Database::open(&dir, 1 << 20).unwrap();
        let panicking: Result<(), StoreError> = database.guarded(|_| panic!("sled panics, in a test"));
        assert!(matches!(panicking, Err(StoreError::Broken { .. })));
        assert!(matches!(database.get(b"key"), Err(StoreError::Broken { .. })));
        database.close();
        let (_, opened) = crate::Store::open(&dir, crate::StoreOptions::default()).unwrap();
        assert!(matches!(opened, crate::Opened::SetAside { .. }));
    }

    #[test]
    fn scans_have_both_their_ends() {
        let root = tempfile::tempdir().unwrap();
        let database = Database::open(root.path(), 1 << 20).unwrap();
        let mut batch = Batch::default();
        for key in [b"a1", b"b1", b"b2", b"b\xFF", b"c1"] {
            batch.insert(key.as_slice(), b"");
        }
        database.apply(batch).unwrap();
        let keys = |scan: Scan<'_>| scan.map(|pair| pair.unwrap().0.to_vec()).collect::<Vec<_>>();
        assert_eq!(keys(database.scan_prefix(b'b')), [b"b1", b"b2", b"b\xFF"]);
        assert_eq!(keys(database.scan(b"b1", b"b2")), [b"b1", b"b2"]);
        assert_eq!(keys(database.scan(b"b2", b"b1")), Vec::<Vec<u8>>::new());
        let before = |key: &[u8]| database.at_or_before(key, b"b").unwrap().map(|(key, _)| key.to_vec());
        assert_eq!(before(b"b1"), Some(b"b1".to_vec()));
        assert_eq!(before(b"b3"), Some(b"b2".to_vec()));
        assert_eq!(before(b"b0"), None);
    }
}
