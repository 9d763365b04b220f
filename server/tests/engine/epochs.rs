//! Opening a directory whose journal may have lost something: the epoch is raised unless the store vouches for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quip_protocol::{Epoch, Position, RoomId, Timestamp};
use quip_server::Stopping;
use quip_server::engine::{Actor, Command, Entry};
use quip_server::pipeline::open::{OpenError, OpenedDir, open};
use quip_storage::journal::{Journal, JournalOptions};
use quip_storage::record::Applied;
use quip_storage::store::{Store, StoreOptions};

use crate::commands::beginning;
use crate::pipeline::{copy_dir, start, submit_all};
use crate::world::{key, post};

fn opened(dir: &Path, rebuild: bool) -> Result<OpenedDir, OpenError> {
    open(dir, StoreOptions { cache_bytes: 4 << 20 }, rebuild, &Stopping::default())
}

/// A directory that was used and closed; where its journal ends.
async fn used(dir: &Path) -> Position {
    use_it(dir).await;
    let opened = opened(dir, false).expect("it opens");
    assert_eq!(opened.store.applied(), opened.journal.last());
    opened.journal.last()
}

async fn use_it(dir: &Path) {
    let core = start(dir, None);
    for result in submit_all(&core, &beginning(), 2).await {
        result.expect("the first commands are good");
    }
    core.close().await;
}

fn epoch_of_ops(opened: &OpenedDir) -> Epoch {
    opened.engine.room(RoomId(2)).expect("#ops is there").head.cursor.epoch
}

#[tokio::test]
async fn a_journal_that_the_store_vouches_for_stays_in_its_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let last = used(dir.path()).await;
    assert_eq!(last.epoch, Epoch::FIRST);
    let rebuilt = opened(dir.path(), true).unwrap();
    assert_eq!((rebuilt.journal.last(), rebuilt.store.applied()), (last, last));
    assert!(rebuilt.set_aside.is_some_and(|path| path.is_dir()));
}

#[tokio::test]
async fn without_a_store_the_epoch_is_raised_once_and_what_was_stays() {
    let dir = tempfile::tempdir().unwrap();
    for spoil in
        [|store: &Path| fs::remove_dir_all(store), |store: &Path| fs::write(store.join("db"), [0x5A; 9_999])]
    {
        let data = dir.path().join("data");
        let last = used(&data).await;
        spoil(&data.join("store")).unwrap();
        let again = opened(&data, false).unwrap();
        let raised = again.journal.last();
        assert!(raised.epoch > Epoch(2), "beyond every epoch that a lost journal may have had: {raised}");
        assert_eq!((raised.offset, again.store.applied()), (last.offset + 1, raised));
        assert_eq!(epoch_of_ops(&again), Epoch::FIRST);
        drop(again);
        assert_eq!(opened(&data, false).unwrap().journal.last(), raised);
        fs::remove_dir_all(&data).unwrap();
    }
}

#[tokio::test]
async fn a_backup_that_is_put_back_again_does_not_come_to_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    used(&data).await;
    let epochs: BTreeSet<Epoch> = (0..4)
        .map(|n| {
            let restored = dir.path().join(n.to_string());
            copy_dir(&data.join("journal"), &restored.join("journal"));
            opened(&restored, false).unwrap().journal.last().epoch
        })
        .collect();
    assert!(epochs.len() > 1, "{epochs:?}");
}

#[tokio::test]
async fn a_store_from_before_an_accepted_loss_vouches_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    let last = used(&data).await;
    copy_dir(&data.join("store"), &aside);
    fs::remove_dir_all(data.join("journal")).unwrap();
    let error = opened(&data, false).unwrap_err();
    assert!(matches!(error, OpenError::JournalBehind { store, .. } if store == last), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    let rebuilt = opened(&data, true).unwrap();
    assert_eq!(rebuilt.journal.last(), Position { epoch: Epoch(2), offset: 1 });
    assert!(rebuilt.engine.is_unowned());
    drop(rebuilt);

    use_it(&data).await;
    fs::remove_dir_all(data.join("store")).unwrap();
    fs::rename(&aside, data.join("store")).unwrap();
    let again = opened(&data, false).unwrap();
    assert!(again.set_aside.is_some(), "the journal does not hold {last}");
    assert_eq!((epoch_of_ops(&again), again.journal.last().epoch), (Epoch(2), Epoch(2)));
}

/// The journal of a directory that nobody has open.
fn journal(dir: &Path) -> Journal {
    Journal::open(dir.join("journal"), JournalOptions::default()).expect("it opens")
}

