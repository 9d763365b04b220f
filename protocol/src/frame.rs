//! Frames: what client and server say to each other. `ARCHITECTURE.md` says on which stream each travels.
//!
//! Variants are only ever added at the end; everything else, a new field too, is a new version, agreed on
//! in [`Hello`] and [`Welcome`].

mod watch;

use serde::{Deserialize, Serialize};

use crate::cursor::{Cursor, Receipt, Seq, Timestamp};
use crate::error::Refusal;
use crate::identity::DeviceKey;
use crate::limits::{Limits, MAX_CONSUMERS, MAX_LISTED, MAX_NAMES, MAX_NODES, MAX_WATCHES};
use crate::link::InviteCode;
use crate::message::{MessageId, MessageKind};
use crate::name::{AccountName, ConsumerName, RoomName, Target};
use crate::node::NodeSummary;
use crate::room::{
    AccountSummary, AwaySummary, BotSummary, ConsumerSummary, DeviceSummary, Digest, MemberSummary, Role,
    RoomId, RoomSummary,
};
use crate::safe_text::{SafeLine, SafeText};

pub use watch::{Watch, WatchState};

/// The TLS protocol name that both ends must speak.
pub const ALPN: &[u8] = b"quip/1";
/// The newest version of the frames. 2 tells of the nodes in [`Welcome`].
pub const VERSION: u16 = 2;

/// The client's first frame on the request stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version it speaks.
    pub oldest: u16,
    /// The newest version it speaks.
    pub newest: u16,
    /// Program and version, for the operator.
    pub agent: SafeLine,
}

/// The server's answer to [`Hello`]; a refusal comes as a `Reply` with label 0 instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken from here on.
    pub version: u16,
    /// What the server is called.
    pub server: SafeLine,
    /// The account of the device's key; `None` can only redeem a code or register.
    pub account: Option<AccountName>,
    /// Whether accounts can be made without a code.
    pub open_registration: bool,
    /// What the server enforces.
    pub limits: Limits,
    /// The server's clock.
    pub now: Timestamp,
    /// The nodes of the cluster that live, the one that answers first; none where it is a server alone, and none to who
    /// has no account yet: such a one hears of them by [`Push::Nodes`] as soon as it has.
    #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_NODES>")]
    pub nodes: Vec<NodeSummary>,
}

