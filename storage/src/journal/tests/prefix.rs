//! Another journal of the beginning of one.

use super::*;

fn bytes_of(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Five segments, of which the first two are compressed.
fn mixed(dir: &Path) -> Journal {
    let offsets: Vec<u64> = (1..=20).map(|n| n * 2).collect();
    drop(filled(dir, &offsets, 250));
    for path in files(dir, ".log").into_iter().take(2) {
        let first = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let segment = segment::Segment::plain(dir, first);
        for step in compress::STEPS {
            step(dir, &segment, &AtomicBool::new(false)).unwrap();
        }
    }
    let journal = Journal::open(dir, options(250)).unwrap();
    assert!(files(dir, ".zst").len() == 2 && files(dir, ".log").len() >= 3);
    journal
}

#[test]
fn it_has_what_was_up_to_there_and_the_one_it_is_of_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    let journal = mixed(&from);
    let before = bytes_of(&from);
    for last in (0..=20).map(|n| n * 2) {
        let to = dir.path().join(format!("to-{last}"));
        journal.reader().prefix(at(last), &to).unwrap();
        let mut prefix = Journal::open(&to, options(250)).unwrap();
        assert_eq!(prefix.last(), at(last));
        assert_eq!(replayed(&prefix, 0), (1..=last / 2).map(|n| n * 2).collect::<Vec<_>>());
        // It goes on as another branch, and grows by more than a segment.
        for offset in last + 1..last + 12 {
            prefix.append(at(offset), &payload(offset)).unwrap();
        }
        assert_eq!(replayed(&prefix, last).len(), 11);
        drop(prefix);
        assert_eq!(problems(&to), []);
        assert!(bytes_of(&from) == before, "up to {last}");
    }
    assert_eq!(replayed(&journal, 0).len(), 20);
    assert_eq!(problems(&from), []);
}

#[cfg(unix)]
#[test]
fn whole_segments_are_not_copied() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let journal = mixed(&from);
    journal.reader().prefix(at(40), &to).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let all = bytes_of(&to);
    let (cut, whole) = all.split_last().unwrap();
    assert!(whole.len() >= 4);
    for (path, _) in whole {
        assert_eq!(inode(path), inode(&from.join(path.file_name().unwrap())), "{}", path.display());
    }
    // It is written to.
    assert_ne!(inode(&cut.0), inode(&from.join(cut.0.file_name().unwrap())));
}

#[test]
fn up_to_a_record_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let journal = mixed(&dir.path().join("from"));
    for (n, last) in [1, 7, 39, 41].into_iter().enumerate() {
        let error = journal.reader().prefix(at(last), &dir.path().join(n.to_string())).unwrap_err();
        assert!(matches!(error, JournalError::OutOfOrder { .. }), "{last}: {error}");
    }
    let other = Position { epoch: Epoch(9), offset: 8 };
    let error = journal.reader().prefix(other, &dir.path().join("other")).unwrap_err();
    assert!(matches!(error, JournalError::OutOfOrder { .. }), "{error}");
}
