//! Bytes that must not change: events and notices are stored for ever, and other versions speak the rest.
//!
//! `golden.txt` has one frame a line. A line that does not match is a mistake in the code, never in the file;
//! a new kind of frame or variant gets a new line.

#![allow(clippy::unwrap_used, reason = "the allowance for tests does not reach their helpers")]

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use quip_protocol::codec::{FrameKind, encode_frame, take_frame};
use quip_protocol::datagram::{Datagram, Presence};
use quip_protocol::frame::{
    Hello, Labelled, PageEnd, PageFrom, PageRequest, Push, Reply, Request, VERSION, WatchState, Welcome,
};
use quip_protocol::limits::{Limits, MAX_EVENT_FRAME, MAX_LINE, MAX_NODES, MAX_WELCOME_FRAME};
use quip_protocol::name::MAX_NODE_NAME;
use quip_protocol::node::MAX_HOST;
use quip_protocol::room::{AwaySummary, ConsumerSummary, Digest};
use quip_protocol::{
    AccountName, Address, Cursor, Epoch, ErrorCode, Event, EventBody, Fingerprint, Message, MessageId,
    MessageKind, NodeAddress, NodeSummary, Notice, NoticeBody, Reaction, Receipt, Refusal, Role, RoomId,
    SafeLine, SafeText, Seq, Target, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const ROOM: RoomId = RoomId(300);
const ID: MessageId = MessageId::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

fn name(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn line(text: &str) -> SafeLine {
    SafeLine::new(text)
}

fn bodies() -> Vec<EventBody> {
    let message = Message {
        id: ID,
        kind: MessageKind::Action,
        text: SafeText::new("grüßt\n\talle 👋"),
        reply_to: Some(Seq(9)),
        edited: Some(Timestamp(1_700_000_000_123)),
        deleted: false,
        reactions: vec![Reaction { emoji: line("👍"), by: vec![name("bob"), name("cy")] }],
        original: Some(SafeText::new("gruesst")),
        edits: vec![Seq(10), Seq(70_000)],
    };
    let (target, id, who) = (Seq(70_000), ID, name("bob"));
    vec![
        EventBody::Message(message),
        EventBody::Edited { target, id, text: SafeText::new("now"), drops: Some(Seq(9)) },
        EventBody::Deleted { target, id, edits: vec![Seq(10), Seq(70_000)] },
        EventBody::Reacted { target, id, emoji: line("👍"), on: true },
        EventBody::Created { members: 3 },
        EventBody::Joined,
        EventBody::Left,
        EventBody::Invited { who: vec![who.clone()], count: 20 },
        EventBody::Kicked { who: who.clone(), reason: line("noise") },
        EventBody::RoleSet { who, role: Role::Moderator },
        EventBody::Topic { topic: line("what we do") },
        EventBody::Archived,
    ]
}

fn notices() -> Vec<NoticeBody> {
    let (room, target, by) = (ROOM, Target::Direct(name("bob")), name("bob"));
    vec![
        NoticeBody::Entered { room, target: target.clone(), by: by.clone() },
        NoticeBody::Gone { room, target, by: by.clone() },
        NoticeBody::Mentioned { room, seq: Seq(5), by },
        NoticeBody::Read { room, seq: Seq(5) },
        NoticeBody::Devices,
        NoticeBody::Unread { room, seq: Seq(5) },
    ]
}

fn welcome() -> Welcome {
    let limits = Limits {
        text_bytes: 16_384,
        burst_messages: 20,
        messages_per_second: 10,
        requests_in_flight: 64,
        idle_timeout_ms: 30_000,
    };
    Welcome {
        version: VERSION,
        server: line("quip"),
        account: Some(name("ann")),
        open_registration: true,
        limits,
        now: Timestamp(1_700_000_000_123),
        nodes: vec![summary("a", "10.0.0.1"), summary("b", "::1")],
    }
}

fn summary(name: &str, host: &str) -> NodeSummary {
    let (address, fingerprint) = (Address::new(host, 7847).unwrap(), Fingerprint([7; 32]));
    let node = NodeAddress { name: name.parse().unwrap(), address, fingerprint };
    NodeSummary { node, connections: 300, draining: name == "b" }
}

/// The file as it would be written now; each frame is also read back.
#[derive(Default)]
struct Golden(String);

impl Golden {
    fn line<T>(&mut self, kind: FrameKind, value: T)
    where
        T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let bytes = encode_frame(kind, &value);
        let frame = take_frame(&mut BytesMut::from(bytes.as_ref()), bytes.len()).unwrap().unwrap();
        assert_eq!(frame.decode::<T>(kind, "golden"), Ok(value));
        writeln!(self.0, "{kind:?} {}", hex(&bytes)).unwrap();
    }

    fn stored(&mut self) {
        let (epoch, at, author) = (Epoch(2), Timestamp(1_700_000_000_000), name("ann"));
        for (seq, body) in (250..).map(Seq).zip(bodies()) {
            let event = Event { room: ROOM, epoch, seq, at, ordinal: 7, author: author.clone(), body };
            self.line(FrameKind::Event, event);
        }
        for (seq, body) in (250..).map(Seq).zip(notices()) {
            self.line(FrameKind::Notice, Notice { seq, epoch, at, body });
        }
    }

    fn spoken(&mut self) {
        let head = Cursor { epoch: Epoch(2), seq: Seq(300) };
        let refusal = Refusal::retry(ErrorCode::RateLimited, "slow down", 1500);
        let target = Target::Room("ops".parse().unwrap());
        self.line(FrameKind::Hello, Hello { oldest: 1, newest: VERSION, agent: line("quip/0.1.0") });
        self.line(FrameKind::Welcome, welcome());
        let (kind, text) = (MessageKind::Plain, SafeText::new("hi"));
        let post = Request::Post { target: target.clone(), id: ID, kind, text, reply_to: None };
        self.line(FrameKind::Request, Labelled { label: 1, body: post });
        let watch = Request::Watch { rooms: vec![(ROOM, Some(head)), (RoomId(1), None)] };
        self.line(FrameKind::Request, Labelled { label: 2, body: watch });
        let receipt = Receipt { room: ROOM, epoch: Epoch(2), seq: Seq(300), id: ID };
        self.line(FrameKind::Reply, Labelled { label: 1, body: Reply::Receipt(receipt) });
        self.line(FrameKind::Reply, Labelled { label: 0, body: Reply::Refused(refusal.clone()) });
        self.line(FrameKind::Push, Push::Unwatched { room: ROOM, watch: 2, refusal: refusal.clone() });
        self.line(FrameKind::Push, Push::Stopping { retry_after_ms: 500 });
        let from = PageFrom::Before(Seq(300));
        self.line(FrameKind::Page, PageRequest { target, from, limit: 50 });
        self.line(FrameKind::PageEnd, PageEnd::Complete { room: ROOM, head });
        self.line(FrameKind::PageEnd, PageEnd::Refused(refusal));
    }

    fn consumers(&mut self) {
        let (name, target) = ("deploy-bot".parse().unwrap(), Target::Room("ops".parse().unwrap()));
        let open = Request::OpenConsumer { name, target, since: Some(Seq(300)) };
        self.line(FrameKind::Request, Labelled { label: 3, body: open });
        let (name, cursor) = ("deploy-bot".parse().unwrap(), Cursor { epoch: Epoch(2), seq: Seq(300) });
        let moved = Request::MoveConsumer { name, room: ROOM, cursor };
        self.line(FrameKind::Request, Labelled { label: 4, body: moved });
        let reply = Reply::Consumer { room: ROOM, cursor, new: true };
        self.line(FrameKind::Reply, Labelled { label: 3, body: reply });
        let (name, target) = ("deploy-bot".parse().unwrap(), Target::Direct(self::name("bob")));
        let gone = Request::DropConsumer { name, target: Some(target.clone()) };
        self.line(FrameKind::Request, Labelled { label: 5, body: gone });
        self.line(FrameKind::Request, Labelled { label: 6, body: Request::Consumers });
        let summary = ConsumerSummary { name: "deploy-bot".parse().unwrap(), target, cursor };
        self.line(FrameKind::Reply, Labelled { label: 6, body: Reply::Consumers(vec![summary]) });
        let inbox = Request::WatchInbox { from: Some(cursor) };
        self.line(FrameKind::Request, Labelled { label: 7, body: inbox });
        self.line(FrameKind::Reply, Labelled { label: 7, body: Reply::Inbox { head: cursor } });
        let unread = Request::MarkUnread { room: ROOM, seq: Seq(5) };
        self.line(FrameKind::Request, Labelled { label: 8, body: unread });
    }

    fn presence(&mut self) {
        for text in [Some(line("lunch")), None] {
            let away = Request::SetAway { text };
            self.line(FrameKind::Request, Labelled { label: 9, body: away });
        }
        let (target, after) = (Target::Room("ops".parse().unwrap()), Some(name("bob")));
        let ask = Request::WhoIsAway { target, after };
        self.line(FrameKind::Request, Labelled { label: 10, body: ask });
        let members = vec![AwaySummary { name: name("bob"), text: line("lunch") }];
        let reply = Reply::Away { members, more: true };
        self.line(FrameKind::Reply, Labelled { label: 10, body: reply });
        self.line(FrameKind::Datagram, Datagram::Typing { room: ROOM });
        self.line(FrameKind::Datagram, Datagram::TypingBy { room: ROOM, who: name("ann") });
        for now in [Presence::Offline, Presence::Away { text: line("lunch") }, Presence::Online] {
            self.line(FrameKind::Datagram, Datagram::Presence { who: name("ann"), now });
        }
    }
}

impl Golden {
    fn digests(&mut self) {
        let head = Cursor { epoch: Epoch(2), seq: Seq(300) };
        let digest = Digest { room: ROOM, head, messages: 299, at: Timestamp(1_700_000_000_123) };
        let ask = Request::Digest { rooms: vec![(ROOM, Some(head)), (RoomId(1), None)] };
        self.line(FrameKind::Request, Labelled { label: 11, body: ask });
        let reply = Reply::Watching { rooms: vec![WatchState::Digest(digest)] };
        self.line(FrameKind::Reply, Labelled { label: 11, body: reply });
        self.line(FrameKind::Push, Push::Digest(digest));
    }

    fn nodes(&mut self) {
        self.line(FrameKind::Push, Push::Nodes(vec![summary("a", "chat.example")]));
        self.line(FrameKind::Push, Push::ReadOnly { why: line("the disk is full") });
        self.line(FrameKind::Push, Push::Writable);
    }
}

fn hex(bytes: &Bytes) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The most nodes, each as long as it may be.
#[test]
fn a_welcome_and_a_push_have_room_for_all_nodes() {
    let mut node = summary("n", &"h".repeat(MAX_HOST));
    node.node.name = "n".repeat(MAX_NODE_NAME).parse().unwrap();
    node.connections = u32::MAX;
    let nodes = vec![node; MAX_NODES];
    let push = encode_frame(FrameKind::Push, &Push::Nodes(nodes.clone()));
    assert!(push.len() <= MAX_EVENT_FRAME, "{} bytes", push.len());
    let (server, account) = (line(&"s".repeat(MAX_LINE)), Some(name(&"a".repeat(32))));
    let welcome = encode_frame(FrameKind::Welcome, &Welcome { server, account, nodes, ..welcome() });
    assert!(welcome.len() <= MAX_WELCOME_FRAME, "{} bytes", welcome.len());
}

#[test]
fn no_byte_has_changed() {
    let mut golden = Golden::default();
    golden.stored();
    golden.spoken();
    golden.consumers();
    golden.presence();
    golden.digests();
    golden.nodes();
    let kept: Vec<&str> = include_str!("golden.txt").lines().collect();
    let made: Vec<&str> = golden.0.lines().collect();
    for (kept, made) in kept.iter().zip(&made) {
        assert_eq!(kept, made, "these bytes are stored, or spoken by other versions");
    }
    assert_eq!(
        kept.len(),
        made.len(),
        "add to golden.txt:\n{}",
        made[kept.len().min(made.len())..].join("\n")
    );
}
