//! Tests of the journal: torn tails, damage, crashes between the steps of compressing, failing disks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use quip_protocol::{Epoch, Position};

use super::*;

mod prefix;
mod segments;

fn at(offset: u64) -> Position {
    Position { epoch: Epoch::FIRST, offset }
}

fn payload(offset: u64) -> Vec<u8> {
    format!("group {offset} ").repeat(1 + offset as usize % 3).into_bytes()
}

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions { segment_bytes, compress: false }
}

/// Offsets with gaps between them, in segments of `segment_bytes`.
fn filled(dir: &Path, offsets: &[u64], segment_bytes: u64) -> Journal {
    let mut journal = Journal::open(dir, options(segment_bytes)).unwrap();
    for offset in offsets {
        journal.append(at(*offset), &payload(*offset)).unwrap();
    }
    journal
}

fn problems(dir: &Path) -> Vec<Problem> {
    Journal::check(dir).unwrap().problems
}

fn replayed(journal: &Journal, behind: u64) -> Vec<u64> {
    let entries = journal.replay(at(behind)).unwrap().map(Result::unwrap);
    entries
        .map(|(position, bytes)| {
            assert_eq!(bytes, payload(position.offset));
            position.offset
        })
        .collect()
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.to_str().unwrap().ends_with(extension));
    paths.sort();
    paths
}

fn only_segment(dir: &Path) -> PathBuf {
    let [path] = files(dir, ".log").try_into().unwrap();
    path
}

/// Where each record of a file starts, and its end.
fn starts(offsets: &[u64]) -> Vec<usize> {
    let mut at = header::HEADER_BYTES;
    let mut starts = vec![at];
    for offset in offsets {
        at += ENTRY_HEADER_BYTES + payload(*offset).len();
        starts.push(at);
    }
    starts
}

#[test]
fn what_was_appended_is_replayed_from_any_position() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = [1, 2, 5, 6, 20, 21, 22, 40];
    let journal = filled(dir.path(), &offsets, 200);
    assert!(files(dir.path(), ".log").len() > 2);
    drop(journal);
    let journal = Journal::open(dir.path(), options(200)).unwrap();
    assert_eq!(journal.last(), at(40));
    for behind in 0..=41 {
        let expected: Vec<u64> = offsets.into_iter().filter(|offset| *offset > behind).collect();
        assert_eq!(replayed(&journal, behind), expected, "behind {behind}");
    }
    assert_eq!(problems(dir.path()), []);
}

#[test]
fn a_position_is_held_with_its_epoch_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = filled(dir.path(), &[1, 2, 5], 60);
    let raised = Position { epoch: Epoch(3), offset: 6 };
    journal.append(raised, &payload(6)).unwrap();
    let held = [Position::ZERO, at(1), at(2), at(5), raised];
    let not = [
        at(3),
        at(6),
        at(7),
        Position { epoch: Epoch(2), offset: 2 },
        Position { epoch: Epoch(3), offset: 5 },
    ];
    assert!(held.into_iter().all(|position| journal.holds(position).unwrap()));
    assert!(!not.into_iter().any(|position| journal.holds(position).unwrap()));
    drop(journal);
    let mut journal = Journal::open(dir.path(), options(60)).unwrap();
    assert_eq!((journal.last(), replayed(&journal, 0)), (raised, vec![1, 2, 5, 6]));
    let error = journal.append(at(7), &payload(7)).unwrap_err();
    assert!(matches!(error, JournalError::OutOfOrder { .. }), "an epoch that is over: {error}");
}

#[test]
fn what_does_not_belong_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = filled(dir.path(), &[1, 5], 1000);
    for offset in [0, 1, 5] {
        let error = journal.append(at(offset), b"x").unwrap_err();
        assert!(matches!(error, JournalError::OutOfOrder { .. }), "{error}");
    }
    let huge = vec![0; MAX_PAYLOAD + 1];
    assert!(matches!(journal.append(at(6), &huge), Err(JournalError::TooLarge { .. })));
    journal.append(at(6), &payload(6)).unwrap();
    assert_eq!(replayed(&journal, 0), [1, 5, 6]);
}

#[test]
fn a_group_of_tens_of_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = filled(dir.path(), &[1], 1000);
    let huge: Vec<u8> = (0..40_000_000u32).map(|i| (i >> 8) as u8).collect();
    journal.append(at(2), &huge).unwrap();
    journal.append(at(3), &payload(3)).unwrap();
    let mut replay = journal.replay(at(1)).unwrap();
    assert!(replay.next().unwrap().unwrap().1 == huge);
    assert_eq!(replay.next().unwrap().unwrap().0, at(3));
    assert!(replay.next().is_none());
}

