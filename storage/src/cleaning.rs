//! What was overwritten gives its room back.
//!
//! sled's log is made of segments. One is used again once every page in it was written elsewhere; a segment of which half is
//! overwritten is emptied, but only a page at a time: with every tenth change of any page, and in a thread that also syncs files
//! every some milliseconds, which is not run here. With the writes of many rooms that is too little: the store of half an hour of
//! `quip-load mixed` had 25 times what was in it, and grew on. So here a small page of its own is changed as often as it takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sled::{Db, Tree};

/// Of one page, which holds nothing else.
const TREE: &[u8] = b"cleaning";
const KEY: &[u8] = b"n";
/// So many changes for each key that was written: with 20 a store of 200 rooms had twice what it had with 40, and that twice what was
/// in it.
const CHANGES: u64 = 40;
/// The most that is owed: after much was written at once, some seconds of work. It leaves less behind, since much of it is new.
const MOST: u64 = 1_000_000;
/// Changes between two looks at the clock: some tenths of a millisecond.
const STEP: u64 = 50;

/// How much there is to do.
#[derive(Debug)]
pub(crate) struct Cleaning {
    page: Tree,
    owed: AtomicU64,
}

impl Cleaning {
    pub(crate) fn new(db: &Db) -> sled::Result<Cleaning> {
        Ok(Cleaning { page: db.open_tree(TREE)?, owed: AtomicU64::new(0) })
    }

    /// So many keys were written.
    pub(crate) fn owe(&self, keys: u64) {
        let add = |owed: u64| Some(owed.saturating_add(keys.saturating_mul(CHANGES)).min(MOST));
        // It always adds.
        let _ = self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Works for at most about this long; whether something is left to do.
    pub(crate) fn work(&self, time: Duration) -> sled::Result<bool> {
        let until = Instant::now() + time;
        loop {
            let owed = self.owed.load(Ordering::Relaxed);
            if owed == 0 || Instant::now() >= until {
                return Ok(owed > 0);
            }
            for change in 0..STEP.min(owed) {
                self.page.insert(KEY, &change.to_be_bytes())?;
            }
            self.owed.fetch_sub(STEP.min(owed), Ordering::Relaxed);
        }
    }
}
