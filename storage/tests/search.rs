//! The index against a plain scan of the replica: whatever comes, is edited, deleted or cut, in whatever order, however
//! often it is reopened or killed in between, it finds exactly what fits, newest first.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use quip_protocol::frame::PageFrom;
use quip_protocol::room::{RoomKind, RoomSummary};
use quip_protocol::{
    Cursor, Epoch, Event, EventBody, Message, MessageId, MessageKind, RoomId, SafeLine, Seq, Timestamp,
};
use quip_storage::Replica;
use quip_storage::search::{Found, Index, Query, SearchError, Seeker, Term};

const ROOMS: u64 = 3;
const WORDS: [&str; 8] = ["deploy", "depot", "the", "Cache", "naïve", "foo_bar", "src/like.rs:42", "漢字"];

fn event(room: u64, seq: u64, body: EventBody) -> Event {
    let author = ["ann", "bob-2", "c.d"][(seq % 3) as usize].parse().unwrap();
    // Some at the same time as others, in all rooms.
    let at = Timestamp(1_795_219_200_000 + seq / 2);
    Event { room: RoomId(room), epoch: Epoch::FIRST, seq: Seq(seq), at, ordinal: seq, author, body }
}

fn text(number: u64) -> String {
    let word = |at: u64| WORDS[(number.wrapping_mul(2_654_435_761) >> (3 * at)) as usize % WORDS.len()];
    (0..1 + number % 4).map(word).collect::<Vec<_>>().join(" ")
}

fn id(seq: u64) -> MessageId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seq.to_le_bytes());
    MessageId::from_bytes(bytes)
}

fn body(room: u64, seq: u64) -> EventBody {
    let target = Seq((seq.wrapping_mul(2_654_435_761) >> 7) % seq.max(2) + 1);
    match seq % 6 {
        3 if seq > 6 => {
            EventBody::Edited { target, id: id(seq), text: text(seq + 1_000).as_str().into(), drops: None }
        }
        5 if seq > 6 => EventBody::Deleted { target, id: id(seq), edits: Vec::new() },
        _ => {
            let text = text(seq + 7 * room);
            EventBody::Message(Message::new(id(seq), MessageKind::Plain, text.as_str().into(), None))
        }
    }
}

fn summary(room: u64) -> RoomSummary {
    RoomSummary {
        id: RoomId(room),
        target: format!("#room{room}").parse().unwrap(),
        kind: RoomKind::Public,
        topic: SafeLine::new(""),
        archived: false,
        role: None,
        members: 1,
        head: Cursor::default(),
        active_at: Timestamp::default(),
        read: Seq::ZERO,
        unread: 0,
        mentions: 0,
    }
}

/// A replica and its index, in a directory.
struct Kept {
    replica: Replica,
    index: Index,
}

impl Kept {
    fn open(dir: &Path) -> Kept {
        let replica = Replica::open(dir.join("replica")).unwrap().0;
        replica.put_rooms(&(0..ROOMS).map(summary).collect::<Vec<_>>()).unwrap();
        let index = Index::open(dir.join("search"), &replica).unwrap();
        Kept { replica, index }
    }

    fn catch_up(&mut self) {
        while self.index.catch_up(&self.replica).unwrap() > 0 {}
    }

    fn all(&self) -> Vec<Event> {
        let mut all: Vec<Event> = Vec::new();
        for room in 0..ROOMS {
            let mut last = Seq::ZERO;
            loop {
                let page = self.replica.page(RoomId(room), PageFrom::After(last), 50).unwrap();
                let Some(newest) = page.last() else { break };
                last = newest.seq;
                all.extend(page);
            }
        }
        all
    }
}

fn query(terms: &[(&str, bool)]) -> Query {
    let terms = terms.iter().filter_map(|(text, prefix)| Term::new(text, *prefix)).collect();
    Query { terms, ..Query::default() }
}