/// A request or reply and its label. Replies come in any order; labels of unanswered requests differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled<T> {
    /// Chosen by the client; 0 is the server's.
    pub label: u32,
    /// What is labelled.
    pub body: T,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Binds this device's key to an account by a code. An invite makes the account `name`; a device code adds the
    /// device to the account that made it, and `name` is left out. → `Account`
    Redeem {
        /// The secret part of the link.
        code: InviteCode,
        /// The new account's name.
        name: Option<AccountName>,
        /// What the owner calls the device.
        device: SafeLine,
    },
    /// Makes an account where registration is open. → `Account`
    Register {
        /// The new account's name.
        name: AccountName,
        /// What the owner calls the device.
        device: SafeLine,
    },
    /// → `Account`
    WhoAmI,
    /// → `Account`
    WhoIs {
        /// Whom.
        name: AccountName,
    },
    /// Sends a message. Safe to repeat with the same id. → `Receipt`
    Post {
        /// Where; a direct room is made if there is none.
        target: Target,
        /// Made by the sender.
        id: MessageId,
        /// How it is shown.
        kind: MessageKind,
        /// What it says.
        text: SafeText,
        /// The message it answers.
        reply_to: Option<Seq>,
    },
    /// Changes a message. Safe to repeat with the same id. → `Receipt`
    Edit {
        /// Where.
        room: RoomId,
        /// The message.
        target: Seq,
        /// Made by the sender.
        id: MessageId,
        /// What it says now.
        text: SafeText,
    },
    /// Deletes a message. Safe to repeat with the same id. → `Receipt`
    Delete {
        /// Where.
        room: RoomId,
        /// The message.
        target: Seq,
        /// Made by the sender.
        id: MessageId,
    },
    /// Puts an emoji on a message or takes it away. Safe to repeat with the same id. → `Receipt`
    React {
        /// Where.
        room: RoomId,
        /// The message.
        target: Seq,
        /// Made by the sender.
        id: MessageId,
        /// The emoji.
        emoji: SafeLine,
        /// Put, or take away.
        on: bool,
    },
    /// Moves this account's read marker forward. → `Done`
    Mark {
        /// Where.
        room: RoomId,
        /// The last event read.
        seq: Seq,
    },
    /// A room as this account sees it; makes the direct room if there is none. → `Room`
    Open {
        /// Which.
        target: Target,
    },
    /// The rooms this account is in, by id: what needs me. → `Rooms`
    Rooms {
        /// Continue behind this one.
        after: Option<RoomId>,
    },
    /// Public rooms, by name. → `Rooms`
    PublicRooms {
        /// Continue behind this one.
        after: Option<RoomName>,
    },
    /// Makes a room with all its members in one command. → `Room`
    CreateRoom {
        /// Its name.
        name: RoomName,
        /// Private, or public.
        private: bool,
        /// What it is about.
        topic: SafeLine,
        /// Initial members beside the maker, at most [`MAX_NAMES`].
        #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_NAMES>")]
        members: Vec<AccountName>,
    },
    /// Enters a public room, or does nothing if already in. → `Room`
    Join {
        /// Which.
        room: RoomName,
    },
    /// Leaves. → `Done`
    Leave {
        /// Which.
        room: RoomName,
    },
    /// Makes others members. → `Done`
    Invite {
        /// Where.
        room: RoomName,
        /// Whom.
        #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_NAMES>")]
        who: Vec<AccountName>,
    },
    /// Removes a member. → `Done`
    Kick {
        /// From where.
        room: RoomName,
        /// Whom.
        who: AccountName,
        /// Why.
        reason: SafeLine,
    },
    /// Gives a member a role. → `Done`
    SetRole {
        /// Where.
        room: RoomName,
        /// Whom.
        who: AccountName,
        /// The role.
        role: Role,
    },
    /// Sets the topic. → `Done`
    SetTopic {
        /// Where.
        room: RoomName,
        /// The topic.
        topic: SafeLine,
    },
    /// Ends writing. → `Done`
    Archive {
        /// Which.
        room: RoomName,
    },
    /// Members by name. → `Members`
    Members {
        /// Where.
        target: Target,
        /// Continue behind this one.
        after: Option<AccountName>,
    },
    /// From now on the room's events come on the live stream, from each cursor on; `None` is from now on. A later
    /// watch of the same room replaces the first. A connection watches at most [`crate::limits::MAX_WATCHED`] rooms.
    /// → `Watching`
    Watch {
        /// Which, at most [`MAX_WATCHES`], each once.
        #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_WATCHES>")]
        rooms: Vec<(RoomId, Option<Cursor>)>,
    },
    /// No more events of the room. → `Done`
    Unwatch {
        /// Which.
        room: RoomId,
    },
    /// From now on the account's notices come on the live stream. A cursor that is not of this inbox is refused with
    /// [`crate::ErrorCode::BadCursor`]. → `Inbox`
    WatchInbox {
        /// The last notice seen; `None` is from now on.
        from: Option<Cursor>,
    },
    /// A code that makes a new account, member of `#general` and `room`. → `Code`
    NewInvite {
        /// Also a member of.
        room: Option<RoomName>,
        /// How many accounts it makes.
        uses: u32,
        /// For how long, in seconds.
        ttl_s: u32,
    },
    /// A ten-minute code that adds a device to this account. → `Code`
    NewDeviceCode,
    /// Devices of this account. → `Devices`
    Devices,
    /// A device of this account may no longer connect; live connections end. → `Done`
    RevokeDevice {
        /// Which.
        key: DeviceKey,
    },
    /// Makes a bot of this account, or gives the bot one more key. → `Account`
    NewToken {
        /// The bot's name.
        name: AccountName,
        /// The public key of the token; the secret stays with the client.
        key: DeviceKey,
        /// What the owner calls it.
        label: SafeLine,
    },
    /// Bots of this account and their keys. → `Tokens`
    Tokens,
    /// The bot's keys may no longer connect. → `Done`
    RevokeToken {
        /// Which.
        name: AccountName,
    },
    /// A durable cursor of this account, kept by the server; made if there is none. → `Consumer`
    OpenConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room.
        target: Target,
        /// Where a new one starts, behind this event; `None` is the newest.
        since: Option<Seq>,
    },
    /// Everything up to here was read; a cursor only moves forward. Safe to repeat. → `Done`
    MoveConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room.
        room: RoomId,
        /// The last event read.
        cursor: Cursor,
    },
    /// Durable cursors of this account, by room and name. → `Consumers`
    Consumers,
    /// Forgets a durable cursor. → `Done`
    DropConsumer {
        /// Which.
        name: ConsumerName,
        /// In which room; `None` is in every room.
        target: Option<Target>,
    },
    /// Moves this account's read marker back, so that this message is unread again. → `Done`
    MarkUnread {
        /// Where.
        room: RoomId,
        /// The message.
        seq: Seq,
    },
    /// Says whether somebody is at this device. Holds for this connection and ends with it. → `Done`
    SetAway {
        /// Away, with a text of at most [`crate::limits::MAX_AWAY`] bytes, which may be empty; `None` is back.
        text: Option<SafeLine>,
    },
    /// Members who are away, by name; of `@name` that account alone. → `Away`
    WhoIsAway {
        /// Where.
        target: Target,
        /// Continue behind this one.
        after: Option<AccountName>,
    },
    /// As [`Request::Watch`], for rooms that nobody looks at: where very many watch one, [`Push::Digest`] comes instead of
    /// its events. Which it is, the server decides from one moment to the next: events that come follow each other or
    /// the last digest. → `Watching`
    Digest {
        /// Which, at most [`MAX_WATCHES`], each once.
        #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_WATCHES>")]
        rooms: Vec<(RoomId, Option<Cursor>)>,
    },
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is durable.
    Done,
    /// It was refused.
    Refused(Refusal),
    /// It is durable, and this is its place.
    Receipt(Receipt),
    /// An account.
    Account(AccountSummary),
    /// A room.
    Room(RoomSummary),
    /// Rooms.
    Rooms {
        /// The page.
        #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")]
        rooms: Vec<RoomSummary>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// Members.
    Members {
        /// The page.
        #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")]
        members: Vec<MemberSummary>,
        /// How many there are.
        total: u32,
        /// How many of them are connected.
        online: u32,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// Watches, in the order asked.
    Watching {
        /// One each.
        #[serde(deserialize_with = "crate::codec::list::<_, _, MAX_WATCHES>")]
        rooms: Vec<WatchState>,
    },
    /// A secret, said once.
    Code {
        /// The secret part of a link.
        code: InviteCode,
        /// Until when it is good.
        expires: Timestamp,
    },
    /// Devices.
    Devices(
        #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")] Vec<DeviceSummary>,
    ),
    /// Bots and their keys.
    Tokens(
        #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")] Vec<BotSummary>,
    ),
    /// A durable cursor.
    Consumer {
        /// Its room.
        room: RoomId,
        /// The last event read.
        cursor: Cursor,
        /// Whether it was made just now.
        new: bool,
    },
    /// Durable cursors.
    Consumers(#[serde(deserialize_with = "crate::codec::list::<_, _, MAX_CONSUMERS>")] Vec<ConsumerSummary>),
    /// The inbox is watched.
    Inbox {
        /// The newest notice now.
        head: Cursor,
    },
    /// Who is away.
    Away {
        /// The page.
        #[serde(deserialize_with = "crate::codec::list::<_, _, { MAX_LISTED as usize }>")]
        members: Vec<AwaySummary>,
        /// Whether there are more behind the last.
        more: bool,
    },
}

/// What the server says unasked on the live streams, beside events and notices, which are frames of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Push {
    /// No more events of this room: the account left it or was removed.
    Unwatched {
        /// The room.
        room: RoomId,
        /// The label of the `Watch` that ended: one that was replaced since is no news.
        watch: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The server is stopping; connect again after this long, in milliseconds. Other nodes of a cluster can be connected
    /// to at once.
    Stopping {
        /// Milliseconds.
        retry_after_ms: u32,
    },
    /// Where a room stands that is watched by [`Request::Digest`]: events up to there that have not come do not come.
    Digest(Digest),
    /// The nodes of the cluster that live now, the one that says so first: one came, went, moved or is stopping.
    Nodes(#[serde(deserialize_with = "crate::codec::list::<_, _, MAX_NODES>")] Vec<NodeSummary>),
    /// Nothing can be written now; what is sent meanwhile is refused with [`crate::ErrorCode::Degraded`] or
    /// [`crate::ErrorCode::Unavailable`]. Reading goes on. Said behind `Welcome` too, where it is so then.
    ReadOnly {
        /// In a few words.
        why: SafeLine,
    },
    /// Writing goes on.
    Writable,
}

/// Which events a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageFrom {
    /// The newest.
    Latest,
    /// The newest that are before this one.
    Before(Seq),
    /// The oldest that are behind this one.
    After(Seq),
}

/// The only request on a bulk stream. The answer is events, oldest first, then [`PageEnd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// Where.
    pub target: Target,
    /// Which.
    pub from: PageFrom,
    /// How many at most, up to [`crate::limits::MAX_PAGE`].
    pub limit: u32,
}

/// The end of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageEnd {
    /// All of it was sent.
    Complete {
        /// The room.
        room: RoomId,
        /// The newest event of the room.
        head: Cursor,
    },
    /// It was refused.
    Refused(Refusal),
}
