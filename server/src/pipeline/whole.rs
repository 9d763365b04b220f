//! Whether the store is whole: while it is made again it answers well and wrongly, for it lacks what came last, the
//! deletions too. Imports nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up when the store begins to be opened again, and when it has everything. Odd in between.
#[derive(Debug, Default)]
pub struct Whole {
    count: AtomicU64,
}

/// A whole store, as it was when someone began to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance(u64);

impl Whole {
    /// The store is about to lack something. Said before it does.
    pub fn broken(&self) {
        self.count.fetch_or(1, Ordering::SeqCst);
    }

    /// The store has everything that the feeds do not hold. Said before anyone is woken to read it.
    pub fn mended(&self) {
        if self.glance().is_none() {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Before reading; nothing while the store is not whole.
    pub fn glance(&self) -> Option<Glance> {
        let count = self.count.load(Ordering::SeqCst);
        count.is_multiple_of(2).then_some(Glance(count))
    }

    /// After reading: whether the store was whole all the time, also if a mend began and ended in between.
    pub fn was_since(&self, glance: Option<Glance>) -> bool {
        glance.is_some() && self.glance() == glance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mend_that_begins_and_ends_while_someone_reads_is_noticed() {
        let whole = Whole::default();
        let before = whole.glance();
        assert!(whole.was_since(before));
        whole.broken();
        whole.broken();
        assert!(!whole.was_since(before) && !whole.was_since(whole.glance()));
        whole.mended();
        assert!(!whole.was_since(before) && whole.was_since(whole.glance()));
        let after = whole.glance();
        whole.mended();
        assert!(whole.was_since(after), "it was whole already");
    }
}
