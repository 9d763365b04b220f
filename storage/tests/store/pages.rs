//! Blocks at their limits: the longest messages, the most reactions, ids in any order, values that stay small.

use quip_protocol::limits::{MAX_REACTIONS, MAX_REACTORS, MAX_TEXT};
use quip_protocol::{RoomId, Seq};
use quip_storage::record::Applied;
use quip_storage::{Opened, Store, StoreOptions};

use crate::model::{Act, Model, at, founding};

/// Applies acts in batches of `batch`, and holds the result against the model.
fn applied(dir: &std::path::Path, acts: impl IntoIterator<Item = Act>, batch: usize) -> (Store, Model) {
    let (store, opened) = Store::open(dir.join("store"), StoreOptions::default()).unwrap();
    assert_eq!(opened, Opened::New);
    let mut model = Model::default();
    let mut entries = vec![founding(2, 200)];
    model.apply(&entries[0]);
    for act in acts {
        let changes = act.changes(&model);
        entries.push(Applied { position: at(entries.len() as u64 + 1), changes });
        model.apply(&entries[entries.len() - 1]);
    }
    for batch in entries.chunks(batch) {
        store.apply(batch).unwrap();
    }
    model.assert_equals(&store);
    (store, model)
}

fn send(number: u64, text: usize) -> Act {
    Act::Send { room: 0, text, id: u128::from(number) << 64 }
}

/// The largest value in a store's directory, which no other process has open.
fn largest_value(dir: &std::path::Path) -> usize {
    let config = sled::Config::new().path(dir.join("store")).segment_size(512 * 1024);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let db = loop {
        match config.open() {
            Ok(db) => break db,
            // The one that was just closed may hold its lock a moment longer.
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    };
    db.iter().map(|pair| pair.unwrap().1.len()).max().unwrap()
}

#[test]
fn short_messages_grown_to_their_limits_stay_in_small_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let first = (0..40).map(|number| send(number, 10));
    let grown = (0..40).map(|number| Act::Edit {
        room: 0,
        pick: number,
        text: MAX_TEXT,
        id: (1 << 100) + number as u128,
    });
    let reactions = (0..MAX_REACTORS + 20).map(|number| Act::React {
        room: 0,
        pick: 7,
        who: number as u64,
        emoji: 14 + number % (MAX_REACTIONS + 1),
        on: true,
        id: (1 << 110) + number as u128,
    });
    let acts = first.chain(grown).chain(reactions);
    for batch in [1, 1000] {
        let dir = dir.path().join(batch.to_string());
        drop(applied(&dir, acts.clone(), batch));
        assert!(largest_value(&dir) < 32 * 1024);
    }
}

#[test]
fn a_page_has_one_event_even_if_it_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = applied(dir.path(), [send(1, MAX_TEXT), send(2, 10)], 10);
    let page = store.events(RoomId(0), Seq::ZERO, Seq(9), 100).unwrap();
    assert_eq!((page.first, page.last, page.count), (Seq(1), Seq(1), 1));
    assert!(page.bytes.len() > MAX_TEXT);
    assert_eq!(store.events(RoomId(1), Seq::ZERO, Seq(9), 100).unwrap().count, 0);
    assert_eq!(store.event(RoomId(77), Seq(1)).unwrap(), None);
}

#[test]
fn ids_in_any_order_are_found() {
    // Descending, then scattered, then ascending: every way to hit the index.
    let ids = (0..400u128).rev().map(|id| id << 70);
    let scattered = (0..1200u128).map(|id| (id * 7919 % 1200) << 90 | 1);
    let ascending = (0..700u128).map(|id| (1 << 120) + id);
    let acts = ids.chain(scattered).chain(ascending).map(|id| Act::Send { room: 1, text: 5, id });
    for batch in [7, 5000] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = applied(dir.path(), acts.clone(), batch);
        for absent in [u128::MAX, 3, (5 << 90) + 2] {
            let id = quip_protocol::MessageId::from_bytes(absent.to_be_bytes());
            assert_eq!(store.receipt(id).unwrap(), None);
        }
        drop(store);
        assert!(largest_value(dir.path()) < 16 * 1024);
    }
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = applied(dir.path(), [send(1, 5), send(2, 5)], 10);
    let mut ahead = model.clone();
    ahead.apply(&Applied { position: at(4), changes: send(3, 5).changes(&model) });
    let skipping = Applied { position: at(4), changes: send(4, 5).changes(&ahead) };
    let repeated = Applied { position: at(3), changes: Vec::new() };
    for entry in [skipping, repeated] {
        let error = store.apply(&[entry]).unwrap_err().to_string();
        assert!(error.starts_with("this does not follow"), "{error}");
    }
    assert_eq!(store.applied(), at(3));
    model.assert_equals(&store);
}

#[test]
fn ten_thousand_notices_and_members_in_one_batch() {
    let dir = tempfile::tempdir().unwrap();
    let members = (0..200).map(|account| Act::Member { room: 0, account, mentions: 3 });
    let notices = (0..10_000).map(|number| Act::Notice { account: number % 200 });
    applied(dir.path(), members.chain(notices), usize::MAX);
}

#[test]
fn pages_have_no_hole_while_blocks_are_written_and_split() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = applied(dir.path(), [send(1, 5)], 10);
    let acts = (2..600).flat_map(|number| {
        let edit = Act::Edit { room: 0, pick: number, text: 900, id: (1 << 120) + number as u128 };
        [send(number as u64, 20), edit]
    });
    let mut offset = store.applied().offset;
    let entries: Vec<Applied> = acts
        .map(|act| {
            offset += 1;
            let entry = Applied { position: at(offset), changes: act.changes(&model) };
            model.apply(&entry);
            entry
        })
        .collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| entries.chunks(9).for_each(|batch| store.apply(batch).unwrap()));
        while !writer.is_finished() {
            let head = store.head(RoomId(0)).unwrap().unwrap().cursor.seq;
            let page = store.events(RoomId(0), Seq::ZERO, head, usize::MAX).unwrap();
            assert_eq!((page.first, page.last, page.count as u64), (Seq(1), head, head.0));
        }
    });
    model.assert_equals(&store);
}