#[test]
fn cut_at_every_byte_of_its_last_record_it_opens() {
    let offsets = [1, 2, 4];
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path(), &offsets, 1000);
    let path = only_segment(whole.path());
    let bytes = fs::read(&path).unwrap();
    let last = starts(&offsets)[2];
    for end in last..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join(path.file_name().unwrap());
        fs::write(&copy, &bytes[..end]).unwrap();
        assert_eq!(problems(dir.path()).len(), usize::from(end > last), "cut at {end}");
        let mut journal = Journal::open(dir.path(), options(1000)).unwrap();
        assert_eq!((journal.last(), replayed(&journal, 0)), (at(2), vec![1, 2]), "cut at {end}");
        let kept = dir.path().join(format!("cut-{:020}.log-{last}", 1));
        assert_eq!(fs::read(kept).ok(), (end > last).then(|| bytes[last..end].to_vec()));
        journal.append(at(3), &payload(3)).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path(), options(1000)).unwrap();
        assert_eq!(replayed(&journal, 0), [1, 2, 3]);
    }
}

#[test]
fn its_last_record_is_read_without_the_others() {
    for segment_bytes in [1, 1000] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(filled(dir.path(), &[], segment_bytes).last_payload().unwrap(), None);
        for offsets in [[1, 2], [4, 9]] {
            let journal = filled(dir.path(), &offsets, segment_bytes);
            assert_eq!(journal.last_payload().unwrap(), Some(payload(offsets[1])));
        }
    }
}

#[test]
fn cut_within_its_only_record_it_is_empty() {
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path(), &[1], 1000);
    let path = only_segment(whole.path());
    let bytes = fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let mut journal = Journal::open(whole.path(), options(1000)).unwrap();
        assert_eq!((journal.last(), replayed(&journal, 0)), (Position::ZERO, vec![]));
        journal.append(at(7), &payload(7)).unwrap();
        drop(journal);
        assert_eq!(Journal::open(whole.path(), options(1000)).unwrap().last(), at(7));
        fs::remove_file(only_segment(whole.path())).unwrap();
    }
}

#[test]
fn two_cuts_at_the_same_byte_are_both_kept() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1], 1000);
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    for torn in [b"first".as_slice(), b"second"] {
        fs::write(&path, [whole.as_slice(), torn].concat()).unwrap();
        Journal::open(dir.path(), options(1000)).unwrap();
    }
    let name = format!("cut-{:020}.log-{}", 1, whole.len());
    assert_eq!(fs::read(dir.path().join(&name)).unwrap(), b"first");
    assert_eq!(fs::read(dir.path().join(name + ".2")).unwrap(), b"second");
}

/// Flips every bit of the middle record of three and hands the directory and the record's start to `see`.
fn with_flipped_bits(segment_bytes: u64, see: impl Fn(&Path, &Path, usize)) {
    let offsets = [1, 2, 4];
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &offsets, segment_bytes);
    // With a small limit the two first records are alone in the first segment.
    let path = files(dir.path(), ".log").remove(0);
    let bytes = fs::read(&path).unwrap();
    let [_, start, end, _] = starts(&offsets).try_into().unwrap();
    for bit in start * 8..end * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).unwrap();
        see(dir.path(), &path, start);
    }
}

fn assert_names(error: &JournalError, path: &Path, start: usize) {
    let JournalError::Corrupt { file, offset, .. } = error else { panic!("{error}") };
    assert_eq!((file.as_path(), *offset), (path, start as u64), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[test]
fn a_flipped_bit_in_the_newest_segment_is_reported_at_open() {
    with_flipped_bits(1000, |dir, path, start| {
        assert_names(&Journal::open(dir, options(1000)).unwrap_err(), path, start);
        let problems = problems(dir);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].place, format!("{} byte {start}", path.display()));
        assert_eq!(files(dir, "").iter().filter(|path| path.to_str().unwrap().contains("cut-")).count(), 0);
    });
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_reported_by_replay() {
    let first_two = starts(&[1, 2])[2] as u64;
    with_flipped_bits(first_two, |dir, path, start| {
        let journal = Journal::open(dir, options(first_two)).unwrap();
        let mut replay = journal.replay(Position::ZERO).unwrap();
        assert_eq!(replay.next().unwrap().unwrap().0, at(1));
        assert_names(&replay.next().unwrap().unwrap_err(), path, start);
        assert!(replay.next().is_none());
        assert_eq!(problems(dir).len(), 1);
    });
}

#[test]
fn all_bad_records_are_found_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = [1, 2, 3, 4, 5, 6];
    filled(dir.path(), &offsets, 1000);
    let path = only_segment(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let starts = starts(&offsets);
    for bad in [1, 3, 5] {
        bytes[starts[bad] + ENTRY_HEADER_BYTES] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
    let places: Vec<_> = problems(dir.path()).into_iter().map(|problem| problem.place).collect();
    let expected = [1, 3, 5].map(|bad| format!("{} byte {}", path.display(), starts[bad]));
    assert_eq!(places, expected);
}

#[test]
fn a_wrong_length_allocates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1], 1000);
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    for length in [MAX_PAYLOAD as u32, MAX_PAYLOAD as u32 + 1, u32::MAX] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&entry::MAGIC);
        bytes.extend_from_slice(&[7; 4]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[7; 12]);
        fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::open(dir.path(), options(1000)).unwrap().last(), at(1));
    }
}

