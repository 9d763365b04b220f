//! Any value of the protocol's types, for property tests.

use base64::Engine as _;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use quip_protocol::datagram::{Datagram, Presence};
use quip_protocol::frame::{Labelled, PageEnd, PageFrom, PageRequest, Push, Reply, Request, WatchState};
use quip_protocol::limits::MAX_NODES;
use quip_protocol::room::{
    AccountSummary, AwaySummary, BotSummary, ConsumerSummary, DeviceSummary, Digest, MemberSummary,
    RoomSummary,
};
use quip_protocol::{
    AccountName, Address, ConsumerName, Cursor, DeviceKey, Epoch, ErrorCode, Event, EventBody, Fingerprint,
    InviteCode, Message, MessageId, MessageKind, NodeAddress, NodeSummary, Notice, NoticeBody, Reaction,
    Receipt, Refusal, Role, RoomId, RoomKind, RoomName, SafeLine, SafeText, Seq, Target, Timestamp,
};

pub fn account(name: &str) -> AccountName {
    name.parse().unwrap()
}

fn name() -> impl Strategy<Value = AccountName> + Clone {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,31}".prop_map(|name| account(&name))
}

fn room_name() -> impl Strategy<Value = RoomName> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|name| name.parse().unwrap())
}

fn consumer() -> impl Strategy<Value = ConsumerName> {
    "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|name| name.parse().unwrap())
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![room_name().prop_map(Target::Room), name().prop_map(Target::Direct)]
}

fn text() -> impl Strategy<Value = SafeText> {
    any::<String>().prop_map(|text| SafeText::new(&text))
}

fn line() -> impl Strategy<Value = SafeLine> + Clone {
    any::<String>().prop_map(|text| SafeLine::new(&text))
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId::from_bytes)
}

fn room() -> impl Strategy<Value = RoomId> + Clone {
    any::<u64>().prop_map(RoomId)
}

fn seq() -> impl Strategy<Value = Seq> + Clone {
    any::<u64>().prop_map(Seq)
}

fn at() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn cursor() -> impl Strategy<Value = Cursor> + Clone {
    (any::<u32>(), seq()).prop_map(|(epoch, seq)| Cursor { epoch: Epoch(epoch), seq })
}

