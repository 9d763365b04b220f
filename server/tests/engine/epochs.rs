//! Opening a directory whose journal may have lost something: the epoch is raised unless the store vouches for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use quip_protocol::{Epoch, Position, RoomId};
use quip_server::engine::Entry;
use quip_server::pipeline::open::{OpenError, OpenedDir, open};
use quip_storage::store::StoreOptions;

use crate::commands::beginning;
use crate::pipeline::{copy_dir, start, submit_all};

fn opened(dir: &Path, rebuild: bool) -> Result<OpenedDir, OpenError> {
    open(dir, StoreOptions { cache_bytes: 4 << 20 }, rebuild)
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

#[tokio::test]
async fn an_entry_of_a_newer_version_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    used(dir.path()).await;
    let mut newer = Entry::default().to_bytes();
    newer[1] += 1;
    let mut at = opened(dir.path(), false).unwrap();
    let position = at.journal.last().next();
    at.journal.append(position, &newer).unwrap();
    drop(at);
    let error = opened(dir.path(), false).unwrap_err().to_string();
    assert!(error.contains(&position.to_string()) && error.contains("written by a newer quipd"), "{error}");
    assert_eq!(error.lines().count(), 1);
}
