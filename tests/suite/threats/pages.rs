//! A page that is read slowly, while the right to it ends.

use quip_protocol::client::Post;
use quip_protocol::codec::{Frame, FrameKind, encode_frame};
use quip_protocol::frame::{PageEnd, PageFrom, PageRequest, Reply, Request};
use quip_protocol::limits::MAX_EVENT_FRAME;
use quip_protocol::transport::FrameReader;
use quip_protocol::{ErrorCode, Event, MessageId, SafeLine, SafeText};
use quip_tests::{Server, identity, join, within};
use tokio::task::JoinSet;

use super::raw::Raw;

/// Messages of 8 KiB: more than is on its way to a client that does not read.
const MESSAGES: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_while_a_page_comes_sees_nothing_that_is_said_since() {
    let server = Server::with_config("[limits]\nmessages_per_second = 100000\nburst_messages = 100000\n");
    let ann = join(server.owner.as_ref().unwrap(), "ann").await;
    join(&server.invite(&[]), "vic").await.close().await;
    let (name, vic) = ("ops".parse().unwrap(), vec!["vic".parse().unwrap()]);
    let create = Request::CreateRoom { name, private: true, topic: SafeLine::default(), members: vic };
    let Reply::Room(ops) = ann.request(create).await.unwrap() else { panic!("a room") };
    let mut posting = JoinSet::new();
    for _ in 0..MESSAGES {
        let (handle, post) = (ann.handle(), Post::new(ops.target.clone(), &"x".repeat(8 * 1024)));
        posting.spawn(async move { handle.post(post).await.map(|receipt| receipt.seq) });
    }
    let last = within("posts", posting.join_all()).await.into_iter().map(Result::unwrap).max().unwrap();
    let raw = Raw::connect(&server.link, &identity("vic")).await;
    let (mut send, recv) = within("a stream", raw.quic.open_bi()).await.unwrap();
    let page = PageRequest { target: ops.target.clone(), from: PageFrom::Latest, limit: 10_000 };
    send.write_chunk(encode_frame(FrameKind::Page, &page)).await.unwrap();
    let mut frames = FrameReader::new(recv, MAX_EVENT_FRAME);
    assert_eq!(frame(&mut frames).await.kind, FrameKind::Event, "the page has begun");

    let kick = Request::Kick {
        room: "ops".parse().unwrap(),
        who: "vic".parse().unwrap(),
        reason: SafeLine::default(),
    };
    ann.request(kick).await.unwrap();
    let text = SafeText::new("not for vic");
    let edit = Request::Edit { room: ops.id, target: last, id: MessageId::generate(), text };
    ann.submit(edit).await.unwrap();
    let end = loop {
        let frame = frame(&mut frames).await;
        if frame.kind == FrameKind::PageEnd {
            break frame.decode(FrameKind::PageEnd, "end").unwrap();
        }
        let event: Event = frame.decode(FrameKind::Event, "event").unwrap();
        assert!(event.message().is_none_or(|message| message.text() != "not for vic"), "{}", event.seq);
    };
    assert!(matches!(end, PageEnd::Refused(refusal) if refusal.code == ErrorCode::Removed));
}

async fn frame(frames: &mut FrameReader) -> Frame {
    within("a frame of the page", frames.next()).await.unwrap().unwrap()
}
