//! What a session watches, and from where: the cursors of its live stream.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quip_protocol::Seq;
use quip_protocol::limits::MAX_WATCHED;

use crate::feed::{Doorbell, FeedKey, Feeds, Interest, Watch};

/// The watches of one session.
#[derive(Debug, Default)]
pub struct Watching {
    /// Rings when any of the logs grows.
    doorbell: Arc<Doorbell>,
    watches: Mutex<HashMap<FeedKey, Current>>,
}

/// The watch of a log, which has replaced any before it.
#[derive(Debug)]
struct Current {
    watch: Arc<Watch>,
    /// Of the request that asked for it.
    label: u32,
}

impl Watching {
    /// What tells these watches from those of other sessions.
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    /// Watches a log instead of any watch of it before. Nothing is served before [`Watching::begin`]. `None` if the
    /// session watches as much as it may.
    pub fn add(&self, feeds: &Feeds, interest: Interest, label: u32) -> Option<Arc<Watch>> {
        let key = interest.key;
        let mut watches = self.watches.lock();
        if watches.len() >= MAX_WATCHED && !watches.contains_key(&key) {
            return None;
        }
        let watch = feeds.watch(interest, &self.doorbell);
        let before = watches.insert(key, Current { watch: Arc::clone(&watch), label });
        drop(watches);
        if let Some(before) = before {
            over(feeds, &before.watch);
        }
        Some(watch)
    }

    /// The reader has everything up to `at`: from there on it is served.
    pub fn begin(&self, watch: &Arc<Watch>, at: Seq) {
        watch.advance(at);
        // There may be something behind `at` already.
        watch.ring();
    }

    /// No more of this log.
    pub fn remove(&self, feeds: &Feeds, key: FeedKey) {
        let current = self.watches.lock().remove(&key);
        if let Some(current) = current {
            over(feeds, &current.watch);
        }
    }

    /// The right to a log is over behind `last`: what is up to there is still served, and then its end told. Called in
    /// the order of the log, before anything behind `last` is published.
    pub fn end_at(&self, key: FeedKey, last: Seq) {
        if let Some(current) = self.watches.lock().get(&key) {
            current.watch.end_at(last);
        }
    }

    /// This watch was served to its end: it is removed, not one that has replaced it. The label it was asked under; `None` if it was replaced.
    pub fn end(&self, feeds: &Feeds, watch: &Arc<Watch>) -> Option<u32> {
        let mut watches = self.watches.lock();
        watches.get(&watch.key()).filter(|current| Arc::ptr_eq(&current.watch, watch))?;
        let current = watches.remove(&watch.key())?;
        drop(watches);
        over(feeds, watch);
        Some(current.label)
    }

    /// No more of any.
    pub fn clear(&self, feeds: &Feeds) {
        let watches = std::mem::take(&mut *self.watches.lock());
        for current in watches.into_values() {
            feeds.unwatch(&current.watch);
            current.watch.over();
        }
        self.doorbell.clear();
    }

    /// Waits until there may be something new; then `rung`, which is empty, has the watches that it may be in.
    pub async fn rung(&self, rung: &mut Vec<Arc<Watch>>) {
        self.doorbell.answer(rung).await;
        rung.iter().for_each(|watch| watch.answered());
    }

    /// The same for what is urgent, while something else is being written: see [`Doorbell::answer_urgent`].
    pub async fn rung_urgently(&self, rung: &mut Vec<Arc<Watch>>) {
        self.doorbell.answer_urgent(rung).await;
        rung.iter().for_each(|watch| watch.answered());
    }
}

