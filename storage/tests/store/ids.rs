//! The ids around a point: all of them between the bounds, whatever order they came in; and stores that are opened again.

use std::collections::BTreeSet;

use proptest::prelude::*;
use quip_protocol::MessageId;
use quip_storage::record::Applied;
use quip_storage::store::Ids;
use quip_storage::{Opened, Store, StoreError, StoreOptions};

use crate::model::{Act, Model, at, founding};

fn id(number: u128) -> MessageId {
    MessageId::from_bytes(number.to_be_bytes())
}

/// A room with a message for each of these ids.
fn entries(ids: &[u128]) -> Vec<Applied> {
    let mut entries = vec![founding(1, 3)];
    let mut model = Model::of(&entries);
    for id in ids {
        let act = Act::Send { room: 0, text: 5, id: *id };
        let entry = Applied { position: at(entries.len() as u64 + 1), changes: act.changes(&model) };
        model.apply(&entry);
        entries.push(entry);
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn between_the_bounds_are_all_there_are(
        ids in proptest::collection::hash_set(1..3_000u128, 0..600),
        asked in proptest::collection::vec((0..3_100u128, 0..300usize), 1..20),
    ) {
        let root = tempfile::tempdir().expect("a directory");
        let (store, _) = Store::open(root.path().join("store"), StoreOptions { cache_bytes: 1 << 20 }).expect("it opens");
        let ids: Vec<u128> = ids.into_iter().collect();
        for batch in entries(&ids).chunks(50) {
            store.apply(batch).expect("it follows");
        }
        let all: BTreeSet<MessageId> = ids.iter().map(|number| id(*number)).collect();
        for (number, most) in asked {
            let Ids { after, ids, before } = store.ids_behind(id(number), most).expect("readable");
            let within = all.iter().copied().filter(|id| *id > after && before.is_none_or(|before| *id < before));
            prop_assert_eq!(within.collect::<Vec<_>>(), ids.clone());
            prop_assert!(ids.len() <= most && after <= id(number));
        }
    }
}

#[test]
fn a_store_that_is_opened_again_has_what_it_had_and_one_that_was_given_up_is_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let (store, _) = Store::open(&dir, StoreOptions { cache_bytes: 1 << 20 }).unwrap();
    let entries = entries(&[1, 2, 3]);
    store.apply(&entries).unwrap();
    store.sync().unwrap();
    assert_eq!((store.reopen().unwrap(), store.applied()), (Opened::Found, at(4)));
    Model::of(&entries).assert_equals(&store);

    store.give_up("a test says so");
    assert!(store.is_given_up());
    Model::of(&entries).assert_equals(&store);
    let Opened::SetAside { why, .. } = store.reopen().unwrap() else { panic!("it was given up") };
    assert!(why.contains("a test says so"), "{why}");
    assert!(!store.is_given_up());
    store.apply(&entries).unwrap();
    Model::of(&entries).assert_equals(&store);
}

#[test]
fn a_store_that_does_not_open_again_is_an_error_until_it_does() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let (store, _) = Store::open(&dir, StoreOptions { cache_bytes: 1 << 20 }).unwrap();
    store.give_up("a test says so");
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::write(&dir, "in its place").unwrap();
    assert!(matches!(store.reopen(), Err(StoreError::Io { .. })));
    assert!(store.is_given_up(), "it could not be marked, so it is not forgotten");
    std::fs::remove_file(&dir).unwrap();
    assert_eq!(store.reopen().unwrap(), Opened::New);
    store.load().unwrap();
}