fn kind() -> impl Strategy<Value = MessageKind> {
    prop_oneof![Just(MessageKind::Plain), Just(MessageKind::Action)]
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn key() -> impl Strategy<Value = DeviceKey> {
    any::<[u8; 32]>().prop_map(DeviceKey)
}

fn code() -> impl Strategy<Value = InviteCode> {
    any::<[u8; 16]>()
        .prop_map(|bytes| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes).parse().unwrap())
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (any::<u16>(), line(), any::<Option<u32>>()).prop_map(|(code, text, retry_after_ms)| Refusal {
        code: ErrorCode::from(code),
        text,
        retry_after_ms,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let reaction = (line(), vec(name(), 0..4)).prop_map(|(emoji, by)| Reaction { emoji, by });
    let edits = (of(text()), vec(seq(), 0..4));
    (id(), kind(), text(), of(seq()), of(at()), any::<bool>(), vec(reaction, 0..4), edits).prop_map(
        |(id, kind, text, reply_to, edited, deleted, reactions, (original, edits))| Message {
            id,
            kind,
            text,
            reply_to,
            edited,
            deleted,
            reactions,
            original,
            edits,
        },
    )
}

fn event_body() -> impl Strategy<Value = EventBody> {
    prop_oneof![
        message().prop_map(EventBody::Message),
        (seq(), id(), text(), of(seq())).prop_map(|(target, id, text, drops)| EventBody::Edited {
            target,
            id,
            text,
            drops
        }),
        (seq(), id(), vec(seq(), 0..4)).prop_map(|(target, id, edits)| EventBody::Deleted {
            target,
            id,
            edits
        }),
        (seq(), id(), line(), any::<bool>()).prop_map(|(target, id, emoji, on)| EventBody::Reacted {
            target,
            id,
            emoji,
            on
        }),
        any::<u32>().prop_map(|members| EventBody::Created { members }),
        Just(EventBody::Joined),
        Just(EventBody::Left),
        (vec(name(), 0..9), any::<u32>()).prop_map(|(who, count)| EventBody::Invited { who, count }),
        (name(), line()).prop_map(|(who, reason)| EventBody::Kicked { who, reason }),
        (name(), role()).prop_map(|(who, role)| EventBody::RoleSet { who, role }),
        line().prop_map(|topic| EventBody::Topic { topic }),
        Just(EventBody::Archived),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    (room(), cursor(), at(), any::<u64>(), name(), event_body()).prop_map(
        |(room, Cursor { epoch, seq }, at, ordinal, author, body)| Event {
            room,
            epoch,
            seq,
            at,
            ordinal,
            author,
            body,
        },
    )
}

pub fn notice() -> impl Strategy<Value = Notice> {
    let body = prop_oneof![
        (room(), target(), name()).prop_map(|(room, target, by)| NoticeBody::Entered { room, target, by }),
        (room(), target(), name()).prop_map(|(room, target, by)| NoticeBody::Gone { room, target, by }),
        (room(), seq(), name()).prop_map(|(room, seq, by)| NoticeBody::Mentioned { room, seq, by }),
        (room(), seq()).prop_map(|(room, seq)| NoticeBody::Read { room, seq }),
        Just(NoticeBody::Devices),
        (room(), seq()).prop_map(|(room, seq)| NoticeBody::Unread { room, seq }),
    ];
    (cursor(), at(), body).prop_map(|(Cursor { epoch, seq }, at, body)| Notice { seq, epoch, at, body })
}

/// Half of the requests; proptest's unions are bounded, and so are functions.
fn request_about_messages() -> impl Strategy<Value = Request> {
    prop_oneof![
        (target(), id(), kind(), text(), of(seq())).prop_map(|(target, id, kind, text, reply_to)| {
            Request::Post { target, id, kind, text, reply_to }
        }),
        (room(), seq(), id(), text()).prop_map(|(room, target, id, text)| Request::Edit {
            room,
            target,
            id,
            text
        }),
        (room(), seq(), id()).prop_map(|(room, target, id)| Request::Delete { room, target, id }),
        (room(), seq(), id(), line(), any::<bool>())
            .prop_map(|(room, target, id, emoji, on)| Request::React { room, target, id, emoji, on }),
        (room(), seq(), any::<bool>()).prop_map(|(room, seq, unread)| match unread {
            false => Request::Mark { room, seq },
            true => Request::MarkUnread { room, seq },
        }),
        vec((room(), of(cursor())), 0..9).prop_map(|rooms| Request::Watch { rooms }),
        vec((room(), of(cursor())), 0..9).prop_map(|rooms| Request::Digest { rooms }),
        room().prop_map(|room| Request::Unwatch { room }),
        of(cursor()).prop_map(|from| Request::WatchInbox { from }),
        Just(Request::Consumers),
        (consumer(), of(target())).prop_map(|(name, target)| Request::DropConsumer { name, target }),
        (consumer(), target(), of(seq())).prop_map(|(name, target, since)| Request::OpenConsumer {
            name,
            target,
            since
        }),
        (consumer(), room(), cursor()).prop_map(|(name, room, cursor)| Request::MoveConsumer {
            name,
            room,
            cursor
        }),
    ]
}

fn request_about_rooms() -> impl Strategy<Value = Request> {
    prop_oneof![
        target().prop_map(|target| Request::Open { target }),
        of(room()).prop_map(|after| Request::Rooms { after }),
        of(room_name()).prop_map(|after| Request::PublicRooms { after }),
        (room_name(), any::<bool>(), line(), vec(name(), 0..9)).prop_map(
            |(name, private, topic, members)| Request::CreateRoom { name, private, topic, members }
        ),
        room_name().prop_map(|room| Request::Join { room }),
        room_name().prop_map(|room| Request::Leave { room }),
        (room_name(), vec(name(), 0..9)).prop_map(|(room, who)| Request::Invite { room, who }),
        (room_name(), name(), line()).prop_map(|(room, who, reason)| Request::Kick { room, who, reason }),
        (room_name(), name(), role()).prop_map(|(room, who, role)| Request::SetRole { room, who, role }),
        (room_name(), line()).prop_map(|(room, topic)| Request::SetTopic { room, topic }),
        room_name().prop_map(|room| Request::Archive { room }),
        (target(), of(name()), any::<bool>()).prop_map(|(target, after, away)| match away {
            false => Request::Members { target, after },
            true => Request::WhoIsAway { target, after },
        }),
    ]
}

fn request_about_accounts() -> impl Strategy<Value = Request> {
    prop_oneof![
        (code(), of(name()), line()).prop_map(|(code, name, device)| Request::Redeem { code, name, device }),
        (name(), line()).prop_map(|(name, device)| Request::Register { name, device }),
        Just(Request::WhoAmI),
        name().prop_map(|name| Request::WhoIs { name }),
        (of(room_name()), any::<u32>(), any::<u32>()).prop_map(|(room, uses, ttl_s)| Request::NewInvite {
            room,
            uses,
            ttl_s
        }),
        Just(Request::NewDeviceCode),
        Just(Request::Devices),
        key().prop_map(|key| Request::RevokeDevice { key }),
        (name(), key(), line()).prop_map(|(name, key, label)| Request::NewToken { name, key, label }),
        Just(Request::Tokens),
        name().prop_map(|name| Request::RevokeToken { name }),
        of(line()).prop_map(|text| Request::SetAway { text }),
    ]
}

pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![request_about_messages(), request_about_rooms(), request_about_accounts()]
}

pub fn summary(target: Target, topic: SafeLine) -> RoomSummary {
    RoomSummary {
        id: RoomId(u64::MAX),
        target,
        kind: RoomKind::Private,
        topic,
        archived: false,
        role: Some(Role::Owner),
        members: u32::MAX,
        head: Cursor { epoch: Epoch(u32::MAX), seq: Seq(u64::MAX) },
        active_at: Timestamp(u64::MAX),
        read: Seq(u64::MAX),
        unread: u64::MAX,
        mentions: u32::MAX,
    }
}

fn room_summary() -> impl Strategy<Value = RoomSummary> {
    (room(), target(), line(), of(role()), cursor(), any::<u32>()).prop_map(
        |(id, target, topic, role, head, mentions)| RoomSummary {
            id,
            role,
            head,
            mentions,
            ..summary(target, topic)
        },
    )
}

fn account_summary() -> impl Strategy<Value = AccountSummary> {
    (name(), any::<bool>(), of(name()), any::<(bool, bool, bool)>(), at()).prop_map(
        |(name, bot, owner, (admin, suspended, online), created_at)| AccountSummary {
            name,
            bot,
            owner,
            admin,
            suspended,
            online,
            created_at,
        },
    )
}

fn device_summary() -> impl Strategy<Value = DeviceSummary> {
    (key(), line(), at(), any::<bool>(), any::<bool>()).prop_map(|(key, label, added_at, revoked, online)| {
        DeviceSummary { key, label, added_at, revoked, online }
    })
}

fn bot_summary() -> impl Strategy<Value = BotSummary> {
    (account_summary(), vec(device_summary(), 0..3)).prop_map(|(account, keys)| BotSummary { account, keys })
}

fn consumer_summary() -> impl Strategy<Value = ConsumerSummary> {
    (consumer(), target(), cursor()).prop_map(|(name, target, cursor)| ConsumerSummary {
        name,
        target,
        cursor,
    })
}

fn member() -> impl Strategy<Value = MemberSummary> {
    (name(), role(), any::<bool>(), any::<bool>()).prop_map(|(name, role, online, bot)| MemberSummary {
        name,
        role,
        online,
        bot,
    })
}

pub fn digest() -> impl Strategy<Value = Digest> {
    (room(), cursor(), any::<u64>(), at()).prop_map(|(room, head, messages, at)| Digest {
        room,
        head,
        messages,
        at,
    })
}

fn watch_state() -> impl Strategy<Value = WatchState> {
    prop_oneof![
        (room(), cursor(), cursor()).prop_map(|(room, from, head)| WatchState::Live { room, from, head }),
        (room(), cursor(), cursor()).prop_map(|(room, keep, head)| WatchState::Reset { room, keep, head }),
        (room(), refusal()).prop_map(|(room, refusal)| WatchState::Refused { room, refusal }),
        digest().prop_map(WatchState::Digest),
    ]
}

pub fn reply() -> impl Strategy<Value = Reply> {
    let receipt = (room(), cursor(), id())
        .prop_map(|(room, Cursor { epoch, seq }, id)| Reply::Receipt(Receipt { room, epoch, seq, id }));
    let members = (vec(member(), 0..5), any::<(u32, u32, bool)>())
        .prop_map(|(members, (total, online, more))| Reply::Members { members, total, online, more });
    prop_oneof![
        Just(Reply::Done),
        refusal().prop_map(Reply::Refused),
        receipt,
        account_summary().prop_map(Reply::Account),
        room_summary().prop_map(Reply::Room),
        (vec(room_summary(), 0..5), any::<bool>()).prop_map(|(rooms, more)| Reply::Rooms { rooms, more }),
        members,
        vec(watch_state(), 0..5).prop_map(|rooms| Reply::Watching { rooms }),
        (code(), at()).prop_map(|(code, expires)| Reply::Code { code, expires }),
        vec(device_summary(), 0..5).prop_map(Reply::Devices),
        vec(bot_summary(), 0..4).prop_map(Reply::Tokens),
        vec(consumer_summary(), 0..4).prop_map(Reply::Consumers),
        cursor().prop_map(|head| Reply::Inbox { head }),
        (room(), cursor(), any::<bool>()).prop_map(|(room, cursor, new)| Reply::Consumer {
            room,
            cursor,
            new
        }),
        (vec((name(), line()), 0..5), any::<bool>()).prop_map(|(away, more)| Reply::Away {
            members: away.into_iter().map(|(name, text)| AwaySummary { name, text }).collect(),
            more
        }),
    ]
}

pub fn labelled<T: std::fmt::Debug>(body: impl Strategy<Value = T>) -> impl Strategy<Value = Labelled<T>> {
    (any::<u32>(), body).prop_map(|(label, body)| Labelled { label, body })
}

pub fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        (room(), any::<u32>(), refusal()).prop_map(|(room, watch, refusal)| Push::Unwatched {
            room,
            watch,
            refusal
        }),
        any::<u32>().prop_map(|retry_after_ms| Push::Stopping { retry_after_ms }),
        digest().prop_map(Push::Digest),
        nodes().prop_map(Push::Nodes),
        line().prop_map(|why| Push::ReadOnly { why }),
        Just(Push::Writable),
    ]
}