#[test]
fn a_crash_at_every_step_of_compressing_leaves_a_journal_that_opens() {
    let offsets = [1, 2, 3, 4, 5];
    for steps in 0..=compress::STEPS.len() {
        for torn in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            filled(dir.path(), &offsets, 60);
            let first = segment::list(dir.path()).unwrap().remove(0);
            for step in &compress::STEPS[..steps] {
                step(dir.path(), &first, &AtomicBool::new(false)).unwrap();
            }
            if torn && let [temporary] = files(dir.path(), ".tmp").as_slice() {
                let bytes = fs::read(temporary).unwrap();
                fs::write(temporary, &bytes[..bytes.len() / 2]).unwrap();
            }
            let journal = Journal::open(dir.path(), options(60)).unwrap();
            assert_eq!(replayed(&journal, 0), offsets, "after {steps} steps");
            assert_eq!(problems(dir.path()), []);
            assert_eq!(files(dir.path(), ".tmp").len(), 0);
            assert_eq!(files(dir.path(), ".zst").len(), usize::from(steps == compress::STEPS.len()));
        }
    }
}

/// Sealed segments are compressed by the background, which this waits for.
fn compressed(dir: &Path, offsets: &[u64]) -> Journal {
    let mut journal = Journal::open(dir, JournalOptions { segment_bytes: 200, compress: true }).unwrap();
    for offset in offsets {
        journal.append(at(*offset), &payload(*offset)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while files(dir, ".log").len() > 1 || !files(dir, ".tmp").is_empty() {
        assert!(Instant::now() < deadline, "not compressed: {:?}", files(dir, ""));
        std::thread::yield_now();
    }
    journal
}

#[test]
fn compressed_segments_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let offsets: Vec<u64> = (1..30).collect();
    let journal = compressed(dir.path(), &offsets);
    assert_eq!(replayed(&journal, 0), offsets);
    assert_eq!(replayed(&journal, 17), offsets[17..]);
    drop(journal);
    let journal = Journal::open(dir.path(), options(200)).unwrap();
    assert_eq!(replayed(&journal, 0), offsets);
    // With the newest segment lost, the one before it is the end; it is sealed and not written to.
    drop(journal);
    fs::remove_file(only_segment(dir.path())).unwrap();
    let mut journal = Journal::open(dir.path(), options(200)).unwrap();
    let last = journal.last();
    assert!(last < at(29) && last > Position::ZERO);
    journal.append(at(100), &payload(100)).unwrap();
    assert_eq!(replayed(&journal, last.offset), [100]);
}

#[test]
fn a_flipped_bit_in_a_compressed_segment_never_gives_other_records() {
    let dir = tempfile::tempdir().unwrap();
    let offsets: Vec<u64> = (1..12).collect();
    drop(compressed(dir.path(), &offsets));
    let path = files(dir.path(), ".zst").remove(0);
    let bytes = fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).unwrap();
        let replay =
            Journal::open(dir.path(), options(200)).and_then(|journal| journal.replay(Position::ZERO));
        let read: Result<Vec<_>, _> = replay.and_then(Iterator::collect);
        match read {
            Ok(entries) => assert!(entries.iter().map(|(p, _)| p.offset).eq(offsets.iter().copied())),
            Err(error) => {
                assert!(matches!(&error, JournalError::Corrupt { file, .. } if *file == path), "{error}");
                assert_eq!(problems(dir.path()).len(), 1);
            }
        }
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_written_until_it_is_reopened() {
    let size = ENTRY_HEADER_BYTES + payload(3).len();
    // In the segment at hand, and as the first record of a new one.
    for segment_bytes in [1000, 60] {
        for fault in (0..size).map(Fault::Write).chain([Fault::Sync]) {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = filled(dir.path(), &[1, 2], segment_bytes);
            journal.fail_next(fault);
            assert!(matches!(journal.append(at(3), &payload(3)), Err(JournalError::Io { .. })));
            for _ in 0..2 {
                let error = journal.append(at(3), &payload(3)).unwrap_err();
                assert!(error.to_string().contains("read-only until restarted"), "{error}");
            }
            assert_eq!((journal.last(), replayed(&journal, 0)), (at(2), vec![1, 2]));
            drop(journal);
            let mut journal = Journal::open(dir.path(), options(segment_bytes)).unwrap();
            // Whether a record that was written and not synced is there is for the disk to say.
            let expected = if fault == Fault::Sync { vec![1, 2, 3] } else { vec![1, 2] };
            assert_eq!(replayed(&journal, 0), expected, "{fault:?}");
            journal.append(at(4), &payload(4)).unwrap();
        }
    }
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &[1], 1000);
    let names = ["notes.txt", "1.log", "cut-00000000000000000001.log-9", "0000000000000000000x.log"];
    for name in names {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    assert_eq!(Journal::open(dir.path(), options(1000)).unwrap().last(), at(1));
    assert!(names.iter().all(|name| dir.path().join(name).exists()));
}