fn append(dir: &Path, entry: &[u8]) -> Position {
    let mut journal = journal(dir);
    let position = journal.last().next();
    journal.append(position, entry).expect("it is written");
    position
}

fn last(dir: &Path) -> Position {
    journal(dir).last()
}

/// With the store that the newer version made of it, without one, and with the store of before.
#[tokio::test]
async fn a_journal_of_a_newer_version_is_refused_before_anything_is_changed() {
    type Step = fn(&Path, Position);
    let steps: [Step; 3] = [
        |store, position| {
            let (store, _) = Store::open(store, StoreOptions::default()).unwrap();
            store.apply(&[Applied { position, changes: Vec::new() }]).unwrap();
            store.sync().unwrap();
        },
        |store, _| fs::remove_dir_all(store).unwrap(),
        |_, _| {},
    ];
    for step in steps {
        let dir = tempfile::tempdir().unwrap();
        used(dir.path()).await;
        let mut newer = Entry::default().to_bytes();
        newer[1] += 1;
        let position = append(dir.path(), &newer);
        step(&dir.path().join("store"), position);
        for rebuild in [false, true] {
            let error = opened(dir.path(), rebuild).unwrap_err().to_string();
            assert!(error.contains(&position.to_string()), "{error}");
            assert!(error.contains("written by a newer quipd"), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        assert_eq!(last(dir.path()), position, "nothing was appended");
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("broken")), "nor set aside");
    }
}

/// An entry that is refused when it is replayed, and one behind it that can be read.
fn spoil_journal(dir: &Path) {
    let by = Actor::Device(key("nobody"));
    let refused = Command { at: Timestamp(9), by, body: post("#general", 900, "never accepted") };
    append(dir, &Entry { commands: vec![refused], ..Entry::default() }.to_bytes());
    append(dir, &Entry::default().to_bytes());
}

/// A supervisor that starts it every second must not fill the journal, nor use up the epochs.
#[tokio::test]
async fn starts_that_fail_write_nothing_to_the_journal_and_use_up_one_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (data, aside) = (dir.path().join("data"), dir.path().join("aside"));
    used(&data).await;
    copy_dir(&data.join("journal"), &aside);
    spoil_journal(&data);
    fs::remove_dir_all(data.join("store")).unwrap();
    let (before, mut noted) = (last(&data), BTreeSet::new());
    for _ in 0..3 {
        let error = opened(&data, false).unwrap_err();
        assert!(matches!(error, OpenError::Replay { .. }), "{error}");
        noted.insert(fs::read_to_string(data.join("epoch")).unwrap());
        assert_eq!(last(&data), before);
    }
    assert_eq!(noted.len(), 1, "{noted:?}");
    fs::remove_dir_all(data.join("journal")).unwrap();
    fs::rename(&aside, data.join("journal")).unwrap();
    let raised = opened(&data, false).unwrap().journal.last();
    assert_eq!(Some(format!("{}\n", raised.epoch)), noted.pop_first());
    assert!(!data.join("epoch").exists());
    assert_eq!(opened(&data, false).unwrap().journal.last(), raised, "once");
}

/// The process ended when the store was made again, before the epoch was raised: the store says that all is well.
#[tokio::test]
async fn an_epoch_that_was_to_be_raised_is_raised_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let before = used(dir.path()).await;
    fs::write(dir.path().join("epoch"), "7\n").unwrap();
    let raised = Position { epoch: Epoch(7), offset: before.offset + 1 };
    for _ in 0..2 {
        let again = opened(dir.path(), false).unwrap();
        assert_eq!((again.journal.last(), again.store.applied()), (raised, raised));
        drop(again);
        assert!(!dir.path().join("epoch").exists());
        // As if the process had ended before it was removed.
        fs::write(dir.path().join("epoch"), "7\n").unwrap();
    }
    fs::write(dir.path().join("epoch"), "seven").unwrap();
    let error = opened(dir.path(), false).unwrap_err();
    assert!(matches!(error, OpenError::Note { .. }), "{error}");
}

#[tokio::test]
async fn there_is_no_epoch_behind_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let mut journal = journal(dir.path());
    let end = Position { epoch: Epoch(u32::MAX - 1), offset: journal.last().offset + 1 };
    journal.append(end, &Entry::default().to_bytes()).unwrap();
    drop(journal);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let error = opened(dir.path(), false).unwrap_err();
    assert!(matches!(error, OpenError::NoEpochLeft), "{error}");
    assert_eq!(last(dir.path()), end);
}