/// As long as a `Welcome` and a push have them.
pub fn nodes() -> impl Strategy<Value = Vec<NodeSummary>> {
    let host = prop_oneof!["[a-z0-9][a-z0-9.-]{0,252}", Just("::1".to_owned()), Just("10.0.0.1".to_owned())];
    let address = (host, 1..u16::MAX).prop_map(|(host, port)| Address::new(host, port).unwrap());
    let fingerprint = any::<[u8; 32]>().prop_map(Fingerprint);
    let node = ("[a-z][a-z0-9.-]{0,31}", address, fingerprint).prop_map(|(name, address, fingerprint)| {
        NodeAddress { name: name.parse().unwrap(), address, fingerprint }
    });
    let summary = (node, any::<(u32, bool)>()).prop_map(|(node, (connections, draining))| NodeSummary {
        node,
        connections,
        draining,
    });
    vec(summary, 0..=MAX_NODES)
}

pub fn page_request() -> impl Strategy<Value = PageRequest> {
    let from = prop_oneof![
        Just(PageFrom::Latest),
        seq().prop_map(PageFrom::Before),
        seq().prop_map(PageFrom::After),
    ];
    (target(), from, any::<u32>()).prop_map(|(target, from, limit)| PageRequest { target, from, limit })
}

pub fn page_end() -> impl Strategy<Value = PageEnd> {
    prop_oneof![
        (room(), cursor()).prop_map(|(room, head)| PageEnd::Complete { room, head }),
        refusal().prop_map(PageEnd::Refused),
    ]
}

pub fn datagram() -> impl Strategy<Value = Datagram> {
    prop_oneof![
        room().prop_map(|room| Datagram::Typing { room }),
        (room(), name()).prop_map(|(room, who)| Datagram::TypingBy { room, who }),
        (name(), presence()).prop_map(|(who, now)| Datagram::Presence { who, now }),
    ]
}

fn presence() -> impl Strategy<Value = Presence> {
    let away = "[a-z ]{0,128}".prop_map(|text| Presence::Away { text: SafeLine::new(&text) });
    prop_oneof![Just(Presence::Offline), Just(Presence::Online), away]
}
