//! Bytes made to cost memory (threats.md, "decode bomb"): what decoding allocates is counted. A binary of its own
//! with one test, because the count is of the whole process.

#![allow(clippy::unwrap_used, reason = "the allowance for tests does not reach their helpers")]

use std::alloc::System;

use bytes::{BufMut as _, BytesMut};
use quip_protocol::codec::{CodecError, Frame, FrameKind, LENGTH_BYTES, decode, encode, take_frame};
use quip_protocol::frame::{Hello, Labelled, PageEnd, PageRequest, Push, Reply, Request, Welcome};
use quip_protocol::limits::{MAX_NAMES, MAX_REQUEST_FRAME, MAX_WATCHES};
use quip_protocol::{Event, Notice, RoomId};
use serde::de::DeserializeOwned;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Growing lists double, and short values (a name of one byte) weigh more in memory than in a frame.
const PER_BYTE: usize = 64;
/// An error, and the first element of a list.
const FIXED: usize = 4 * 1024;

const MILLIONS: u32 = 20_000_000;
const GIB: u32 = 1024 * 1024 * 1024;

/// Bytes allocated while `act` ran, whether or not they were freed since.
fn allocated<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(COUNTED);
    let result = act();
    let change = region.change();
    // The crate counts what a reallocation adds apart.
    (change.bytes_allocated + change.bytes_reallocated.max(0).unsigned_abs(), result)
}

fn costs_little<T: DeserializeOwned>(bytes: &[u8], what: &str) {
    let limit = FIXED + PER_BYTE * bytes.len();
    let (cost, _) = allocated(|| decode::<T>(bytes, "bomb").is_ok());
    assert!(cost <= limit, "{what}: {} bytes cost {cost}, over {limit}: {bytes:02x?}", bytes.len());
}

fn every_type_costs_little(bytes: &[u8]) {
    costs_little::<Labelled<Request>>(bytes, "request");
    costs_little::<Labelled<Reply>>(bytes, "reply");
    costs_little::<Event>(bytes, "event");
    costs_little::<Notice>(bytes, "notice");
    costs_little::<Hello>(bytes, "hello");
    costs_little::<Welcome>(bytes, "welcome");
    costs_little::<Push>(bytes, "push");
    costs_little::<PageRequest>(bytes, "page");
    costs_little::<PageEnd>(bytes, "end of page");
}

/// `prefix`, then a length in bincode's five-byte form, filled up to nine bytes.
fn claim(prefix: &[u8], count: u32) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    bytes.put_u8(0xFC);
    bytes.put_u32_le(count);
    bytes.resize(bytes.len().max(9), 0);
    bytes
}

/// Nine bytes that claim 20 million elements or a GiB of text, wherever a length can stand.
fn nine_bytes() {
    for first in 0..=40u8 {
        for second in 0..=40u8 {
            for count in [MILLIONS, GIB, u32::MAX] {
                every_type_costs_little(&claim(&[first, second], count));
            }
        }
        every_type_costs_little(&claim(&[first], GIB));
    }
    every_type_costs_little(&claim(&[], GIB));
}

/// A whole frame of the smallest elements there are, in a list that tells the truth or claims more.
fn long_input() {
    for pair in [[0, 0], [1, 1], [1, b'a'], [0x41, 0x41], [0xFB, 0xFB], [0xFC, 0xFF], [0xFF, 0xFF]] {
        for first in 0..=40u8 {
            for length in [&[][..], &[0xFB, 0, 0xC0], &[0xFC, 0, 0x2D, 0x31, 1]] {
                let start = [&[0, first], length].concat();
                let fill = pair.into_iter().cycle().take(100 * 1024 - start.len());
                every_type_costs_little(&start.into_iter().chain(fill).collect::<Vec<u8>>());
            }
        }
    }
}

/// What a list of `count` one-letter names costs, and what comes of it.
fn names(count: usize) -> (usize, Result<Labelled<Request>, CodecError>) {
    let (room, who) = ("ops".parse().unwrap(), vec!["a".parse().unwrap(); count]);
    let bytes = encode(&Labelled { label: 1, body: Request::Invite { room, who } });
    allocated(|| decode(&bytes, "request"))
}

/// A list that tells the truth and is over its limit is refused before one element of it is made.
fn long_lists() {
    assert!(names(MAX_NAMES).1.is_ok());
    for count in [MAX_NAMES + 1, MAX_REQUEST_FRAME / 2 - 16] {
        let (cost, result) = names(count);
        assert_eq!(result, Err(CodecError::TooMany("request")), "{count}");
        assert!(cost <= FIXED, "{count} names cost {cost}");
    }
    let states = vec![(RoomId(1), None); MAX_WATCHES + 1];
    let bytes = encode(&Labelled { label: 1, body: Request::Watch { rooms: states } });
    assert_eq!(decode::<Labelled<Request>>(&bytes, "request"), Err(CodecError::TooMany("request")));
    let frame = Frame { kind: FrameKind::Request, body: bytes.into() };
    assert_eq!(frame.label(), Some(1), "so that it can be refused with words");
}

/// A length over the limit is refused before a byte is set aside for it.
fn long_frames() {
    let table = [(100 * 1024u32, 64 * 1024usize), (u32::MAX, 64 * 1024), (u32::MAX, 4 * 1024)];
    for (length, limit) in table {
        let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
        buffer.put_u8(FrameKind::Request as u8);
        let (cost, result) = allocated(|| take_frame(&mut buffer, limit));
        assert_eq!(result, Err(CodecError::TooLong { length: length.into(), limit }));
        assert_eq!(cost, 0, "{length}");
    }
    let mut buffer = BytesMut::from(&(64u32 * 1024).to_le_bytes()[..]);
    let (cost, result) = allocated(|| take_frame(&mut buffer, 64 * 1024));
    assert_eq!(result, Ok(None));
    assert!(cost <= 2 * (64 * 1024 + LENGTH_BYTES), "{cost}");
}

#[test]
fn bombs_cost_little() {
    let (cost, _) = allocated(|| vec![1u8; 5000]);
    assert!((5000..6000).contains(&cost), "the count does not count: {cost}");
    nine_bytes();
    long_input();
    long_lists();
    long_frames();
}
