//! Bytes that are no frames, frames that lie, frames that never end, streams that stall.

use std::time::Duration;

use quip_protocol::codec::{FrameKind, encode};
use quip_protocol::error::close;
use quip_protocol::frame::{Labelled, Reply, Request};
use quip_protocol::limits::{MAX_HELLO_FRAME, MAX_REQUEST_FRAME};
use quip_protocol::transport::FrameReader;
use quip_protocol::{Epoch, ErrorCode, RoomId, SafeLine};
use quip_tests::{Server, identity, join, within};
use tokio::task::JoinSet;

use super::raw::{Raw, assert_flat, closed, dial, endpoint, frame, hello, resident_mib};

/// A server with an owner, whose key is then used by hand.
async fn server(toml: &str) -> Server {
    let server = Server::with_config(toml);
    join(server.owner.as_ref().unwrap(), "ann").await.close().await;
    server
}

async fn assert_serves(server: &Server) {
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)));
}

#[tokio::test]
async fn a_length_that_is_too_long_closes_before_anything_is_allocated() {
    let server = server("").await;
    let before = resident_mib(&server);
    for length in [u32::MAX, u32::try_from(MAX_REQUEST_FRAME).unwrap() + 1] {
        let mut connections = Vec::new();
        for _ in 0..20 {
            let mut raw = Raw::connect(&server.link, &identity("ann")).await;
            raw.write([&length.to_le_bytes()[..], &[FrameKind::Request as u8]].concat()).await;
            connections.push(raw);
        }
        for raw in connections {
            assert_eq!(closed(&raw.quic).await, close::PROTOCOL, "{length}");
        }
    }
    // Before anyone has said who they are, less is taken.
    let quic = dial(&endpoint(), &server.link, &identity("stranger")).await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&(u32::try_from(MAX_HELLO_FRAME).unwrap() + 1).to_le_bytes()).await.unwrap();
    assert_eq!(closed(&quic).await, close::PROTOCOL);
    assert_flat(&server, before, 24);
    assert_serves(&server).await;
}

/// The encoded request without its last `cut` bytes, and behind it a length that is not there.
fn claiming(request: Request, cut: usize, length: u64) -> Vec<u8> {
    let mut body = encode(&Labelled { label: 1, body: request });
    body.truncate(body.len() - cut);
    // bincode's mark of an integer of eight bytes.
    body.push(253);
    body.extend(length.to_le_bytes());
    body
}

#[tokio::test]
async fn decode_bombs_and_garbage_close_the_connection_and_nothing_else() {
    let server = server("").await;
    let whois = || Request::WhoIs { name: "a".parse().unwrap() };
    let watch = || Request::Watch { rooms: Vec::new() };
    let mut endless = encode(&Labelled { label: 1, body: watch() });
    endless.extend([0; 1000]);
    let bombs = [
        Vec::new(),
        vec![0xff; 64],
        vec![0x00; 64],
        vec![0xfd; 1000],
        claiming(whois(), 2, 1 << 30),
        claiming(whois(), 2, u64::MAX),
        endless,
        encode(&Labelled { label: 1, body: Request::WhoAmI })[..1].to_vec(),
    ];
    let before = resident_mib(&server);
    for bomb in &bombs {
        let mut raw = Raw::connect(&server.link, &identity("ann")).await;
        raw.write(frame(FrameKind::Request, bomb)).await;
        assert_eq!(closed(&raw.quic).await, close::PROTOCOL, "{bomb:?}");
    }
    // A list that is too long, true or not, is refused before it is read: with words, and without harm.
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    for length in [20_000_000, u64::MAX] {
        raw.write(frame(FrameKind::Request, &claiming(watch(), 1, length))).await;
        assert!(matches!(raw.reply().await, Reply::Refused(refusal) if refusal.code == ErrorCode::TooMany));
    }
    for kind in [FrameKind::Hello, FrameKind::Reply, FrameKind::Event] {
        let mut raw = Raw::connect(&server.link, &identity("ann")).await;
        raw.write(frame(kind, &encode(&Labelled { label: 1, body: Request::WhoAmI }))).await;
        assert_eq!(closed(&raw.quic).await, close::PROTOCOL, "{kind:?}");
    }
    assert_flat(&server, before, 24);
    assert_serves(&server).await;
}

#[tokio::test]
async fn as_much_as_fits_into_a_frame_is_refused_with_words() {
    let server = server("").await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    let rooms = vec![(RoomId(1), None); MAX_REQUEST_FRAME / 3];
    assert_eq!(raw.refuses(Request::Watch { rooms }).await.code, ErrorCode::TooMany);
    let members = (0..10_001).map(|n| format!("p{n}").parse().unwrap()).collect();
    let (name, topic) = ("all".parse().unwrap(), SafeLine::default());
    let create = Request::CreateRoom { name, private: true, topic, members };
    assert_eq!(raw.refuses(create).await.code, ErrorCode::TooMany);
    assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)));
}

