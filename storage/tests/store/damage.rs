//! Stores that were spoilt: what can't be opened is set aside, what can't be read is an error, nothing panics.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use quip_protocol::{AccountId, MessageId, RoomId, Seq};
use quip_storage::record::Applied;
use quip_storage::{Opened, Store, StoreError, StoreOptions};

use crate::model::{Act, Model, at, founding};

fn open(dir: &Path) -> (Store, Opened) {
    Store::open(dir, StoreOptions { cache_bytes: 1 << 20 }).unwrap()
}

fn entries() -> Vec<Applied> {
    let mut entries = vec![founding(1, 3)];
    let mut model = Model::of(&entries);
    for number in 0..300u128 {
        let act = match number % 10 {
            9 => Act::Notice { account: 1 },
            _ => Act::Send { room: 0, text: 100, id: number << 64 },
        };
        let entry = Applied { position: at(entries.len() as u64 + 1), changes: act.changes(&model) };
        model.apply(&entry);
        entries.push(entry);
    }
    entries
}

/// A store with 300 entries, closed.
fn filled(dir: &Path) {
    let (store, _) = open(dir);
    for batch in entries().chunks(60) {
        store.apply(batch).unwrap();
        store.sync().unwrap();
    }
}

fn assert_rebuilt(dir: &Path, store: &Store, opened: &Opened) {
    let Opened::SetAside { to, why } = opened else { panic!("{opened:?}") };
    let name = to.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("store.broken-") && to.is_dir() && to.parent() == dir.parent());
    assert_eq!(why.lines().count(), 1, "{why}");
    assert_holds_entries(store);
}

/// Applies the entries to an empty store.
fn assert_holds_entries(store: &Store) {
    assert_eq!(store.applied().offset, 0);
    let entries = entries();
    store.apply(&entries).unwrap();
    Model::of(&entries).assert_equals(store);
}

#[test]
fn a_store_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    filled(&dir);
    let (store, opened) = open(&dir);
    assert_eq!((opened, store.applied()), (Opened::Found, at(301)));
    Model::of(&entries()).assert_equals(&store);
}

#[test]
fn a_store_that_is_ahead_of_the_journal_can_be_set_aside() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    filled(&dir);
    // Twice within one second as well.
    for _ in 0..3 {
        let to = open(&dir).0.set_aside().unwrap();
        assert!(to.is_dir() && !dir.exists());
        let (store, opened) = open(&dir);
        assert_eq!(opened, Opened::New);
        assert_holds_entries(&store);
    }
}

#[test]
fn garbage_is_set_aside() {
    let garbage: [(&str, &[u8]); 5] = [
        ("db", &[0x5A; 100_000]),
        ("db", &[0xFF; 700_000]),
        ("conf", b"segment_size: 17\n"),
        ("conf", &[0xFE; 1000]),
        ("snap.0000000000000001", &[7; 5000]),
    ];
    for (name, bytes) in garbage {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        filled(&dir);
        fs::write(dir.join(name), bytes).unwrap();
        let (store, opened) = open(&dir);
        assert_rebuilt(&dir, &store, &opened);
    }
}

#[test]
fn a_store_of_another_version_is_set_aside() {
    for (key, value) in [([0u8], b"quip store 0".as_slice()), ([1], b"\x01"), ([1], b"\x09abc")] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        filled(&dir);
        spoil(&dir, |db| drop(db.insert(key, value).unwrap()));
        let (store, opened) = open(&dir);
        assert_rebuilt(&dir, &store, &opened);
    }
}

#[test]
fn a_leftover_of_an_interrupted_opening_does_no_harm() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    filled(&dir);
    fs::write(dir.join("snap.0000000000000100.generating"), "half").unwrap();
    assert_eq!(open(&dir).1, Opened::Found);
}

#[test]
fn a_file_in_place_of_the_store_is_set_aside_or_an_error() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    fs::write(&dir, "x").unwrap();
    let error = Store::open(&dir, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }) && error.to_string().lines().count() == 1, "{error}");
}

