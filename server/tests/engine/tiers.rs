//! Very large rooms: who looks has every event, the others digests that are never ahead of what was published; and the
//! readers of large ones are woken by others than who publishes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use proptest::prelude::*;
use quip_protocol::codec::{FrameKind, encode_event, take_frame};
use quip_protocol::frame::Push;
use quip_protocol::room::Digest;
use quip_protocol::{AccountId, Cursor, Epoch, Event, EventBody, RoomId, Seq, Timestamp};
use quip_server::Stopping;
use quip_server::config::LimitsConfig;
use quip_server::feed::{Doorbell, FeedKey, Feeds, Interest, Tier, Turn, Watch};
use quip_server::pipeline::open::open;
use quip_storage::store::{Store, StoreOptions};

const ROOM: RoomId = RoomId(7);
const KEY: FeedKey = FeedKey::Room(ROOM);
/// From so many watches on the room is very large.
const MANY: u32 = 5;

fn frame(seq: u64) -> Bytes {
    encode_event(&Event {
        room: ROOM,
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at: Timestamp(seq),
        ordinal: seq,
        author: "ann".parse().expect("a name"),
        body: EventBody::Joined,
    })
}

fn digest_of(frame: &Bytes) -> Digest {
    let whole = take_frame(&mut bytes::BytesMut::from(frame.as_ref()), frame.len());
    let whole = whole.expect("well formed").expect("whole");
    match whole.decode(FrameKind::Push, "push").expect("a push") {
        Push::Digest(digest) => digest,
        other => panic!("{other:?}"),
    }
}

/// A reader as a session is one: a cursor, and what it was told.
struct Reader {
    bell: Arc<Doorbell>,
    watch: Arc<Watch>,
    cursor: Seq,
    /// Up to here it has everything.
    whole: u64,
}

impl Reader {
    /// Watches from where everything is there; as `session/subscribe.rs` does.
    fn watch(feeds: &Feeds, account: u64, tier: Tier, whole: u64, head: u64) -> Reader {
        let bell = Arc::new(Doorbell::default());
        let interest = Interest { tier, ..Interest::live(KEY, AccountId(account), Seq(head)) };
        let watch = feeds.watch(interest, &bell);
        let is_digest = tier == Tier::Digest && feeds.tells_digests(KEY);
        let cursor = Seq(if is_digest { head } else { whole });
        watch.ring();
        Reader { bell, watch, cursor, whole }
    }

    /// Goes to the bell, if it rang.
    fn answer(&self) {
        let mut rung = Vec::new();
        let mut answer = Box::pin(self.bell.answer(&mut rung));
        let _ = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.watch.answered();
    }

    /// What it is told now that it was woken, as `session/live.rs` does; whether that was a digest.
    fn look(&mut self, feeds: &Feeds, store: &Store, published: u64) -> bool {
        self.answer();
        if self.watch.tier() == Tier::Digest {
            match feeds.turn(KEY, self.cursor) {
                Turn::Later => return false,
                Turn::Digest(seq, frame) => {
                    let digest = digest_of(&frame);
                    assert_eq!((digest.head.seq, digest.messages, digest.room), (seq, seq.0, ROOM));
                    assert!(seq > self.cursor && seq.0 <= published, "{seq} of {published}");
                    self.cursor = seq;
                    return true;
                }
                Turn::Events => {}
            }
        }
        let chunk = feeds.read(store, KEY, self.cursor, Seq(u64::MAX), 1 << 20).expect("readable");
        assert_eq!(chunk.last.0 - self.cursor.0, chunk.frames.len() as u64, "each once");
        for (at, bytes) in (self.cursor.0 + 1..).zip(&chunk.frames) {
            assert_eq!(*bytes, frame(at), "in order");
            self.whole = if at == self.whole + 1 { at } else { self.whole };
        }
        self.cursor = chunk.last;
        false
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish,
    /// A reader that was woken looks.
    Look(usize),
    /// A reader changes what it wants, and goes on from where it has everything.
    Switch(usize, bool),
    /// Readers come, so that the room is very large, or all of them but one go.
    Crowd(bool),
    /// Time for the digests that were ordered.
    Digest,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Publish),
        6 => (0..3usize).prop_map(Step::Look),
        3 => (0..3usize, any::<bool>()).prop_map(|(reader, live)| Step::Switch(reader, live)),
        2 => any::<bool>().prop_map(Step::Crowd),
        3 => Just(Step::Digest),
    ];
    prop::collection::vec(step, 0..60)
}