fn queries() -> Vec<Query> {
    let terms: [&[(&str, bool)]; 10] = [
        &[("deploy", false)],
        &[("dep", true)],
        &[("d", true)],
        &[("depl", true)],
        &[("the", false), ("CACHE", false)],
        &[("naive", false)],
        &[("foo_b", true)],
        &[("like.rs:42", false), ("d", true)],
        &[("字", false)],
        &[("the cache", false)],
    ];
    let mut queries: Vec<Query> = terms.iter().map(|terms| query(terms)).collect();
    let the = query(&[("the", false)]);
    queries.push(Query { room: Some("#room1".parse().unwrap()), ..the.clone() });
    queries.push(Query { from: Some("bob-2".parse().unwrap()), ..Query::default() });
    queries.push(Query { after: Some(Timestamp(1_795_219_200_020)), ..the.clone() });
    queries.push(Query { before: Some(Timestamp(1_795_219_200_020)), ..the });
    queries
}

fn key(room: RoomId, event: &Event) -> (Timestamp, RoomId, Seq) {
    (event.at, room, event.seq)
}

fn sorted(found: &[Found]) -> Vec<(Timestamp, RoomId, Seq)> {
    let mut keys: Vec<_> = found.iter().map(|found| key(found.event.room, &found.event)).collect();
    keys.sort();
    keys
}

/// What a plain scan finds.
fn scanned(all: &[Event], query: &Query) -> Vec<(Timestamp, RoomId, Seq)> {
    let in_room =
        |event: &Event| query.room.as_ref().is_none_or(|room| *room == summary(event.room.0).target);
    let fit = all.iter().filter(|event| in_room(event) && query.fits(event));
    let mut keys: Vec<_> = fit.map(|event| key(event.room, event)).collect();
    keys.sort();
    keys
}

fn check(dir: &Path, kept: &Kept, complete: bool) {
    let seeker = Seeker::open(&dir.join("search")).unwrap();
    let all = kept.all();
    for query in queries() {
        let found = seeker.find(&kept.replica, &query, usize::MAX).unwrap();
        assert!(found.is_sorted_by(|a, b| a.event.at >= b.event.at), "newest first: {query:?}");
        let expected = scanned(&all, &query);
        if complete {
            assert_eq!(sorted(&found), expected, "{query:?}");
            let few = seeker.find(&kept.replica, &query, 3).unwrap();
            assert_eq!(few[..], found[..found.len().min(3)], "{query:?}");
        } else {
            assert!(
                sorted(&found).iter().all(|key| expected.contains(key)),
                "nothing that does not fit: {query:?}"
            );
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// So many events behind the newest one that was told live.
    Live(u64, u64),
    /// A page of a room, as of now.
    Page(u64, u64, u64),
    /// A piece of what is outdated.
    Look,
    Cut(u64, u64),
    Leave(u64),
    Reopen,
    /// kill -9: what was not written is gone.
    Kill,
    LoseIndex,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..ROOMS, 1..40u64).prop_map(|(room, count)| Step::Live(room, count)),
        2 => (0..ROOMS, 1..60u64, 1..40u64).prop_map(|(room, first, count)| Step::Page(room, first, count)),
        3 => Just(Step::Look),
        1 => (0..ROOMS, 1..60u64).prop_map(|(room, keep)| Step::Cut(room, keep)),
        1 => (0..ROOMS).prop_map(Step::Leave),
        1 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        1 => Just(Step::LoseIndex),
    ]
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The events of a room's log from `first` to `last`, as they are when the newest is `head`.
fn as_of(room: u64, first: u64, last: u64, head: u64) -> Vec<Event> {
    let mut log: Vec<Event> = (1..=head).map(|seq| event(room, seq, body(room, seq))).collect();
    for at in 0..log.len() {
        if let Some(target) = log[at].body.amends() {
            let by = log[at].clone();
            log[target.0 as usize - 1].amend(&by);
        }
    }
    log[first as usize - 1..last as usize].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_finds_what_a_scan_finds(steps in prop::collection::vec(step(), 1..30)) {
        let root = tempfile::tempdir().unwrap();
        let mut dir = root.path().join("0");
        let mut kept = Kept::open(&dir);
        let mut heads = [0u64; ROOMS as usize];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Live(room, count) => {
                    let head = &mut heads[room as usize];
                    let events: Vec<Event> = (*head + 1..=*head + count).map(|seq| event(room, seq, body(room, seq))).collect();
                    kept.replica.insert(RoomId(room), &events, Seq(*head)).unwrap();
                    *head += count;
                }
                Step::Page(room, first, count) => {
                    let head = heads[room as usize];
                    let last = (first + count).min(head);
                    if first <= last {
                        kept.replica.insert(RoomId(room), &as_of(room, first, last, head), Seq(head)).unwrap();
                    }
                }
                Step::Look => drop(kept.index.catch_up(&kept.replica).unwrap()),
                Step::Cut(room, keep) => {
                    let keep = keep.min(heads[room as usize]);
                    kept.replica.cut(RoomId(room), Cursor { epoch: Epoch::FIRST, seq: Seq(keep) }, Seq(keep)).unwrap();
                    heads[room as usize] = keep;
                }
                Step::Leave(room) => {
                    kept.replica.remove(RoomId(room)).unwrap();
                    kept.replica.put_rooms(&[summary(room)]).unwrap();
                    heads[room as usize] = 0;
                }
                Step::Reopen => {
                    drop(kept);
                    kept = Kept::open(&dir);
                }
                Step::Kill => {
                    let copied = root.path().join(format!("{}", number + 1));
                    copy(&dir, &copied);
                    drop(kept);
                    dir = copied;
                    kept = Kept::open(&dir);
                    // What the replica lost comes again, from its cursor.
                    for room in kept.replica.rooms().unwrap() {
                        heads[room.summary.id.0 as usize] = room.cursor.map_or(0, |cursor| cursor.seq.0);
                    }
                }
                Step::LoseIndex => {
                    drop(kept);
                    fs::write(dir.join("search/index.db"), [0x5A; 9_000]).unwrap();
                    kept = Kept::open(&dir);
                }
            }
            check(&dir, &kept, false);
        }
        kept.catch_up();
        check(&dir, &kept, true);
    }
}