/// Unregisters a watch that nothing is served of any more. Only when nothing rings it any more is what rang forgotten.
fn over(feeds: &Feeds, watch: &Watch) {
    feeds.unwatch(watch);
    watch.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use quip_protocol::{AccountId, RoomId};

    const ANN: AccountId = AccountId(1);
    const ROOM: FeedKey = FeedKey::Room(RoomId(7));

    fn add(watching: &Watching, feeds: &Feeds, room: u64, label: u32) -> Arc<Watch> {
        watching
            .add(feeds, Interest::live(FeedKey::Room(RoomId(room)), ANN, Seq(5)), label)
            .expect("few are watched")
    }

    /// The cursors of the watches that rang.
    async fn rung(watching: &Watching) -> Vec<Option<Seq>> {
        let mut rung = Vec::new();
        watching.rung(&mut rung).await;
        rung.iter().map(|watch| watch.at()).collect()
    }

    #[test]
    fn replaced_watches_leave_nothing_behind() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        for label in 0..10_000 {
            let watch = add(&watching, &feeds, 7 + u64::from(label % 3), label);
            watching.begin(&watch, Seq(0));
        }
        assert_eq!(
            (watching.doorbell.waiting(), feeds.watches()),
            (3, 3),
            "nobody answers, and none is held twice"
        );
        watching.remove(&feeds, ROOM);
        assert_eq!((watching.doorbell.waiting(), feeds.watches()), (2, 2));
        watching.clear(&feeds);
        assert!(feeds.is_empty());
    }

    #[test]
    fn what_is_over_does_not_ring() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        let watch = add(&watching, &feeds, 7, 1);
        watching.remove(&feeds, ROOM);
        watch.ring();
        assert_eq!((watching.doorbell.waiting(), Arc::strong_count(&watch)), (0, 1), "nobody else holds it");
    }

    #[test]
    fn the_end_of_a_watch_is_not_that_of_its_successor() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        let old = add(&watching, &feeds, 7, 1);
        let new = add(&watching, &feeds, 7, 2);
        assert_eq!(watching.end(&feeds, &old), None);
        watching.begin(&new, Seq(3));
        assert_eq!((old.at(), new.at(), feeds.watches()), (None, Some(Seq(3)), 1));
        assert_eq!(watching.end(&feeds, &new), Some(2));
        assert_eq!((new.at(), feeds.watches()), (None, 0));
    }

    #[test]
    fn a_right_that_was_given_again_before_the_watch_does_not_end_it() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        // The log stands at 5 when the right is checked; of that, 4 and 5 are not published yet.
        let watch = add(&watching, &feeds, 7, 1);
        for (removed_at, end) in [(4, u64::MAX), (5, u64::MAX), (9, 9), (12, 9)] {
            watching.end_at(ROOM, Seq(removed_at));
            assert_eq!(watch.end(), Seq(end), "removed at {removed_at}");
        }
    }

    #[tokio::test]
    async fn what_comes_before_the_cursor_is_known_rings_when_it_is() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        let watch = add(&watching, &feeds, 7, 1);
        feeds.wake(&feeds.append(ROOM, Seq(6), Bytes::from_static(b"six"), vec![]));
        assert_eq!(rung(&watching).await, [None], "not served yet");
        watching.begin(&watch, Seq(5));
        assert_eq!(rung(&watching).await, [Some(Seq(5))]);
        feeds.wake(&feeds.append(ROOM, Seq(7), Bytes::from_static(b"seven"), vec![]));
        assert_eq!(rung(&watching).await, [Some(Seq(5))], "and again");
    }

    #[test]
    fn a_session_watches_only_so_much() {
        let (watching, feeds) = (Watching::default(), Feeds::default());
        for room in 0..MAX_WATCHED as u64 {
            add(&watching, &feeds, room, 1);
        }
        let other = Interest::live(FeedKey::Room(RoomId(u64::MAX)), ANN, Seq(5));
        assert!(watching.add(&feeds, other, 1).is_none());
        assert!(
            watching.add(&feeds, Interest::live(ROOM, ANN, Seq(5)), 1).is_some(),
            "instead of one before"
        );
        assert_eq!(feeds.watches(), MAX_WATCHED);
    }
}
