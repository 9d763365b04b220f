//! Records: the state of the engine, one value a record, as the store keeps them and the engine holds them; and the
//! changes that lead from one state to the next.

use bytes::Bytes;
use quip_protocol::codec::{LENGTH_BYTES, encode_event, encode_notice};
use quip_protocol::{
    AccountId, AccountName, ConsumerName, Cursor, DeviceKey, Event, MessageId, Notice, Position, Role,
    RoomId, RoomKind, RoomName, SafeLine, Seq, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A person or a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Never reused.
    pub id: AccountId,
    /// Unique.
    pub name: AccountName,
    /// Who made it, if it is a bot.
    pub bot_of: Option<AccountId>,
    /// Whether it administers the server.
    pub admin: bool,
    /// Whether an operator suspended it.
    pub suspended: bool,
    /// Since when it exists.
    pub created_at: Timestamp,
    /// The newest notice in its inbox.
    pub inbox: Cursor,
}

/// One key of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The public key: unique.
    pub key: DeviceKey,
    /// Whose.
    pub account: AccountId,
    /// What its owner calls it.
    pub label: SafeLine,
    /// Since when it belongs to the account.
    pub added_at: Timestamp,
    /// Whether it may no longer connect. Kept, so that the key is never taken for an unknown one.
    pub revoked: bool,
}

/// What a code gives to the one who redeems it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grant {
    /// A new account.
    Account {
        /// Also a member of.
        room: Option<RoomId>,
        /// Administers the server.
        admin: bool,
    },
    /// One more device of this account.
    Device(AccountId),
    /// The account of the server's first owner. Each start makes such a code until there is an account.
    FirstOwner,
}

/// A one-time code, by its hash. Kept when used up, so that its holder is told so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// What it gives.
    pub grant: Grant,
    /// Who made it; `None` is the operator.
    pub by: Option<AccountId>,
    /// How often it can still be used.
    pub uses_left: u32,
    /// Until when.
    pub expires: Timestamp,
}

/// A room. Its head is not part of the record: it follows from the events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Never reused.
    pub id: RoomId,
    /// Unique; `None` for a direct room.
    pub name: Option<RoomName>,
    /// The two members of a direct room, the lesser id first; the same one twice for notes to oneself.
    pub direct: Option<(AccountId, AccountId)>,
    /// Who may enter.
    pub kind: RoomKind,
    /// What it is about.
    pub topic: SafeLine,
    /// Whether writing has ended.
    pub archived: bool,
}

/// Where a room's log stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The newest event.
    pub cursor: Cursor,
    /// Messages so far.
    pub ordinal: u64,
    /// When the newest event was accepted.
    pub at: Timestamp,
}

/// How an account stands to a room it has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// A member, with this role.
    In(Role),
    /// Was removed by this account; comes back only by an invitation.
    Removed(AccountName),
}

/// An account in a room. One who left has no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub account: AccountId,
    /// In, or removed.
    pub standing: Standing,
    /// The last event read.
    pub read: Seq,
    /// Messages in the room up to there.
    pub read_ordinal: u64,
    /// Unread messages that name the account, oldest first, at most
    /// [`quip_protocol::limits::MAX_UNREAD_MENTIONS`].
    pub mentions: Vec<Seq>,
}

/// A durable cursor of a program that reads a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Whose.
    pub account: AccountId,
    /// Its name, chosen by the account.
    pub name: ConsumerName,
    /// Where.
    pub room: RoomId,
    /// The last event read.
    pub cursor: Cursor,
}

/// An event and its bytes, encoded once for the feed, the store and every subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// What it is.
    pub event: Event,
    /// Who did it.
    pub by: AccountId,
    /// Its whole frame.
    pub frame: Bytes,
}

impl RecordedEvent {
    /// Encodes the event.
    pub fn new(event: Event, by: AccountId) -> RecordedEvent {
        let frame = encode_event(&event);
        RecordedEvent { event, by, frame }
    }

    /// The bytes that are stored: the frame without its length.
    pub fn stored(&self) -> Bytes {
        self.frame.slice(LENGTH_BYTES..)
    }

    /// The sender's id, for events that a sender may repeat.
    pub fn id(&self) -> Option<MessageId> {
        self.event.body.id()
    }
}

/// A notice and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedNotice {
    /// Whose inbox.
    pub account: AccountId,
    /// What it is.
    pub notice: Notice,
    /// Its whole frame.
    pub frame: Bytes,
}

impl RecordedNotice {
    /// Encodes the notice.
    pub fn new(account: AccountId, notice: Notice) -> RecordedNotice {
        let frame = encode_notice(&notice);
        RecordedNotice { account, notice, frame }
    }
}

/// One change of state. Records replace the ones of the same key; events and notices are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put.
    Account(Account),
    /// Put.
    Device(Device),
    /// Put.
    Invite(Invite),
    /// Put.
    Room(Room),
    /// Put.
    Member(Member),
    /// The account left.
    MemberGone(RoomId, AccountId),
    /// Append to the room's timeline, move its head, note the id, amend the message it amends.
    Event(RecordedEvent),
    /// Append to the account's inbox. The account's record with the new inbox head comes as a change of its own.
    Notice(RecordedNotice),
    /// Put.
    Consumer(Consumer),
    /// Forgotten.
    ConsumerGone(AccountId, RoomId, ConsumerName),
}

/// The changes of one journal entry.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The entry.
    pub position: Position,
    /// In order.
    pub changes: Vec<Change>,
}

/// Everything but timelines and inboxes: what the engine holds in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By id.
    pub accounts: Vec<Account>,
    /// All.
    pub devices: Vec<Device>,
    /// All, used up ones too.
    pub invites: Vec<Invite>,
    /// By id, with their heads.
    pub rooms: Vec<(Room, Head)>,
    /// All.
    pub members: Vec<Member>,
    /// All.
    pub consumers: Vec<Consumer>,
}
