//! Tests of what holds segments together: headers, salts, and which follows on which.

use super::*;

/// Segments of one record each, of which one is spoilt; the error of opening, which is one problem of a check too.
fn with_segments(spoil: impl FnOnce(&Path, &[PathBuf])) -> (tempfile::TempDir, Vec<PathBuf>, JournalError) {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1, 2, 5, 7], 60);
    let paths = files(dir.path(), ".log");
    assert_eq!(paths.len(), 4);
    spoil(dir.path(), &paths);
    let error = Journal::open(dir.path(), options(60)).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1);
    (dir, paths, error)
}

#[test]
fn a_missing_segment_is_an_error_that_names_it() {
    for missing in 0..3 {
        let (dir, paths, error) = with_segments(|_, paths| fs::remove_file(&paths[missing]).unwrap());
        let JournalError::Incomplete { file, before } = &error else { panic!("{error}") };
        assert_eq!(
            (file, before.as_str()),
            (&paths[missing + 1], paths[missing].file_name().unwrap().to_str().unwrap())
        );
        let problems = problems(dir.path());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().contains(before), "{problems:?}");
    }
}

#[test]
fn a_missing_segment_between_compressed_ones_is_noticed_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(compressed(dir.path(), &(1..12).collect::<Vec<_>>()));
    let paths = files(dir.path(), ".zst");
    fs::remove_file(&paths[1]).unwrap();
    let error = Journal::open(dir.path(), options(200)).unwrap_err();
    assert!(matches!(&error, JournalError::Incomplete { file, .. } if *file == paths[2]), "{error}");
    assert_eq!(problems(dir.path()).len(), 1);
}

#[test]
fn segments_in_the_wrong_place_are_reported() {
    let (dir, paths, error) = with_segments(|_, paths| assert!(fs::copy(&paths[0], &paths[1]).is_ok()));
    assert_names(&error, &paths[1], 0);
    let problems = problems(dir.path());
    assert!(problems[0].place.starts_with(paths[1].to_str().unwrap()), "{problems:?}");
}

#[test]
fn a_segment_that_ends_too_early_is_noticed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1, 2, 3, 4], 150);
    let paths = files(dir.path(), ".log");
    let first = fs::read(&paths[0]).unwrap();
    assert!(starts(&[1, 2])[2] == first.len(), "two records in the first segment");
    fs::write(&paths[0], &first[..starts(&[1])[1]]).unwrap();
    let journal = Journal::open(dir.path(), options(150)).unwrap();
    let error = journal.replay(Position::ZERO).unwrap().find_map(Result::err).unwrap();
    assert_names(&error, &paths[1], 0);
    assert_eq!(problems(dir.path()).len(), 1);
}

#[test]
fn a_segment_without_records_is_removed_only_where_a_crash_left_it() {
    for (emptied, removed) in [(3, true), (2, false)] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), &[1, 2, 5, 7], 60);
        let paths = files(dir.path(), ".log");
        let bytes = fs::read(&paths[emptied]).unwrap();
        for path in &paths[emptied..] {
            fs::write(path, &bytes[..header::HEADER_BYTES]).unwrap();
        }
        match Journal::open(dir.path(), options(60)) {
            Ok(journal) => assert_eq!((removed, journal.last()), (true, at(5))),
            Err(error) => {
                assert!(!removed, "{error}");
                assert_names(&error, &paths[2], 0);
            }
        }
    }
}

#[test]
fn a_damaged_header_is_never_taken_for_a_torn_one() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1], 1000);
    let path = only_segment(dir.path());
    let bytes = fs::read(&path).unwrap();
    for byte in 0..header::HEADER_BYTES {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_names(&Journal::open(dir.path(), options(1000)).unwrap_err(), &path, 0);
        assert_eq!(problems(dir.path()).len(), 1);
    }
}

/// What a client can choose of a payload may look like a record in every way that does not need the salt.
#[test]
fn a_torn_record_that_holds_a_record_of_its_sender_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    filled(elsewhere.path(), &[1], 1000);
    let foreign = fs::read(only_segment(elsewhere.path())).unwrap();
    let mut hostile = Vec::new();
    for seed in [0, crc32c::crc32c(&[0; 16]), u32::MAX] {
        entry::put(&mut hostile, seed, at(2), b"");
        entry::put(&mut hostile, seed, at(9), b"more");
    }
    hostile.extend_from_slice(&foreign);
    hostile.extend_from_slice(b"and then some");
    let mut journal = filled(dir.path(), &[1], 1000);
    journal.append(at(2), &hostile).unwrap();
    drop(journal);
    let path = only_segment(dir.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(problems(dir.path()).len(), 1);
    let journal = Journal::open(dir.path(), options(1000)).unwrap();
    assert_eq!((journal.last(), replayed(&journal, 0)), (at(1), vec![1]));
}
