//! What the parts of a message's way cost, each alone: codec, engine, journal, feed, page. `quip-load` says what the
//! whole costs.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on says where")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quip_protocol::codec::{FrameKind, LENGTH_BYTES, decode, decode_stored_event, encode, encode_event};
use quip_protocol::frame::{Labelled, Request};
use quip_protocol::{
    AccountId, DeviceKey, Epoch, Event, EventBody, InviteCode, Message, MessageId, MessageKind, Position,
    RoomId, SafeLine, SafeText, Seq, Target, Timestamp,
};
use quip_server::engine::{Actor, Command, CommandBody, Engine, Entry, Rules, Terms};
use quip_server::feed::{Doorbell, FeedKey, Feeds, Interest};
use quip_storage::record::{Applied, Change};
use quip_storage::store::{Store, StoreOptions};
use quip_storage::{Journal, JournalOptions};
use quip_tests::past::NoPast;

const TEXT: &str = "the deploy of api-7 failed again on staging: timeout in queue worker 12, retrying with backoff, see the log at 14:03";
const TERMS: Terms = Terms { epoch: Epoch::FIRST, rules: Rules::FIRST };
const OWNER: DeviceKey = DeviceKey([1; 32]);
/// Commands of a group under load.
const GROUP: u64 = 100;

fn id(number: u64) -> MessageId {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    MessageId::from_bytes(bytes)
}

fn event(seq: u64) -> Event {
    let message = Message::new(id(seq), MessageKind::Plain, SafeText::new(TEXT), None);
    Event {
        room: RoomId(1),
        epoch: Epoch::FIRST,
        seq: Seq(seq),
        at: Timestamp(1_767_225_600_000 + seq),
        ordinal: seq,
        author: "ann".parse().unwrap(),
        body: EventBody::Message(message),
    }
}

fn post(number: u64) -> Command {
    let target: Target = "#general".parse().unwrap();
    let text = SafeText::new(TEXT);
    let body = CommandBody::Post { target, id: id(number), kind: MessageKind::Plain, text, reply_to: None };
    Command { at: Timestamp(number), by: Actor::Device(OWNER), body }
}

/// An engine with an owner in `#general`.
fn engine() -> (Engine, Vec<Change>) {
    let (mut engine, mut changes) = (Engine::default(), Vec::new());
    let code = InviteCode::generate().unwrap();
    let expires = Timestamp(u64::MAX);
    let (name, label) = (Some("ann".parse().unwrap()), SafeLine::new("bench"));
    let begin = [
        (Actor::Operator, CommandBody::Bootstrap { owner: code.hash(), expires }),
        (Actor::Device(OWNER), CommandBody::Redeem { hash: code.hash(), name, label }),
    ];
    for (by, body) in begin {
        engine.apply(&NoPast, TERMS, &Command { at: Timestamp(1), by, body }, &mut changes).unwrap();
    }
    (engine, changes)
}

fn codec(c: &mut Criterion) {
    let event = event(1_000);
    let frame = encode_event(&event);
    c.bench_function("codec/encode an event", |b| b.iter(|| encode_event(black_box(&event))));
    c.bench_function("codec/decode an event", |b| {
        b.iter(|| decode_stored_event(black_box(&frame[LENGTH_BYTES..])).unwrap());
    });
    let request = Labelled {
        label: 7,
        body: Request::Post {
            target: "#general".parse().unwrap(),
            id: id(1),
            kind: MessageKind::Plain,
            text: SafeText::new(TEXT),
            reply_to: None,
        },
    };
    let bytes = encode(&request);
    c.bench_function("codec/decode a post, text made safe", |b| {
        b.iter(|| decode::<Labelled<Request>>(black_box(&bytes), "request").unwrap());
    });
    black_box(FrameKind::Request);
}

fn apply(c: &mut Criterion) {
    let (mut engine, _) = engine();
    let (mut number, mut changes) = (0, Vec::new());
    c.bench_function("engine/apply a post", |b| {
        b.iter(|| {
            number += 1;
            changes.clear();
            engine.apply(&NoPast, TERMS, &post(number), &mut changes).unwrap()
        });
    });
}

fn journal(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = c.benchmark_group("journal");
    for commands in [1, GROUP] {
        let entry = Entry { rules: Rules::FIRST, batch: None, commands: (0..commands).map(post).collect() };
        let options = JournalOptions { compress: false, ..JournalOptions::default() };
        let mut journal = Journal::open(dir.path().join(commands.to_string()), options).unwrap();
        let mut position = Position::ZERO.next();
        group.throughput(Throughput::Elements(commands));
        group.bench_function(format!("commit {commands}, fdatasync included"), |b| {
            b.iter(|| {
                journal.append(position, &entry.to_bytes()).unwrap();
                position = position.next();
            });
        });
    }
}

fn feed(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut group = c.benchmark_group("feed");
    for watchers in [10, 200, 1_000, 10_000] {
        let (feeds, key) = (Feeds::default(), FeedKey::Room(RoomId(1)));
        runtime.block_on(async { feeds.start() });
        let bells: Vec<Arc<Doorbell>> = (0..watchers).map(|_| Arc::default()).collect();
        let watch = |(n, bell): (u64, &Arc<Doorbell>)| {
            feeds.watch(Interest::live(key, AccountId(n), Seq::ZERO), bell)
        };
        let watches: Vec<_> = (0..).zip(&bells).map(watch).collect();
        let frame = encode_event(&event(1));
        let mut seq = Seq::ZERO;
        // Nobody answers: what is measured is what the writer waits for. Many are rung by other tasks meanwhile.
        group.bench_function(format!("publish to {watchers}"), |b| {
            b.iter(|| {
                seq = seq.next();
                feeds.wake(&feeds.append(key, seq, frame.clone(), Vec::new()));
                feeds.stored(key, seq);
            });
        });
        black_box(watches);
    }
}

fn page(c: &mut Criterion) {
    const EVENTS: u64 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path().join("store"), StoreOptions::default()).unwrap();
    let (mut engine, mut changes) = engine();
    let mut position = Position::ZERO;
    for group in 0..EVENTS / GROUP {
        for number in group * GROUP..(group + 1) * GROUP {
            engine.apply(&NoPast, TERMS, &post(number), &mut changes).unwrap();
        }
        position = position.next();
        store.apply(&[Applied { position, changes: std::mem::take(&mut changes) }]).unwrap();
    }
    let room = RoomId(1);
    let mut after = 0;
    c.bench_function("store/a page of 50", |b| {
        b.iter_batched(
            || {
                after = (after + 7_919) % (EVENTS - 50);
                Seq(after)
            },
            |after| store.events(room, after, Seq(after.0 + 50), usize::MAX).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(parts, codec, apply, journal, feed, page);
criterion_main!(parts);