#[test]
fn an_index_of_another_replica_or_version_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path());
    kept.replica.insert(RoomId(0), &as_of(0, 1, 50, 50), Seq(50)).unwrap();
    kept.catch_up();
    let id = kept.replica.index().unwrap();
    drop(kept);
    let mut kept = Kept::open(dir.path());
    assert_eq!(kept.replica.index().unwrap(), id, "one that fits is kept");
    assert_eq!(kept.index.catch_up(&kept.replica).unwrap(), 0);
    drop(kept);
    // The replica was set aside and fetched anew.
    fs::remove_dir_all(dir.path().join("replica")).unwrap();
    let mut kept = Kept::open(dir.path());
    assert_ne!(kept.replica.index().unwrap(), id);
    kept.catch_up();
    check(dir.path(), &kept, true);
    kept.replica.insert(RoomId(0), &as_of(0, 1, 50, 50), Seq(50)).unwrap();
    kept.catch_up();
    kept.index = kept.index.make_again(&kept.replica).unwrap();
    assert!(!kept.replica.outdated().unwrap().is_empty(), "all of it is to be looked at");
    kept.catch_up();
    check(dir.path(), &kept, true);
}

#[test]
fn what_is_asked_cannot_leave_its_quotes() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Kept::open(dir.path());
    kept.replica.insert(RoomId(0), &as_of(0, 1, 50, 50), Seq(50)).unwrap();
    kept.catch_up();
    let seeker = Seeker::open(&dir.path().join("search")).unwrap();
    for wild in [
        "\" OR the",
        "the\"*",
        "text:the)",
        "NEAR(the deploy)",
        "^the",
        "-the",
        "the\0",
        "\u{FEFF}the",
        "*",
        "''",
    ] {
        let found = seeker.find(&kept.replica, &query(&[(wild, true), ("the", false)]), 10);
        assert!(found.is_ok(), "{wild:?}: {found:?}");
    }
    let nowhere = Query { room: Some("#nowhere".parse().unwrap()), ..query(&[("the", false)]) };
    assert!(matches!(seeker.find(&kept.replica, &nowhere, 10), Err(SearchError::NoRoom(_))));
}