/// Until every task that can do something has done it, and the time of the next digests has come.
async fn rest() {
    for ms in [0, 100] {
        tokio::time::advance(std::time::Duration::from_millis(ms)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn limits() -> LimitsConfig {
    LimitsConfig { digest_from: MANY, digest_interval_ms: 100, wake_shard: 16, ..LimitsConfig::default() }
}

fn feeds() -> Feeds {
    let feeds = Feeds::default();
    feeds.tiers().set(&limits());
    feeds.start();
    feeds
}

async fn run(store: &Store, steps: Vec<Step>) {
    let (feeds, mut published) = (feeds(), 0);
    let mut readers: Vec<Reader> = (0..3).map(|n| Reader::watch(&feeds, n, Tier::Digest, 0, 0)).collect();
    let mut others = Vec::new();
    for step in steps {
        match step {
            Step::Publish => {
                published += 1;
                feeds.wake(&feeds.append(KEY, Seq(published), frame(published), Vec::new()));
            }
            Step::Look(at) if readers[at].bell.waiting() > 0 => {
                readers[at].look(&feeds, store, published);
            }
            Step::Look(_) => {}
            Step::Switch(at, live) => {
                let (whole, tier) = (readers[at].whole, if live { Tier::Live } else { Tier::Digest });
                let new = Reader::watch(&feeds, at as u64, tier, whole, published);
                let old = std::mem::replace(&mut readers[at], new);
                feeds.unwatch(&old.watch);
            }
            Step::Crowd(true) => {
                others.extend(
                    (0..MANY as u64).map(|n| Reader::watch(&feeds, 9 + n, Tier::Live, published, published)),
                );
            }
            Step::Crowd(false) => others.drain(..).for_each(|other: Reader| feeds.unwatch(&other.watch)),
            Step::Digest => rest().await,
        }
    }
    // Who wants digests knows where the room stands.
    for _ in 0..3 {
        rest().await;
        for reader in &mut readers {
            while reader.bell.waiting() > 0 {
                reader.look(&feeds, store, published);
            }
        }
    }
    for (at, reader) in readers.iter().enumerate() {
        assert_eq!(reader.cursor.0, published, "reader {at} was not woken");
        let mut live = Reader::watch(&feeds, 99, Tier::Live, reader.whole, published);
        live.look(&feeds, store, published);
        assert_eq!(live.whole, published, "reader {at} has a hole");
    }
}

#[test]
fn whoever_looks_at_the_end_has_everything_and_whoever_does_not_knows_where_it_stands() {
    let dir = tempfile::tempdir().expect("a directory");
    let opened = open(dir.path(), StoreOptions { cache_bytes: 4 << 20 }, false, &Stopping::default())
        .expect("the directory opens");
    proptest!(ProptestConfig::with_cases(200), |(steps in steps())| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(&opened.store, steps));
    });
}

#[tokio::test(start_paused = true)]
async fn a_large_room_is_rung_by_others_and_each_reader_once() {
    const READERS: u64 = 1_000;
    let feeds = feeds();
    let readers: Vec<Reader> = (0..READERS).map(|n| Reader::watch(&feeds, n, Tier::Live, 0, 0)).collect();
    readers.iter().for_each(Reader::answer);
    for seq in 1..=50 {
        feeds.wake(&feeds.append(KEY, Seq(seq), frame(seq), Vec::new()));
    }
    let rung = |readers: &[Reader]| readers.iter().map(|reader| reader.bell.waiting()).sum::<usize>();
    assert_eq!((rung(&readers), feeds.backlog()), (0, 1), "nobody was rung here, and it is one thing to do");
    let shards = READERS as usize / limits().wake_shard as usize;
    while feeds.backlog() > 0 {
        assert!(feeds.backlog() <= shards + 1, "{} wait", feeds.backlog());
        tokio::task::yield_now().await;
    }
    assert_eq!(rung(&readers), READERS as usize, "each, and once");
}

#[tokio::test(start_paused = true)]
async fn readers_that_take_nothing_cost_nothing_more_whatever_is_said() {
    let feeds = feeds();
    let readers: Vec<Reader> = (0..100).map(|n| Reader::watch(&feeds, n, Tier::Digest, 0, 0)).collect();
    let mut frames: BTreeMap<Seq, usize> = BTreeMap::new();
    for seq in 1..=1_000 {
        feeds.wake(&feeds.append(KEY, Seq(seq), frame(seq), Vec::new()));
        feeds.stored(KEY, Seq(seq));
        assert!(feeds.backlog() <= 1, "nobody is woken for each event");
        if seq % 100 == 0 {
            rest().await;
            for reader in &readers {
                assert_eq!(reader.bell.waiting(), 1);
                let Turn::Digest(seq, frame) = feeds.turn(KEY, Seq::ZERO) else { panic!("no digest") };
                assert_eq!(digest_of(&frame).head, Cursor { epoch: Epoch::FIRST, seq });
                // The same bytes for all.
                *frames.entry(seq).or_default() = frame.as_ptr() as usize;
            }
        }
    }
    assert_eq!(frames.len(), 10, "one digest each time, and no more");
}