#[test]
fn what_was_made_anew_is_not_set_aside_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    filled(&dir);
    let (store, _) = open(&dir);
    store.give_up("a test");
    assert_rebuilt(&dir, &store, &store.reopen().unwrap());
    for _ in 0..3 {
        store.give_up("a test");
        assert_eq!(store.reopen().unwrap(), Opened::New);
        assert_holds_entries(&store);
    }
    assert_eq!(store.reopen().unwrap(), Opened::Found, "what is sound is kept");
    drop(store);
    let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the store, and what was there first: {names:?}");
}

/// Changes what lies in a closed store.
fn spoil(dir: &Path, change: impl FnOnce(&sled::Db)) {
    let config = sled::Config::new().path(dir).segment_size(512 * 1024);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        match config.open() {
            Ok(db) => {
                change(&db);
                db.flush().unwrap();
                return;
            }
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

/// Every read there is.
fn read_everything(store: &Store) -> Result<(), StoreError> {
    store.load()?;
    store.head(RoomId(0))?;
    store.event(RoomId(0), Seq(100))?;
    store.events(RoomId(0), Seq::ZERO, Seq(u64::MAX), usize::MAX)?;
    store.notices(AccountId(1), Seq::ZERO, Seq(u64::MAX), usize::MAX)?;
    store.receipt(MessageId::from_bytes((100u128 << 64).to_be_bytes()))?;
    Ok(())
}

#[test]
fn a_missing_block_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    filled(&dir);
    let second = || {
        let mut key = [b't'; 17];
        key[1..9].copy_from_slice(&0u64.to_be_bytes());
        key[9..].copy_from_slice(&33u64.to_be_bytes());
        key
    };
    spoil(&dir, |db| assert!(db.remove(second()).unwrap().is_some()));
    let (store, _) = open(&dir);
    let error = store.events(RoomId(0), Seq::ZERO, Seq(90), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("the block of room 0 from event 33 on: there is no block for it"), "{error}");
    let problems = store.check().unwrap();
    assert!(problems.iter().any(|p| p.to_string().contains("event 33 should come here")), "{problems:?}");
    assert!(problems.iter().any(|p| p.to_string().contains("leads to event 33 of room 0")), "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 50, ..ProptestConfig::default() })]

    /// Any value replaced by other bytes, cut or with a flipped bit: errors and problems, no panic.
    #[test]
    fn spoilt_values_are_errors(
        picks in proptest::collection::vec((any::<usize>(), any::<usize>(), 0..3usize), 1..6),
        junk in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        filled(&dir);
        spoil(&dir, |db| {
            let keys: Vec<_> = db.iter().keys().map(Result::unwrap).filter(|key| key[0] > 1).collect();
            for (pick, place, how) in picks {
                let key = &keys[pick % keys.len()];
                let mut value = db.get(key).unwrap().unwrap().to_vec();
                match how {
                    0 => value.truncate(place % (value.len() + 1)),
                    1 if !value.is_empty() => {
                        let bit = place % (value.len() * 8);
                        value[bit / 8] ^= 1 << (bit % 8);
                    }
                    _ => value = junk.clone(),
                }
                db.insert(key, value).unwrap();
            }
        });
        let (store, _) = open(&dir);
        if let Err(error) = read_everything(&store) {
            prop_assert!(matches!(error, StoreError::Corrupt { .. }), "{}", error);
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
        // It must not panic; a bit of a message's text can flip without anyone noticing.
        store.check().unwrap();
    }

    /// Any bytes of sled's own file changed: it opens with what it held at its position, or is set aside.
    #[test]
    fn a_spoilt_file_never_panics(places in proptest::collection::vec(any::<usize>(), 1..20), to in any::<u8>()) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        filled(&dir);
        let path = dir.join("db");
        let mut bytes = fs::read(&path).unwrap();
        let length = bytes.len();
        places.iter().for_each(|place| bytes[place % length] = to);
        fs::write(&path, bytes).unwrap();
        let (store, opened) = open(&dir);
        if opened != Opened::Found {
            assert_rebuilt(&dir, &store, &opened);
        } else if read_everything(&store).is_ok() {
            // sled went back to what it held before, with the position of then.
            let applied = usize::try_from(store.applied().offset).unwrap();
            Model::of(&entries()[..applied]).assert_equals(&store);
        } else {
            drop(store);
            let reopened = open(&dir).1;
            prop_assert!(matches!(reopened, Opened::SetAside { .. }), "{:?}", reopened);
        }
    }
}