#[tokio::test]
async fn who_says_nothing_or_half_of_it_is_closed_at_the_deadline() {
    let server = server("[limits]\nframe_deadline_ms = 200\n").await;
    let (link, ann) = (&server.link, identity("ann"));
    let endpoint = endpoint();
    let silent = dial(&endpoint, link, &ann).await;
    let half_hello = dial(&endpoint, link, &ann).await;
    let (mut send, _recv) = half_hello.open_bi().await.unwrap();
    send.write_all(&hello()[..7]).await.unwrap();
    for quic in [silent, half_hello] {
        assert_eq!(closed(&quic).await, close::DEADLINE);
    }
    let request = frame(FrameKind::Request, &encode(&Labelled { label: 1, body: Request::WhoAmI }));
    let mut half = Raw::connect(link, &ann).await;
    // A whole one and half of the next in one packet.
    half.write([&request[..], &request[..3]].concat()).await;
    assert!(matches!(half.reply().await, Reply::Account(_)));
    assert_eq!(closed(&half.quic).await, close::DEADLINE);
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_keep_a_frame_open() {
    let server = server("[limits]\nframe_deadline_ms = 200\n").await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    raw.write(300_000u32.to_le_bytes().to_vec()).await;
    let quic = raw.quic.clone();
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let trickle = async {
        loop {
            pace.tick().await;
            raw.write(vec![0]).await;
        }
    };
    tokio::select! {
        code = closed(&quic) => assert_eq!(code, close::DEADLINE),
        () = trickle => {}
    }
}

#[tokio::test]
async fn a_bulk_stream_that_asks_wrong_or_half_ends_alone() {
    let server = server("[limits]\nframe_deadline_ms = 200\n").await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    let wrong = [u32::MAX.to_le_bytes().to_vec(), vec![9, 0], frame(FrameKind::Page, &[0xff; 20]).to_vec()];
    for bytes in wrong {
        let (mut send, recv) = within("a stream", raw.quic.open_bi()).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        let answer = within("the stream ends", FrameReader::new(recv, 100).next()).await;
        assert!(!matches!(answer, Ok(Some(_))), "{bytes:?}: {answer:?}");
        assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)), "the connection goes on");
    }
}

/// Streams in which `raw` could open, at once.
async fn open_all(raw: &mut Raw, tries: usize) -> usize {
    let mut opening = JoinSet::new();
    for _ in 0..tries {
        let quic = raw.quic.clone();
        opening.spawn(async move {
            let (mut send, recv) = quic.open_bi().await.ok()?;
            send.write_all(&[7]).await.ok()?;
            Some((send, recv))
        });
    }
    let mut open = Vec::new();
    // What is not granted within a round trip stays waiting, for nothing ends.
    for _ in 0..3 {
        assert!(matches!(raw.ask(Request::WhoAmI).await, Reply::Account(_)));
        while let Some(opened) = opening.try_join_next() {
            open.push(opened.unwrap());
        }
    }
    open.len()
}

#[tokio::test]
async fn streams_beyond_the_few_are_not_granted() {
    let server = server("[limits]\nframe_deadline_ms = 600000\n").await;
    let before = resident_mib(&server);
    let mut connections = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::connect(&server.link, &identity("ann")).await;
        assert_eq!(open_all(&mut raw, 250).await, 8, "nine, the request stream is one of them");
        connections.push(raw);
    }
    let uni = connections[0].quic.clone();
    tokio::select! {
        biased;
        _ = uni.open_uni() => panic!("clients have no streams of their own"),
        reply = connections[0].ask(Request::WhoAmI) => assert!(matches!(reply, Reply::Account(_))),
    }
    assert_flat(&server, before, 32);
    assert_serves(&server).await;
}

/// The inbox's cursor of an account that has joined a room.
async fn inbox_head(raw: &mut Raw) -> quip_protocol::Cursor {
    match raw.ask(Request::WatchInbox { from: None }).await {
        Reply::Inbox { head } => head,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_inbox_cursor_that_is_ahead_or_of_another_log_is_refused() {
    let server = server("").await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    let head = inbox_head(&mut raw).await;
    assert!(head.seq > quip_protocol::Seq::ZERO, "it says where the inbox stands");
    let cursor = |epoch, seq| quip_protocol::Cursor { epoch: Epoch(epoch), seq: quip_protocol::Seq(seq) };
    let table = [
        (cursor(1, 0), true),
        (cursor(1, 1), true),
        (head, true),
        (cursor(1, head.seq.0 + 1), false),
        (cursor(1, u64::MAX), false),
        (cursor(2, 1), false),
    ];
    for (from, good) in table {
        match raw.ask(Request::WatchInbox { from: Some(from) }).await {
            Reply::Inbox { head: now } => assert!(good && now == head, "{from:?}"),
            Reply::Refused(refusal) => {
                assert!(!good && refusal.code == ErrorCode::BadCursor, "{from:?} {refusal}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cursor_from_nowhere_is_answered() {
    let server = server("").await;
    let mut raw = Raw::connect(&server.link, &identity("ann")).await;
    for (epoch, seq) in [(0, 0), (0, u64::MAX), (u32::MAX, u64::MAX), (1, u64::MAX), (7, 1)] {
        let cursor = quip_protocol::Cursor { epoch: Epoch(epoch), seq: quip_protocol::Seq(seq) };
        let watched = raw.ask(Request::Watch { rooms: vec![(RoomId(1), Some(cursor))] }).await;
        assert!(matches!(watched, Reply::Watching { .. }), "{cursor:?}");
        let inbox = raw.ask(Request::WatchInbox { from: Some(cursor) }).await;
        assert!(matches!(inbox, Reply::Inbox { .. } | Reply::Refused(_)), "{cursor:?}");
    }
}
